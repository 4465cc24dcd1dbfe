//! What was committed lately, in order: the one stream from which every session takes its invalidations.
//!
//! The committer appends; each session reads at its own pace from where it stands ([`Publications::after`]).
//! Nothing is queued for a client that does not read: it just falls behind, and once what it needs next has been
//! dropped from here, its connection is closed. The same entries answer `getInvalidations` for clients that
//! were away for a short while.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use zeo_proto::{Oid, Tid};

use super::locks::Owner;
use super::mailbox::Mailbox;

use crate::world::HashMap;

/// One client's session with a storage, unlike any other since the server started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// One committed transaction, as its readers are told of it.
#[derive(Debug)]
pub struct Publication {
    /// Counts publications since the server started.
    pub sequence: u64,
    /// The transaction.
    pub tid: Tid,
    /// The objects that it changed, created or deleted.
    pub oids: Vec<Oid>,
    /// Who committed it: that client learns the tid from the reply instead. `None`: it was there at the start.
    pub origin: Option<Owner>,
    /// Objects in the storage, after it.
    pub object_count: u64,
    /// Length of the log, after it.
    pub size_bytes: u64,
}

/// A session has not taken its publications for so long that the next one is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct FellBehind;

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Greatest number of transactions.
    pub transactions_max: usize,
    /// Greatest number of object ids, all transactions together (one transaction is kept, however large).
    pub oids_max: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { transactions_max: 20_000, oids_max: 1_000_000 }
    }
}

/// The stream of one storage.
#[derive(Debug)]
pub struct Publications {
    /// Sequence number of the newest entry; read without the lock to see whether there is anything new.
    newest: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    retention: Retention,
    entries: VecDeque<Arc<Publication>>,
    oids_kept: usize,
    last_tid: Tid,
    subscribers: HashMap<SessionId, Mailbox>,
}

impl Publications {
    /// A stream that begins after `last_tid`, with what the log tells of the transactions up to it (oldest
    /// first), so that clients need not drop their caches because the server was restarted.
    pub fn new(retention: Retention, last_tid: Tid, history: Vec<(Tid, Vec<Oid>)>) -> Self {
        let stream = Self {
            newest: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                retention,
                entries: VecDeque::new(),
                oids_kept: 0,
                last_tid,
                subscribers: HashMap::default(),
            }),
        };
        for (tid, oids) in history {
            stream.append(tid, oids, None, 0, 0);
        }
        stream
    }

    /// Adds a transaction and wakes every subscriber. Tids must grow.
    pub fn publish(&self, tid: Tid, oids: Vec<Oid>, origin: Owner, object_count: u64, size_bytes: u64) {
        self.append(tid, oids, Some(origin), object_count, size_bytes);
        self.wake_all();
    }

    /// Wakes every subscriber: there is something to tell.
    pub fn wake_all(&self) {
        for mailbox in self.lock().subscribers.values() {
            mailbox.published();
        }
    }

    fn append(&self, tid: Tid, oids: Vec<Oid>, origin: Option<Owner>, object_count: u64, size_bytes: u64) {
        let mut inner = self.lock();
        let sequence = self.newest.load(Ordering::Relaxed) + 1;
        if let Some(last) = inner.entries.back() {
            assert!(last.tid < tid, "published {tid} after {}", last.tid);
        }
        inner.oids_kept += oids.len();
        inner.last_tid = tid;
        inner.entries.push_back(Arc::new(Publication {
            sequence,
            tid,
            oids,
            origin,
            object_count,
            size_bytes,
        }));
        inner.trim();
        self.newest.store(sequence, Ordering::Release);
    }

    /// Makes a mailbox hear of publications from now on. Returns the sequence number and the tid to start
    /// from: nothing is missed and nothing comes twice.
    pub fn subscribe(&self, session: SessionId, mailbox: Mailbox) -> (u64, Tid) {
        let mut inner = self.lock();
        inner.subscribers.insert(session, mailbox);
        (self.newest.load(Ordering::Acquire), inner.last_tid)
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, session: SessionId) {
        self.lock().subscribers.remove(&session);
    }

    /// How many sessions listen.
    pub fn subscribers(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// Hands an event to one session, if it is still there.
    pub(crate) fn notify(&self, session: SessionId, event: super::mailbox::Event) {
        if let Some(mailbox) = self.lock().subscribers.get(&session) {
            mailbox.send(event);
        }
    }

    /// Hands an event to every session.
    pub(crate) fn notify_all(&self, event: impl Fn() -> super::mailbox::Event) {
        for mailbox in self.lock().subscribers.values() {
            mailbox.send(event());
        }
    }

    /// The publications after a sequence number, oldest first.
    pub fn after(&self, sequence: u64) -> Result<Vec<Arc<Publication>>, FellBehind> {
        let newest = self.newest.load(Ordering::Acquire);
        if newest == sequence {
            return Ok(Vec::new());
        }
        let inner = self.lock();
        let missing = (self.newest.load(Ordering::Acquire) - sequence) as usize;
        if missing > inner.entries.len() {
            return Err(FellBehind);
        }
        Ok(inner.entries.range(inner.entries.len() - missing..).cloned().collect())
    }

    /// The last published transaction.
    pub fn last_tid(&self) -> Tid {
        self.lock().last_tid
    }

    /// The objects changed after `tid`, up to and including `upto`, if what is kept reaches back that far: the
    /// oldest entry is not younger than `tid`. `None` also where nothing is kept at all. Looks at no more than the
    /// last `transactions_max` transactions up to `upto`.
    pub fn changed_between(&self, tid: Tid, upto: Tid, transactions_max: usize) -> Option<Vec<Oid>> {
        let inner = self.lock();
        let end = inner.entries.partition_point(|entry| entry.tid <= upto);
        let start = end.saturating_sub(transactions_max);
        let reach = inner.entries.range(start..end);
        if reach.clone().next()?.tid > tid {
            return None;
        }
        let mut seen = HashSet::new();
        let changed = reach.filter(|entry| entry.tid > tid).flat_map(|entry| &entry.oids);
        Some(changed.copied().filter(|oid| seen.insert(*oid)).collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no publisher panicked")
    }
}

impl Inner {
    fn trim(&mut self) {
        let Retention { transactions_max, oids_max } = self.retention;
        while self.entries.len() > transactions_max.max(1)
            || (self.oids_kept > oids_max && self.entries.len() > 1)
        {
            let dropped = self.entries.pop_front().expect("more than one entry");
            self.oids_kept -= dropped.oids.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Owner = Owner { session: SessionId(0), transaction: 0 };

    fn stream(transactions_max: usize, oids_max: usize) -> Publications {
        Publications::new(Retention { transactions_max, oids_max }, Tid::ZERO, Vec::new())
    }

    fn publish(stream: &Publications, tid: u64, oids: &[u64]) {
        stream.publish(Tid::new(tid), oids.iter().map(|&n| Oid::new(n)).collect(), NOBODY, 0, 0);
    }

    fn tids(entries: Vec<Arc<Publication>>) -> Vec<u64> {
        entries.iter().map(|entry| entry.tid.get()).collect()
    }

    #[test]
    fn a_subscriber_gets_what_came_after_it_once_and_in_order() {
        let stream = stream(10, 100);
        publish(&stream, 1, &[1]);
        let (sequence, last) = stream.subscribe(SessionId(7), super::super::mailbox::mailbox().0);
        assert_eq!(last, Tid::new(1));
        assert_eq!(stream.after(sequence).expect("kept").len(), 0);
        publish(&stream, 2, &[2]);
        publish(&stream, 3, &[3]);
        assert_eq!(tids(stream.after(sequence).expect("kept")), [2, 3]);
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told_that_it_fell_behind() {
        let stream = stream(2, 100);
        for tid in 1..=3 {
            publish(&stream, tid, &[tid]);
        }
        assert_eq!(stream.after(0).expect_err("the first is gone"), FellBehind);
        assert_eq!(tids(stream.after(1).expect("kept")), [2, 3]);
    }

    #[test]
    fn the_number_of_kept_oids_is_bounded_and_one_transaction_always_kept() {
        let stream = stream(100, 3);
        publish(&stream, 1, &[1, 2]);
        publish(&stream, 2, &[3, 4, 5, 6]);
        assert_eq!(tids(stream.after(1).expect("kept")), [2]);
        assert!(stream.after(0).is_err());
    }

    #[test]
    fn changes_are_told_from_the_oldest_kept_transaction_on() {
        let stream = stream(3, 100);
        for tid in 1..=4 {
            publish(&stream, tid, &[tid, 9]);
        }
        let changed = |tid, upto, max| {
            stream
                .changed_between(Tid::new(tid), Tid::new(upto), max)
                .map(|oids| oids.into_iter().map(Oid::get).collect::<Vec<_>>())
        };
        assert_eq!(changed(1, 4, 100), None);
        assert_eq!(changed(2, 4, 100), Some(vec![3, 9, 4]));
        assert_eq!(changed(2, 3, 100), Some(vec![3, 9]));
        assert_eq!(changed(2, 4, 2), None);
        assert_eq!(changed(3, 4, 2), Some(vec![4, 9]));
        assert_eq!(changed(99, 4, 100), Some(vec![]));
    }
}
