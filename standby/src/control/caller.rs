//! Who is at the other end of a connection to the control API.

use std::fmt;
use std::net::SocketAddr;

/// Who, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Where the connection comes from; `None`: from this machine, on the local socket.
    pub(super) from: Option<SocketAddr>,
    /// Who that is.
    pub(super) identity: Identity,
}

/// By what a caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The system says whose process it is.
    User(u32),
    /// The certificate of this subject is trusted.
    Certificate(String),
    /// It knows the token.
    Token,
    /// Nothing is known of it.
    Unknown,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Identity::User(uid) => write!(f, "user {uid}")?,
            Identity::Certificate(subject) => write!(f, "certificate {subject}")?,
            Identity::Token => f.write_str("token")?,
            Identity::Unknown => f.write_str("somebody")?,
        }
        self.from.map_or(Ok(()), |from| write!(f, " from {}", from.ip()))
    }
}
