use crate::{Encoder, Encoding, MsgId, Tid, Value};

/// The reply to `loadBefore`.
pub(super) fn write(
    encoding: Encoding,
    out: &mut Vec<u8>,
    msgid: &MsgId,
    data: &[u8],
    serial: Tid,
    end: Option<Tid>,
) {
    let result = Value::Tuple(vec![Value::from(data), Value::from(serial), Value::from(end)]);
    Encoder::new(encoding).reply(out, msgid, &result);
}
