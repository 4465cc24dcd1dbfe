//! How `getInvalidations` is answered: which objects a returning client must drop from its cache.

use std::time::Duration;

use replica::{Changed, ReadError, Storage};
use zeo_proto::{Oid, Tid};

use super::publications::{Publications, Retention};

use crate::world;

/// Greatest number of changed objects worth sending; beyond it a client is better off with an empty cache.
const CHANGED_OIDS_MAX: usize = 1_000_000;

/// How far back a client may have been away and still keep its cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InvalidationPolicy {
    /// As far as the log reaches, within a bound on the number of changed objects.
    Log,
    /// Exactly as the stock server with these options: the last `queue_size` transactions, and with an `age`,
    /// from the log where the client's last transaction is younger than that.
    Stock {
        /// `invalidation-queue-size`, in transactions.
        queue_size: usize,
        /// `invalidation-age`.
        age: Option<Duration>,
    },
}

impl InvalidationPolicy {
    /// The stock server's default queue size.
    pub const STOCK_QUEUE_SIZE: usize = 100;

    /// How many transactions of the log to remember at the start.
    pub fn kept_transactions(&self) -> usize {
        match *self {
            Self::Log => 1_000,
            Self::Stock { queue_size, .. } => queue_size,
        }
    }

    /// What to keep while running: never less than the queue, so that sessions can catch up.
    pub fn retention(&self) -> Retention {
        let default = Retention::default();
        Retention { transactions_max: default.transactions_max.max(self.kept_transactions()), ..default }
    }

    /// The objects changed after `tid`, as of the transaction `view`; `None` where that is not known.
    pub fn answer(
        &self,
        storage: &Storage,
        publications: &Publications,
        tid: Tid,
        view: Tid,
    ) -> Result<Option<Vec<Oid>>, ReadError> {
        match *self {
            Self::Log => match publications.changed_between(tid, view, usize::MAX) {
                Some(oids) => Ok(Some(oids)),
                None if view == Tid::ZERO => Ok(None),
                None => from_log(storage, tid, view),
            },
            Self::Stock { queue_size, age } => match publications.changed_between(tid, view, queue_size) {
                Some(oids) => Ok(Some(oids)),
                None if age.is_some_and(|age| is_younger(tid, age)) => from_log(storage, tid, view),
                None => Ok(None),
            },
        }
    }
}

/// Up to the view: what is durable beyond it may be waiting to be published, and may be lost.
fn from_log(storage: &Storage, tid: Tid, view: Tid) -> Result<Option<Vec<Oid>>, ReadError> {
    match storage.changed_between(tid, view, CHANGED_OIDS_MAX)? {
        Changed::Oids { oids, .. } => Ok(Some(oids)),
        Changed::TooMany | Changed::Unknown => Ok(None),
    }
}

fn is_younger(tid: Tid, age: Duration) -> bool {
    let Some(time) = tid.to_time() else { return false };
    world::now().duration_since(time).is_ok_and(|passed| passed < age)
}
