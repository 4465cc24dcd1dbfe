use std::io;
use std::os::unix::fs::FileExt;

use crate::world::fs::File;

/// So much is written at once.
const PIECE_BYTES: usize = 4 << 20;
/// So much is made durable at once: more would make the syncs of commits wait too long behind it.
const SYNC_BYTES: u64 = 16 << 20;

/// A file that is written from its beginning.
pub(super) struct Output {
    file: File,
    /// How much of it is in the file.
    written: u64,
    /// How much of that is durable.
    synced: u64,
    buffer: Vec<u8>,
}

impl Output {
    pub(super) fn new(file: File) -> Self {
        Self { file, written: 0, synced: 0, buffer: Vec::with_capacity(PIECE_BYTES + (1 << 16)) }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes over what was written.
    pub(super) fn patch(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(position + bytes.len() as u64 <= self.position(), "only what was written is written over");
        if position < self.written {
            self.flush()?;
            return self.file.write_all_at(bytes, position);
        }
        let at = (position - self.written) as usize;
        self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.synced >= SYNC_BYTES { self.sync_written() } else { Ok(()) }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sync_written()
    }

    fn sync_written(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.written;
        Ok(())
    }

    pub(super) fn into_file(self) -> File {
        assert!(self.buffer.is_empty(), "everything was synced");
        self.file
    }
}
