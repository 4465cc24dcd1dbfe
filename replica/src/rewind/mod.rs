//! Rewind: taking the end of a history back.
//!
//! When a primary falls, what it had committed past the fork is lost: the surviving history goes on without it. A node
//! that has lost transactions takes them back before it follows, and saves them first.
//!
//! | step | what is on disk after it | a crash then |
//! |---|---|---|
//! | 1 save | the lost transactions as a FileStorage file (`.part`), their blobs beside it, all synced | leaves the log as it was |
//! | 2 note | `Data.fs.standby/rewind` ([`marker`]); the saved file has its name | from here on: the next opening does the rest |
//! | 3 index | the index as of the fork | |
//! | 4 switch | nothing: readers see the log up to the fork, those of before are waited for | |
//! | 5 cut | the log cut off at the fork | |
//! | 6 blobs | no blobs of lost revisions | |
//! | 7 done | no note | leaves the log rewound |
//!
//! The index goes back through the records' own pointers: a lost record says where its object's previous revision is. The
//! greatest oid does not go back, so that no lost oid is issued again: see [`oids`](crate::oids).
//!
//! The log is cut in place, so whoever still reads the one of before (an export; a read that outlasted the waiting) must
//! never take what is written there later for what it looks for. Readers of before have a file of their own, which is
//! told where it was cut before it is cut, and refuses what it read behind that.

mod finish;
mod marker;
mod save;
mod saved;
mod survey;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::finish::finish;
use self::marker::Marker;
use self::save::Saver;
pub use self::saved::{Saved, SavedChanges};
use self::survey::{Survey, survey};
use crate::format::LOG_START;
use crate::index::Mark;
use crate::inner::{Generation, Inner};
use crate::log::LogFile;
use crate::world;
use crate::{IndexError, Oid, Place, Progress, ReadError, Storage, Tid};

/// Reads that began before the switch are waited for so long.
const READERS_WAIT: Duration = Duration::from_secs(2);

/// How far a rewind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewindStage {
    /// The lost transactions are saved.
    Saved,
    /// It will be completed, whatever happens.
    Noted,
    /// The index is as of the fork.
    Indexed,
    /// Readers see the history up to the fork.
    Switched,
    /// The log is cut off.
    Cut,
    /// The blobs of lost revisions are gone.
    BlobsRemoved,
}

/// A transaction that a rewind took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostTransaction {
    /// Its id.
    pub tid: Tid,
    /// Who committed it.
    pub user: Vec<u8>,
    /// What for.
    pub description: Vec<u8>,
    /// The objects that it wrote, in order, each once.
    pub oids: Vec<Oid>,
}

/// What a rewind did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewindReport {
    /// What was taken back, oldest first.
    pub transactions: Vec<LostTransaction>,
    /// All objects of these, in order, each once.
    pub oids: Vec<Oid>,
    /// The FileStorage file that has them. Their blobs, if any, are in a directory beside it, `.blobs` instead of `.fs`.
    /// `None`: nothing was lost.
    pub saved_to: Option<PathBuf>,
    /// Where the history ends now.
    pub end: Place,
}

/// Why a history was not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewindError {
    /// It is impossible here. Nothing changed.
    #[error("cannot rewind to {fork}: {reason}")]
    CannotRewind {
        /// The transaction to go back to.
        fork: Tid,
        /// What is in the way.
        reason: String,
    },
    /// The storage is read-only, closed or failed. Nothing changed.
    #[error("the storage cannot be rewound: {0}")]
    Unavailable(String),
    /// A pack is under way; try again after it. Nothing changed.
    #[error("a pack is under way")]
    Packing,
    /// The log could not be read. Nothing changed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The lost transactions could not be saved. Nothing changed.
    #[error("saving the lost transactions failed: {0}")]
    Io(#[from] std::io::Error),
    /// It began and did not come to its end: nothing is committed any more until a restart, which completes it.
    #[error("the rewind was cut short, and a restart will complete it: {0}")]
    Unfinished(String),
}

impl Storage {
    /// Where lost transactions are saved by default: `Data.fs.standby/lost`.
    pub fn lost_folder(&self) -> PathBuf {
        crate::open::folder(self.path()).join("lost")
    }

    /// Takes back every transaction after `fork`, which must be a place in this history, and saves them in the folder
    /// `lost` as `<fork>-<last>-<seconds since 1970>.fs`. Readers go on; commits wait meanwhile. Takes time with what is
    /// lost, not with what stays. May wait for the disk.
    ///
    /// Whoever follows this storage or has iterators of it open must begin anew: reading on ends with
    /// [`ReadError::Gone`].
    ///
    /// # Errors
    /// See [`RewindError`].
    pub fn rewind(
        &self,
        fork: Tid,
        lost: &Path,
        progress: &dyn Progress,
    ) -> Result<RewindReport, RewindError> {
        let inner = self.inner();
        let _no_pack = inner.packing.try_lock().map_err(|_| RewindError::Packing)?;
        if inner.read_only || inner.is_closed() {
            return Err(RewindError::Unavailable("it is read-only or closed".to_owned()));
        }
        if let Some(reason) = inner.failed.get() {
            return Err(RewindError::Unavailable(reason.clone()));
        }
        inner.while_nobody_commits(|| Rewind { inner, fork, progress }.run(lost))
    }
}

struct Rewind<'a> {
    inner: &'a Arc<Inner>,
    fork: Tid,
    progress: &'a dyn Progress,
}

impl Rewind<'_> {
    fn run(&self, lost: &Path) -> Result<RewindReport, RewindError> {
        let before = self.inner.now_held();
        let (end, place) = self.target(&before)?;
        if end.end == before.mark().end {
            let (transactions, oids) = (Vec::new(), Vec::new());
            return Ok(RewindReport { transactions, oids, saved_to: None, end: place });
        }
        let survey = survey(&before.log, end, before.mark().end)?;
        if let Some(tid) = survey.packed {
            return Err(self.impossible(format!("transaction {tid}, which comes later, was packed")));
        }
        let last = before.last_tid();
        let saver = Saver { log: &before.log, from: end.end, to: before.mark().end };
        let saved_to = saver.save(lost, self.fork, last, self.inner.blobs.as_ref())?;
        self.progress.rewinding(RewindStage::Saved);

        let marker = Marker { end, log_end: before.mark().end, saved_to };
        marker.write(&self.inner.path)?;
        self.progress.rewinding(RewindStage::Noted);
        if let Err(reason) = self.take_back(&before, &marker, &survey) {
            tracing::error!(%reason, "a rewind was cut short; nothing is committed any more until a restart");
            self.inner.failed.get_or_init(|| format!("a rewind was cut short: {reason}"));
            return Err(RewindError::Unfinished(reason));
        }
        let Survey { transactions, previous, .. } = survey;
        let oids = previous.into_keys().map(Oid::new).collect();
        Ok(RewindReport { transactions, oids, saved_to: Some(marker.saved_to), end: place })
    }

    fn impossible(&self, reason: String) -> RewindError {
        RewindError::CannotRewind { fork: self.fork, reason }
    }

    /// What the log is to end with.
    fn target(&self, before: &Generation) -> Result<(Mark, Place), RewindError> {
        let (fork, first, last) = (self.fork, before.first_place(), before.last_place());
        if fork < first.tid {
            return Err(self.impossible(format!("everything up to {} was packed", first.tid)));
        }
        if fork > last.tid {
            return Err(self.impossible(format!("the history ends with {}", last.tid)));
        }
        let mark = before.mark();
        if fork == last.tid {
            return Ok((mark, last));
        }
        let at = before.positions.transaction_up_to(fork)?;
        let checksum = match at {
            Some(at) if at.tid == fork => at.checksum,
            _ if fork == first.tid => first.checksum,
            _ => return Err(self.impossible("there is no such transaction".to_owned())),
        };
        let next = before.positions.transaction_from(Tid::new(fork.get() + 1))?;
        let end = next.map_or(mark.end, |next| next.position);
        let (last_tid, last_position) = at.map_or((Tid::ZERO, 0), |at| (at.tid, at.position));
        assert!(end > last_position && end >= LOG_START, "the log ends behind its last transaction");
        // What of the objects remains is counted by the index.
        let target = Mark { end, last_tid, last_position, checksum, ..mark };
        Ok((target, Place { tid: fork, checksum }))
    }

    /// Everything from the note on.
    fn take_back(&self, before: &Arc<Generation>, marker: &Marker, survey: &Survey) -> Result<(), String> {
        let inner = self.inner;
        save::settle(&marker.saved_to).map_err(because("naming the saved file"))?;
        let max_oid = before.positions.max_oid();
        crate::oids::keep(&inner.path, max_oid).map_err(because("noting the greatest oid"))?;
        before.drainer.checkpoint_and_stop().map_err(because("completing the index"))?;
        let end = rewind_index(&before.positions.index, marker, survey).map_err(because("the index"))?;
        before.positions.recent.forget(survey.previous.keys().map(|oid| Oid::new(*oid)));
        self.progress.rewinding(RewindStage::Indexed);

        let file = before.log.file().try_clone().map_err(because("opening the log again"))?;
        let log = Arc::new(LogFile::new(file));
        let positions = Arc::clone(&before.positions);
        inner.take_back(Generation::start(Arc::clone(&log), positions, before.anchor, end, end));
        // This one, and the committer, which stands still.
        let holders = 1 + usize::from(inner.has_committer());
        let left = || Arc::strong_count(before) <= holders;
        world::wait_until(READERS_WAIT, Duration::from_millis(1), left);
        before.log.cut_off_at(end.end);
        self.progress.rewinding(RewindStage::Switched);

        cut(log.file(), end.end).map_err(because("cutting off the log"))?;
        let behind = inner.space.switch(&log, end.end, || Ok::<_, std::io::Error>(()));
        behind.map_err(because("reserving space for what has voted"))?;
        self.progress.rewinding(RewindStage::Cut);

        if let Some(blobs) = &inner.blobs {
            save::remove_saved_blobs(blobs, &marker.saved_to).map_err(because("removing lost blobs"))?;
        }
        self.progress.rewinding(RewindStage::BlobsRemoved);
        Marker::remove(&inner.path).map_err(because("removing the note"))
    }
}

/// Takes the index back to the marker's end. Returns what it covers then.
fn rewind_index(index: &crate::index::Index, marker: &Marker, survey: &Survey) -> Result<Mark, ReadError> {
    index.rewind(&survey.previous, &marker.end)?;
    let mark = index.mark()?;
    mark.ok_or_else(|| ReadError::corrupt(0, "the index is empty"))
}

fn cut(file: &crate::world::fs::File, end: u64) -> std::io::Result<()> {
    file.set_len(end)?;
    file.sync_all()
}

fn because<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

impl From<IndexError> for RewindError {
    fn from(error: IndexError) -> Self {
        Self::Read(error.into())
    }
}
