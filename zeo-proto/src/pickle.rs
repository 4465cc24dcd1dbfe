//! Pickles, as data. Nothing is ever imported, called or instantiated.
//!
//! The writer makes what Python's C pickler makes at protocol 3 with `fast` set (no memo), which is the encoding
//! `Z5` of the protocol. The reader takes what Python wrote at any protocol from 0 to 5, since the extensions of
//! transactions on disk come from every Python version there was.
//!
//! Format: Python's `pickletools.py`, which documents every opcode.

mod arena;
mod globals;
mod machine;
mod object;
mod opcode;
mod source;
mod text;
mod writer;

pub(crate) use globals::Globals;
pub(crate) use opcode::TUPLE2;
pub(crate) use writer::{write_bytes, write_int, write_list, write_str, write_tuple, write_value};

use crate::{DecodeError, Limits, Value};

/// Reads a pickle that was stored, such as a transaction's extension, written by Python 2 or 3 at any protocol.
/// Python 2's strings are text where they are ASCII, else bytes, which is how ZODB loads them.
///
/// # Errors
/// The bytes are no pickle of plain data, or it goes beyond `limits`.
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Value<'a>, DecodeError> {
    decode_message(bytes, limits, Globals::Stored)
}

pub(crate) fn decode_message<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    globals: Globals,
) -> Result<Value<'a>, DecodeError> {
    machine::Machine::new(bytes, limits, globals).run()
}

/// Appends a pickle of the value: protocol 3, no memo, as the stock marshaller writes it.
pub fn encode(out: &mut Vec<u8>, value: &Value<'_>) {
    out.extend_from_slice(&[opcode::PROTO, 3]);
    write_value(out, value);
    out.push(opcode::STOP);
}
