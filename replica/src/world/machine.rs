use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs, statvfs};
use rustix::io::{Errno, ReadWriteFlags, preadv, preadv2};

pub use std::fs;

use super::Later;

/// What the wall clock says.
#[inline]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Who does what threads of ours would do, after about that time. `None`: the threads.
pub(crate) const LATER: Option<Later> = None;

/// The time since some moment of before.
pub(crate) fn monotonic() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Waits until `done`, looking every so often, for at most `longest`.
pub(crate) fn wait_until(longest: Duration, often: Duration, done: impl Fn() -> bool) {
    let deadline = Instant::now() + longest;
    while !done() && Instant::now() < deadline {
        std::thread::sleep(often);
    }
}

/// A file without a name, on the disk that has `folder`, or with `None` where temporary files go.
pub(crate) fn unnamed_file(folder: Option<&Path>) -> io::Result<fs::File> {
    match folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    }
}

/// A new file whose name begins and ends as said.
pub(crate) fn new_file(folder: &Path, prefix: &str, suffix: &str) -> io::Result<(fs::File, PathBuf)> {
    let file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder)?;
    file.keep().map_err(|error| error.error)
}

/// Reads into several buffers.
pub(crate) fn read_parts_at(
    file: &fs::File,
    parts: &mut [IoSliceMut<'_>],
    position: u64,
) -> io::Result<usize> {
    loop {
        match preadv(file, parts, position) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Reads what is in the machine's memory. `None`: it is on the disk, or that cannot be told just now.
///
/// # Errors
/// `Unsupported`: the filesystem can never tell. Others: the disk failed.
pub(crate) fn read_cached_parts_at(
    file: &fs::File,
    parts: &mut [IoSliceMut<'_>],
    position: u64,
) -> io::Result<Option<usize>> {
    match preadv2(file, parts, position, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(io::ErrorKind::Unsupported.into()),
        Err(error) => Err(error.into()),
    }
}

/// Takes space from the filesystem for these bytes of a file, without changing its length.
///
/// # Errors
/// `Unsupported`: the filesystem cannot do that. Others as the filesystem says.
pub(crate) fn take_space(file: &fs::File, from: u64, to: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, from, to - from)?)
}

/// How many bytes are free on the disk that has a file.
pub(crate) fn free_bytes_beside(file: &fs::File) -> io::Result<u64> {
    let filesystem = fstatvfs(file)?;
    Ok(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
}

/// How many bytes are free on the disk that has a folder.
pub(crate) fn free_bytes_in(folder: &Path) -> io::Result<u64> {
    let filesystem = statvfs(folder)?;
    Ok(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
}

/// Opens or makes a database.
///
/// # Errors
/// As redb says.
pub fn database(builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError> {
    builder.create(path)
}

/// Makes a database in a file that is empty.
pub(crate) fn database_in(builder: &mut Builder, file: fs::File) -> Result<Database, DatabaseError> {
    builder.create_file(file)
}

/// Opens a database that nobody has open for writing.
pub(crate) fn read_only_database(path: &Path) -> Result<ReadOnlyDatabase, DatabaseError> {
    ReadOnlyDatabase::open(path)
}
