use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::format::LOG_START;
use crate::index::{Index, Mark, TransactionEntry};
use crate::known::Known;
use crate::recent::{Found, Recent};
use crate::{Checksum, Oid, ReadError, ReadMode, Tid};

/// Where everything is: the index file, and in memory what it does not have yet.
pub(crate) struct Positions {
    pub(crate) index: Index,
    pub(crate) recent: Recent,
    known: Known,
    pending: Mutex<Pending>,
    max_oid: AtomicU64,
}

/// What the index file does not have yet, besides positions of known objects.
#[derive(Default)]
struct Pending {
    transactions: BTreeMap<u64, (u64, Checksum)>,
    objects: BTreeSet<u64>,
}

impl Positions {
    pub(crate) fn new(index: Index, mark: &Mark, recent_entries: usize) -> Self {
        Self::with_recent(index, mark, Recent::new(recent_entries))
    }

    /// With positions in memory that are known already.
    pub(crate) fn with_recent(index: Index, mark: &Mark, recent: Recent) -> Self {
        let known = Known::new(mark.end == LOG_START && mark.objects == 0);
        let max_oid = AtomicU64::new(mark.max_oid.get());
        Self { index, recent, known, pending: Mutex::default(), max_oid }
    }

    /// The greatest oid of any record.
    pub(crate) fn max_oid(&self) -> Oid {
        Oid::new(self.max_oid.load(Ordering::Acquire))
    }

    /// The position of an object's current record; `None` for one that was never stored.
    pub(crate) fn object(&self, oid: Oid, mode: ReadMode) -> Result<Option<u64>, ReadError> {
        if oid > self.max_oid() {
            return Ok(None);
        }
        let version = match self.recent.find(oid) {
            Found::At(position) => return Ok(Some(position)),
            Found::Unknown(version) => version,
        };
        if self.known.lacks(oid) {
            return Ok(None);
        }
        if mode == ReadMode::Cached {
            return Err(ReadError::WouldBlock);
        }
        let position = self.index.object(oid)?;
        if let Some(position) = position {
            self.recent.remember(oid, position, version);
        }
        Ok(position)
    }

    /// The first object from `from` on, in the order of oids.
    pub(crate) fn object_from(&self, from: Oid) -> Result<Option<Oid>, ReadError> {
        // In this order: what the index file takes in meanwhile leaves the pending ones only afterwards.
        let pending = self.pending().objects.range(from.get()..).next().copied().map(Oid::new);
        let indexed = self.index.object_from(from)?.map(|(oid, _)| oid);
        Ok(match (pending, indexed) {
            (Some(pending), Some(indexed)) => Some(pending.min(indexed)),
            (pending, indexed) => pending.or(indexed),
        })
    }

    /// The first transaction from `from` on.
    pub(crate) fn transaction_from(&self, from: Tid) -> Result<Option<TransactionEntry>, ReadError> {
        let (pending, is_all) = {
            let pending = self.pending();
            let first = pending.transactions.first_key_value();
            let is_all = first.is_some_and(|(first, _)| *first <= from.get());
            (pending.transactions.range(from.get()..).next().map(pending_entry), is_all)
        };
        // What is pending is later than what is indexed, and without a gap.
        if is_all { Ok(pending) } else { Ok(self.index.transaction_from(from)?.or(pending)) }
    }

    /// How many transactions there are from `from` on; counts no further than `count_max`.
    pub(crate) fn transactions_from(&self, from: Tid, count_max: u64) -> Result<u64, ReadError> {
        // In this order: what the index file takes in meanwhile leaves the pending ones only afterwards.
        let (first_pending, pending) = {
            let pending = self.pending();
            let mut range = pending.transactions.range(from.get()..).map(|(tid, _)| Tid::new(*tid));
            let first = range.next();
            (first, u64::from(first.is_some()) + range.take(count_max as usize).count() as u64)
        };
        let indexed = self.index.transactions_between(from, first_pending, count_max)?;
        Ok((indexed + pending).min(count_max))
    }

    /// The last transaction up to this one.
    pub(crate) fn transaction_up_to(&self, tid: Tid) -> Result<Option<TransactionEntry>, ReadError> {
        let pending = {
            let pending = self.pending();
            pending.transactions.range(..=tid.get()).next_back().map(pending_entry)
        };
        // What is pending is later than what is indexed.
        match pending {
            Some(pending) => Ok(Some(pending)),
            None => self.index.transaction_before(Tid::new(tid.get() + 1)),
        }
    }

    /// The transaction with this tid.
    pub(crate) fn transaction(&self, tid: Tid) -> Result<Option<TransactionEntry>, ReadError> {
        Ok(self.transaction_from(tid)?.filter(|entry| entry.tid == tid))
    }

    /// The transaction with this tid, if it is among those that the index file may not have yet.
    pub(crate) fn pending_transaction(&self, tid: Tid) -> Option<TransactionEntry> {
        self.pending().transactions.get_key_value(&tid.get()).map(pending_entry)
    }

    /// Takes in a record that was committed. `serial`: its transaction, if it has data.
    pub(crate) fn commit(&self, oid: Oid, position: u64, serial: Option<Tid>) {
        self.recent.commit(oid, position, serial);
    }

    /// Takes in transactions that were committed, after their records; and objects that had no record before.
    pub(crate) fn commit_transactions(&self, entries: &[TransactionEntry], new: impl Iterator<Item = Oid>) {
        let mut pending = self.pending();
        for oid in new {
            self.known.insert(oid);
            pending.objects.insert(oid.get());
            self.max_oid.fetch_max(oid.get(), Ordering::Release);
        }
        let entries = entries.iter().map(|entry| (entry.tid.get(), (entry.position, entry.checksum)));
        pending.transactions.extend(entries);
    }

    /// The index file has these now.
    pub(crate) fn indexed(&self, objects: &[(u64, u64)], transactions: &[TransactionEntry]) {
        let mut pending = self.pending();
        for entry in transactions {
            pending.transactions.remove(&entry.tid.get());
        }
        if !pending.objects.is_empty() {
            for (oid, _) in objects {
                pending.objects.remove(oid);
            }
        }
        drop(pending);
        self.recent.clean(objects);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pending_entry((tid, (position, checksum)): (&u64, &(u64, Checksum))) -> TransactionEntry {
    TransactionEntry { tid: Tid::new(*tid), position: *position, checksum: *checksum }
}
