//! Pack: drops what nobody can reach any more, as FileStorage does (`ZODB/FileStorage/fspack.py`).
//!
//! Up to the pack time, the current record of each object that can be reached is kept, with its data, in
//! transactions of status `'p'`; so are older records that later ones point back to. Transactions without records are
//! left out. Behind the pack time everything is kept, with the positions in it moved.
//!
//! | step | what | commits |
//! |---|---|---|
//! | `survey` | reads and checks the log: the current records at the pack time | go on |
//! | `reach` | finds the references in them, and from the root on all that can be reached | go on |
//! | `copy` | writes `Data.fs.pack` and its index | go on |
//! | `pace` | copies what is committed meanwhile, in rounds until little is missing | go on, or take turns with it |
//! | `switch` | copies the rest, renames, and lets readers see the new log | wait |
//! | `leftovers` | what a crash leaves of all that, and what becomes of it | |
//!
//! What a transaction under way points back to is pinned ([`Pins`](crate::pins::Pins)) and stays. A transaction that
//! refers again to an object that is being dropped, while it is being dropped, makes the pack begin anew, with that as
//! a root.
//!
//! Memory, besides buffers of some megabytes: for each object that is there at the pack time, 24 bytes for oid,
//! position and list of references (while the list is gathered up to 40), and 4 bytes for each reference in its
//! current record; 8 bytes for each older record that is pointed to. The data are never in memory but for one
//! record. The index of the packed log takes its own cache.

mod again;
mod copy;
mod error;
pub(crate) mod leftovers;
mod objects;
mod output;
mod pace;
mod reach;
mod run;
mod survey;
mod switch;
mod walk;

use std::sync::TryLockError;
use std::time::{Duration, Instant};

pub use self::error::PackError;
use crate::{Progress, Storage, Tid};

/// A pack begins anew so often.
const ATTEMPTS_MAX: usize = 3;

/// How a pack is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// Drop objects that cannot be reached from the root object.
    pub gc: bool,
    /// Keep the log of before as `Data.fs.old`, instead of one that may be there. (Blobs that are dropped are not
    /// kept.)
    pub keep_old: bool,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self { gc: true, keep_old: true }
    }
}

/// What a pack is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackStage {
    /// Reading and checking the log.
    Reading,
    /// Finding references.
    References,
    /// Copying.
    Copying,
    /// Writing the packed log's index.
    Indexing,
    /// Copying what was committed meanwhile.
    CatchingUp,
    /// Commits are stopped.
    Stopped,
    /// The packed log is complete and durable.
    Complete,
    /// The log of before has its new name.
    OldNamed,
    /// The packed log is the log.
    Renamed,
    /// Readers see it, and commits go on.
    Switched,
    /// Removing blobs.
    RemovingBlobs,
}

impl std::fmt::Display for PackStage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Reading => "reading",
            Self::References => "finding references",
            Self::Copying => "copying",
            Self::Indexing => "indexing",
            Self::CatchingUp => "catching up",
            Self::Stopped | Self::Complete | Self::OldNamed | Self::Renamed => "switching",
            Self::Switched => "clearing up",
            Self::RemovingBlobs => "removing blobs",
        })
    }
}

/// What a pack did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackReport {
    /// `None`: there was nothing to do, and nothing changed.
    pub packed: Option<Packed>,
    /// How long it took.
    pub took: Duration,
}

/// What a pack changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Length of the log before, in bytes.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
    /// Objects in the storage before.
    pub objects_before: u64,
    /// And after.
    pub objects_after: u64,
    /// Records that were dropped.
    pub records_dropped: u64,
    /// Blobs that were removed.
    pub blobs_removed: u64,
    /// For how long commits were stopped at the end.
    pub stopped: Duration,
    /// What could not be cleared up afterwards, blobs that were dropped or names of files. The next pack or opening goes
    /// on with it.
    pub unfinished: Option<String>,
}

impl Storage {
    /// Drops what cannot be reached, as of the last transaction up to `until`. Reads and commits go on meanwhile.
    ///
    /// Works on the calling thread. One pack runs at a time.
    ///
    /// # Errors
    /// See [`PackError`].
    pub fn pack(
        &self,
        until: Tid,
        options: PackOptions,
        progress: &dyn Progress,
    ) -> Result<PackReport, PackError> {
        let started = Instant::now();
        let inner = self.inner();
        if inner.read_only {
            return Err(PackError::ReadOnly);
        }
        let _packing = match inner.packing.try_lock() {
            Ok(packing) => packing,
            Err(TryLockError::WouldBlock) => return Err(PackError::InProgress),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let mut attempt = 0;
        let packed = loop {
            attempt += 1;
            match inner.pack(until, options, progress) {
                Err(PackError::Resurrected { oid, tid }) if attempt < ATTEMPTS_MAX => {
                    progress.note(&format!(
                        "transaction {tid} refers to {oid}, which was about to be dropped; packing anew"
                    ));
                }
                other => break other?,
            }
        };
        Ok(PackReport { packed, took: started.elapsed() })
    }
}
