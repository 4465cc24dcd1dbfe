use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Transactions that mean something only one after the other: when one of them is not committed, none of those behind it
/// is. For a copy, which would have a hole otherwise. Clones are the same series.
#[derive(Clone, Debug, Default)]
pub struct Series {
    broken: Arc<AtomicBool>,
}

impl Series {
    /// One of its transactions was not committed.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed); // read by whoever has the committer's lock, as this is
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}
