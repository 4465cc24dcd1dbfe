//! Packing a storage while it is served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use replica::{PackError, PackReport, PackStage, Progress, Tid};
use tokio::sync::watch;
use tracing::{info, warn};

use super::Service;
use super::mailbox::Event;
use crate::progress::LoggedProgress;

/// How far a pack is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackStatus {
    /// What it does.
    pub stage: PackStage,
    /// How much of that is done, 0 to 100.
    pub percent: f64,
}

/// What is known of packs.
#[derive(Default)]
pub(super) struct Packing {
    /// What the one under way is at, if there is one.
    status: Mutex<Option<PackStatus>>,
    /// Up to where the last one was, since the server started.
    until: watch::Sender<Option<Tid>>,
}

impl Packing {
    fn status(&self) -> MutexGuard<'_, Option<PackStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// How far the pack is that is under way.
    pub fn pack_status(&self) -> Option<PackStatus> {
        *self.0.packing.status()
    }

    /// Up to where the storage was packed last, as that changes; `None`: not since the server started.
    pub fn packed(&self) -> watch::Receiver<Option<Tid>> {
        self.0.packing.until.subscribe()
    }

    /// Packs the storage up to a transaction, and tells every client the new size. Takes long.
    ///
    /// # Errors
    /// See [`PackError`]: the storage is as it was.
    pub fn pack(&self, until: Tid) -> Result<PackReport, PackError> {
        let storage = &self.options().name;
        let progress = ShownProgress {
            logged: LoggedProgress::new(storage),
            shown: &self.0.packing,
            began: AtomicBool::new(false),
        };
        let report = self.storage().pack(until, self.options().pack, &progress);
        let report = report.inspect_err(|error| warn!(%storage, %error, "the storage was not packed"))?;
        match &report.packed {
            None => info!(%storage, seconds = report.took.as_secs_f64(), "there was nothing to pack"),
            Some(packed) => {
                info!(
                    %storage,
                    seconds = report.took.as_secs_f64(),
                    commits_stopped_ms = packed.stopped.as_secs_f64() * 1e3,
                    bytes_before = packed.bytes_before,
                    bytes_after = packed.bytes_after,
                    objects_before = packed.objects_before,
                    objects_after = packed.objects_after,
                    records_dropped = packed.records_dropped,
                    blobs_removed = packed.blobs_removed,
                    "packed"
                );
                if let Some(unfinished) = &packed.unfinished {
                    warn!(%storage, "the storage is packed; left for the next pack or start: {unfinished}");
                }
            }
        }
        // Of a pack up to a moment after the last transaction, that is the end.
        self.0.packing.until.send_replace(Some(until.min(self.storage().last_tid())));
        self.publications().notify_all(|| Event::SizeChanged);
        Ok(report)
    }
}

/// Tells the log, and whoever asks for the status.
struct ShownProgress<'a> {
    logged: LoggedProgress,
    shown: &'a Packing,
    /// What is shown is of this pack, and not of one that was under way before.
    began: AtomicBool,
}

impl Progress for ShownProgress<'_> {
    fn packing(&self, stage: PackStage, done_bytes: u64, total_bytes: u64) {
        self.began.store(true, Ordering::Relaxed);
        let percent = if total_bytes == 0 { 0.0 } else { done_bytes as f64 * 100.0 / total_bytes as f64 };
        *self.shown.status() = Some(PackStatus { stage, percent: percent.min(100.0) });
        self.logged.packing(stage, done_bytes, total_bytes);
    }

    fn note(&self, message: &str) {
        self.logged.note(message);
    }
}

impl Drop for ShownProgress<'_> {
    fn drop(&mut self) {
        if self.began.load(Ordering::Relaxed) {
            *self.shown.status() = None;
        }
    }
}
