use super::{Encoder, MSGPACK_START, PICKLE_END, PICKLE_START};
use crate::{Encoding, Oid, Tid, Value, frame, msgpack, pickle};

/// Calls that the server makes. They have the message id 0 and want no reply.
impl Encoder {
    /// A transaction was committed: its tid, and the objects that it changed. Clients want it also when there
    /// are none, since their last tid must move on.
    pub fn invalidate_transaction(&self, out: &mut Vec<u8>, tid: Tid, oids: &[Oid]) {
        frame::write(out, |out| match self.encoding {
            Encoding::Pickle => {
                out.reserve(64 + oids.len() * 10);
                self.start_call(out, "invalidateTransaction");
                pickle::write_bytes(out, &tid.to_bytes());
                pickle::write_list(out, oids, |out, oid| pickle::write_bytes(out, &oid.to_bytes()));
                out.push(pickle::TUPLE2);
                out.extend_from_slice(PICKLE_END);
            }
            Encoding::Msgpack => {
                out.reserve(64 + oids.len() * 10);
                self.start_call(out, "invalidateTransaction");
                msgpack::write_array_len(out, 2);
                msgpack::write_bytes(out, &tid.to_bytes());
                msgpack::write_array_len(out, oids.len());
                oids.iter().for_each(|oid| msgpack::write_bytes(out, &oid.to_bytes()));
            }
        });
    }

    /// News about the storage, merged by the client into what `get_info` gave it: `length` and `size`, after
    /// each commit and each pack.
    ///
    /// What msgpack cannot carry must not be in `info`; such a push is left out.
    pub fn info(&self, out: &mut Vec<u8>, info: &[(&str, Value<'_>)]) {
        let items = info.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect();
        self.call(out, "info", &[Value::Dict(items)]);
    }

    /// A blob's contents follow, before the reply to `sendBlob`.
    pub fn receive_blob_start(&self, out: &mut Vec<u8>, oid: Oid, serial: Tid) {
        self.call(out, "receiveBlobStart", &[Value::from(oid), Value::from(serial)]);
    }

    /// A piece of the blob. The stock server sends 59,000 bytes at a time, and no piece for an empty blob.
    pub fn receive_blob_chunk(&self, out: &mut Vec<u8>, oid: Oid, serial: Tid, chunk: &[u8]) {
        out.reserve(chunk.len() + 80);
        self.call(out, "receiveBlobChunk", &[Value::from(oid), Value::from(serial), Value::from(chunk)]);
    }

    /// The blob is whole.
    pub fn receive_blob_stop(&self, out: &mut Vec<u8>, oid: Oid, serial: Tid) {
        self.call(out, "receiveBlobStop", &[Value::from(oid), Value::from(serial)]);
    }

    fn call(&self, out: &mut Vec<u8>, method: &str, args: &[Value<'_>]) {
        let start = out.len();
        let mut written = Ok(());
        frame::write(out, |out| {
            self.start_call(out, method);
            match self.encoding {
                Encoding::Pickle => {
                    pickle::write_tuple(out, args);
                    out.extend_from_slice(PICKLE_END);
                }
                Encoding::Msgpack => {
                    msgpack::write_array_len(out, args.len());
                    written = args.iter().try_for_each(|arg| msgpack::write_value(out, arg));
                }
            }
        });
        if written.is_err() {
            out.truncate(start);
        }
    }

    /// Everything before the arguments.
    fn start_call(&self, out: &mut Vec<u8>, method: &str) {
        match self.encoding {
            Encoding::Pickle => {
                out.extend_from_slice(PICKLE_START);
                pickle::write_int(out, 0);
                pickle::write_value(out, &Value::Bool(true));
                pickle::write_str(out, method);
            }
            Encoding::Msgpack => {
                out.push(MSGPACK_START);
                msgpack::write_int(out, 0);
                msgpack::write_bool(out, true);
                msgpack::write_str(out, method);
            }
        }
    }
}
