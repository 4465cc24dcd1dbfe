//! Transactions that come from another node: committed as they are, and published as a client's are.

use std::sync::atomic::Ordering;

use replica::{CommitError, Reservation, Transaction};
use tokio::sync::mpsc;
use zeo_proto::Tid;

use super::locks::Owner;
use super::publications::SessionId;
use super::{Exchange, Service};

/// The session of transactions that no client of this node commits.
pub(super) const NOBODY: SessionId = SessionId(0);

/// What became of the next transactions.
#[derive(Debug)]
pub struct Applied {
    /// So many of them.
    pub count: usize,
    /// Durable and published, up to this one; or not committed.
    pub outcome: Result<Tid, CommitError>,
}

impl Service {
    /// What becomes of transactions that are applied from now on, in their order.
    pub fn applied(&self) -> mpsc::UnboundedReceiver<Applied> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.exchange.applied.lock().expect("no holder panicked") = Some(sender);
        receiver
    }

    /// Queues transactions of another node for the committer, all at once: one sync is enough for them. Clients of this
    /// node must not commit meanwhile: no locks are taken.
    pub fn apply(&self, transactions: Vec<(Transaction, Reservation)>) {
        let mut locks = self.0.exchange.lock_table();
        let numbered = transactions.into_iter().map(|(transaction, reservation)| {
            let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
            locks.committing.insert(number, Owner { session: NOBODY, transaction: number });
            (number, transaction, reservation)
        });
        let numbered = numbered.collect();
        drop(locks);
        let committer = self.0.committer.as_ref().expect("a storage that follows another can be written");
        committer.commit_all(numbered);
    }
}

impl Exchange {
    /// Whether it is a transaction of whoever applies; no locks are held for those.
    pub(super) fn is_applied(owner: Owner) -> bool {
        owner.session == NOBODY
    }

    /// Tells whoever applies.
    pub(super) fn tell_applied(&self, applied: Applied) {
        if let Some(sender) = &*self.applied.lock().expect("no holder panicked") {
            let _ = sender.send(applied); // whoever is gone needs no news
        }
    }
}
