//! Pack: rewriting the log without what nobody needs any more, while it is in use.
//!
//! As FileStorage does it: of the transactions up to the pack time only those records stay that were current then and
//! (with garbage collection) belong to an object that could be reached from the root, or that a later record points
//! back to. They get the status `p`; those without records go. Later transactions stay whole.
//!
//! 1. [`plan`]: which records stay. Reads the log up to the pack time, and the references of what is reached.
//! 2. [`copy`]: writes `Data.fs.pack`, first the packed part, then the rest in rounds ([`pace`]), while commits go on.
//! 3. The new file is read back as any log is at its opening: every length, pointer and position of it is checked, and
//!    its index made, `index.redb.pack`.
//! 4. The committer stops for a moment. The last transactions are copied and indexed, the file is synced and renamed
//!    over `Data.fs` (whose old contents stay as `Data.fs.old`, by a second name made before), and readers and
//!    committer go on with it. Whoever reads in the old log goes on reading there.
//! 5. Blobs of removed revisions are removed.
//!
//! A crash leaves either the old log or the new one under its name. Files of a pack that was not finished are removed
//! at the next opening; an index that does not fit the log is made anew then, and the list of blobs to remove,
//! `Data.fs.standby/blobs-to-remove`, worked off as far as the log does not have their revisions.
//!
//! Memory: about 60 bytes for each object that the log holds at the pack time; record data pass through one by one.

mod blobs;
mod copy;
mod pace;
mod plan;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::Guard;

use self::copy::Copier;
use self::pace::{Pace, Step};
use self::plan::Plan;
use crate::index::{Index, Mark};
use crate::inner::{Generation, Inner};
use crate::log::LogFile;
use crate::open::{CatchUp, pack_index};
use crate::positions::Positions;
use crate::{IndexError, NoProgress, Oid, OpenError, Progress, ReadError, Storage, Tid};

pub(crate) use self::blobs::finish_removal;

/// How long to wait for undos that have voted.
const UNDO_LIMIT: Duration = Duration::from_secs(60);

/// How to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// Remove objects that cannot be reached from the root.
    pub gc: bool,
    /// Keep the log as it was as `Data.fs.old`.
    pub keep_old: bool,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self { gc: true, keep_old: true }
    }
}

/// What a pack did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackReport {
    /// There was nothing to do: the log is empty, or packed to that time already.
    pub redundant: bool,
    /// Length of the log before.
    pub bytes_before: u64,
    /// Length of the log after.
    pub bytes_after: u64,
    /// Records that were removed.
    pub records_removed: u64,
    /// Blobs that were removed.
    pub blobs_removed: u64,
    /// How long nothing could be committed.
    pub stopped: Duration,
}

/// Why a log was not packed. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// One pack at a time.
    #[error("Already packing")]
    AlreadyPacking,
    /// The storage is read-only.
    #[error("the storage is read-only")]
    ReadOnly,
    /// An object that is referred to is not there. Without garbage collection this does not matter.
    #[error("object {0} is referred to and is not there")]
    Missing(Oid),
    /// A record is not two pickles, so that nobody knows what it refers to.
    #[error("the record of object {oid} at position {position} cannot be read for its references: {reason}")]
    References {
        /// The object.
        oid: Oid,
        /// Where its record is.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk has too little room for the packed log.
    #[error("packing needs up to {needed} bytes on the disk, of which {free} are free")]
    NoSpace {
        /// The length of the log.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// An undo has voted and does not finish.
    #[error("a transaction that undoes others has been about to finish for too long")]
    Undoing,
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was written reads back wrong.
    #[error("the packed log is not right, and was not used: {0}")]
    Verification(String),
    /// The index of the packed log could not be made.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The packed log could not be written.
    #[error("writing the packed log failed: {0}")]
    Io(#[from] io::Error),
}

impl Storage {
    /// Packs the log up to the transactions of `until`. Readers and commits go on meanwhile. Takes long, and may wait for
    /// the disk.
    ///
    /// # Errors
    /// See [`PackError`]; the log is as it was then.
    pub fn pack(
        &self,
        until: Tid,
        options: PackOptions,
        progress: &dyn Progress,
    ) -> Result<PackReport, PackError> {
        let inner = self.inner();
        if inner.read_only {
            return Err(PackError::ReadOnly);
        }
        if inner.packing.swap(true, Ordering::SeqCst) {
            return Err(PackError::AlreadyPacking);
        }
        let _packing = Packing(inner);
        let files = PackFiles::of(&inner.path);
        files.remove_leftovers()?;
        let packed = pack(inner, &files, until, options, progress);
        if packed.is_err() {
            files.remove_leftovers()?;
        }
        packed
    }
}

/// Lets the next pack begin, however this one ends.
struct Packing<'a>(&'a Inner);

impl Drop for Packing<'_> {
    fn drop(&mut self) {
        self.0.packing.store(false, Ordering::SeqCst);
    }
}

/// The files that a pack makes.
pub(crate) struct PackFiles {
    log: PathBuf,
    packed: PathBuf,
    old: PathBuf,
    index: PathBuf,
    packed_index: PathBuf,
}

impl PackFiles {
    pub(crate) fn of(log: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut name = log.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let index = crate::open::index_path(log);
        Self {
            log: log.to_owned(),
            packed: beside(".pack"),
            old: beside(".old"),
            packed_index: index.with_extension("redb.pack"),
            index,
        }
    }

    /// Removes what a pack that was not finished left.
    pub(crate) fn remove_leftovers(&self) -> io::Result<()> {
        for path in [&self.packed, &self.packed_index] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the packed log in the log's place: at every moment one of the two has the name.
    fn switch(&self, keep_old: bool) -> io::Result<()> {
        if keep_old {
            match fs::remove_file(&self.old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::hard_link(&self.log, &self.old)?;
        }
        fs::rename(&self.packed, &self.log)
    }

    /// Puts the index in its place and makes the switch last. The packed log is the log by now, whatever fails here. An
    /// index that is not in its place is made anew at the next start. But where the switch may not last, nothing may
    /// be committed to the packed log: a power failure would bring the old one back.
    fn settle(&self, index: &Index) -> io::Result<()> {
        match fs::rename(&self.packed_index, &self.index) {
            Ok(()) => index.renamed(&self.index),
            Err(error) => tracing::warn!(%error, "the packed log's index could not be put in its place"),
        }
        crate::tail::sync_directory_of(&self.log)
    }
}

fn pack(
    inner: &Arc<Inner>,
    files: &PackFiles,
    until: Tid,
    options: PackOptions,
    progress: &dyn Progress,
) -> Result<PackReport, PackError> {
    let old = Guard::into_inner(inner.now());
    let before = old.mark();
    let Some(plan) = Plan::make(&old, until, options.gc, progress)? else {
        let bytes = before.end;
        return Ok(PackReport {
            redundant: true,
            bytes_before: bytes,
            bytes_after: bytes,
            records_removed: 0,
            blobs_removed: 0,
            stopped: Duration::ZERO,
        });
    };
    check_space(&old, before.end)?;
    let file = File::options().read(true).write(true).create_new(true).open(&files.packed)?;
    let log = Arc::new(LogFile::new(file));
    let mut copier = Copier::new(Arc::clone(&old.log), Arc::clone(&log), plan)?;
    copier.packed_part(inner.blobs.as_ref(), progress)?;

    let index = pack_index(&files.packed_index)?;
    progress.packing(copier.copied(), old.mark().end);
    copier.rest_up_to(old.mark().end)?;
    let mut mark = read_back(files, &log, &index, Mark::START, copier.end())?;
    log.file().sync_all()?;
    // What takes long is durable before commits may have to wait.
    index.apply(&[], &[], &mark, true)?;
    let mut pace = Pace::default();
    loop {
        let end = old.mark().end;
        match pace.step(end - copier.copied()) {
            Step::Rest => break,
            Step::Round => {
                progress.packing(copier.copied(), end);
                copier.rest_up_to(end)?;
                mark = read_back(files, &log, &index, mark, copier.end())?;
                log.file().sync_data()?;
            }
            Step::Slice(bytes) => {
                inner.while_nobody_commits(|| -> Result<_, PackError> {
                    copier.slice(bytes, old.mark().end)?;
                    mark = read_back(files, &log, &index, mark, copier.end())?;
                    Ok(log.file().sync_data()?)
                })?;
                inner.give_way();
            }
        }
    }

    let positions = Arc::new(Positions::new(index, &mark, old.positions.recent.capacity()));
    let deadline = Instant::now() + UNDO_LIMIT;
    let (retired, stopped) = loop {
        let switched = inner.while_nobody_commits(|| -> Result<_, PackError> {
            if inner.space.is_pinned() {
                return Ok(None);
            }
            let began = Instant::now();
            copier.rest_up_to(old.mark().end)?;
            let mark = read_back(files, &log, &positions.index, mark, copier.end())?;
            log.file().sync_all()?;
            positions.raise_max_oid(old.mark().max_oid.max(mark.max_oid));
            blobs::note_removals(&files.index, &copier.blobs_to_remove)?;
            inner.space.move_to(Arc::clone(&log), mark.end)?;
            if let Err(error) = files.switch(options.keep_old) {
                inner.space.move_to(Arc::clone(&old.log), old.mark().end)?;
                return Err(error.into());
            }
            if let Err(error) = files.settle(&positions.index) {
                let reason = format!("the packed log may not outlast a power failure: {error}");
                tracing::error!("{reason}; nothing is committed any more until a restart");
                let _ = inner.failed.set(reason);
            }
            let generation = Generation::new(Arc::clone(&log), Arc::clone(&positions), mark);
            Ok(Some((inner.replace(generation), began.elapsed())))
        })?;
        match switched {
            Some(switched) => break switched,
            None if Instant::now() > deadline => return Err(PackError::Undoing),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    retired.drainer.abandon();
    let blobs_removed = match &inner.blobs {
        Some(store) => blobs::remove(store, &files.index, &inner.now())?,
        None => 0,
    };
    let report = PackReport {
        redundant: false,
        bytes_before: before.end,
        bytes_after: inner.now().mark().end,
        records_removed: copier.records_removed,
        blobs_removed,
        stopped,
    };
    progress.note(&format!(
        "packed {} to {} bytes: {} records and {} blobs removed, commits stopped for {:?}",
        report.bytes_before, report.bytes_after, report.records_removed, report.blobs_removed, report.stopped
    ));
    Ok(report)
}

fn check_space(old: &Generation, needed: u64) -> Result<(), PackError> {
    let filesystem = rustix::fs::fstatvfs(old.log.file()).map_err(io::Error::from)?;
    let free = filesystem.f_bavail.saturating_mul(filesystem.f_frsize);
    if free < needed { Err(PackError::NoSpace { needed, free }) } else { Ok(()) }
}

/// Reads what was written to the packed log since `mark`, as if it were opened, and indexes it.
fn read_back(
    files: &PackFiles,
    log: &Arc<LogFile>,
    index: &Index,
    mark: Mark,
    end: u64,
) -> Result<Mark, PackError> {
    let path = &files.packed;
    let mut catch_up = CatchUp { path, log, index, progress: &NoProgress, size: end, durable: false };
    match catch_up.run(mark) {
        Ok((mark, None)) if mark.end == end => Ok(mark),
        Ok((mark, bad)) => {
            let reason = bad.map_or_else(String::new, |bad| bad.reason);
            Err(PackError::Verification(format!("at {}: {reason}", mark.end)))
        }
        Err(OpenError::Index(error)) => Err(error.into()),
        Err(error) => Err(PackError::Verification(error.to_string())),
    }
}
