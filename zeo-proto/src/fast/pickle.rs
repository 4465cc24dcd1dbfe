use super::{Walk, load, store};
use crate::Message;

/// A `loadBefore` has one length, and no other message that clients send often has it.
const LOAD_BYTES: usize = 63;

/// Recognises `loadBefore` and `storea` in pickle.
pub(crate) fn decode(frame: &[u8]) -> Option<Message<'_>> {
    match <&[u8; LOAD_BYTES]>::try_from(frame) {
        Ok(frame) => decode_load(frame).or_else(|| decode_store(frame)),
        Err(_) => decode_store(frame),
    }
}

fn decode_load(frame: &[u8; LOAD_BYTES]) -> Option<Message<'_>> {
    let mut walk = Walk(frame);
    walk.expect(b"\x80\x03(C\x08")?;
    let msgid_oid = walk.array()?;
    walk.expect(b"C\x08")?;
    let msgid_tid = walk.array()?;
    walk.expect(b"\x86\x89X\x0a\0\0\0loadBeforeC\x08")?;
    let oid = walk.array()?;
    walk.expect(b"C\x08")?;
    let tid = walk.array()?;
    walk.expect(b"\x86t.")?;
    Some(load((msgid_oid, msgid_tid), oid, tid))
}

fn decode_store(frame: &[u8]) -> Option<Message<'_>> {
    let mut walk = Walk(frame);
    walk.expect(b"\x80\x03(K\0\x88X\x06\0\0\0storea(C\x08")?;
    let oid = walk.array()?;
    walk.expect(b"C\x08")?;
    let serial = walk.array()?;
    let data = walk.pickled_bytes()?;
    let id = match walk.array()? {
        [b'K'] => u8::from_le_bytes(walk.array()?).into(),
        [b'M'] => u16::from_le_bytes(walk.array()?).into(),
        [b'J'] => i32::from_le_bytes(walk.array()?).into(),
        [0x8a] => decode_long(&mut walk)?,
        _ => return None,
    };
    (walk.0 == b"tt.").then(|| store(oid, serial, data, id))
}

/// `LONG1` of up to eight bytes.
fn decode_long(walk: &mut Walk<'_>) -> Option<i64> {
    let [length] = walk.array()?;
    let bytes = walk.take(length.into())?;
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut number = [fill; 8];
    number.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(number))
}
