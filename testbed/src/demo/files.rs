//! Copying and comparing files and folders.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// So much is compared at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.read_dir().with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        // Where a link leads is copied, too.
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

/// The files of a folder and their lengths, by their paths in it. Of blobs: those that end with `.blob`.
pub fn blobs_in(folder: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "blob") {
                found.insert(path.strip_prefix(folder)?.to_owned(), path.metadata()?.len());
            }
        }
    }
    Ok(found)
}

/// How long all files in a folder are together, in bytes.
pub fn length_of(folder: &Path) -> Result<u64> {
    let mut length = 0;
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry?.path();
        length += if path.is_dir() { length_of(&path)? } else { path.metadata()?.len() };
    }
    Ok(length)
}

/// A file begins with what another has up to this length.
///
/// # Errors
/// It does not, or cannot be read.
pub fn ensure_begins_with(file: &Path, beginning: &Path, length: u64) -> Result<()> {
    let open = |path: &Path| -> Result<_> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(BufReader::with_capacity(PIECE_BYTES, file).take(length))
    };
    let (mut one, mut other) = (open(file)?, open(beginning)?);
    let (mut ours, mut theirs) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut left = length;
    while left > 0 {
        let piece = left.min(PIECE_BYTES as u64) as usize;
        one.read_exact(&mut ours[..piece]).with_context(|| file.display().to_string())?;
        other.read_exact(&mut theirs[..piece]).with_context(|| beginning.display().to_string())?;
        let differ = || format!("{} differs from {}", file.display(), beginning.display());
        ensure!(ours[..piece] == theirs[..piece], differ());
        left -= piece as u64;
    }
    Ok(())
}

/// Two files are equal.
///
/// # Errors
/// They are not, or cannot be read.
pub fn ensure_equal(one: &Path, other: &Path) -> Result<()> {
    let (length, expected) = (one.metadata()?.len(), other.metadata()?.len());
    ensure!(length == expected, "{} has {length} bytes, {} has {expected}", one.display(), other.display());
    ensure_begins_with(one, other, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_equal_or_the_difference_is_named() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let [one, other, long] = ["one", "other", "long"].map(|name| folder.path().join(name));
        std::fs::write(&one, b"abc")?;
        std::fs::write(&other, b"abd")?;
        std::fs::write(&long, b"abcd")?;
        ensure_equal(&one, &one)?;
        ensure_begins_with(&long, &one, 3)?;
        ensure_begins_with(&other, &one, 2)?;
        assert!(ensure_equal(&one, &other).is_err());
        assert!(ensure_equal(&one, &long).is_err());
        assert!(ensure_begins_with(&one, &long, 4).is_err());
        Ok(())
    }
}
