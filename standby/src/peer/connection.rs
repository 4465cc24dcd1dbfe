//! A connection to another node, as the rest of the service uses it.

use std::sync::Arc;
use std::time::Duration;

use super::channel::{Channel, ChannelCore};
use super::error::{ChannelError, Disconnected, OpenChannelError};
use super::hello::Hello;
use super::limits::ChannelOptions;
use super::shared::Shared;

/// Closes the connection when nothing uses it any more.
pub struct Owner {
    pub shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        close(&self.shared, "not used any more");
    }
}

/// A connection to another node; clones are the same connection. It is closed when they and all its channels are dropped.
#[derive(Clone)]
pub struct Connection {
    owner: Arc<Owner>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { owner: Arc::new(Owner { shared }) }
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// What the other node says of itself.
    pub fn remote(&self) -> &Hello {
        &self.shared().remote
    }

    /// The other node's address, for people.
    pub fn address(&self) -> &str {
        &self.shared().address
    }

    /// The version of the protocol that both speak.
    pub fn version(&self) -> u16 {
        self.shared().version
    }

    /// The round-trip time of the connection's own pings, smoothed; none before the first answer.
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared().with(|state| state.mux.round_trip())
    }

    /// Opens a channel that the other node serves under this name (1 to 255 bytes), with what this side receives on it.
    pub async fn open(&self, name: &str, options: ChannelOptions) -> Result<Channel, OpenChannelError> {
        let core = self.shared().with(|state| {
            if let Some(end) = state.end() {
                return Err(OpenChannelError::Disconnected(end));
            }
            let number = state.mux.open(name, options)?;
            Ok(ChannelCore::new(self.owner.clone(), number, state.enter(number)))
        })?;
        loop {
            if let Some(opened) = self.shared().with(|state| state.take_opened(core.number)) {
                return opened.map(|()| Channel::new(core));
            }
            core.waiters.readable.notified().await;
        }
    }

    /// The next channel that the other node asks for; none when the connection has ended. For one task at a time.
    pub async fn next_opening(&self) -> Option<Opening> {
        loop {
            let (opening, ended) = self.shared().with(|state| (state.next_opening(), state.end().is_some()));
            match opening {
                Some((number, name)) => {
                    return Some(Opening { owner: self.owner.clone(), number, name, answered: false });
                }
                None if ended => return None,
                None => self.shared().opening.notified().await,
            }
        }
    }

    /// Closes the connection: what is queued on its channels is sent first, as far as the peer takes it in time
    /// ([`PeerLimits::linger`](super::PeerLimits)). Nothing more can be sent or opened. To be sure that
    /// something was received, wait for its answer before.
    pub fn close(&self, reason: &str) {
        close(self.shared(), reason);
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> Disconnected {
        self.shared().ended().await
    }
}

fn close(shared: &Shared, reason: &str) {
    shared.with(|state| {
        if state.close_reason.is_empty() {
            reason.clone_into(&mut state.close_reason);
        }
        state.mux.close(reason);
    });
    shared.closing.notify_one();
}

/// A channel that the other node asks for. Dropped without an answer, it is refused.
pub struct Opening {
    owner: Arc<Owner>,
    number: u32,
    name: String,
    answered: bool,
}

impl Opening {
    /// What is asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Agrees, with what this side receives. Fails where the other node has withdrawn.
    pub fn accept(mut self, options: ChannelOptions) -> Result<Channel, ChannelError> {
        self.answered = true;
        self.owner.shared.with(|state| {
            if let Some(end) = state.end() {
                return Err(end.into());
            }
            if !state.mux.accept(self.number, options) {
                return Err(ChannelError::Reset("withdrawn by the peer".to_owned()));
            }
            let waiters = state.enter(self.number);
            Ok(Channel::new(ChannelCore::new(self.owner.clone(), self.number, waiters)))
        })
    }

    /// Declines, with a reason for the other node.
    pub fn refuse(mut self, reason: &str) {
        self.answered = true;
        self.owner.shared.with(|state| state.mux.refuse(self.number, reason));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.answered {
            let reason = format!("nobody serves {}", self.name);
            self.owner.shared.with(|state| state.mux.refuse(self.number, &reason));
        }
    }
}
