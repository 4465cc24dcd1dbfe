use crate::encoder::{MSGPACK_START, PICKLE_END, PICKLE_START, write_packed_msgid, write_pickled_msgid};
use crate::{Encoding, MsgId, Oid, Serial, Tid, Value, frame, msgpack, pickle};

/// Appends the frame of a call.
///
/// # Panics
/// If msgpack cannot carry an argument or the message id: a number of more than 64 bits, a class, an object.
pub fn encode_call(
    encoding: Encoding,
    out: &mut Vec<u8>,
    msgid: &MsgId,
    oneway: bool,
    method: &str,
    args: &[Value<'_>],
) {
    frame::write(out, |out| match encoding {
        Encoding::Pickle => {
            out.extend_from_slice(PICKLE_START);
            write_pickled_msgid(out, msgid);
            pickle::write_value(out, &Value::Bool(oneway));
            pickle::write_str(out, method);
            pickle::write_tuple(out, args);
            out.extend_from_slice(PICKLE_END);
        }
        Encoding::Msgpack => {
            const CARRIED: &str = "msgpack carries plain data and numbers of 64 bits";
            out.push(MSGPACK_START);
            write_packed_msgid(out, msgid).expect(CARRIED);
            msgpack::write_bool(out, oneway);
            msgpack::write_str(out, method);
            msgpack::write_array_len(out, args.len());
            args.iter().for_each(|arg| msgpack::write_value(out, arg).expect(CARRIED));
        }
    });
}

/// Appends the frame of `loadBefore(oid, before)`, with the message id that stock clients give it.
pub fn encode_load(encoding: Encoding, out: &mut Vec<u8>, oid: Oid, before: Tid) {
    let (oid, tid) = (oid.to_bytes(), before.to_bytes());
    let (template, places): (&[u8], _) = match encoding {
        Encoding::Pickle => (PICKLED_LOAD, [(9, oid), (19, tid), (46, oid), (56, tid)]),
        Encoding::Msgpack => (PACKED_LOAD, [(8, oid), (18, tid), (41, oid), (51, tid)]),
    };
    let start = out.len();
    out.extend_from_slice(template);
    for (place, bytes) in places {
        out[start + place..][..8].copy_from_slice(&bytes);
    }
}

/// The frame of a `loadBefore` whose oid and tid are all zeros.
const PICKLED_LOAD: &[u8; 67] = b"\0\0\0\x3f\x80\x03(C\x08\0\0\0\0\0\0\0\0C\x08\0\0\0\0\0\0\0\0\x86\x89\
    X\x0a\0\0\0loadBeforeC\x08\0\0\0\0\0\0\0\0C\x08\0\0\0\0\0\0\0\0\x86t.";
const PACKED_LOAD: &[u8; 59] = b"\0\0\0\x37\x94\x92\xc4\x08\0\0\0\0\0\0\0\0\xc4\x08\0\0\0\0\0\0\0\0\xc2\
    \xaaloadBefore\x92\xc4\x08\0\0\0\0\0\0\0\0\xc4\x08\0\0\0\0\0\0\0\0";

/// Appends the frame of `storea(oid, serial, data, id)`, which wants no reply.
pub fn encode_store(encoding: Encoding, out: &mut Vec<u8>, oid: Oid, serial: Serial, data: &[u8], id: i64) {
    out.reserve(data.len() + STORE_BYTES);
    let (oid, serial) = (oid.to_bytes(), serial.map(Tid::to_bytes));
    frame::write(out, |out| match encoding {
        Encoding::Pickle => {
            out.extend_from_slice(b"\x80\x03(K\0\x88X\x06\0\0\0storea(");
            pickle::write_bytes(out, &oid);
            match &serial {
                Some(serial) => pickle::write_bytes(out, serial),
                None => pickle::write_value(out, &Value::None),
            }
            pickle::write_bytes(out, data);
            pickle::write_int(out, id);
            out.extend_from_slice(b"tt.");
        }
        Encoding::Msgpack => {
            out.extend_from_slice(b"\x94\0\xc3\xa6storea\x94");
            msgpack::write_bytes(out, &oid);
            match &serial {
                Some(serial) => msgpack::write_bytes(out, serial),
                None => msgpack::write_none(out),
            }
            msgpack::write_bytes(out, data);
            msgpack::write_int(out, id);
        }
    });
}

/// At most so many bytes of a `storea` are not data.
const STORE_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_calls_are_those_that_encode_call_makes() {
        let (oid, tid) = (Oid::new(0x0102_0304_0506_0708), Tid::new(0x1112_1314_1516_1718));
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            let (mut hot, mut general) = (Vec::new(), Vec::new());
            encode_load(encoding, &mut hot, oid, tid);
            let args = [Value::from(oid), Value::from(tid)];
            encode_call(encoding, &mut general, &MsgId::Load(oid, tid), false, "loadBefore", &args);
            for serial in [None, Some(tid)] {
                for (length, id) in [(0, 0), (300, -70_000), (70_000, 140_234_567_890_123)] {
                    let data = vec![b'x'; length];
                    encode_store(encoding, &mut hot, oid, serial, &data, id);
                    let args =
                        [Value::from(oid), Value::from(serial), Value::from(&data[..]), Value::Int(id)];
                    encode_call(encoding, &mut general, &MsgId::NONE, true, "storea", &args);
                }
            }
            assert_eq!(hot, general, "{encoding:?}");
        }
    }
}
