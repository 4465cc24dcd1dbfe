use std::io;
use std::path::{Path, PathBuf};

use crate::world::fs;

/// A blob that is not committed: a file that is removed when this is dropped.
#[derive(Debug)]
pub struct StagedBlob {
    path: PathBuf,
    /// A file that names this one to the next start, where it would not know it.
    note: Option<PathBuf>,
}

impl StagedBlob {
    /// Takes charge of a file on the same file system as the blob directory.
    pub(super) fn new(path: PathBuf, note: Option<PathBuf>) -> Self {
        Self { path, note }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes its contents last.
    ///
    /// # Errors
    /// The file is gone, or the disk failed.
    pub fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    /// Moves the file; it is nobody's to remove afterwards.
    pub(super) fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.path = PathBuf::new();
        self.forget();
        Ok(())
    }

    /// Removes the note. One that stays names a file that is not there, and goes at the next start.
    fn forget(&mut self) {
        if let Some(note) = self.note.take() {
            let _ = fs::remove_file(note);
        }
    }
}

impl Drop for StagedBlob {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path); // a start removes what is left of ours
            self.forget();
        }
    }
}
