//! The ZEO 5 protocol as data: bytes in, values out, and back.
//!
//! ZEO is the protocol between ZODB's clients and its storage server. A connection carries frames
//! ([`frame`]); after a short [`handshake`] each frame is one message, a tuple of four, in one of two
//! encodings ([`Encoding`]). The server reads messages with [`decode_request`] and answers with an
//! [`Encoder`]; [`client_side`] is the other end.
//!
//! There are no sockets, clocks or tasks here, apart from the module `client` behind the feature of that name. Whatever a peer sends, a decoder returns a value or an error:
//! it never panics, never instantiates anything, and its cost is bounded by [`Limits`] and by the size of the
//! message.

mod arguments;
mod arity;
#[cfg(feature = "client")]
pub mod client;
pub mod client_side;
mod encoder;
mod encoding;
mod error;
mod error_reply;
mod fast;
#[cfg(test)]
mod fast_test;
pub mod frame;
pub mod handshake;
mod limits;
mod message;
mod method;
mod msgpack;
pub mod pickle;
mod request;
mod value;

pub use encoder::Encoder;
pub use encoding::Encoding;
pub use error::DecodeError;
pub use error_reply::ErrorReply;
pub use limits::Limits;
pub use message::{Body, Message, MsgId, decode_request};
pub use method::{METHODS, Method, Parameter};
pub use request::{Request, Serial, TransactionKey};
pub use value::Value;
pub use zodb_types::{Oid, Tid};
