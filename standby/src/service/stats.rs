//! What a storage counts, and its `server_status`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts one less (for gauges).
    pub fn subtract_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one storage since the server started, with the stock server's names and meanings.
#[derive(Debug)]
pub struct Stats {
    /// `loadBefore` calls, failed ones included.
    pub loads: Counter,
    /// Stores, restores and deletions asked for.
    pub stores: Counter,
    /// Transactions committed.
    pub commits: Counter,
    /// Transactions aborted by their clients.
    pub aborts: Counter,
    /// Votes that ended in a conflict error.
    pub conflicts: Counter,
    /// Transactions between `tpc_begin` and their end.
    pub active_txns: Counter,
    started: SystemTime,
}

impl Stats {
    /// All zero, as of now.
    pub fn new(started: SystemTime) -> Self {
        Self {
            loads: Counter::default(),
            stores: Counter::default(),
            commits: Counter::default(),
            aborts: Counter::default(),
            conflicts: Counter::default(),
            active_txns: Counter::default(),
            started,
        }
    }

    /// When the server started, in the form of Python's `time.ctime()`.
    pub fn start_ctime(&self) -> String {
        ctime(self.started)
    }
}

/// A moment as `Sat Nov 21 03:47:00 2026`, in this machine's time zone.
fn ctime(time: SystemTime) -> String {
    jiff::Zoned::try_from(time)
        .map_or_else(|_| String::new(), |time| time.strftime("%a %b %e %H:%M:%S %Y").to_string())
}
