//! How the rest of the server reaches a connection's task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::locks::Owner;
use crate::session::Completion;

/// What happens to a session from outside its connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// Transactions were published, or something was announced: catch up.
    Published,
    /// This transaction has all the locks that it waited for.
    LocksGranted(Owner),
    /// The transaction that the session handed to the committer was not committed.
    CommitFailed(String),
    /// Work that was taken off the connection's task is done. (In a box: a mailbox has room for dozens of events, also that of a
    /// client who never asks for anything.)
    Completed(Box<Completion>),
    /// The storage's size changed without a transaction (a pack).
    SizeChanged,
    /// The server stops, or clients must leave: when the transaction that is being finished has its outcome.
    Shutdown,
    /// There was time enough for an outcome: clients leave without one.
    Dismissed,
}

/// The sending end: cheap to clone, never blocks. Bounded by what can be under way: `Published` is merged into
/// one, and everything else answers something that the connection itself asked for.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: mpsc::UnboundedSender<Event>,
    published: Arc<AtomicBool>,
}

/// The receiving end, owned by the connection.
#[derive(Debug)]
pub struct Inbox {
    receiver: mpsc::UnboundedReceiver<Event>,
    published: Arc<AtomicBool>,
}

/// A connected pair.
pub fn mailbox() -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let published = Arc::new(AtomicBool::new(false));
    (Mailbox { sender, published: published.clone() }, Inbox { receiver, published })
}

impl Mailbox {
    /// Delivers an event. A connection that is gone needs no news.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.sender.send(event);
    }

    /// Tells that there is something to tell, unless the connection has yet to look at the last telling.
    pub fn published(&self) {
        if !self.published.swap(true, Ordering::AcqRel) {
            self.send(Event::Published);
        }
    }
}

impl Inbox {
    /// No event waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Polls for the next event.
    pub(crate) fn poll_recv(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Event>> {
        let polled = self.receiver.poll_recv(context);
        if let std::task::Poll::Ready(Some(Event::Published)) = polled {
            self.published.store(false, Ordering::Release);
        }
        polled
    }
}
