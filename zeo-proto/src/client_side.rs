//! The client's side of the protocol, for drivers and tests: calls out, replies and pushes in.

mod calls;
mod incoming;

pub use calls::{encode_call, encode_load, encode_store};
pub use incoming::{Incoming, decode_incoming};
