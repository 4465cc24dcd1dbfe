//! What one datagram says, once it is opened.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: 1 ping, 2 ack, 3 ping for me, 4 ack for you, 5 gossip |
//! | 4 | number of the ping |
//! | 8 | the sender's wall clock, in milliseconds since 1970 |
//! | claim | the sender, as it claims to be itself |
//! | 8, text | kind 3: which node to ping, and where. Kind 4: which node answered, and an empty text |
//! | 1 | how many items follow |
//! | items | 1 and a claim; or 2 and what a node tells: node 8, start 8, counter 4, length 2, record |
//!
//! A claim is: node 8, start 8, incarnation 4, state 1 (0 alive, 1 suspect, 2 failed, 3 left), address (text).

use super::bytes::{Reader, put_text};
use super::claim::{Claim, State};
use super::record::RECORD_BYTES_MAX;
use crate::failover::entry::NodeId;

/// Why a message is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Are you there?
    Ping,
    /// Yes.
    Ack,
    /// Ask this node for me.
    PingFor {
        /// The node.
        node: NodeId,
        /// Where it is.
        address: String,
    },
    /// It answered.
    AckFor {
        /// The node.
        node: NodeId,
    },
    /// Nothing but news.
    Gossip,
}

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
    /// Whether this is newer than what the same node told then.
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.start, self.counter) > (other.start, other.counter)
    }
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// How a node is.
    Claim(Claim),
    /// What a node tells.
    Told(Told),
}

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Why.
    pub kind: Kind,
    /// The number of the ping that is sent or answered.
    pub number: u32,
    /// The sender's wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The sender.
    pub sender: Claim,
    /// News, of others mostly.
    pub items: Vec<Item>,
}

/// Greatest number of items in a message.
const ITEMS_MAX: usize = u8::MAX as usize;

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Ping => 1,
            Kind::Ack => 2,
            Kind::PingFor { .. } => 3,
            Kind::AckFor { .. } => 4,
            Kind::Gossip => 5,
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.wall_ms.to_be_bytes());
        put_claim(&mut bytes, &self.sender);
        match &self.kind {
            Kind::PingFor { node, address } => put_place(&mut bytes, *node, address),
            Kind::AckFor { node } => put_place(&mut bytes, *node, ""),
            Kind::Ping | Kind::Ack | Kind::Gossip => {}
        }
        let items = &self.items[..self.items.len().min(ITEMS_MAX)];
        bytes.push(items.len() as u8);
        items.iter().for_each(|item| item.put(&mut bytes));
        bytes
    }

    /// Reads a message; `None` where the bytes are none. What follows it is ignored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let (number, wall_ms) = (reader.u32()?, reader.u64()?);
        let sender = take_claim(&mut reader)?;
        let mut place = || Some((NodeId(reader.u64()?), reader.text()?));
        let kind = match kind {
            1 => Kind::Ping,
            2 => Kind::Ack,
            3 => place().map(|(node, address)| Kind::PingFor { node, address })?,
            4 => place().map(|(node, _)| Kind::AckFor { node })?,
            5 => Kind::Gossip,
            _ => return None,
        };
        let count = reader.u8()?;
        let items = (0..count).map(|_| Item::take(&mut reader)).collect::<Option<_>>()?;
        Some(Self { kind, number, wall_ms, sender, items })
    }
}

impl Item {
    fn put(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Claim(claim) => {
                bytes.push(1);
                put_claim(bytes, claim);
            }
            Self::Told(told) => {
                bytes.push(2);
                bytes.extend_from_slice(&told.node.0.to_be_bytes());
                bytes.extend_from_slice(&told.start.to_be_bytes());
                bytes.extend_from_slice(&told.counter.to_be_bytes());
                bytes.extend_from_slice(&(told.record.len() as u16).to_be_bytes());
                bytes.extend_from_slice(&told.record);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        match reader.u8()? {
            1 => take_claim(reader).map(Self::Claim),
            2 => {
                let (node, start) = (NodeId(reader.u64()?), reader.u64()?);
                let (counter, length) = (reader.u32()?, usize::from(reader.u16()?));
                if length > RECORD_BYTES_MAX {
                    return None;
                }
                Some(Self::Told(Told { node, start, counter, record: reader.take(length)?.to_vec() }))
            }
            _ => None,
        }
    }

    /// Length of its bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Claim(claim) => 1 + 8 + 8 + 4 + 1 + 1 + claim.address.len(),
            Self::Told(told) => 1 + 8 + 8 + 4 + 2 + told.record.len(),
        }
    }
}

fn put_place(bytes: &mut Vec<u8>, node: NodeId, address: &str) {
    bytes.extend_from_slice(&node.0.to_be_bytes());
    put_text(bytes, address);
}

fn put_claim(bytes: &mut Vec<u8>, claim: &Claim) {
    bytes.extend_from_slice(&claim.node.0.to_be_bytes());
    bytes.extend_from_slice(&claim.start.to_be_bytes());
    bytes.extend_from_slice(&claim.incarnation.to_be_bytes());
    bytes.push(match claim.state {
        State::Alive => 0,
        State::Suspect => 1,
        State::Failed => 2,
        State::Left => 3,
    });
    put_text(bytes, &claim.address);
}

fn take_claim(reader: &mut Reader<'_>) -> Option<Claim> {
    let (node, start, incarnation) = (NodeId(reader.u64()?), reader.u64()?, reader.u32()?);
    let state = match reader.u8()? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Failed,
        3 => State::Left,
        _ => return None,
    };
    Some(Claim { node, start, incarnation, state, address: reader.text()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(node: u64, state: State) -> Claim {
        Claim { node: NodeId(node), start: 7, incarnation: 2, state, address: format!("10.0.0.{node}:8200") }
    }

    fn message(kind: Kind) -> Message {
        let told = Told { node: NodeId(3), start: 7, counter: 9, record: vec![1, 2, 3] };
        let items = vec![Item::Claim(claim(2, State::Suspect)), Item::Told(told)];
        Message { kind, number: 5, wall_ms: 1_700_000_000_000, sender: claim(1, State::Alive), items }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let place = (NodeId(4), "10.0.0.4:8200".to_owned());
        for kind in [
            Kind::Ping,
            Kind::Ack,
            Kind::PingFor { node: place.0, address: place.1 },
            Kind::AckFor { node: NodeId(4) },
            Kind::Gossip,
        ] {
            let message = message(kind);
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Some(message));
            for length in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..length]), None, "cut off at {length}");
            }
        }
    }

    #[test]
    fn an_item_is_as_long_as_it_says() {
        for item in message(Kind::Ping).items {
            let mut bytes = Vec::new();
            item.put(&mut bytes);
            assert_eq!(bytes.len(), item.bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert!(message.encode().len() <= bytes.len());
            }
        }

        #[test]
        fn a_changed_message_is_another_one_or_none(at in 0_usize..200, bit in 0_u8..8) {
            let mut bytes = message(Kind::Ping).encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Message::decode(&bytes), Some(message(Kind::Ping)));
        }
    }
}
