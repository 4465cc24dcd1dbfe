//! The bytes of foca's packets.
//!
//! | bytes | what |
//! |---|---|
//! | peer | the sender |
//! | 2 | its incarnation |
//! | peer | whom it is for; node 0: whoever is at the address |
//! | 1 | what: 1 ping, 2 ack, 3 ping this node for me, 4 ping for another, 5 ack for another, 6 that ack passed on, 7 announce, 8 feed, 9 gossip, 10 what is told, 11 you are held for down |
//! | 1 | 1 to 6: number of the ping |
//! | peer | 3 to 6: the node that is pinged, or the one that asked |
//! | 2 | all but 7, 10 and 11: how many members follow |
//! | members | each: peer, incarnation 2, state 1 (0 alive, 1 suspect, 2 down) |
//! | | all but 7 and 11, to the end: length 2, and so many bytes of what a node [tells](super::told::Told) |
//!
//! A peer is: node 8, start 8, renewal 4, 1 if it leaves (1), address (text).

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

use super::bytes::{Reader, put_text};
use super::message::Malformed;
use super::peer::Peer;
use crate::failover::entry::NodeId;

/// Writes and reads them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire;

impl Codec<Peer> for Wire {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Peer>, buf: impl BufMut) -> Result<(), Malformed> {
        let mut bytes = Vec::new();
        put_peer(&mut bytes, &header.src);
        bytes.extend_from_slice(&header.src_incarnation.to_be_bytes());
        put_peer(&mut bytes, &header.dst);
        put_message(&mut bytes, &header.message);
        put_all(&bytes, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Peer>, Malformed> {
        take_all(buf, |reader| {
            let (src, src_incarnation) = (take_peer(reader)?, reader.u16()?);
            Some(Header { src, src_incarnation, dst: take_peer(reader)?, message: take_message(reader)? })
        })
    }

    fn encode_member(&mut self, member: &Member<Peer>, buf: impl BufMut) -> Result<(), Malformed> {
        let mut bytes = Vec::new();
        put_peer(&mut bytes, member.id());
        bytes.extend_from_slice(&member.incarnation().to_be_bytes());
        bytes.push(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        put_all(&bytes, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Peer>, Malformed> {
        take_all(buf, |reader| {
            let (peer, incarnation) = (take_peer(reader)?, reader.u16()?);
            let state = match reader.u8()? {
                0 => State::Alive,
                1 => State::Suspect,
                2 => State::Down,
                _ => return None,
            };
            Some(Member::new(peer, incarnation, state))
        })
    }
}

/// All nodes of which a packet says something, itself read up to `rest`.
pub(super) fn nodes_in(header: &Header<Peer>, mut rest: &[u8]) -> Vec<NodeId> {
    let mut nodes = vec![header.src.node];
    if header.message != Message::Broadcast && rest.remaining() >= 2 {
        let count = rest.get_u16();
        nodes.extend(
            (0..count).map_while(|_| Wire.decode_member(&mut rest).ok()).map(|member| member.id().node),
        );
    }
    nodes
}

fn put_all(bytes: &[u8], mut buf: impl BufMut) -> Result<(), Malformed> {
    if bytes.len() > buf.remaining_mut() {
        return Err(Malformed);
    }
    buf.put_slice(bytes);
    Ok(())
}

fn take_all<T>(mut buf: impl Buf, take: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, Malformed> {
    let mut reader = Reader::new(buf.chunk());
    let taken = take(&mut reader).ok_or(Malformed)?;
    let left = reader.rest().len();
    buf.advance(buf.chunk().len() - left);
    Ok(taken)
}

fn put_peer(bytes: &mut Vec<u8>, peer: &Peer) {
    bytes.extend_from_slice(&peer.node.0.to_be_bytes());
    bytes.extend_from_slice(&peer.start.to_be_bytes());
    bytes.extend_from_slice(&peer.renewal.to_be_bytes());
    bytes.push(u8::from(peer.leaves));
    put_text(bytes, &peer.address);
}

fn take_peer(reader: &mut Reader<'_>) -> Option<Peer> {
    let (node, start, renewal) = (NodeId(reader.u64()?), reader.u64()?, reader.u32()?);
    let leaves = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(Peer { node, start, renewal, leaves, address: reader.text()? })
}

fn put_message(bytes: &mut Vec<u8>, message: &Message<Peer>) {
    let (kind, number, peer) = match message {
        Message::Ping(number) => (1, Some(number), None),
        Message::Ack(number) => (2, Some(number), None),
        Message::PingReq { target, probe_number } => (3, Some(probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, Some(probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, Some(probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(probe_number), Some(origin)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        Message::Gossip => (9, None, None),
        Message::Broadcast => (10, None, None),
        Message::TurnUndead => (11, None, None),
    };
    bytes.push(kind);
    bytes.extend(number);
    if let Some(peer) = peer {
        put_peer(bytes, peer);
    }
}

fn take_message(reader: &mut Reader<'_>) -> Option<Message<Peer>> {
    Some(match reader.u8()? {
        1 => Message::Ping(reader.u8()?),
        2 => Message::Ack(reader.u8()?),
        3 => Message::PingReq { probe_number: reader.u8()?, target: take_peer(reader)? },
        4 => Message::IndirectPing { probe_number: reader.u8()?, origin: take_peer(reader)? },
        5 => Message::IndirectAck { probe_number: reader.u8()?, target: take_peer(reader)? },
        6 => Message::ForwardedAck { probe_number: reader.u8()?, origin: take_peer(reader)? },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::PACKET_BYTES_MAX;
    use super::*;

    fn peer(node: u64) -> Peer {
        let address = format!("10.0.0.{node}:8200");
        Peer { node: NodeId(node), start: 7, renewal: 2, leaves: node == 2, address }
    }

    fn messages(of: impl Fn() -> Peer) -> Vec<Message<Peer>> {
        vec![
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { probe_number: 3, target: of() },
            Message::IndirectPing { probe_number: 4, origin: of() },
            Message::IndirectAck { probe_number: 5, target: of() },
            Message::ForwardedAck { probe_number: 6, origin: of() },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ]
    }

    fn header(message: Message<Peer>) -> Header<Peer> {
        Header { src: peer(1), src_incarnation: 513, dst: peer(2), message }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for message in messages(|| peer(3)) {
            let mut bytes = Vec::new();
            Wire.encode_header(&header(message.clone()), &mut bytes).expect("room");
            let whole = [&bytes[..], b"rest"].concat();
            let mut left = &whole[..];
            assert_eq!(Wire.decode_header(&mut left), Ok(header(message)));
            assert_eq!(left, b"rest");
            for length in 0..bytes.len() {
                assert_eq!(Wire.decode_header(&bytes[..length]), Err(Malformed), "cut off at {length}");
            }
        }
    }

    #[test]
    fn a_member_is_read_as_it_was_written_and_not_written_where_there_is_no_room() {
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(peer(2), 258, state);
            let mut bytes = Vec::new();
            Wire.encode_member(&member, &mut bytes).expect("room");
            assert_eq!(Wire.decode_member(&bytes[..]), Ok(member.clone()));
            let mut narrow = Vec::new().limit(bytes.len() - 1);
            assert_eq!(Wire.encode_member(&member, &mut narrow), Err(Malformed));
            assert!(narrow.get_ref().is_empty());
        }
    }

    #[test]
    fn the_longest_header_leaves_room_in_a_packet() {
        let longest = || Peer { address: "x".repeat(255), ..peer(1) };
        for message in messages(longest) {
            let mut bytes = Vec::new();
            let header = Header { src: longest(), src_incarnation: 0, dst: longest(), message };
            Wire.encode_header(&header, &mut bytes).expect("room");
            assert!(bytes.len() + 300 < PACKET_BYTES_MAX, "{} bytes", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let mut rest = &bytes[..];
            if let Ok(header) = Wire.decode_header(&mut rest) {
                nodes_in(&header, rest);
            }
            let _ = Wire.decode_member(&bytes[..]);
        }

        #[test]
        fn a_changed_header_is_another_one_or_none(at in any::<usize>(), bit in 0_u8..8) {
            let ping = header(Message::Ping(1));
            let mut bytes = Vec::new();
            Wire.encode_header(&ping, &mut bytes).expect("room");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Wire.decode_header(&bytes[..]), Ok(ping));
        }
    }
}
