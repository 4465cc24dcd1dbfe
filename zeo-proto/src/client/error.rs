use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::Conflict;
use crate::Value;

/// Why a call has no result.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The server answered with an exception. Nothing was changed.
    #[error("the server refuses: {0}")]
    Refused(Arc<Refused>),
    /// Others have changed objects of the transaction meanwhile. It was given up, and may be begun again from what they
    /// have written.
    #[error("{} objects were changed meanwhile", .0.len())]
    Conflict(Vec<Conflict>),
    /// The connection is gone, or was before the call was sent. A transaction is over, and nothing of it is committed.
    #[error("disconnected: {0}")]
    Disconnected(Arc<str>),
    /// The connection went while a transaction was being finished. It may be committed, or not; the server that is there
    /// afterwards knows.
    #[error("whether the transaction is committed is unknown: {0}")]
    OutcomeUnknown(Arc<str>),
    /// No server has let the client in for so long. Nothing was sent.
    #[error("no server let the client in within {0:?}")]
    Unavailable(Duration),
    /// The server has another history than the one that a snapshot was taken of: what was read is to be read again.
    #[error("the history that was being read is no longer there")]
    HistoryChanged,
    /// The server says what makes no sense.
    #[error("not as the protocol says: {0}")]
    Protocol(Arc<str>),
}

impl Error {
    /// What the server refused with, if it did.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    pub(super) fn protocol(what: impl std::fmt::Display) -> Self {
        Self::Protocol(what.to_string().into())
    }

    pub(super) fn disconnected(why: impl std::fmt::Display) -> Self {
        Self::Disconnected(why.to_string().into())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::disconnected(error)
    }
}

/// An exception of the server's.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Module and name of the exception, with a dot between.
    pub class: String,
    /// Its arguments, or a dictionary of its attributes; see [`ErrorReply`](crate::ErrorReply).
    pub args: Value<'static>,
}

impl Refused {
    /// Whether it is the exception of this name, whatever its module.
    pub fn is(&self, name: &str) -> bool {
        self.class.rsplit('.').next() == Some(name)
    }

    /// The object and its revisions, of a conflict that is told as an exception.
    pub fn conflict(&self) -> Option<Conflict> {
        (self.is("ConflictError") || self.is("ReadConflictError")).then(|| Conflict::of(&self.args)).flatten()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.class, self.args)
    }
}
