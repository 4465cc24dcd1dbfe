//! Requests that are answered, or fail with a reason.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::channel::ChannelCore;
use super::error::{CallError, ChannelError};
use super::frame::{self, Role};
use super::mux::Message;

/// Forgets a request whose answer nobody waits for any more.
struct Waiting<'a> {
    core: &'a ChannelCore,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.core.shared().with(|state| state.forget_call(self.core.number, self.id));
    }
}

/// Sends a request and waits for its answer.
pub async fn call(core: &ChannelCore, body: Bytes, limit: Duration) -> Result<Bytes, CallError> {
    let (sender, answer) = oneshot::channel();
    let id = core.shared().with(|state| state.begin_call(core.number, sender))?;
    let _waiting = Waiting { core, id };
    let answered = async {
        core.send(Message { role: Role::Request, id, body }).await?;
        answer.await.expect("a request is answered or failed before it is forgotten")
    };
    tokio::time::timeout(limit, answered).await.unwrap_or(Err(CallError::Late(limit)))
}

/// A request of the peer. Dropped without an answer, it fails.
pub struct Request {
    core: Arc<ChannelCore>,
    id: u32,
    body: Bytes,
    answered: bool,
}

impl Request {
    pub(super) fn new(core: Arc<ChannelCore>, id: u32, body: Bytes) -> Self {
        Self { core, id, body, answered: false }
    }

    /// What is asked.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Answers. An answer that is larger than the peer takes is an error here and a failure there.
    pub async fn answer(mut self, body: Bytes) -> Result<(), ChannelError> {
        match self.send(Role::Answer, body).await {
            Err(error @ ChannelError::TooLarge { .. }) => {
                self.fail_now(&error.to_string());
                Err(error)
            }
            other => other,
        }
    }

    /// Says why there is no answer.
    pub async fn fail(mut self, reason: &str) -> Result<(), ChannelError> {
        self.send(Role::Failure, Bytes::from(frame::cut(reason.to_owned()))).await
    }

    async fn send(&mut self, role: Role, body: Bytes) -> Result<(), ChannelError> {
        let result = self.core.send(Message { role, id: self.id, body }).await;
        self.answered = result.is_ok();
        result
    }

    fn fail_now(&mut self, reason: &str) {
        self.answered = true;
        let message = Message { role: Role::Failure, id: self.id, body: reason.to_owned().into() };
        // Where this fails, the channel is over, and the request has failed with it.
        let _ = self.core.shared().with(|state| state.send_now(self.core.number, message));
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.answered {
            self.fail_now("the request was dropped without an answer");
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
