mod load;
mod push;

use crate::{Encoding, ErrorReply, MsgId, Tid, Value, frame, msgpack, pickle};

/// Writes what a server says, each message as a whole frame, onto the end of a buffer.
///
/// What cannot be written in the connection's encoding (a number of more than 64 bits in msgpack) is answered
/// as the stock server does, with `ValueError("Couldn't pickle response")`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoder {
    encoding: Encoding,
}

impl Encoder {
    /// An encoder for a connection of this encoding.
    pub const fn new(encoding: Encoding) -> Self {
        Self { encoding }
    }

    /// The encoding it writes.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }
}

impl Encoder {
    /// The reply to a call: `result`, whatever it is.
    pub fn reply(&self, out: &mut Vec<u8>, msgid: &MsgId, result: &Value<'_>) {
        self.message(out, msgid, Flag::Reply, result);
    }

    /// The reply to a `loadBefore` that found a revision: data, serial, and the tid of the next revision (`None`:
    /// it is the current one). The data is copied once, from `data` to `out`.
    pub fn reply_load(&self, out: &mut Vec<u8>, msgid: &MsgId, data: &[u8], serial: Tid, end: Option<Tid>) {
        load::write(self.encoding, out, msgid, data, serial, end);
    }

    /// The reply to `loadSerial`: the data of the revision.
    pub fn reply_data(&self, out: &mut Vec<u8>, msgid: &MsgId, data: &[u8]) {
        self.reply(out, msgid, &Value::from(data));
    }

    /// The reply with a tid: to `register`, `lastTransaction`, `getTid`, `tpc_finish`.
    pub fn reply_tid(&self, out: &mut Vec<u8>, msgid: &MsgId, tid: Tid) {
        self.reply(out, msgid, &Value::from(&tid.to_bytes()));
    }

    /// The reply to a call that failed.
    pub fn error(&self, out: &mut Vec<u8>, msgid: &MsgId, error: &ErrorReply) {
        self.message(out, msgid, Flag::Error, &error.to_value(self.encoding));
    }

    fn message(&self, out: &mut Vec<u8>, msgid: &MsgId, flag: Flag, content: &Value<'_>) {
        let start = out.len();
        if self.try_message(out, msgid, flag, content).is_err() {
            out.truncate(start);
            let error = ErrorReply::Value("Couldn't pickle response".into());
            let written = self.try_message(out, msgid, Flag::Error, &error.to_value(self.encoding));
            debug_assert!(written.is_ok(), "the msgid came in this encoding");
        }
    }

    fn try_message(
        &self,
        out: &mut Vec<u8>,
        msgid: &MsgId,
        flag: Flag,
        content: &Value<'_>,
    ) -> Result<(), msgpack::Unencodable> {
        let mut written = Ok(());
        frame::write(out, |out| match self.encoding {
            Encoding::Pickle => {
                out.extend_from_slice(PICKLE_START);
                write_pickled_msgid(out, msgid);
                pickle::write_int(out, flag as i64);
                pickle::write_str(out, REPLY);
                pickle::write_value(out, content);
                out.extend_from_slice(PICKLE_END);
            }
            Encoding::Msgpack => {
                out.push(MSGPACK_START);
                written = write_packed_msgid(out, msgid);
                msgpack::write_int(out, flag as i64);
                msgpack::write_str(out, REPLY);
                written = written.and_then(|()| msgpack::write_value(out, content));
            }
        });
        written
    }
}

/// The method name of replies.
const REPLY: &str = ".reply";

/// `PROTO 3`, `MARK`.
pub(crate) const PICKLE_START: &[u8] = b"\x80\x03(";
/// `TUPLE`, `STOP`.
pub(crate) const PICKLE_END: &[u8] = b"t.";
/// An array of four.
pub(crate) const MSGPACK_START: u8 = 0x94;

/// The second part of a reply.
#[derive(Clone, Copy)]
enum Flag {
    Reply = 0,
    Error = 2,
}

pub(crate) fn write_pickled_msgid(out: &mut Vec<u8>, msgid: &MsgId) {
    match msgid {
        MsgId::Int(number) => pickle::write_int(out, *number),
        MsgId::Load(oid, tid) => {
            pickle::write_bytes(out, &oid.to_bytes());
            pickle::write_bytes(out, &tid.to_bytes());
            out.push(pickle::TUPLE2);
        }
        MsgId::Other(value) => pickle::write_value(out, value),
    }
}

pub(crate) fn write_packed_msgid(out: &mut Vec<u8>, msgid: &MsgId) -> Result<(), msgpack::Unencodable> {
    match msgid {
        MsgId::Int(number) => msgpack::write_int(out, *number),
        MsgId::Load(oid, tid) => {
            msgpack::write_array_len(out, 2);
            msgpack::write_bytes(out, &oid.to_bytes());
            msgpack::write_bytes(out, &tid.to_bytes());
        }
        MsgId::Other(value) => msgpack::write_value(out, value)?,
    }
    Ok(())
}
