use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Metadata, OpenOptions, TryLockError};
use crate::disk::{Access, Disk, Handle, Node};

/// An open file or folder.
#[derive(Debug)]
pub struct File {
    handle: Arc<Handle>,
}

impl File {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    pub(crate) fn unnamed(disk: Disk) -> Self {
        let access = Access { read: true, write: true, append: false };
        Self::new(Handle::new(disk, Node::File(Arc::default()), access))
    }

    /// Opens a file or folder for reading.
    ///
    /// # Errors
    /// It is not there, or the disk is off.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::options().read(true).open(path)
    }

    /// Makes a file, or empties it, and opens it for writing.
    ///
    /// # Errors
    /// Its folder is not there, or the disk is off.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::options().write(true).create(true).truncate(true).open(path)
    }

    /// How to open a file.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// What is known of it.
    ///
    /// # Errors
    /// The disk was off.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.handle.length()?;
        Ok(Metadata::of(&self.handle.node))
    }

    /// Cuts it off, or fills it up with zeros.
    ///
    /// # Errors
    /// It is not open for writing, or the disk was off.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.handle.set_length(length)
    }

    /// What was done to it until now is there after a crash. Its name is, when its folder was synced.
    ///
    /// # Errors
    /// The disk was off.
    pub fn sync_all(&self) -> io::Result<()> {
        self.handle.sync()
    }

    /// The same.
    ///
    /// # Errors
    /// The disk was off.
    pub fn sync_data(&self) -> io::Result<()> {
        self.handle.sync()
    }

    /// Another one with the same place in the file and the same lock.
    ///
    /// # Errors
    /// The disk was off.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.handle.length()?;
        Ok(Self { handle: Arc::clone(&self.handle) })
    }

    /// Takes the lock for itself.
    ///
    /// # Errors
    /// Somebody has it, or the disk was off.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.lock(true)
    }

    /// Takes the lock with others.
    ///
    /// # Errors
    /// Somebody has it alone, or the disk was off.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.lock(false)
    }

    fn lock(&self, exclusive: bool) -> Result<(), TryLockError> {
        match self.handle.try_lock(exclusive) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TryLockError::WouldBlock),
            Err(error) => Err(TryLockError::Error(error)),
        }
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// The disk was off.
    pub fn unlock(&self) -> io::Result<()> {
        self.handle.unlock()
    }
}

impl FileExt for File {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        self.handle.read_at(bytes, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.handle.write_at(bytes, position)
    }
}

macro_rules! streams {
    ($($file:ty),*) => {$(
        impl Read for $file {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                self.handle.read(bytes)
            }
        }

        impl Write for $file {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.handle.write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Seek for $file {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.handle.seek(to)
            }
        }
    )*};
}

streams!(File, &File);
