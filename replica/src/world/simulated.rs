use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, StorageBackend, StorageError};

pub use simulated_world::clock::now;
pub use simulated_world::fs;

use super::Later;

/// Whoever the simulation has set up for it.
pub(crate) const LATER: Option<Later> = Some(simulated_world::later::after);

pub(crate) fn monotonic() -> Duration {
    now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Nothing happens while one waits here: looks once.
pub(crate) fn wait_until(_longest: Duration, _often: Duration, done: impl Fn() -> bool) {
    done();
}

pub(crate) fn unnamed_file(folder: Option<&Path>) -> io::Result<fs::File> {
    fs::unnamed_file(folder.ok_or(io::ErrorKind::Unsupported)?)
}

pub(crate) fn new_file(folder: &Path, prefix: &str, suffix: &str) -> io::Result<(fs::File, PathBuf)> {
    fs::new_file(folder, prefix, suffix)
}

pub(crate) fn read_parts_at(
    file: &fs::File,
    parts: &mut [IoSliceMut<'_>],
    position: u64,
) -> io::Result<usize> {
    let mut done = 0;
    for part in parts {
        let read = file.read_at(part, position + done as u64)?;
        done += read;
        if read < part.len() {
            break;
        }
    }
    Ok(done)
}

/// Everything is in memory.
pub(crate) fn read_cached_parts_at(
    file: &fs::File,
    parts: &mut [IoSliceMut<'_>],
    position: u64,
) -> io::Result<Option<usize>> {
    read_parts_at(file, parts, position).map(Some)
}

pub(crate) fn take_space(_file: &fs::File, _from: u64, _to: u64) -> io::Result<()> {
    Ok(())
}

/// There is always room.
pub(crate) fn free_bytes_beside(_file: &fs::File) -> io::Result<u64> {
    Ok(1 << 40)
}

pub(crate) fn free_bytes_in(_folder: &Path) -> io::Result<u64> {
    Ok(1 << 40)
}

/// Opens or makes a database.
///
/// # Errors
/// As redb says.
pub fn database(builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError> {
    let mut how = fs::File::options();
    let file =
        how.read(true).write(true).create(true).truncate(false).open(path).map_err(StorageError::Io)?;
    database_in(builder, file)
}

pub(crate) fn database_in(builder: &mut Builder, file: fs::File) -> Result<Database, DatabaseError> {
    match file.try_lock() {
        Ok(()) => builder.create_with_backend(Backend(file)),
        Err(fs::TryLockError::WouldBlock) => Err(DatabaseError::DatabaseAlreadyOpen),
        Err(fs::TryLockError::Error(error)) => Err(StorageError::Io(error).into()),
    }
}

/// Only tools for files at rest do this, and they are not simulated.
pub(crate) fn read_only_database(_path: &Path) -> Result<ReadOnlyDatabase, DatabaseError> {
    Err(StorageError::Io(io::ErrorKind::Unsupported.into()).into())
}

#[derive(Debug)]
struct Backend(fs::File);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, position)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn close(&self) -> io::Result<()> {
        self.0.unlock()
    }
}
