//! What to do about a log that is not right from some position on.
//!
//! A crash can leave the last append unfinished: too short, or, after a power failure, with holes of zeros or old
//! bytes where pages were not written, and possibly whole transactions behind them. Such an end was never
//! acknowledged to anybody and is cut off, after its bytes were saved to `Data.fs.trN` as ZODB does. Damage to
//! what was committed must not be treated so. The rule:
//!
//! 1. A transaction whose lengths all fit, but whose status or tid is wrong, was not left so by a crash: damage.
//! 2. If whole transactions follow, up to the end of the file (found by the redundant lengths, backwards), then one
//!    append must have held all of it. It is damage when that is not possible: when it is more than an append holds,
//!    16 MiB, or when the tids span more than ten seconds, since an append takes what was waiting at one moment.
//! 3. If none follow, up to 64 MiB are an unfinished append.
//! 4. More than that can only be one large transaction: its header and records must make sense up to the end of
//!    the file, or up to where nothing but zeros follow. Else it is damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::BATCH_BYTES_MAX;
use crate::checksum::Checksum;
use crate::format::TRANSACTION_HEADER;
use crate::log::LogFile;
use crate::scan::{Bad, Scanned, Scanner};
use crate::world::fs::File;
use crate::world::sync_directory_of;
use crate::{ReadError, Tid};

/// More than this is cut off only if it makes sense as the beginning of one transaction.
const TAIL_BYTES_MAX: u64 = 64 << 20;
/// The tids that one append takes in lie closer together.
const APPEND_SECONDS_MAX: f64 = 10.0;

/// Whether the end of `log` from `position` on is an unfinished append (`None`), or why it must be damage.
pub(crate) fn damage(
    log: &Arc<LogFile>,
    position: u64,
    size: u64,
    last: Tid,
    bad: &Bad,
) -> io::Result<Option<String>> {
    if bad.whole {
        return Ok(Some("its lengths fit, so that it was finished once".into()));
    }
    let left = size - position;
    if let Some((first, end_tid)) = transactions_behind(log, position, size, last)? {
        if left > BATCH_BYTES_MAX {
            return Ok(Some(format!("whole transactions follow, up to {end_tid}")));
        }
        let begins = if bad.tid > last && bad.tid < first { bad.tid } else { first };
        let span = end_tid.unix_seconds() - begins.unix_seconds();
        let far = span > APPEND_SECONDS_MAX;
        return Ok(far.then(|| format!("whole transactions of a longer time follow, up to {end_tid}")));
    }
    if left <= TAIL_BYTES_MAX {
        return Ok(None);
    }
    if bad.good_until > position && only_zeros(log, bad.good_until, size)? {
        return Ok(None);
    }
    if only_zeros(log, position, size)? {
        return Ok(None);
    }
    Ok(Some(format!("{left} bytes follow that are not the beginning of one transaction")))
}

/// The first and last tid of the whole transactions that end the file, behind `position`.
fn transactions_behind(
    log: &Arc<LogFile>,
    position: u64,
    size: u64,
    last: Tid,
) -> io::Result<Option<(Tid, Tid)>> {
    let mut scanner = Scanner::new(Arc::clone(log), size);
    let mut found: Option<(Tid, Tid)> = None;
    let mut end = size;
    while end > position + TRANSACTION_HEADER as u64 {
        let start = match log.start_of_transaction_before(end) {
            Ok(start) if start > position => start,
            Ok(_) | Err(ReadError::Corrupt { .. }) => break,
            Err(ReadError::Io(error)) => return Err(error),
            Err(other) => return Err(io::Error::other(other)),
        };
        let Scanned::Transaction(transaction) = scanner.step(start, last, Checksum::ZERO)? else { break };
        let tid = transaction.head.tid;
        if transaction.end != end || found.is_some_and(|(first, _)| tid >= first) {
            break;
        }
        found = Some((tid, found.map_or(tid, |(_, last)| last)));
        if size - start > BATCH_BYTES_MAX {
            break;
        }
        end = start;
    }
    Ok(found)
}

fn only_zeros(log: &LogFile, mut position: u64, end: u64) -> io::Result<bool> {
    let mut piece = vec![0; 1 << 20];
    while position < end {
        let read = log.read_fully(&mut piece, position)?;
        if read == 0 {
            break;
        }
        if piece[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        position += read as u64;
    }
    Ok(true)
}

/// Saves the bytes from `position` on beside the log, then cuts them off. Says where they are.
pub(crate) fn cut(file: &File, path: &Path, position: u64) -> io::Result<PathBuf> {
    let (saved_to, mut saved) = new_file(path)?;
    let mut source = file.try_clone()?;
    io::Seek::seek(&mut source, io::SeekFrom::Start(position))?;
    let copied = io::copy(&mut source, &mut saved)?;
    assert_eq!(
        position + copied,
        file.metadata()?.len(),
        "all of the torn end is saved before it is cut off"
    );
    saved.sync_all()?;
    sync_directory_of(path)?;
    file.set_len(position)?;
    file.sync_all()?;
    Ok(saved_to)
}

/// The first free one of `Data.fs.tr0`, `Data.fs.tr1`, ...
fn new_file(path: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".tr{number}"));
        match File::options().write(true).create_new(true).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return Ok((name.into(), other?)),
        }
    }
    unreachable!("a directory does not hold 2^31 files of one name")
}
