//! A channel of a connection: messages with their boundaries kept, in order, with flow control of its own.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::call::{self, Request};
use super::connection::Owner;
use super::error::{CallError, ChannelError};
use super::frame::Role;
use super::mux::Message;
use super::shared::{Shared, Waiters};

/// What all handles of a channel share; the channel is over when the last is dropped.
pub struct ChannelCore {
    owner: Arc<Owner>,
    pub number: u32,
    pub waiters: Arc<Waiters>,
}

impl ChannelCore {
    pub fn new(owner: Arc<Owner>, number: u32, waiters: Arc<Waiters>) -> Arc<Self> {
        Arc::new(Self { owner, number, waiters })
    }

    pub fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// Queues a message once there is room. Dropped before, it has sent nothing.
    pub async fn send(&self, message: Message) -> Result<(), ChannelError> {
        loop {
            let mut writable = pin!(self.waiters.writable.notified());
            writable.as_mut().enable(); // what happens from here on is not missed
            if let Some(result) = self.shared().with(|state| state.try_send(self.number, &message)) {
                return result;
            }
            writable.await;
        }
    }
}

impl Drop for ChannelCore {
    fn drop(&mut self) {
        self.shared().with(|state| state.leave(self.number));
    }
}

/// What comes on a channel.
#[derive(Debug)]
pub enum Incoming {
    /// A message that wants no answer.
    Message(Bytes),
    /// A request, which is to be answered.
    Request(Request),
}

/// A channel, with both of its directions. Dropped (with all of its parts), what is queued is still sent, and what comes is
/// refused.
pub struct Channel {
    sender: ChannelSender,
    receiver: ChannelReceiver,
}

impl Channel {
    pub(super) fn new(core: Arc<ChannelCore>) -> Self {
        Self { sender: ChannelSender { core: core.clone() }, receiver: ChannelReceiver { core } }
    }

    /// The two directions, for use by different tasks.
    pub fn split(self) -> (ChannelSender, ChannelReceiver) {
        (self.sender, self.receiver)
    }

    /// As [`ChannelSender::send`].
    pub async fn send(&self, message: Bytes) -> Result<(), ChannelError> {
        self.sender.send(message).await
    }

    /// As [`ChannelSender::call`].
    pub async fn call(&self, request: Bytes, limit: Duration) -> Result<Bytes, CallError> {
        self.sender.call(request, limit).await
    }

    /// As [`ChannelReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Incoming>, ChannelError> {
        self.receiver.recv().await
    }

    /// As [`ChannelSender::finish`].
    pub fn finish(&self) {
        self.sender.finish();
    }

    /// As [`ChannelSender::reset`].
    pub fn reset(&self, reason: &str) {
        self.sender.reset(reason);
    }
}

/// The sending direction of a channel. Clones are the same channel.
#[derive(Clone)]
pub struct ChannelSender {
    core: Arc<ChannelCore>,
}

impl ChannelSender {
    /// Queues a message, once there is room ([`PeerLimits::send_queue_bytes`](super::PeerLimits)). That it was queued does
    /// not mean that it arrives: who needs to know, calls.
    pub async fn send(&self, message: Bytes) -> Result<(), ChannelError> {
        self.core.send(Message::plain(message)).await
    }

    /// Sends a request and waits for its answer, `limit` at most. It is answered or fails, in any case. (Answers come behind
    /// the messages of the same channel: who also receives messages there must go on doing so meanwhile.)
    pub async fn call(&self, request: Bytes, limit: Duration) -> Result<Bytes, CallError> {
        call::call(&self.core, request, limit).await
    }

    /// Says that nothing more follows; the peer receives what is queued, then the end.
    pub fn finish(&self) {
        self.core.shared().with(|state| state.mux.finish(self.core.number));
    }

    /// Ends the channel in both directions at once, with a reason for the peer. What is queued is dropped.
    pub fn reset(&self, reason: &str) {
        self.core.shared().with(|state| state.reset(self.core.number, reason));
    }
}

/// The receiving direction of a channel. Dropped, what comes is thrown away, and requests fail.
pub struct ChannelReceiver {
    core: Arc<ChannelCore>,
}

impl ChannelReceiver {
    /// The next message or request; none once the peer has finished. What arrived before the connection ended, or before the
    /// peer finished, is received first. Dropped before it is ready, it has lost nothing.
    pub async fn recv(&mut self) -> Result<Option<Incoming>, ChannelError> {
        loop {
            if let Some(result) = self.core.shared().with(|state| state.try_receive(self.core.number)) {
                return result.map(|message| message.map(|message| self.incoming(message)));
            }
            self.core.waiters.readable.notified().await;
        }
    }

    fn incoming(&self, message: Message) -> Incoming {
        match message.role {
            Role::Request => Incoming::Request(Request::new(self.core.clone(), message.id, message.body)),
            _ => Incoming::Message(message.body),
        }
    }
}

impl Drop for ChannelReceiver {
    fn drop(&mut self) {
        self.core.shared().with(|state| state.mux.discard(self.core.number));
    }
}
