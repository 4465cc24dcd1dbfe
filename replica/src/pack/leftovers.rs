//! The files of a pack, and what a crash leaves of them.
//!
//! | file | while | at the next opening |
//! |---|---|---|
//! | `Data.fs.pack` | it is written, up to the switch | the pack was not finished: it and the three below are removed |
//! | `Data.fs.standby/index.redb.pack` | as above, and a moment after | without `Data.fs.pack`: takes its place |
//! | `Data.fs.standby/blobs-to-remove.pack` | as above | without `Data.fs.pack`: takes its place |
//! | `Data.fs.standby/anchor.pack` | as above | without `Data.fs.pack`: takes its place, as the last one |
//! | `Data.fs.standby/blobs-to-remove` | blobs are removed | worked off |
//!
//! `Data.fs.pack` is made before the others, durably, and removed after them. It becomes `Data.fs` by one
//! rename, after `Data.fs` was given a second name, `Data.fs.old`. So there is always a `Data.fs`, the old or the
//! new one, and whether `Data.fs.pack` is there says which. Where a file system has no second names, `Data.fs` is
//! renamed to `Data.fs.old` first; a crash right then (or of ZODB's own pack) leaves no `Data.fs`, and the old one is
//! put back.

use std::io;
use std::path::{Path, PathBuf};

use crate::Progress;
use crate::open::{anchor_path, folder, index_path};
use crate::world;
use crate::world::fs;
use crate::world::sync_directory_of;

/// `Data.fs.pack`
pub(crate) fn packed_path(path: &Path) -> PathBuf {
    with_suffix(path, ".pack")
}

/// `Data.fs.old`
pub(crate) fn old_path(path: &Path) -> PathBuf {
    with_suffix(path, ".old")
}

/// The list of blobs that a finished pack dropped.
pub(crate) fn blob_list_path(path: &Path) -> PathBuf {
    folder(path).join("blobs-to-remove")
}

/// The name of a file of the pack until the switch.
pub(crate) fn staged(path: &Path) -> PathBuf {
    with_suffix(path, ".pack")
}

/// What takes its place after the switch, in this order.
fn staged_files(path: &Path) -> [PathBuf; 3] {
    [index_path(path), blob_list_path(path), anchor_path(path)]
}

/// Finishes a pack whose log has taken its place.
pub(crate) fn finish(path: &Path) -> io::Result<()> {
    for file in staged_files(path) {
        match fs::rename(staged(&file), &file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        // The last one says that the others were there.
        sync_directory_of(&file)?;
    }
    Ok(())
}

/// Removes all that an unfinished pack made.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let mut removed = false;
    for file in staged_files(path) {
        removed |= remove_file(&staged(&file))?;
    }
    if removed {
        sync_directory_of(&index_path(path))?;
    }
    if remove_file(&packed_path(path))? {
        sync_directory_of(path)?;
    }
    Ok(())
}

/// Finishes or removes what a crash left. The lock is held.
pub(crate) fn settle(path: &Path, progress: &dyn Progress) -> io::Result<()> {
    let (packed, old) = (packed_path(path), old_path(path));
    if !world::exists(path) && world::exists(&packed) && world::exists(&old) {
        fs::rename(&old, path)?;
        sync_directory_of(path)?;
        progress.note("a pack was cut short between its renames; the old log was put back");
    }
    if world::exists(&packed) {
        remove(path)?;
        progress.note("a pack was cut short; what it had made was removed");
    } else if world::exists(staged(&anchor_path(path))) {
        finish(path)?;
        progress.note("a pack was cut short after it had taken effect, and was finished");
    } else if world::exists(path) {
        remove(path)?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
