use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Disk, Node};

/// What was opened: a place in a file, shared by those who have duplicates.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) disk: Disk,
    pub(crate) node: Node,
    id: u64,
    reign: u64,
    readable: bool,
    writable: bool,
    append: bool,
    cursor: Mutex<u64>,
}

/// What may be done with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
}

impl Handle {
    pub(crate) fn new(disk: Disk, node: Node, access: Access) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            reign: disk.reign(),
            disk,
            node,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            readable: access.read,
            writable: access.write || access.append,
            append: access.append,
            cursor: Mutex::new(0),
        })
    }

    fn check(&self) -> io::Result<()> {
        self.disk.check(self.reign)
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        self.check()?;
        Ok(match &self.node {
            Node::File(file) => file.length(),
            Node::Folder(_) => 0,
        })
    }

    pub(crate) fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.check()?;
        if !self.readable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.node.file()?.read(at, bytes))
    }

    fn change(&self) -> io::Result<()> {
        self.check()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.change()
    }

    pub(crate) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.change()?;
        if !bytes.is_empty() {
            self.node.file()?.write(at, bytes);
        }
        Ok(bytes.len())
    }

    pub(crate) fn set_length(&self, length: u64) -> io::Result<()> {
        self.change()?;
        self.node.file()?.set_length(length);
        Ok(())
    }

    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read_at(bytes, *cursor)?;
        *cursor += read as u64;
        Ok(read)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if self.append {
            *cursor = self.length()?;
        }
        let written = self.write_at(bytes, *cursor)?;
        *cursor += written as u64;
        Ok(written)
    }

    pub(crate) fn seek(&self, to: io::SeekFrom) -> io::Result<u64> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let to = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(by) => cursor.checked_add_signed(by),
            io::SeekFrom::End(by) => self.length()?.checked_add_signed(by),
        };
        *cursor = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(*cursor)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.check()?;
        self.disk.change()?;
        if self.disk.keeps() {
            match &self.node {
                Node::File(file) => file.sync()?,
                Node::Folder(folder) => folder.sync(),
            }
        }
        Ok(())
    }

    pub(crate) fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        self.check()?;
        Ok(self.node.file()?.try_lock(self.id, exclusive))
    }

    pub(crate) fn unlock(&self) -> io::Result<()> {
        self.check()?;
        self.node.file()?.unlock(self.id);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Node::File(file) = &self.node {
            file.unlock(self.id);
        }
    }
}
