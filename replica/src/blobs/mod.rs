//! Blobs: large binary data beside the log, one file for each revision of a blob object.
//!
//! The directory has ZODB's layout (`ZODB/blob.py`), so that its tools and clients with a shared blob directory
//! find the files: a marker file `.layout`, a directory `tmp` for clients, and below eight levels of directories, one for each
//! byte of the oid, a file `0x<tid>.blob`. (The older flat layout `lawn` is read and written where a directory
//! already has it.)
//!
//! A blob is staged first: a file of ours below `.standby`, or one that a client left in the shared directory, which a note
//! below `.standby` names, so that a start after a crash removes it too.
//! It is synced at the vote. The committer moves it to its final name before it writes the transaction, and notes
//! the move in a marker file below `.standby`, which it removes when the transaction is durable. A crash between
//! the two leaves the marker, and the next start removes the file of a transaction that is not in the log.

mod layout;
mod removal;
mod staged;

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use self::layout::Layout;
pub(crate) use self::removal::{RemovalList, work_off};
pub use self::staged::StagedBlob;
use crate::world;
use crate::world::fs;
use crate::{Oid, Tid};

const LAYOUT_MARKER: &str = ".layout";
const PENDING_SUFFIX: &str = ".pending";
const NOTE_SUFFIX: &str = ".shared";

/// Why a directory cannot hold blobs. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The marker file names a layout that is not supported.
    #[error("the blob directory {path} has the layout {layout:?}; bushy and lawn are supported")]
    UnknownLayout {
        /// The directory.
        path: PathBuf,
        /// What its marker says.
        layout: String,
    },
    /// The directory could not be read or prepared.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
}

/// The blob directory of one storage.
#[derive(Clone, Debug)]
pub struct BlobStore {
    root: PathBuf,
    /// `.standby` below the root: files of ours only (clients that share the directory use `tmp`).
    staging: PathBuf,
    layout: Layout,
    /// Held while directories are made or removed.
    directories: Arc<Mutex<()>>,
}

impl BlobStore {
    /// Opens a blob directory, and makes it where there is none.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| BlobError::Io { what, path, source }
        };
        let layout = Layout::of_directory(root)?;
        let staging = root.join(".standby");
        let shared = root.join("tmp");
        for directory in [&staging, &shared] {
            fs::create_dir_all(directory).map_err(failed("making the directory", directory))?;
        }
        let marker = root.join(LAYOUT_MARKER);
        if !world::exists(&marker) {
            fs::write(&marker, layout.name()).map_err(failed("writing", &marker))?;
        }
        Ok(Self { root: root.to_owned(), staging, layout, directories: Arc::default() })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob of this revision is, if the revision has one.
    pub fn path(&self, oid: Oid, tid: Tid) -> PathBuf {
        self.directory(oid).join(format!("{}.blob", layout::hex(tid.get())))
    }

    /// The directory of an object's blobs. Clients that share the directory leave their uploads there.
    pub fn directory(&self, oid: Oid) -> PathBuf {
        self.root.join(self.layout.directory(oid))
    }

    /// A new empty file to be filled.
    ///
    /// # Errors
    /// The file could not be made.
    pub fn stage(&self) -> io::Result<(fs::File, StagedBlob)> {
        let (file, path) = world::new_file(&self.staging, "upload-", ".tmp")?;
        Ok((file, StagedBlob::new(path, None)))
    }

    /// Takes charge of a file that a client has put into the object's directory, and notes it.
    ///
    /// # Errors
    /// There is no such file, or the note could not be written. The file stays where it is.
    pub fn stage_shared(&self, oid: Oid, name: &str) -> io::Result<StagedBlob> {
        let path = self.directory(oid).join(name);
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        let (mut file, note) = world::new_file(&self.staging, "", NOTE_SUFFIX)?;
        if let Err(error) = write!(file, "{:016x} {name}", oid.get()) {
            let _ = fs::remove_file(note); // else the next start does
            return Err(error);
        }
        Ok(StagedBlob::new(path, Some(note)))
    }

    /// A second name (or, where the file system has no such thing, a copy) of a committed blob, for an undo.
    ///
    /// # Errors
    /// There is no such blob, or the disk is full.
    pub fn stage_copy(&self, oid: Oid, tid: Tid) -> io::Result<StagedBlob> {
        let source = self.path(oid, tid);
        let (file, staged) = self.stage()?;
        drop(file);
        fs::remove_file(staged.path())?;
        if fs::hard_link(&source, staged.path()).is_err() {
            fs::copy(&source, staged.path())?;
        }
        Ok(staged)
    }

    /// Moves a staged blob to its final name, read-only, so that it is there after a power failure. The returned
    /// move is to be completed when its transaction is durable; dropped without, it is taken back.
    pub(crate) fn place(&self, oid: Oid, tid: Tid, staged: StagedBlob) -> io::Result<Placed> {
        let marker = self.staging.join(format!("{:016x}.{:016x}{PENDING_SUFFIX}", oid.get(), tid.get()));
        fs::File::create(&marker)?;
        let placed = Placed { path: self.path(oid, tid), marker, fate: Fate::Open };
        let directory = self.directory(oid);
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let made = create_directories(&self.root, &directory)?;
        let mut permissions = fs::metadata(staged.path())?.permissions();
        permissions.set_mode(permissions.mode() & !0o222);
        fs::set_permissions(staged.path(), permissions)?;
        staged.rename(&placed.path)?;
        drop(directories);
        for directory in made.iter().chain([&directory]) {
            fs::File::open(directory)?.sync_all()?;
        }
        Ok(placed)
    }

    /// Gives the blob of this revision in another store a second name here (or, where the file system has no such
    /// thing, a copy), durably. Nothing, where it has one.
    pub(crate) fn adopt(&self, from: &Self, oid: Oid, tid: Tid) -> io::Result<()> {
        let (source, path) = (from.path(oid, tid), self.path(oid, tid));
        let directory = self.directory(oid);
        let made = create_directories(&self.root, &directory)?;
        if !world::exists(&path) && fs::hard_link(&source, &path).is_err() {
            let part = self.staging.join(format!("{:016x}.{:016x}.copy", oid.get(), tid.get()));
            fs::copy(&source, &part)?;
            fs::File::open(&part)?.sync_all()?;
            fs::rename(&part, &path)?;
        }
        for directory in made.iter().chain([&directory]) {
            fs::File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// Removes a revision's blob and the directories that it leaves empty. `false`: there was none.
    pub(crate) fn remove(&self, oid: Oid, tid: Tid) -> io::Result<bool> {
        match fs::remove_file(self.path(oid, tid)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
        let _directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directory = self.directory(oid);
        // Removing one that is not empty fails.
        while directory != self.root && fs::remove_dir(&directory).is_ok() {
            directory.pop();
        }
        Ok(true)
    }

    /// After a crash: removes half-finished uploads, and blobs of transactions that are not in the log. Returns the
    /// number of the latter.
    pub(crate) fn recover(&self, is_committed: impl Fn(Tid) -> bool) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.staging)? {
            let path = entry?.path();
            if let Some((oid, tid)) = pending_of(&path)
                && !is_committed(tid)
                && fs::remove_file(self.path(oid, tid)).is_ok()
            {
                removed += 1;
            }
            if path.to_string_lossy().ends_with(NOTE_SUFFIX) {
                self.remove_noted(&fs::read_to_string(&path)?)?;
            }
            fs::remove_file(&path)?;
        }
        Ok(removed)
    }

    /// Removes the client's file that a note names, if it is still there. A note that a crash cut off names none.
    fn remove_noted(&self, note: &str) -> io::Result<()> {
        let Some((oid, name)) = noted(note) else { return Ok(()) };
        match fs::remove_file(self.directory(oid).join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The object and name of a client's file in a note.
fn noted(note: &str) -> Option<(Oid, &str)> {
    let (oid, name) = note.split_once(' ')?;
    Some((Oid::new(u64::from_str_radix(oid, 16).ok()?), name))
}

/// The object and transaction that a marker file names.
fn pending_of(path: &Path) -> Option<(Oid, Tid)> {
    let (oid, tid) = path.file_name()?.to_str()?.strip_suffix(PENDING_SUFFIX)?.split_once('.')?;
    Some((Oid::new(u64::from_str_radix(oid, 16).ok()?), Tid::new(u64::from_str_radix(tid, 16).ok()?)))
}

/// Makes a directory below `root`, and those that lead to it. Returns the parents of those that were not there, which
/// must be synced for the new entries to last.
fn create_directories(root: &Path, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let mut next = directory;
    while next != root && !fs::metadata(next).is_ok_and(|found| found.is_dir()) {
        missing.push(next.to_owned());
        next = next.parent().unwrap_or(root);
    }
    fs::create_dir_all(directory)?;
    Ok(missing.iter().filter_map(|made| made.parent().map(Path::to_owned)).collect())
}

/// A blob at its final name whose transaction is not durable yet.
#[derive(Debug)]
pub(crate) struct Placed {
    path: PathBuf,
    marker: PathBuf,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    /// The blob goes if this is dropped.
    Open,
    /// The blob stays.
    Durable,
    /// The blob stays with its marker: the next start decides.
    Unknown,
}

impl Placed {
    /// The transaction is durable: the blob stays.
    pub(crate) fn complete(mut self) {
        self.fate = Fate::Durable;
    }

    /// Nobody knows whether the transaction is durable: the next start will see.
    pub(crate) fn leave(mut self) {
        self.fate = Fate::Unknown;
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let removed = match self.fate {
            Fate::Unknown => return,
            Fate::Durable => Ok(()),
            Fate::Open => fs::remove_file(&self.path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()), // it was not moved yet
                _ => Err(error),
            }),
        };
        if removed.is_ok() {
            let _ = fs::remove_file(&self.marker); // else the next start removes it
        }
    }
}

#[cfg(test)]
#[path = "blobs_test.rs"]
mod tests;
