use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::format::{
    BACK_POINTER, LOG_START, RECORD_HEADER, REDUNDANT_LENGTH, RecordHead, TRANSACTION_HEADER,
    TransactionHead, number,
};
use crate::log::{LogFile, check_earlier, header_of};
use crate::recent::Mix;
use crate::window::Window;
use crate::{Changed, Oid, ReadError, ReadMode, Record, Storage, Tid, TransactionHeader};

/// How much of the log is read at once.
const PIECE_BYTES: usize = 64 << 10;

impl Storage {
    /// The transactions from `start` to `stop`, both included, of those that are published now. May wait for the
    /// disk, as what it returns may.
    pub fn transactions(&self, start: Option<Tid>, stop: Option<Tid>) -> Result<Transactions, ReadError> {
        let inner = self.inner().now();
        let mark = inner.mark();
        let position = match start {
            None => LOG_START,
            Some(start) if start > mark.last_tid => mark.end,
            Some(start) => inner.positions.transaction_from(start)?.map_or(mark.end, |entry| entry.position),
        };
        Ok(Transactions::new(Arc::clone(&inner.log), position, mark.end, stop))
    }

    /// The records of a transaction. May wait for the disk.
    pub fn records(&self, of: &TransactionHeader) -> Records {
        Records::new(Arc::clone(&self.inner().now().log), of)
    }

    /// Transactions for an undo log, newest first: of those that are `wanted`, `limit` after the first `skip`. It ends
    /// at a packed transaction. May wait for the disk.
    pub fn undo_log(
        &self,
        skip: usize,
        limit: usize,
        wanted: &mut dyn FnMut(&TransactionHeader) -> bool,
    ) -> Result<Vec<TransactionHeader>, ReadError> {
        let inner = self.inner().now();
        let mut end = inner.mark().end;
        let mut passed = 0;
        let mut found = Vec::new();
        while end > LOG_START && found.len() < limit {
            let start = inner.log.start_of_transaction_before(end)?;
            let header = inner.log.transaction_header(start)?;
            if header.position + header.length + REDUNDANT_LENGTH != end {
                return Err(ReadError::corrupt(start, "the transaction's two lengths differ"));
            }
            if header.status == b'p' {
                break;
            }
            if header.status == b' ' && wanted(&header) {
                if passed >= skip {
                    found.push(header);
                } else {
                    passed += 1;
                }
            }
            end = start;
        }
        Ok(found)
    }

    /// The objects that changed after transaction `tid`, up to transaction `until`, from the log. May wait for the disk.
    pub fn changed_between(&self, tid: Tid, until: Tid, limit_oids: usize) -> Result<Changed, ReadError> {
        let inner = self.inner().now();
        let mark = inner.mark();
        let last = until.min(mark.last_tid);
        if tid >= last {
            return Ok(Changed::Oids { last, oids: Vec::new() });
        }
        let Some(entry) = inner.positions.transaction(tid)? else { return Ok(Changed::Unknown) };
        let mut known = HashSet::<u64, BuildHasherDefault<Mix>>::default();
        let mut oids = Vec::new();
        let mut transactions =
            Transactions::new(Arc::clone(&inner.log), entry.position, mark.end, Some(last));
        let at = transactions.next().transpose()?;
        assert_eq!(
            at.map(|header| header.tid),
            Some(tid),
            "the index leads to the transaction that it names"
        );
        while let Some(header) = transactions.next().transpose()? {
            let mut records = RecordHeads::new(&header);
            while let Some((_, head)) = records.next(&mut transactions.window)? {
                if known.insert(head.oid.get()) {
                    if oids.len() == limit_oids {
                        return Ok(Changed::TooMany);
                    }
                    oids.push(head.oid);
                }
            }
        }
        Ok(Changed::Oids { last, oids })
    }

    /// The last `count` transactions with the objects that they wrote, oldest first. May wait for the disk.
    pub fn recent_transactions(&self, count: usize) -> Result<Vec<(Tid, Vec<Oid>)>, ReadError> {
        let inner = self.inner().now();
        let end = inner.mark().end;
        let mut start = end;
        for _ in 0..count {
            if start <= LOG_START {
                break;
            }
            start = inner.log.start_of_transaction_before(start)?;
        }
        let mut transactions = Transactions::new(Arc::clone(&inner.log), start, end, None);
        let mut recent = Vec::new();
        while let Some(header) = transactions.next().transpose()? {
            let mut records = RecordHeads::new(&header);
            let mut oids = Vec::new();
            while let Some((_, head)) = records.next(&mut transactions.window)? {
                oids.push(head.oid);
            }
            recent.push((header.tid, oids));
        }
        Ok(recent)
    }
}

/// Transactions in the order of the log. Ends after the first error.
pub struct Transactions {
    window: Window,
    heads: TransactionHeads,
}

impl Transactions {
    pub(crate) fn new(log: Arc<LogFile>, position: u64, end: u64, stop: Option<Tid>) -> Self {
        let window = Window::new(log, PIECE_BYTES, end);
        Self { window, heads: TransactionHeads::new(position, stop) }
    }

    /// The records of a transaction that this returned, out of the same log, whatever has become of the storage's
    /// own in the meantime.
    pub fn records(&self, of: &TransactionHeader) -> Records {
        Records::new(Arc::clone(self.window.log()), of)
    }
}

/// Goes from transaction header to transaction header.
pub(crate) struct TransactionHeads {
    position: u64,
    stop: Option<Tid>,
}

impl TransactionHeads {
    pub(crate) fn new(position: u64, stop: Option<Tid>) -> Self {
        Self { position, stop }
    }

    /// The next one before the end of the window.
    pub(crate) fn next(&mut self, window: &mut Window) -> Result<Option<TransactionHeader>, ReadError> {
        let (position, end) = (self.position, window.end());
        if position >= end {
            return Ok(None);
        }
        let cut_off = || ReadError::corrupt(position, "the log ends within a transaction");
        let bytes = window.at(position, TRANSACTION_HEADER)?;
        let head = TransactionHead::decode(bytes).ok_or_else(cut_off)?;
        let length = head.metadata_length();
        let next = position.checked_add(head.length).and_then(|end| end.checked_add(REDUNDANT_LENGTH));
        let Some(next) = next.filter(|next| *next <= end && head.length >= head.header_length()) else {
            return Err(ReadError::corrupt(position, "the transaction's length cannot be right"));
        };
        if self.stop.is_some_and(|stop| head.tid > stop) {
            return Ok(None);
        }
        let metadata = window.at(position + TRANSACTION_HEADER as u64, length as usize)?;
        if (metadata.len() as u64) < length {
            return Err(cut_off());
        }
        let header = header_of(&head, metadata, position);
        self.position = next;
        Ok(Some(header))
    }
}

impl Iterator for Transactions {
    type Item = Result<TransactionHeader, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.heads.next(&mut self.window).transpose();
        if !matches!(result, Some(Ok(_))) {
            self.heads.position = self.window.end();
        }
        result
    }
}

/// The records of a transaction, in the order of the log. Ends after the first error.
pub struct Records {
    window: Window,
    heads: RecordHeads,
}

impl Records {
    fn new(log: Arc<LogFile>, of: &TransactionHeader) -> Self {
        let heads = RecordHeads::new(of);
        Self { window: Window::new(log, PIECE_BYTES, heads.end), heads }
    }

    fn read(&mut self) -> Result<Option<Record>, ReadError> {
        let Some((position, head)) = self.heads.next(&mut self.window)? else { return Ok(None) };
        let mut record = Record { oid: head.oid, serial: head.tid, data: None, data_tid: None };
        let body = position + RECORD_HEADER as u64;
        if head.data_length != 0 {
            let data = self.window.at(body, head.data_length as usize)?;
            if data.len() as u64 != head.data_length {
                return Err(ReadError::corrupt(position, "the log ends within a record"));
            }
            record.data = Some(data.to_vec());
            return Ok(Some(record));
        }
        let pointer = self.window.at(body, BACK_POINTER)?;
        if pointer.len() < BACK_POINTER {
            return Err(ReadError::corrupt(position, "the log ends within a record"));
        }
        let back = number(pointer, 0);
        check_earlier("back pointer", back, position)?;
        if back != 0 {
            let log = self.window.log();
            record.data_tid = Some(log.record_head(head.oid, back, ReadMode::MayBlock)?.tid);
            let mut data = Vec::new();
            if log.data_at(head.oid, back, ReadMode::MayBlock, &mut data)? {
                record.data = Some(data);
            }
        }
        Ok(Some(record))
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read().transpose();
        if !matches!(result, Some(Ok(_))) {
            self.heads.position = self.heads.end;
        }
        result
    }
}

/// Goes from record header to record header of a transaction.
pub(crate) struct RecordHeads {
    transaction: u64,
    tid: Tid,
    position: u64,
    end: u64,
}

impl RecordHeads {
    pub(crate) fn new(of: &TransactionHeader) -> Self {
        let metadata = of.user.len() + of.description.len() + of.extension.len();
        let end = of.position.saturating_add(of.length);
        // The records of a transaction that ZODB took back do not count.
        let position =
            if of.status == b'u' { end } else { of.position + (TRANSACTION_HEADER + metadata) as u64 };
        Self { transaction: of.position, tid: of.tid, position, end }
    }

    pub(crate) fn next(&mut self, window: &mut Window) -> Result<Option<(u64, RecordHead)>, ReadError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let head = RecordHead::decode(window.at(position, RECORD_HEADER)?);
        let right = |head: &RecordHead| {
            head.transaction == self.transaction
                && head.tid == self.tid
                && position.checked_add(head.length()).is_some_and(|end| end <= self.end)
        };
        match head.filter(right) {
            Some(head) => {
                self.position = position + head.length();
                Ok(Some((position, head)))
            }
            None => Err(ReadError::corrupt(position, "the record does not fit its transaction")),
        }
    }
}
