//! Long work, told in the log.

use std::time::Duration;

use replica::{PackStage, Progress};
use tracing::info;

/// Tells of long work in the log, at most once a second.
pub struct LoggedProgress {
    storage: String,
    last: std::sync::Mutex<std::time::Instant>,
}

impl LoggedProgress {
    /// For the storage of this name.
    pub fn new(storage: &str) -> Self {
        Self { storage: storage.to_owned(), last: std::time::Instant::now().into() }
    }
}

impl LoggedProgress {
    fn tell(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.elapsed() >= Duration::from_secs(1) {
            *last = std::time::Instant::now();
            let percent = done_bytes * 100 / total_bytes.max(1);
            info!(storage = %self.storage, done_bytes, total_bytes, percent, "{what}");
        }
    }
}

impl Progress for LoggedProgress {
    fn indexing(&self, done_bytes: u64, total_bytes: u64) {
        self.tell("indexing", done_bytes, total_bytes);
    }

    fn packing(&self, stage: PackStage, done_bytes: u64, total_bytes: u64) {
        self.tell(&format!("packing: {stage}"), done_bytes, total_bytes);
    }

    fn note(&self, message: &str) {
        info!(storage = %self.storage, "{message}");
    }
}
