use std::sync::Arc;

use tokio::sync::broadcast;

use super::{Address, Invalidations, View};
use crate::Tid;

/// What happens to a client, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A server let it in, and its cache was compared with that. What it reads from now on is in the server's history.
    Connected {
        /// The server.
        address: Address,
        /// The server's last transaction.
        tid: Tid,
    },
    /// The connection is gone, and another one is being looked for.
    Disconnected(Arc<str>),
    /// Others have changed objects: told before anything can be read that this transaction has written.
    Invalidated(Arc<Invalidations>),
    /// Others have changed objects while there was no connection, in transactions up to this one.
    CaughtUp(Arc<Invalidations>),
    /// The server could not tell what has changed: anything may have, and what was read before may never have been. The
    /// cache was dropped.
    HistoryChanged,
    /// The servers of the cluster, when they are told for the first time and at each change.
    View(Arc<View>),
    /// So many events were dropped because they were not taken in time. Anything may have changed.
    Missed(u64),
}

/// The events of a client from the moment on at which it was asked for them.
#[derive(Debug)]
pub struct Events(pub(super) broadcast::Receiver<Event>);

/// So many events may wait to be taken.
pub(super) const EVENTS_MAX: usize = 4_096;

impl Events {
    /// The next event; `None` when the client is gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next event, if there is one already.
    pub fn take(&mut self) -> Option<Event> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(_) => None,
        }
    }
}
