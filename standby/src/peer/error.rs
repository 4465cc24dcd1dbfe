//! What can go wrong between two nodes.

use std::io;
use std::time::Duration;

use super::handshake::Refusal;
use super::mux::{OpenError, ProtocolError};

/// Why there is no connection. Nothing happened at either side.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The network.
    #[error("no connection: {0}")]
    Io(#[from] io::Error),
    /// The handshake took too long.
    #[error("the handshake took longer than {0:?}")]
    TimedOut(Duration),
    /// The other side closed the connection within the handshake.
    #[error("the connection was closed within the handshake")]
    HungUp,
    /// The other side speaks something else.
    #[error("the other side does not speak the peer protocol")]
    NotAPeer,
    /// The other side does not want to.
    #[error("peer refused: {0}")]
    Refused(Refusal),
    /// This side does not want to.
    #[error("refused the peer: {0}")]
    Refuses(Refusal),
}

/// Why a connection ended. What was sent and not answered may or may not have been done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Disconnected {
    /// This side closed it.
    #[error("closed: {0}")]
    Closed(String),
    /// The peer closed it.
    #[error("closed by the peer: {0}")]
    Left(String),
    /// The network.
    #[error("connection lost: {0}")]
    Lost(String),
    /// Nothing was heard of the peer for so long.
    #[error("the peer was silent for {0:?}")]
    Silent(Duration),
    /// The peer, or someone between, sent what it must not.
    #[error("the peer broke the protocol: {0}")]
    Broke(ProtocolError),
    /// A record did not arrive as it was sent.
    #[error("{0}")]
    Tampered(#[from] super::seal::Tampered),
}

/// Why nothing can be sent or received on a channel.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChannelError {
    /// This direction of the channel is finished.
    #[error("the channel is finished")]
    Finished,
    /// The peer, or this side, ended the channel.
    #[error("the channel was reset: {0}")]
    Reset(String),
    /// The message is larger than the peer receives; it was not sent.
    #[error("the message has {bytes} bytes, and the peer takes {bytes_max} at most")]
    TooLarge {
        /// The message's length.
        bytes: usize,
        /// The longest that the peer receives on this channel.
        bytes_max: u32,
    },
    /// The connection ended.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
}

/// Why a request has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The peer says why it failed.
    #[error("the peer says: {0}")]
    Failed(String),
    /// No answer within the time. The peer may or may not have done it.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The channel ended. The peer may or may not have done it, unless the error says that it was not sent.
    #[error(transparent)]
    Channel(ChannelError),
    /// The connection ended. The peer may or may not have done it.
    #[error(transparent)]
    Disconnected(Disconnected),
}

impl From<ChannelError> for CallError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Disconnected(end) => Self::Disconnected(end),
            other => Self::Channel(other),
        }
    }
}

/// Why a channel could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenChannelError {
    /// The peer declined.
    #[error("the peer refused the channel: {0}")]
    Refused(String),
    /// This side cannot ask.
    #[error(transparent)]
    Local(#[from] OpenError),
    /// The connection ended.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
}
