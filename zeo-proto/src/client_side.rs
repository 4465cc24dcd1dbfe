//! The client's side of the protocol as data: calls out, replies and pushes in. The module `client`, and load drivers, are
//! built on it.

mod calls;
mod incoming;
mod invalidated;
mod loaded;

pub use calls::{encode_call, encode_load, encode_store};
pub use incoming::{Incoming, decode_incoming};
pub use invalidated::decode_invalidated;
pub use loaded::{Loaded, decode_loaded};
