use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::drainer::keep_latest;
use crate::format::{LOG_START, MAGIC, OLD_MAGIC};
use crate::index::{Index, Mark, TransactionEntry};
use crate::inner::{Generation, Inner};
use crate::lock::LogLock;
use crate::log::LogFile;
use crate::pack::{PackFiles, finish_removal};
use crate::positions::Positions;
use crate::scan::{Bad, Scanned, Scanner};
use crate::{
    BlobStore, Cut, IndexSource, Oid, OpenError, OpenOptions, OpenReport, Progress, ReadError, ReadMode, Tid,
    tail,
};

/// So many records are gathered before they go into the index, while the log is read.
const RECORDS_AT_ONCE: usize = 1 << 20;
/// Progress is told after so many bytes of the log.
const PROGRESS_BYTES: u64 = 64 << 20;
/// So many entries of the index are compared with the log before it is believed.
const SAMPLES: usize = 32;

/// Opens everything that a storage needs.
pub(crate) fn open(
    path: &Path,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<(Inner, OpenReport), OpenError> {
    let lock = take_lock(path, options)?;
    if lock.is_some() && !options.read_only {
        PackFiles::of(path).remove_leftovers().map_err(failed("removing what a pack left beside", path))?;
    }
    let (file, created) = open_log(path, options)?;
    let size = file.metadata().map_err(failed("looking at", path))?.len();
    check_magic(&file, path, size)?;
    let log = Arc::new(LogFile::new(file));

    let (index, mut source) = match &lock {
        Some(_) => open_index(path, options, progress)?,
        None => (private_index(path, options)?, IndexSource::Private),
    };
    let covered = index.mark().map_err(index_error(path))?.unwrap_or(Mark::START);
    let (index, covered) = if source != IndexSource::File {
        (index, covered)
    } else if let Some(reason) = mismatch(&log, &index, &covered, size).map_err(index_error(path))? {
        progress.note(&format!("the index is not of this log ({reason}); making it anew"));
        drop(index);
        let (index, from) = empty_index(path, options, IndexSource::Rebuilt)?;
        source = from;
        (index, Mark::START)
    } else {
        (index, covered)
    };

    let mut catch_up = CatchUp { path, log: &log, index: &index, progress, size, durable: true };
    let (mark, bad) = catch_up.run(covered)?;
    let cut = match bad {
        None => None,
        Some(bad) => Some(settle_end(path, options, &log, mark, size, &bad, progress)?),
    };
    let report = OpenReport {
        created,
        index: source,
        scanned_bytes: mark.end - covered.end,
        cut,
        locked: lock.is_some(),
        last_tid: mark.last_tid,
        checksum: mark.checksum,
    };
    let positions = Arc::new(Positions::new(index, &mark, options.recent_entries));
    let blobs = open_blobs(options, lock.is_some(), &positions)?;
    let generation = Generation::new(log, positions, mark);
    if let (Some(_), Some(store), false) = (&lock, &blobs, options.read_only) {
        let has = |oid, tid| Ok(generation.find_record(oid, tid)?.is_some());
        finish_removal(store, &index_path(path), &has).map_err(index_error(path))?;
    }
    let inner = Inner::new(path.to_owned(), options.read_only, blobs, generation, lock);
    Ok((inner, report))
}

/// The blob directory, without what a crash left in it.
fn open_blobs(
    options: &OpenOptions,
    locked: bool,
    positions: &Positions,
) -> Result<Option<BlobStore>, OpenError> {
    let Some(root) = &options.blob_dir else { return Ok(None) };
    let blobs = BlobStore::open(root)?;
    if locked && !options.read_only {
        let is_committed = |tid| positions.transaction(tid).map_or(true, |entry| entry.is_some());
        blobs.recover(is_committed).map_err(failed("cleaning up", root))?;
    }
    Ok(Some(blobs))
}

/// The lock; `None` for a read-only storage that does without.
fn take_lock(path: &Path, options: &OpenOptions) -> Result<Option<LogLock>, OpenError> {
    if options.read_only && !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    match LogLock::take(path) {
        Ok(lock) => Ok(Some(lock)),
        // Taken by somebody else, or on a disk that cannot be written.
        Err(_) if options.read_only => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_log(path: &Path, options: &OpenOptions) -> Result<(File, bool), OpenError> {
    let mut how = File::options();
    how.read(true).write(!options.read_only);
    match how.open(path) {
        Ok(file) => {
            let empty = file.metadata().map_err(failed("looking at", path))?.len() == 0;
            if empty && !options.read_only {
                begin_log(&file, path)?;
            }
            Ok((file, false))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && options.create && !options.read_only => {
            let file = how.create_new(true).open(path).map_err(failed("making", path))?;
            begin_log(&file, path)?;
            Ok((file, true))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Missing(path.to_owned())),
        Err(error) => Err(failed("opening", path)(error)),
    }
}

fn begin_log(mut file: &File, path: &Path) -> Result<(), OpenError> {
    file.write_all(MAGIC)
        .and_then(|()| file.sync_all())
        .and_then(|()| tail::sync_directory_of(path))
        .map_err(failed("making", path))
}

fn check_magic(file: &File, path: &Path, size: u64) -> Result<(), OpenError> {
    use std::os::unix::fs::FileExt;
    let mut magic = vec![0; size.min(LOG_START) as usize];
    file.read_exact_at(&mut magic, 0).map_err(failed("reading", path))?;
    if magic == MAGIC || magic == OLD_MAGIC || magic.is_empty() {
        return Ok(());
    }
    Err(OpenError::NotFileStorage { path: path.to_owned(), magic })
}

/// `Data.fs.standby`, the folder of what is ours.
fn folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".standby");
    name.into()
}

/// The index file of a log.
pub(crate) fn index_path(path: &Path) -> PathBuf {
    folder(path).join("index.redb")
}

fn open_index(
    path: &Path,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<(Index, IndexSource), OpenError> {
    let file = index_path(path);
    if !file.exists() {
        return empty_index(path, options, IndexSource::Built);
    }
    let opened = Index::open(&file, options.index_cache_bytes).map_err(ReadError::Index);
    let reason = match opened.and_then(|index| Ok((index.mark()?, index))) {
        Ok((Some(_), index)) => return Ok((index, IndexSource::File)),
        Ok((None, _)) => "it is empty or of another format".to_owned(),
        Err(_) if options.read_only => return Ok((private_index(path, options)?, IndexSource::Private)),
        Err(error) => error.to_string(),
    };
    progress.note(&format!("the index cannot be used ({reason}); making it anew"));
    empty_index(path, options, IndexSource::Rebuilt)
}

/// An empty index instead of any that is there; for a read-only storage where that cannot be, a private one.
fn empty_index(
    path: &Path,
    options: &OpenOptions,
    source: IndexSource,
) -> Result<(Index, IndexSource), OpenError> {
    match new_index(path, options) {
        Ok(index) => Ok((index, source)),
        Err(_) if options.read_only => Ok((private_index(path, options)?, IndexSource::Private)),
        Err(error) => Err(error),
    }
}

fn new_index(path: &Path, options: &OpenOptions) -> Result<Index, OpenError> {
    let (folder, file) = (folder(path), index_path(path));
    match std::fs::create_dir(&folder) {
        Ok(()) => tail::sync_directory_of(path).map_err(failed("making", &folder))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("making", &folder)(error)),
    }
    match std::fs::remove_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("removing", &file)(error)),
    }
    let index = Index::open(&file, options.index_cache_bytes)?;
    index.apply(&[], &[], &Mark::START, false)?;
    Ok(index)
}

/// An index that nobody else sees and that goes away by itself.
fn private_index(path: &Path, options: &OpenOptions) -> Result<Index, OpenError> {
    let file = tempfile::tempfile().map_err(failed("making a temporary index for", path))?;
    let index = Index::private(file, options.index_cache_bytes)?;
    index.apply(&[], &[], &Mark::START, false)?;
    Ok(index)
}

/// Why the index cannot have been made from this log; `None` when it was.
///
/// A log that only grew since is the same one. One that was packed, restored or replaced differs in its last
/// covered transaction, or is shorter.
fn mismatch(
    log: &Arc<LogFile>,
    index: &Index,
    covered: &Mark,
    size: u64,
) -> Result<Option<String>, ReadError> {
    if covered.end > size.max(LOG_START) {
        return Ok(Some(format!("the log has {size} bytes, the index covers {}", covered.end)));
    }
    if covered.last_tid == Tid::ZERO {
        return Ok(None);
    }
    let before = index.transaction_before(covered.last_tid)?;
    let (last, checksum) = before.map_or(Default::default(), |entry| (entry.tid, entry.checksum));
    let mut scanner = Scanner::new(Arc::clone(log), covered.end);
    match scanner.step(covered.last_position, last, checksum)? {
        Scanned::Transaction(found)
            if found.head.tid == covered.last_tid
                && found.end == covered.end
                && found.checksum == covered.checksum => {}
        _ => return Ok(Some(format!("transaction {} is not as it was", covered.last_tid))),
    }
    let Some(first) = index.transaction_from(Tid::ZERO)? else {
        return Ok(Some("it has no transactions".into()));
    };
    for sample in 0..SAMPLES as u64 {
        let tid =
            if sample == 0 { first.tid } else { Tid::new(random(first.tid.get(), covered.last_tid.get())) };
        if let Some(entry) = index.transaction_from(tid)?
            && log.transaction_head(entry.position).ok().is_none_or(|head| head.tid != entry.tid)
        {
            return Ok(Some(format!("transaction {} is not at {}", entry.tid, entry.position)));
        }
        let oid = Oid::new(random(0, covered.max_oid.get()));
        if let Some((oid, position)) = index.object_from(oid)?
            && (position >= covered.end || log.record_head(oid, position, ReadMode::MayBlock).is_err())
        {
            return Ok(Some(format!("object {oid} is not at {position}")));
        }
    }
    Ok(None)
}

/// Some number from `low` to `high`.
fn random(low: u64, high: u64) -> u64 {
    let number = RandomState::new().build_hasher().finish();
    low + number % (high - low).saturating_add(1)
}

/// An empty index for a log that is being packed.
pub(crate) fn pack_index(path: &Path) -> Result<Index, crate::IndexError> {
    Index::open(path, OpenOptions::default().index_cache_bytes)
}

/// Brings an index up to the end of the log.
pub(crate) struct CatchUp<'a> {
    pub(crate) path: &'a Path,
    pub(crate) log: &'a Arc<LogFile>,
    pub(crate) index: &'a Index,
    pub(crate) progress: &'a dyn Progress,
    /// Where the log ends.
    pub(crate) size: u64,
    /// Whether the index file can use again the pages that each step freed, and a crash does not undo it.
    pub(crate) durable: bool,
}

impl CatchUp<'_> {
    /// Reads from `mark` on. Returns how far that went, and what is wrong there.
    pub(crate) fn run(&mut self, covered: Mark) -> Result<(Mark, Option<Bad>), OpenError> {
        let mut scanner = Scanner::new(Arc::clone(self.log), self.size);
        let mut mark = covered;
        let mut objects: Vec<(u64, u64)> = Vec::new();
        let mut transactions: Vec<TransactionEntry> = Vec::new();
        let mut told = mark.end;
        let bad = loop {
            let scanned =
                scanner.step(mark.end, mark.last_tid, mark.checksum).map_err(failed("reading", self.path))?;
            let found = match scanned {
                Scanned::End => break None,
                Scanned::Bad(bad) => break Some(bad),
                Scanned::Transaction(found) => found,
            };
            let tid = found.head.tid;
            for record in scanner.records() {
                objects.push((record.oid.get(), record.position));
                mark.max_oid = mark.max_oid.max(record.oid);
            }
            mark.end = found.end;
            mark.last_tid = tid;
            mark.last_position = found.position;
            mark.checksum = found.checksum;
            transactions.push(TransactionEntry { tid, position: found.position, checksum: found.checksum });
            if mark.end - told >= PROGRESS_BYTES {
                told = mark.end;
                self.progress.indexing(mark.end, self.size);
            }
            if objects.len() + transactions.len() >= RECORDS_AT_ONCE {
                self.apply(&mut objects, &mut transactions, &mark)?;
            }
        };
        if mark.end > covered.end {
            self.apply(&mut objects, &mut transactions, &mark)?;
            self.progress.indexing(mark.end, self.size);
        }
        let mark = self.index.mark().map_err(index_error(self.path))?.unwrap_or(mark);
        Ok((mark, bad))
    }

    fn apply(
        &self,
        objects: &mut Vec<(u64, u64)>,
        transactions: &mut Vec<TransactionEntry>,
        mark: &Mark,
    ) -> Result<(), OpenError> {
        keep_latest(objects);
        self.index.apply(objects, transactions, mark, self.durable)?;
        objects.clear();
        transactions.clear();
        Ok(())
    }
}

/// Cuts off what a crash left behind the last good transaction, or refuses.
fn settle_end(
    path: &Path,
    options: &OpenOptions,
    log: &Arc<LogFile>,
    mark: Mark,
    size: u64,
    bad: &Bad,
    progress: &dyn Progress,
) -> Result<Cut, OpenError> {
    let damage = tail::damage(log, mark.end, size, mark.last_tid, bad).map_err(failed("reading", path))?;
    if let Some(why) = damage {
        let reason = format!("{} ({why})", bad.reason);
        return Err(OpenError::Damaged { path: path.to_owned(), position: mark.end, reason });
    }
    let bytes = size - mark.end;
    let reason = bad.reason.clone();
    let saved_to = if options.read_only {
        None
    } else {
        let saved_to =
            tail::cut(log.file(), path, mark.end).map_err(failed("cutting off the torn end of", path))?;
        progress.note(&format!(
            "an unfinished append of {bytes} bytes at {} was cut off ({reason}) and saved to {}",
            mark.end,
            saved_to.display()
        ));
        Some(saved_to)
    };
    Ok(Cut { position: mark.end, bytes, saved_to, reason })
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { what, path: path.to_owned(), source }
}

fn index_error(path: &Path) -> impl Fn(ReadError) -> OpenError + '_ {
    move |error| match error {
        ReadError::Index(error) => OpenError::Index(error),
        ReadError::Io(source) => failed("reading", path)(source),
        other => failed("reading", path)(io::Error::other(other.to_string())),
    }
}
