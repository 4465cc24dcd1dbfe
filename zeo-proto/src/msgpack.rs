//! The encoding `M5`: msgpack as Python's `msgpack` package writes it with `use_bin_type`, so that bytes and
//! text are told apart. Extension types (timestamps among them) are not part of the protocol.
//!
//! Format: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

mod reader;
mod writer;

pub(crate) use reader::decode;
pub(crate) use writer::{
    Unencodable, write_array_len, write_bool, write_bytes, write_int, write_none, write_str, write_value,
};
