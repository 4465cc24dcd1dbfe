use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::anchor::Anchor;
use crate::drainer::keep_latest;
use crate::format::{LOG_START, MAGIC, OLD_MAGIC};
use crate::index::{Index, Mark, TransactionEntry};
use crate::inner::{Generation, Inner};
use crate::lock::LogLock;
use crate::log::LogFile;
use crate::pack::leftovers;
use crate::positions::Positions;
use crate::scan::{Bad, Scanned, Scanner};
use crate::world;
use crate::world::fs::File;
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
        crate::aside::finish(path, progress).map_err(failed("completing to set aside", path))?;
        leftovers::settle(path, progress).map_err(failed("clearing up after a pack of", path))?;
        crate::rewind::finish(path, options, progress).map_err(failed("completing a rewind of", path))?;
    }
    let (file, created) = open_log(path, options)?;
    let size = file.metadata().map_err(failed("looking at", path))?.len();
    check_magic(&file, path, size)?;
    let log = Arc::new(LogFile::new(file));

    let (index, mut source) = match &lock {
        Some(_) => open_index(path, options, progress)?,
        None => (private_index(path, options)?, IndexSource::Private),
    };
    let anchor = read_anchor(path)?;
    let begin = Mark::start(anchor.as_ref());
    let covered =
        index.mark().map_err(index_error(path))?.filter(|mark| mark.end > LOG_START).unwrap_or(begin);
    let (index, covered) = if source != IndexSource::File {
        (index, covered)
    } else if let Some(reason) =
        mismatch(&log, &index, &covered, size, anchor.as_ref()).map_err(index_error(path))?
    {
        progress.note(&format!("the index is not of this log ({reason}); making it anew"));
        drop(index);
        let (index, from) = empty_index(path, options, IndexSource::Rebuilt)?;
        source = from;
        (index, begin)
    } else {
        (index, covered)
    };

    let mut catch_up = CatchUp { path, log: &log, index: &index, progress, size, anchor: anchor.as_ref() };
    let (mark, bad) = catch_up.run(covered)?;
    let kept = crate::oids::kept(path).map_err(failed("looking for the greatest oid of", path))?;
    let mark = Mark { max_oid: mark.max_oid.max(kept), ..mark };
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
    let generation = Generation::start(log, positions, anchor, mark, mark);
    let locked = lock.is_some();
    let inner = Inner::new(path.to_owned(), options.clone(), blobs, generation, lock);
    if locked
        && !options.read_only
        && let Err(error) = inner.remove_listed_blobs()
    {
        tracing::warn!(%error, "blobs that an earlier pack dropped could not be removed");
    }
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
    // Else a lock file would be left beside nothing.
    if (options.read_only || !options.create) && !world::exists(path) {
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
        .and_then(|()| world::sync_directory_of(path))
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
pub(crate) fn folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".standby");
    name.into()
}

/// The file with the anchor of a log's checksum.
pub(crate) fn anchor_path(path: &Path) -> PathBuf {
    folder(path).join("anchor")
}

/// The file that says where a copy comes from.
pub(crate) fn lineage_path(path: &Path) -> PathBuf {
    folder(path).join("lineage")
}

fn read_anchor(path: &Path) -> Result<Option<Anchor>, OpenError> {
    let file = anchor_path(path);
    Anchor::read(&file).map_err(failed("reading", &file))
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
    if !world::exists(&file) {
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
    match crate::world::fs::create_dir(&folder) {
        Ok(()) => world::sync_directory_of(path).map_err(failed("making", &folder))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("making", &folder)(error)),
    }
    match crate::world::fs::remove_file(&file) {
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
    let file = world::unnamed_file(None).map_err(failed("making a temporary index for", path))?;
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
    anchor: Option<&Anchor>,
) -> Result<Option<String>, ReadError> {
    if covered.end > size.max(LOG_START) {
        return Ok(Some(format!("the log has {size} bytes, the index covers {}", covered.end)));
    }
    if covered.last_tid == Tid::ZERO {
        return Ok(None);
    }
    let before = index.transaction_before(covered.last_tid)?;
    let start = Mark::start(anchor).checksum;
    let (last, checksum) = before.map_or((Tid::ZERO, start), |entry| (entry.tid, entry.checksum));
    let mut scanner = Scanner::new(Arc::clone(log), covered.end);
    match scanner.step(covered.last_position, last, checksum)? {
        Scanned::Transaction(found)
            if found.head.tid == covered.last_tid
                && found.end == covered.end
                && Anchor::settle(anchor, found.end, found.checksum) == covered.checksum => {}
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

/// Brings an index up to the end of the log.
struct CatchUp<'a> {
    path: &'a Path,
    log: &'a Arc<LogFile>,
    index: &'a Index,
    progress: &'a dyn Progress,
    /// Where the log ends.
    size: u64,
    anchor: Option<&'a Anchor>,
}

impl CatchUp<'_> {
    /// Reads from `mark` on. Returns how far that went, and what is wrong there.
    fn run(&mut self, covered: Mark) -> Result<(Mark, Option<Bad>), OpenError> {
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
            let checksum = Anchor::settle(self.anchor, found.end, found.checksum);
            for record in scanner.records() {
                objects.push((record.oid.get(), record.position));
                mark.max_oid = mark.max_oid.max(record.oid);
            }
            mark.end = found.end;
            mark.last_tid = tid;
            mark.last_position = found.position;
            mark.checksum = checksum;
            if let Some(anchor) = self.anchor.filter(|anchor| anchor.is_at(found.end, found.checksum)) {
                mark.max_oid = mark.max_oid.max(anchor.max_oid);
            }
            transactions.push(TransactionEntry { tid, position: found.position, checksum });
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
        // Durable, so that the index file can use again the pages that this freed, and a crash does not undo it.
        self.index.apply(objects, transactions, mark, true)?;
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
