//! What clients are told besides what the storage contains: the cluster, as it is now.
//!
//! Only the newest is kept. A session that has told its client of an older one tells the newest when it next writes; a
//! client that does not read misses what was between, and nothing is queued for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zeo_proto::Value;

/// The newest, and how many there were.
#[derive(Debug, Default)]
pub struct Bulletin {
    /// Read without the lock to see whether there is anything new.
    version: AtomicU64,
    newest: Mutex<Option<Arc<Value<'static>>>>,
}

impl Bulletin {
    /// Takes the place of what was there.
    pub fn post(&self, value: Value<'static>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(Arc::new(value));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Grows with each posting; 0 before the first.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What was posted last.
    pub fn newest(&self) -> Option<Arc<Value<'static>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
