//! The reply to `loadBefore`, which is most of what a server says: written from a template with the message id
//! that stock clients give it, without building values.

use crate::{Encoder, Encoding, MsgId, Tid, Value, frame};

/// Up to the data: length, oid and tid of the message id, flag and name of the reply.
const PICKLE_HEAD: &[u8; 41] =
    b"\0\0\0\0\x80\x03(C\x08\0\0\0\0\0\0\0\0C\x08\0\0\0\0\0\0\0\0\x86K\0X\x06\0\0\0.reply";
const PICKLE_OID_AT: usize = 9;
const PICKLE_TID_AT: usize = 19;

/// The same in msgpack, and the beginning of the triple.
const MSGPACK_HEAD: &[u8; 35] =
    b"\0\0\0\0\x94\x92\xc4\x08\0\0\0\0\0\0\0\0\xc4\x08\0\0\0\0\0\0\0\0\0\xa6.reply\x93";
const MSGPACK_OID_AT: usize = 8;
const MSGPACK_TID_AT: usize = 18;

/// Writes the reply (data, serial, end).
pub(super) fn write(
    encoding: Encoding,
    out: &mut Vec<u8>,
    msgid: &MsgId,
    data: &[u8],
    serial: Tid,
    end: Option<Tid>,
) {
    match (msgid, encoding) {
        (MsgId::Load(oid, tid), Encoding::Pickle) => {
            let mut head = *PICKLE_HEAD;
            head[PICKLE_OID_AT..][..8].copy_from_slice(&oid.to_bytes());
            head[PICKLE_TID_AT..][..8].copy_from_slice(&tid.to_bytes());
            write_parts(out, head, pickle_length(data.len()), data, pickle_tail(serial, end));
        }
        (MsgId::Load(oid, tid), Encoding::Msgpack) => {
            let mut head = *MSGPACK_HEAD;
            head[MSGPACK_OID_AT..][..8].copy_from_slice(&oid.to_bytes());
            head[MSGPACK_TID_AT..][..8].copy_from_slice(&tid.to_bytes());
            write_parts(out, head, msgpack_length(data.len()), data, msgpack_tail(serial, end));
        }
        _ => {
            let result = Value::Tuple(vec![Value::from(data), Value::from(serial), Value::from(end)]);
            Encoder::new(encoding).reply(out, msgid, &result);
        }
    }
}

/// A few bytes at the front of an array.
type Short<const N: usize> = ([u8; N], usize);

fn write_parts<const HEAD: usize>(
    out: &mut Vec<u8>,
    mut head: [u8; HEAD],
    (length, length_bytes): Short<5>,
    data: &[u8],
    (tail, tail_bytes): Short<23>,
) {
    let total = HEAD + length_bytes + data.len() + tail_bytes;
    head[..4].copy_from_slice(&frame::length_of(total - 4));
    out.reserve(total);
    out.extend_from_slice(&head);
    out.extend_from_slice(&length[..length_bytes]);
    out.extend_from_slice(data);
    out.extend_from_slice(&tail[..tail_bytes]);
}

/// `SHORT_BINBYTES` or `BINBYTES`, with the length. (A frame of 4 GiB is refused when its length is written.)
fn pickle_length(bytes: usize) -> Short<5> {
    let [a, b, c, d, ..] = bytes.to_le_bytes();
    if bytes < 1 << 8 { ([b'C', a, 0, 0, 0], 2) } else { ([b'B', a, b, c, d], 5) }
}

/// bin 8, 16 or 32, with the length.
fn msgpack_length(bytes: usize) -> Short<5> {
    let [a, b, c, d, ..] = bytes.to_le_bytes();
    match bytes {
        0..0x100 => ([0xc4, a, 0, 0, 0], 2),
        0x100..0x1_0000 => ([0xc5, b, a, 0, 0], 3),
        _ => ([0xc6, d, c, b, a], 5),
    }
}

/// Serial and end, `TUPLE3`, the message's `TUPLE`, `STOP`.
fn pickle_tail(serial: Tid, end: Option<Tid>) -> Short<23> {
    match end {
        None => {
            let mut tail = *b"C\x08\0\0\0\0\0\0\0\0N\x87t.\0\0\0\0\0\0\0\0\0";
            tail[2..10].copy_from_slice(&serial.to_bytes());
            (tail, 14)
        }
        Some(end) => {
            let mut tail = *b"C\x08\0\0\0\0\0\0\0\0C\x08\0\0\0\0\0\0\0\0\x87t.";
            tail[2..10].copy_from_slice(&serial.to_bytes());
            tail[12..20].copy_from_slice(&end.to_bytes());
            (tail, 23)
        }
    }
}

/// Serial and end.
fn msgpack_tail(serial: Tid, end: Option<Tid>) -> Short<23> {
    let mut tail = [0; 23];
    tail[..2].copy_from_slice(b"\xc4\x08");
    tail[2..10].copy_from_slice(&serial.to_bytes());
    let Some(end) = end else {
        tail[10] = 0xc0;
        return (tail, 11);
    };
    tail[10..12].copy_from_slice(b"\xc4\x08");
    tail[12..20].copy_from_slice(&end.to_bytes());
    (tail, 20)
}
