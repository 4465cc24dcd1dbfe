use std::io;
use std::sync::Arc;

use crate::log::LogFile;

/// Reads a part of the log in order, in large pieces.
pub(crate) struct Window {
    log: Arc<LogFile>,
    /// Where the bytes begin.
    start: u64,
    bytes: Vec<u8>,
    /// How much is read at once.
    piece: usize,
    /// Nothing is read from here on.
    end: u64,
}

impl Window {
    pub(crate) fn new(log: Arc<LogFile>, piece: usize, end: u64) -> Self {
        Self { log, start: 0, bytes: Vec::new(), piece, end }
    }

    pub(crate) fn log(&self) -> &Arc<LogFile> {
        &self.log
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes at `position`: `length` of them, or fewer where the end comes before.
    pub(crate) fn at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let length = (self.end.saturating_sub(position)).min(length as u64) as usize;
        let inside =
            position >= self.start && position + length as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let wanted = (length.max(self.piece) as u64).min(self.end.saturating_sub(position)) as usize;
            self.bytes.resize(wanted, 0);
            let read = self.log.read_fully(&mut self.bytes, position)?;
            self.bytes.truncate(read);
            self.start = position;
        }
        let from = (position - self.start) as usize;
        Ok(&self.bytes[from..(from + length).min(self.bytes.len())])
    }

    /// Appends the bytes from `position` on to `out`, all of them.
    pub(crate) fn copy(&mut self, position: u64, length: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let mut copied = 0;
        while copied < length {
            let bytes = self.some_at(position + copied, length - copied)?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out.extend_from_slice(bytes);
            copied += bytes.len() as u64;
        }
        Ok(())
    }

    /// The bytes from `position` on that need no further reading, at least one and at most `length`; none at the
    /// end.
    pub(crate) fn some_at(&mut self, position: u64, length: u64) -> io::Result<&[u8]> {
        if position < self.start || position >= self.start + self.bytes.len() as u64 {
            self.at(position, 1)?;
        }
        let from = (position - self.start) as usize;
        let to = (from as u64).saturating_add(length).min(self.bytes.len() as u64) as usize;
        Ok(&self.bytes[from.min(to)..to])
    }
}
