use super::{Walk, load, store};
use crate::Message;

/// A `loadBefore` has one length.
const LOAD_BYTES: usize = 55;

/// Recognises `loadBefore` and `storea` in msgpack.
pub(crate) fn decode(frame: &[u8]) -> Option<Message<'_>> {
    match <&[u8; LOAD_BYTES]>::try_from(frame) {
        Ok(frame) => decode_load(frame).or_else(|| decode_store(frame)),
        Err(_) => decode_store(frame),
    }
}

fn decode_load(frame: &[u8; LOAD_BYTES]) -> Option<Message<'_>> {
    let mut walk = Walk(frame);
    walk.expect(b"\x94\x92\xc4\x08")?;
    let msgid_oid = walk.array()?;
    walk.expect(b"\xc4\x08")?;
    let msgid_tid = walk.array()?;
    walk.expect(b"\xc2\xaaloadBefore\x92\xc4\x08")?;
    let oid = walk.array()?;
    walk.expect(b"\xc4\x08")?;
    let tid = walk.array()?;
    Some(load((msgid_oid, msgid_tid), oid, tid))
}

fn decode_store(frame: &[u8]) -> Option<Message<'_>> {
    let mut walk = Walk(frame);
    walk.expect(b"\x94\0\xc3\xa6storea\x94\xc4\x08")?;
    let oid = walk.array()?;
    walk.expect(b"\xc4\x08")?;
    let serial = walk.array()?;
    let data = walk.packed_bytes()?;
    let id = match walk.array()? {
        [number @ 0..=0x7f] => number.into(),
        [0xcc] => u8::from_be_bytes(walk.array()?).into(),
        [0xcd] => u16::from_be_bytes(walk.array()?).into(),
        [0xce] => u32::from_be_bytes(walk.array()?).into(),
        [0xcf] => i64::try_from(u64::from_be_bytes(walk.array()?)).ok()?,
        _ => return None,
    };
    walk.0.is_empty().then(|| store(oid, serial, data, id))
}
