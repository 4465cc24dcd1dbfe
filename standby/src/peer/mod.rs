//! Connections between nodes: secured, and many channels over one.
//!
//! | file | what |
//! |---|---|
//! | `transport`, `tcp`, `memory` | what carries records |
//! | `secret`, `handshake`, `hello` | who may speak, and who speaks |
//! | `seal` | encryption or a checksum for every record |
//! | `frame`, `mux`, `pool` | channels, credit, pings: bytes and rules, without I/O |
//! | `driver` | the tasks between a transport and the machine of `mux` |
//! | `connection`, `channel`, `call` | what the rest of the service uses |
//! | `dial`, `listener`, `backoff` | making connections |
//!
//! The format is in `docs/peer-protocol.md`.

mod backoff;
mod call;
mod channel;
mod connection;
mod dial;
mod driver;
mod error;
mod frame;
mod handshake;
mod hello;
mod identity;
mod limits;
mod listener;
mod memory;
pub mod mux;
mod pool;
mod seal;
mod secret;
mod shared;
mod tcp;
mod transport;

#[cfg(test)]
mod connection_test;

pub use backoff::Backoff;
pub use call::Request;
pub use channel::{Channel, ChannelReceiver, ChannelSender, Incoming};
pub use connection::{Connection, Opening};
pub use dial::{accept, connect, dial};
pub use error::{CallError, ChannelError, ConnectError, Disconnected, OpenChannelError};
pub use frame::{CHUNK_BYTES_MAX, FrameError, Piece, RECORD_FRAMES_BYTES_MAX, Role};
pub use handshake::{Protection, Refusal};
pub use hello::{BadIdentity, Hello};
pub use identity::Identity;
pub use limits::{ChannelOptions, PeerLimits, WINDOW_BYTES_MIN};
pub use listener::PeerListener;
pub use memory::{MemoryTransport, pair};
pub use secret::ClusterKey;
pub use tcp::TcpTransport;
pub use transport::{RECORD_BYTES_MAX, RecordSink, RecordSource, Transport};
