//! Removing the blobs of revisions that a pack removed.
//!
//! The list of them is written down before the packed log takes its place, and worked off afterwards; a start works off
//! what a crash left. A blob is removed only if the log does not have its revision: so a list that was written
//! for a pack that did not come to an end removes nothing.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::inner::Generation;
use crate::{BlobStore, Oid, ReadError, Tid};

fn list_path(index: &Path) -> PathBuf {
    index.with_file_name("blobs-to-remove")
}

/// Writes down what is to be removed: a line for each, oid and tid in hexadecimal.
pub(super) fn note_removals(index: &Path, removals: &[(Oid, Tid)]) -> io::Result<()> {
    if removals.is_empty() {
        return Ok(());
    }
    let mut list = fs::File::create(list_path(index))?;
    let lines: String =
        removals.iter().map(|(oid, tid)| format!("{:016x} {:016x}\n", oid.get(), tid.get())).collect();
    list.write_all(lines.as_bytes())?;
    list.sync_all()
}

/// Removes what the list names, and the list.
pub(super) fn remove(blobs: &BlobStore, index: &Path, now: &Generation) -> Result<u64, ReadError> {
    finish_removal(blobs, index, &|oid, tid| Ok(now.find_record(oid, tid)?.is_some()))
}

/// The same for a start. `has` says whether the log has a revision.
pub(crate) fn finish_removal(
    blobs: &BlobStore,
    index: &Path,
    has: &dyn Fn(Oid, Tid) -> Result<bool, ReadError>,
) -> Result<u64, ReadError> {
    let path = list_path(index);
    let list = match fs::read_to_string(&path) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let number = |text: Option<&str>| text.and_then(|text| u64::from_str_radix(text, 16).ok());
    let mut removed = 0;
    for line in list.lines() {
        let mut parts = line.split(' ');
        let (Some(oid), Some(tid)) = (number(parts.next()), number(parts.next())) else { continue };
        let (oid, tid) = (Oid::new(oid), Tid::new(tid));
        if !has(oid, tid)? && fs::remove_file(blobs.path(oid, tid)).is_ok() {
            removed += 1;
            remove_empty(blobs.root(), &blobs.directory(oid));
        }
    }
    fs::remove_file(&path)?;
    Ok(removed)
}

/// Removes a directory and those that lead to it as far as they are empty.
fn remove_empty(root: &Path, directory: &Path) {
    let mut next = Some(directory);
    while let Some(directory) = next.filter(|directory| *directory != root) {
        if fs::remove_dir(directory).is_err() {
            return;
        }
        next = directory.parent();
    }
}
