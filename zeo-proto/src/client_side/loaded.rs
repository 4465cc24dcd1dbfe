use crate::fast::Walk;
use crate::{Encoding, Oid, Tid};

/// The reply to a `loadBefore` that found a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded<'a> {
    /// The object asked for (of the message id).
    pub oid: Oid,
    /// Before which tid it was asked for (of the message id).
    pub before: Tid,
    /// The data of the revision.
    pub data: &'a [u8],
    /// The revision.
    pub serial: Tid,
    /// The revision after it, if there is one.
    pub end: Option<Tid>,
}

/// Recognises the payload of a frame that answers [`encode_load`](super::encode_load) with a revision, and takes
/// it apart without building values. `None`: it says something else, which
/// [`decode_incoming`](super::decode_incoming) tells.
pub fn decode_loaded(encoding: Encoding, frame: &[u8]) -> Option<Loaded<'_>> {
    let mut walk = Walk(frame);
    match encoding {
        Encoding::Pickle => decode_pickle(&mut walk),
        Encoding::Msgpack => decode_msgpack(&mut walk),
    }
}

fn decode_pickle<'a>(walk: &mut Walk<'a>) -> Option<Loaded<'a>> {
    walk.expect(b"\x80\x03(C\x08")?;
    let oid = Oid::from_bytes(walk.array()?);
    walk.expect(b"C\x08")?;
    let before = Tid::from_bytes(walk.array()?);
    walk.expect(b"\x86K\0X\x06\0\0\0.reply")?;
    let data = walk.pickled_bytes()?;
    walk.expect(b"C\x08")?;
    let serial = Tid::from_bytes(walk.array()?);
    let end = match walk.array()? {
        [b'N'] => None,
        [b'C'] => {
            walk.expect(b"\x08")?;
            Some(Tid::from_bytes(walk.array()?))
        }
        _ => return None,
    };
    (walk.0 == b"\x87t.").then_some(Loaded { oid, before, data, serial, end })
}

fn decode_msgpack<'a>(walk: &mut Walk<'a>) -> Option<Loaded<'a>> {
    walk.expect(b"\x94\x92\xc4\x08")?;
    let oid = Oid::from_bytes(walk.array()?);
    walk.expect(b"\xc4\x08")?;
    let before = Tid::from_bytes(walk.array()?);
    walk.expect(b"\0\xa6.reply\x93")?;
    let data = walk.packed_bytes()?;
    walk.expect(b"\xc4\x08")?;
    let serial = Tid::from_bytes(walk.array()?);
    let end = match walk.array()? {
        [0xc0] => None,
        [0xc4] => {
            walk.expect(b"\x08")?;
            Some(Tid::from_bytes(walk.array()?))
        }
        _ => return None,
    };
    walk.0.is_empty().then_some(Loaded { oid, before, data, serial, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, MsgId, Value};

    #[test]
    fn a_loaded_revision_is_recognised_and_nothing_else_is() {
        let (oid, before, serial) = (Oid::new(5), Tid::MAX, Tid::new(7));
        let msgid = MsgId::Load(oid, before);
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            let encoder = Encoder::new(encoding);
            for length in [0, 255, 256, 70_000] {
                for end in [None, Some(Tid::new(9))] {
                    let (mut out, data) = (Vec::new(), vec![b'x'; length]);
                    encoder.reply_load(&mut out, &msgid, &data, serial, end);
                    let loaded = Loaded { oid, before, data: &data, serial, end };
                    assert_eq!(decode_loaded(encoding, &out[4..]), Some(loaded));
                    assert_eq!(decode_loaded(encoding, &out[4..out.len() - 1]), None);
                }
            }
            let mut other = Vec::new();
            encoder.reply(&mut other, &msgid, &Value::None);
            assert_eq!(decode_loaded(encoding, &other[4..]), None);
        }
    }
}
