use std::sync::Arc;

use crate::format::{
    BACK_POINTER, RECORD_HEADER, REDUNDANT_LENGTH, RecordHead, TRANSACTION_HEADER, TransactionHead, number,
};
use crate::log::{LogFile, check_earlier};
use crate::window::Window;
use crate::{Oid, ReadError, ReadMode};

/// How much of the log is read at once.
const PIECE_BYTES: usize = 2 << 20;

/// Reads transactions and their records in order, with the data. What it reads has been checked before.
pub(super) struct Walk {
    window: Window,
    position: u64,
}

/// A transaction that is being read.
pub(super) struct Walked {
    pub(super) head: TransactionHead,
    pub(super) position: u64,
    /// User, description and extension.
    pub(super) metadata: Vec<u8>,
    /// Where its records end.
    pub(super) records_end: u64,
    /// Where the next record begins.
    next: u64,
}

impl Walk {
    /// From `position` on, not beyond `end`; both are where transactions end.
    pub(super) fn new(log: Arc<LogFile>, position: u64, end: u64) -> Self {
        Self { window: Window::new(log, PIECE_BYTES, end), position }
    }

    pub(super) fn log(&self) -> &LogFile {
        self.window.log()
    }

    /// The next transaction.
    pub(super) fn transaction(&mut self) -> Result<Option<Walked>, ReadError> {
        let position = self.position;
        if position >= self.window.end() {
            return Ok(None);
        }
        let cut_off = || ReadError::corrupt(position, "the log ends within a transaction");
        let head =
            TransactionHead::decode(self.window.at(position, TRANSACTION_HEADER)?).ok_or_else(cut_off)?;
        let length = head.metadata_length() as usize;
        let metadata = self.window.at(position + TRANSACTION_HEADER as u64, length)?.to_vec();
        let end = position.checked_add(head.length).and_then(|end| end.checked_add(REDUNDANT_LENGTH));
        let fits = end.is_some_and(|end| end <= self.window.end()) && head.length >= head.header_length();
        if metadata.len() != length || !fits {
            return Err(cut_off());
        }
        let records_end = position + head.length;
        self.position = records_end + REDUNDANT_LENGTH;
        Ok(Some(Walked { head, position, metadata, records_end, next: position + head.header_length() }))
    }

    /// Where the last transaction ended.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next record of a transaction, and where it lies.
    pub(super) fn record(&mut self, of: &mut Walked) -> Result<Option<(u64, RecordHead)>, ReadError> {
        let position = of.next;
        if position >= of.records_end {
            return Ok(None);
        }
        let head = RecordHead::decode(self.window.at(position, RECORD_HEADER)?);
        let fits = |head: &RecordHead| {
            head.tid == of.head.tid
                && head.transaction == of.position
                && position.checked_add(head.length()).is_some_and(|end| end <= of.records_end)
        };
        let head = head
            .filter(fits)
            .ok_or_else(|| ReadError::corrupt(position, "the record does not fit its transaction"))?;
        of.next = position + head.length();
        Ok(Some((position, head)))
    }

    /// The data of the record at `position`, which has some.
    pub(super) fn data(&mut self, position: u64, head: &RecordHead) -> Result<&[u8], ReadError> {
        let data = self.window.at(position + RECORD_HEADER as u64, head.data_length as usize)?;
        if data.len() as u64 != head.data_length {
            return Err(ReadError::corrupt(position, "the log ends within a record"));
        }
        Ok(data)
    }

    /// The first bytes of the data.
    pub(super) fn data_begin(
        &mut self,
        position: u64,
        head: &RecordHead,
        length: u64,
    ) -> Result<&[u8], ReadError> {
        let length = length.min(head.data_length) as usize;
        Ok(self.window.at(position + RECORD_HEADER as u64, length)?)
    }

    /// Hands the data over in pieces, however long they are.
    pub(super) fn each_piece<E: From<ReadError>>(
        &mut self,
        position: u64,
        length: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = position + length;
        let mut at = position;
        while at < end {
            let piece = self.window.some_at(at, end - at).map_err(ReadError::from)?;
            if piece.is_empty() {
                return Err(ReadError::corrupt(at, "the log ends within a record").into());
            }
            take(piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Where the record at `position`, which has no data, points back to (0 for none).
    pub(super) fn back(&mut self, position: u64) -> Result<u64, ReadError> {
        let bytes = self.window.at(position + RECORD_HEADER as u64, BACK_POINTER)?;
        if bytes.len() < BACK_POINTER {
            return Err(ReadError::corrupt(position, "the log ends within a record"));
        }
        let back = number(bytes, 0);
        check_earlier("back pointer", back, position)?;
        Ok(back)
    }

    /// The data that a record leads to: its own or, back pointers followed, another's. `false`: none.
    pub(super) fn resolve(&self, oid: Oid, position: u64, data: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.log().data_at(oid, position, ReadMode::MayBlock, data)
    }
}
