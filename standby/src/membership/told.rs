//! What nodes tell of themselves, on its way through the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use foca::{BroadcastHandler, Invalidates};

use super::bytes::Reader;
use super::message::Malformed;
use super::peer::Peer;
use super::record::RECORD_BYTES_MAX;
use super::swim::NODES_MAX;
use crate::failover::entry::NodeId;

/// What a node tells of itself, passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The node.
    pub node: NodeId,
    /// Which start of it.
    pub start: u64,
    /// Later ones are greater.
    pub counter: u32,
    /// The bytes of a [`Record`](super::record::Record).
    pub record: Vec<u8>,
}

impl Told {
    /// Of one node, what has the greater age supersedes.
    pub fn age(&self) -> (u64, u32) {
        (self.start, self.counter)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.node.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.start.to_be_bytes());
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        bytes.extend_from_slice(&self.record);
        bytes
    }

    /// Reads it; `None` where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (node, start, counter) = (NodeId(reader.u64()?), reader.u64()?, reader.u32()?);
        let record = reader.rest().to_vec();
        (record.len() <= RECORD_BYTES_MAX).then_some(Self { node, start, counter, record })
    }
}

/// The newest that each node told, in the hands of foca and of whoever shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tellings(Arc<Mutex<BTreeMap<NodeId, Told>>>);

impl Tellings {
    /// Takes it if it is news.
    pub(super) fn take(&self, told: Told) -> bool {
        self.with(|tellings| {
            let is_news = match tellings.get(&told.node) {
                Some(known) => told.age() > known.age(),
                None => tellings.len() < NODES_MAX,
            };
            if is_news {
                tellings.insert(told.node, told);
            }
            is_news
        })
    }

    pub(super) fn get(&self, node: NodeId) -> Option<Told> {
        self.with(|tellings| tellings.get(&node).cloned())
    }

    /// What is newer than this age.
    pub(super) fn newer(&self, node: NodeId, than: Option<(u64, u32)>) -> Option<Told> {
        self.with(|tellings| tellings.get(&node).filter(|told| Some(told.age()) > than).cloned())
    }

    /// Forgets nodes of which this does not hold.
    pub(super) fn retain(&self, keeps: impl Fn(NodeId) -> bool) {
        self.with(|tellings| tellings.retain(|node, _| keeps(*node)));
    }

    fn with<T>(&self, does: impl FnOnce(&mut BTreeMap<NodeId, Told>) -> T) -> T {
        does(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whose it is: what is newer takes the place of what is older.
#[derive(Clone, Copy, Debug)]
pub(super) struct Teller(NodeId);

impl Invalidates for Teller {
    fn invalidates(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl BroadcastHandler<Peer> for Tellings {
    type Key = Teller;
    type Error = Malformed;

    fn receive_item(&mut self, data: &[u8], _sender: Option<&Peer>) -> Result<Option<Teller>, Malformed> {
        let told = Told::decode(data).ok_or(Malformed)?;
        let node = told.node;
        Ok(self.take(told).then_some(Teller(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: u64, start: u64, counter: u32) -> Told {
        Told { node: NodeId(node), start, counter, record: vec![1, 2, 3] }
    }

    #[test]
    fn what_is_told_is_read_as_it_was_written() {
        let bytes = told(3, 7, 9).encode();
        assert_eq!(Told::decode(&bytes), Some(told(3, 7, 9)));
        assert_eq!(Told::decode(&bytes[..19]), None);
        let longest = Told { record: vec![0; RECORD_BYTES_MAX], ..told(3, 7, 9) }.encode();
        assert!(Told::decode(&longest).is_some());
        assert_eq!(Told::decode(&[&longest[..], b"x"].concat()), None);
    }

    #[test]
    fn what_is_newer_supersedes_and_nothing_else_is_passed_on() {
        let mut tellings = Tellings::default();
        let mut takes =
            |told: Told| tellings.receive_item(&told.encode(), None).expect("well formed").is_some();
        assert!(takes(told(1, 5, 2)));
        assert!(!takes(told(1, 5, 2)) && !takes(told(1, 5, 1)) && !takes(told(1, 4, 9)));
        assert!(takes(told(1, 5, 3)) && takes(told(1, 6, 0)) && takes(told(2, 1, 1)));
        assert!(tellings.receive_item(b"short", None).is_err());
    }

    #[test]
    fn no_more_nodes_are_listened_to_than_may_be_known() {
        let tellings = Tellings::default();
        let taken = (0..NODES_MAX as u64 + 10).filter(|node| tellings.take(told(*node, 1, 1))).count();
        assert_eq!(taken, NODES_MAX);
        assert!(tellings.take(told(0, 1, 2)), "those that are known may go on");
        tellings.retain(|node| node == NodeId(0));
        assert!(tellings.take(told(1_000, 1, 1)));
    }
}
