use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use replica::{NoProgress, OpenOptions, Storage};
use zodb_types::Tid;

use super::{files, made};
use crate::cluster::Node;

/// Where blobs may be, from the folder of the `Data.fs`.
const BLOBS_BESIDE: [&str; 4] = ["blobs", "blobstorage", "../blobs", "../blobstorage"];
/// So many copies there are: the one that is compared with, and one at each node.
const COPIES: u64 = 5;

/// What the cluster begins with: a copy, which nobody changes.
#[derive(Debug)]
pub struct Site {
    /// Its `Data.fs`.
    pub data: PathBuf,
    /// Its blobs.
    pub blobs: PathBuf,
    /// What it is, in words.
    pub what: String,
    /// Its last transaction.
    pub last_tid: Tid,
    /// How long its log is up to the end of that, in bytes.
    length: u64,
}

impl Site {
    /// Makes one in this folder.
    pub fn make(folder: &Path) -> Result<Self> {
        let (data, blobs) = (folder.join("Data.fs"), folder.join("blobs"));
        std::fs::create_dir_all(folder)?;
        made::make(&data, &blobs)?;
        Self::of(data, blobs, "a small site that was made for this")
    }

    /// Copies one into this folder: a `Data.fs`, or the folder with it. Its blobs are where they are named, else beside it.
    pub fn copy(named: &Path, named_blobs: Option<&Path>, folder: &Path) -> Result<Self> {
        let original = if named.is_dir() { named.join("Data.fs") } else { named.to_owned() };
        ensure!(original.is_file(), "there is no file {}", original.display());
        let beside = original.parent().context("a file lies in a folder")?;
        let beside = BLOBS_BESIDE.iter().map(|name| beside.join(name)).find(|folder| folder.is_dir());
        let original_blobs = named_blobs.map(Path::to_owned).or(beside);
        std::fs::create_dir_all(folder)?;
        let blobs_length = original_blobs.as_deref().map_or(Ok(0), files::length_of)?;
        ensure_space(folder, COPIES * (original.metadata()?.len() + blobs_length))?;
        let (data, blobs) = (folder.join("Data.fs"), folder.join("blobs"));
        std::fs::copy(&original, &data).with_context(|| format!("cannot copy {}", original.display()))?;
        match &original_blobs {
            Some(original) => files::copy_folder(original, &blobs)
                .with_context(|| format!("cannot copy the blobs in {}", original.display()))?,
            None => std::fs::create_dir_all(&blobs)?,
        }
        Self::of(data, blobs, &format!("a copy of {}", original.display()))
    }

    fn of(data: PathBuf, blobs: PathBuf, what: &str) -> Result<Self> {
        let storage = open(&data)?;
        let (objects, length, last_tid) = (storage.object_count(), storage.size_bytes(), storage.last_tid());
        ensure!(objects > 0, "{} has no objects", data.display());
        let files = files::blobs_in(&blobs)?.len();
        let megabytes = length as f64 / 1e6;
        let what = format!("{what}: {objects} objects, {megabytes:.1} MB, {files} blobs");
        Ok(Self { data, blobs, what, last_tid, length })
    }

    /// Gives it to a node that has not been started yet.
    pub fn give_to(&self, node: &Node) -> Result<()> {
        std::fs::copy(&self.data, node.data())?;
        files::copy_folder(&self.blobs, &node.blobs())
    }

    /// A node still has all of it: its log begins with this one, byte for byte, and its blobs are all there.
    ///
    /// # Errors
    /// It has not; the error says what is missing.
    pub fn ensure_whole_at(&self, node: &Node) -> Result<()> {
        files::ensure_begins_with(&node.data(), &self.data, self.length)?;
        for path in files::blobs_in(&self.blobs)?.keys() {
            files::ensure_equal(&node.blobs().join(path), &self.blobs.join(path))?;
        }
        Ok(())
    }
}

/// Opens a file only to read it; it may be in use.
pub fn open(data: &Path) -> Result<Storage> {
    let options = OpenOptions { read_only: true, create: false, ..OpenOptions::default() };
    let (storage, _) = Storage::open(data, &options, &NoProgress)
        .with_context(|| format!("{} cannot be read", data.display()))?;
    Ok(storage)
}

fn ensure_space(folder: &Path, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < bytes + bytes / 4 {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        bail!(
            "the nodes need {:.1} GB, and {:.1} GB are free in {}",
            gigabytes(bytes + bytes / 4),
            gigabytes(free),
            folder.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_found_with_its_blobs_and_copied_whole() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let made = Site::make(&folder.path().join("made"))?;
        assert!(made.what.contains("20 blobs"), "{}", made.what);
        let copy = Site::copy(&folder.path().join("made"), None, &folder.path().join("copy"))?;
        assert_eq!((copy.last_tid, copy.length), (made.last_tid, made.length));
        assert_eq!(files::blobs_in(&copy.blobs)?, files::blobs_in(&made.blobs)?);
        let none = Site::copy(&folder.path().join("none"), None, &folder.path().join("other"));
        assert!(none.expect_err("there is none").to_string().contains("there is no file"));
        Ok(())
    }
}
