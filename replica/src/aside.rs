//! Setting a whole copy aside, so that a node can begin anew: for a copy that cannot be continued.
//!
//! The log, what belongs to it and the blobs are renamed into a folder beside the log, `Data.fs.aside-<seconds since 1970>`.
//! Before the first of them is, a note says what is to be moved where: `Data.fs.aside`. Where a crash left one, the next
//! opening moves the rest. Saved lost transactions stay where they are looked for, and so does the greatest oid.
//!
//! The note, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SBASIDE1` |
//! | 2 + n | the folder, after its length |
//! | 2 + n | the blob directory, after its length; empty without one |
//! | 16 | XXH3 (128 bits, seed 0) of all before |

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use twox_hash::XxHash3_128;

use crate::lock::LogLock;
use crate::open::folder;
use crate::world;
use crate::world::fs::{self, File};
use crate::world::sync_directory_of;
use crate::{OpenError, Progress};

const MAGIC: &[u8; 8] = b"SBASIDE1";
/// Files that belong to a log, by what their names have more than its own: of a pack and of ZODB.
const BESIDE: [&str; 5] = ["", ".old", ".pack", ".index", ".standby"];
/// What of `Data.fs.standby` stays.
const STAYS: [&str; 2] = ["lost", "oids"];

/// Moves the log at `path` with all that belongs to it and its blobs into a new folder beside it, which is returned: the
/// next opening begins with an empty log. The storage must be closed. Blobs on another file system than the log's get
/// a new name there, with the same ending as the folder.
///
/// # Errors
/// The log does not exist, is in use, or could not be moved; the next opening completes what began.
pub fn set_aside(path: &Path, blob_dir: Option<&Path>) -> Result<PathBuf, OpenError> {
    let failed = |source| OpenError::Io { what: "setting aside", path: path.to_owned(), source };
    if !world::exists(path) {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let _lock = LogLock::take(path)?;
    complete(path).map_err(failed)?;
    begin(path, blob_dir).map_err(failed)
}

/// Completes what a crash cut short, before the log at `path` is opened. The lock is held.
pub(crate) fn finish(path: &Path, progress: &dyn Progress) -> io::Result<()> {
    if let Some(to) = complete(path)? {
        let to = to.display();
        progress.note(&format!("setting the log aside was cut short, and was completed: it is in {to}"));
    }
    Ok(())
}

fn begin(path: &Path, blob_dir: Option<&Path>) -> io::Result<PathBuf> {
    let mut seconds = world::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let to = loop {
        let to = with_suffix(&std::path::absolute(path)?, &format!(".aside-{seconds}"));
        match fs::create_dir(&to) {
            Ok(()) => break to,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => seconds += 1,
            Err(error) => return Err(error),
        }
    };
    let blobs = blob_dir.map(std::path::absolute).transpose()?;
    Note { to: to.clone(), blobs }.write(path)?;
    complete(path)?;
    Ok(to)
}

/// Moves what is still to be moved.
fn complete(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(Note { to, blobs }) = Note::read(path)? else { return Ok(None) };
    let name = path.file_name().unwrap_or_default();
    for suffix in BESIDE {
        let from = with_suffix(path, suffix);
        rename_once(&from, &to.join(with_suffix(Path::new(name), suffix)))?;
    }
    if let Some(blobs) = &blobs {
        move_blobs(blobs, &to)?;
    }
    let moved = to.join(with_suffix(Path::new(name), ".standby"));
    for name in STAYS {
        if world::exists(moved.join(name)) {
            fs::create_dir_all(folder(path))?;
            rename_once(&moved.join(name), &folder(path).join(name))?;
            File::open(folder(path))?.sync_all()?;
        }
    }
    File::open(&to)?.sync_all()?;
    sync_directory_of(path)?;
    fs::remove_file(note_path(path))?;
    sync_directory_of(path)?;
    Ok(Some(to))
}

fn move_blobs(blobs: &Path, to: &Path) -> io::Result<()> {
    let name = blobs.file_name().ok_or_else(|| io::Error::other("the blob directory has no name"))?;
    match rename_once(blobs, &to.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let time = to.extension().unwrap_or_default();
            rename_once(blobs, &with_suffix(blobs, &format!(".{}", time.to_string_lossy())))?;
        }
        other => other?,
    }
    sync_directory_of(blobs)
}

/// Renames what is there, unless something has that name already.
fn rename_once(from: &Path, to: &Path) -> io::Result<()> {
    if !world::exists(from) || world::exists(to) { Ok(()) } else { fs::rename(from, to) }
}

/// What is to be moved.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    to: PathBuf,
    blobs: Option<PathBuf>,
}

impl Note {
    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        for part in [self.to.as_os_str(), self.blobs.as_deref().map_or(OsStr::new(""), Path::as_os_str)] {
            let length = u16::try_from(part.len()).map_err(|_| io::ErrorKind::InvalidFilename)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&XxHash3_128::oneshot(&bytes).to_be_bytes());
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
        if XxHash3_128::oneshot(content).to_be_bytes() != sum {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let mut part = || -> Option<PathBuf> {
            let (length, after) = rest.split_at_checked(2)?;
            let (part, after) =
                after.split_at_checked(usize::from(length[0]) << 8 | usize::from(length[1]))?;
            rest = after;
            Some(OsStr::from_bytes(part).into())
        };
        let (to, blobs) = (part()?, part()?);
        rest.is_empty().then(|| Self { to, blobs: (!blobs.as_os_str().is_empty()).then_some(blobs) })
    }

    fn read(log: &Path) -> io::Result<Option<Self>> {
        let path = note_path(log);
        match fs::read(&path) {
            Ok(bytes) => Self::decode(&bytes).map(Some).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the note, durably, all or nothing.
    fn write(&self, log: &Path) -> io::Result<()> {
        let path = note_path(log);
        let new = path.with_extension("aside.new");
        let mut file = File::create(&new)?;
        file.write_all(&self.encode()?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory_of(&path)
    }
}

fn note_path(log: &Path) -> PathBuf {
    with_suffix(log, ".aside")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
#[path = "aside_test.rs"]
mod tests;
