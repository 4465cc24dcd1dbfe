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
    let (oid_bytes, tid_bytes) = (oid.to_bytes(), before.to_bytes());
    let args = [Value::from(&oid_bytes), Value::from(&tid_bytes)];
    encode_call(encoding, out, &MsgId::Load(oid, before), false, "loadBefore", &args);
}

/// Appends the frame of `storea(oid, serial, data, id)`, which wants no reply.
pub fn encode_store(encoding: Encoding, out: &mut Vec<u8>, oid: Oid, serial: Serial, data: &[u8], id: i64) {
    out.reserve(data.len() + 80);
    let args = [Value::from(oid), Value::from(serial), Value::from(data), Value::Int(id)];
    encode_call(encoding, out, &MsgId::NONE, true, "storea", &args);
}
