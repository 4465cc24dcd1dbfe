//! What a storage counts, and its `server_status`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less.
    pub fn subtract_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of a storage since the server started, beside what its clients did
/// ([`Clients`](super::clients::Clients)).
#[derive(Debug)]
pub struct Stats {
    /// Transactions between `tpc_begin` and their end.
    pub active_txns: Counter,
    started: SystemTime,
}

impl Stats {
    /// All zero, as of now.
    pub fn new(started: SystemTime) -> Self {
        Self { active_txns: Counter::default(), started }
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
