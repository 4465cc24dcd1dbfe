//! What one datagram says, once it is opened.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: 1 a packet of foca's, 2 what is known |
//! | 8 | the sender's wall clock, in milliseconds since 1970 |
//! | 8 | the latest start of the receiver that the sender knows of, 0: none |
//! | | kind 1: the [packet](super::codec), to the end |
//! | items | kind 2, to the end: 1 and a member, as in a packet; or 2, length 2, and so many bytes of what a node [tells](super::told::Told) |

use foca::{Codec, Member};

use super::bytes::Reader;
use super::codec::Wire;
use super::datagram::MESSAGE_BYTES_MAX;
use super::peer::Peer;
use super::told::Told;

const HEAD_BYTES: usize = 1 + 8 + 8;
/// The longest packet that fits into a message, in bytes.
pub const PACKET_BYTES_MAX: usize = MESSAGE_BYTES_MAX - HEAD_BYTES;

/// The bytes say nothing, or there is no room for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed")]
pub struct Malformed;

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The latest start of the receiver that the sender knows of; 0: none.
    pub start: u64,
    /// What it says.
    pub body: Body,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A packet of foca's.
    Packet(Vec<u8>),
    /// What foca does not repeat to those who come later.
    Known(Vec<Item>),
}

/// One thing that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// How a node is.
    Member(Member<Peer>),
    /// What a node tells.
    Told(Told),
}

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.body {
            Body::Packet(_) => 1,
            Body::Known(_) => 2,
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&self.wall_ms.to_be_bytes());
        bytes.extend_from_slice(&self.start.to_be_bytes());
        match &self.body {
            Body::Packet(packet) => bytes.extend_from_slice(packet),
            Body::Known(items) => items.iter().for_each(|item| bytes.extend(item.encode())),
        }
        bytes
    }

    /// Reads a message; `None` where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (kind, wall_ms, start) = (reader.u8()?, reader.u64()?, reader.u64()?);
        let body = match kind {
            1 => Body::Packet(reader.rest().to_vec()),
            2 => {
                let mut items = Vec::new();
                while !reader.rest().is_empty() {
                    items.push(Item::take(&mut reader)?);
                }
                Body::Known(items)
            }
            _ => return None,
        };
        Some(Self { wall_ms, start, body })
    }
}

impl Item {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Member(member) => {
                let mut bytes = vec![1];
                Wire.encode_member(member, &mut bytes).expect("a vector has room");
                bytes
            }
            Self::Told(told) => {
                let told = told.encode();
                [&[2][..], &(told.len() as u16).to_be_bytes(), &told].concat()
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        match reader.u8()? {
            1 => {
                let mut rest = reader.rest();
                let before = rest.len();
                let member = Wire.decode_member(&mut rest).ok()?;
                reader.take(before - rest.len())?;
                Some(Self::Member(member))
            }
            2 => {
                let length = usize::from(reader.u16()?);
                Told::decode(reader.take(length)?).map(Self::Told)
            }
            _ => None,
        }
    }
}

/// Divides items among as few lists as each fits into one message.
pub fn divided(items: Vec<Item>) -> Vec<Vec<Item>> {
    let (mut lists, mut room) = (Vec::new(), 0);
    for item in items {
        let bytes = item.encode().len();
        match lists.last_mut() {
            Some(list) if bytes <= room => Vec::push(list, item),
            _ => {
                lists.push(vec![item]);
                room = PACKET_BYTES_MAX;
            }
        }
        room = room.saturating_sub(bytes);
    }
    lists
}

#[cfg(test)]
mod tests {
    use foca::State;
    use proptest::prelude::*;

    use super::super::record::RECORD_BYTES_MAX;
    use super::*;
    use crate::failover::entry::NodeId;

    fn items() -> Vec<Item> {
        let address = "10.0.0.2:8200".to_owned();
        let peer = Peer { node: NodeId(2), start: 7, renewal: 1, leaves: true, address };
        let told = Told { node: NodeId(3), start: 7, counter: 9, record: vec![1, 2, 3] };
        vec![Item::Member(Member::new(peer, 3, State::Down)), Item::Told(told)]
    }

    fn message(body: Body) -> Message {
        Message { wall_ms: 1_700_000_000_000, start: 77, body }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for body in [Body::Packet(vec![1, 2, 3]), Body::Packet(vec![]), Body::Known(items())] {
            let bytes = message(body.clone()).encode();
            assert_eq!(Message::decode(&bytes), Some(message(body)));
            for length in 0..HEAD_BYTES {
                assert_eq!(Message::decode(&bytes[..length]), None, "cut off at {length}");
            }
        }
        let bytes = message(Body::Known(items())).encode();
        assert_eq!(Message::decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn items_are_divided_so_that_each_message_fits() {
        let long = Told { node: NodeId(1), start: 1, counter: 1, record: vec![0; RECORD_BYTES_MAX] };
        let many: Vec<Item> =
            (0..50).flat_map(|_| [items(), vec![Item::Told(long.clone())]]).flatten().collect();
        let lists = divided(many.clone());
        assert_eq!(lists.concat(), many);
        for list in lists {
            assert!(message(Body::Known(list)).encode().len() <= MESSAGE_BYTES_MAX);
        }
        assert!(divided(Vec::new()).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
