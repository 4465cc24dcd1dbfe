use crate::format::{RecordHead, number};
use crate::inner::Generation;
use crate::log::check_earlier;
use crate::scan::Scanner;
use crate::{Current, HistoryEntry, NextRecord, Oid, ReadError, ReadMode, Revision, Storage, Tid};

/// A record is looked for in the object's history this far back, then in its transaction.
const HOPS_MAX: usize = 64;

impl Storage {
    /// The object's revision that was current before transaction `before` ([`Tid::MAX`]: the current one), its data
    /// into `buffer`. `None`: the object is there, but not yet at that time. [`ReadError::NotFound`]: it is unknown,
    /// or was deleted (or never created) at that time.
    pub fn load_before(
        &self,
        oid: Oid,
        before: Tid,
        mode: ReadMode,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Revision>, ReadError> {
        let inner = self.inner().now();
        let last = inner.last_tid();
        let mut position = inner.positions.object(oid, mode)?.ok_or(ReadError::NotFound(oid))?;
        let mut seen = false;
        let mut end = None;
        let head = loop {
            let head = inner.log.record(oid, position, mode, buffer)?;
            // What was committed after this read began is not there for it.
            if head.tid <= last {
                if head.tid < before {
                    break head;
                }
                seen = true;
                end = Some(head.tid);
            }
            if head.previous == 0 {
                buffer.clear();
                return if seen { Ok(None) } else { Err(ReadError::NotFound(oid)) };
            }
            check_earlier("previous record", head.previous, position)?;
            position = head.previous;
        };
        inner.data_of(&head, position, mode, buffer)?;
        Ok(Some(Revision { serial: head.tid, end }))
    }

    /// Exactly this revision of the object, its data into `buffer`. May wait for the disk.
    pub fn load_serial(&self, oid: Oid, serial: Tid, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let mode = ReadMode::MayBlock;
        let inner = self.inner().now();
        let last = inner.last_tid();
        let mut position = inner.positions.object(oid, mode)?.ok_or(ReadError::NotFound(oid))?;
        loop {
            let head = inner.log.record(oid, position, mode, buffer)?;
            if head.tid == serial && serial <= last {
                return inner.data_of(&head, position, mode, buffer);
            }
            if head.tid < serial || head.previous == 0 {
                buffer.clear();
                return Err(ReadError::NotFound(oid));
            }
            check_earlier("previous record", head.previous, position)?;
            position = head.previous;
        }
    }

    /// The object's current revision without its data. `None`: it was never stored.
    pub fn current(&self, oid: Oid, mode: ReadMode) -> Result<Option<Current>, ReadError> {
        let inner = self.inner().now();
        let last = inner.last_tid();
        if let Some(serial) = inner.positions.recent.serial(oid).filter(|serial| *serial <= last) {
            return Ok(Some(Current { serial, deleted: false }));
        }
        let Some(mut position) = inner.positions.object(oid, mode)? else { return Ok(None) };
        loop {
            let (head, back) = inner.log.record_head_and_back(oid, position, mode)?;
            if head.tid <= last {
                let deleted = head.data_length == 0 && back == 0;
                return Ok(Some(Current { serial: head.tid, deleted }));
            }
            if head.previous == 0 {
                return Ok(None);
            }
            position = head.previous;
        }
    }

    /// The object's last `size` revisions, newest first, deletions included. May wait for the disk.
    pub fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, ReadError> {
        let mode = ReadMode::MayBlock;
        let inner = self.inner().now();
        let last = inner.last_tid();
        let mut position = inner.positions.object(oid, mode)?.ok_or(ReadError::NotFound(oid))?;
        let mut history = Vec::new();
        let mut seen = false;
        while position != 0 && (history.len() < size || !seen) {
            let head = inner.log.record_head(oid, position, mode)?;
            if head.tid <= last {
                seen = true;
                if history.len() < size {
                    let transaction = inner.log.transaction_header(head.transaction)?;
                    if transaction.tid != head.tid {
                        return Err(ReadError::corrupt(position, "the record's transaction is another"));
                    }
                    history.push(HistoryEntry { transaction, size: head.data_length });
                }
            }
            position = head.previous;
        }
        if seen { Ok(history) } else { Err(ReadError::NotFound(oid)) }
    }

    /// The first object that is not deleted, from `from` on (or from the least oid), in the order of oids; its data
    /// into `buffer`. `None`: there is none. May wait for the disk.
    pub fn next_record(
        &self,
        from: Option<Oid>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<NextRecord>, ReadError> {
        let Some(oid) = self.next_alive(from)? else { return Ok(None) };
        let next = self.next_alive(oid.next())?.filter(|next| *next > oid);
        match self.load_before(oid, Tid::MAX, ReadMode::MayBlock, buffer) {
            Ok(Some(revision)) => Ok(Some(NextRecord { oid, serial: revision.serial, next })),
            // Deleted in between.
            Ok(None) | Err(ReadError::NotFound(_)) => match oid.next() {
                Some(next) => self.next_record(Some(next), buffer),
                None => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    fn next_alive(&self, from: Option<Oid>) -> Result<Option<Oid>, ReadError> {
        let mut from = from.unwrap_or(Oid::ROOT);
        while let Some(oid) = self.inner().now().positions.object_from(from)? {
            if self.current(oid, ReadMode::MayBlock)?.is_some_and(|current| !current.deleted) {
                return Ok(Some(oid));
            }
            match oid.next() {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(None)
    }

    /// Whether a back pointer to the object's record in transaction `data_tid` may stand for `data` (empty: none),
    /// so that [`Transaction::store_as`](crate::Transaction::store_as) can be used: the record is there, and what
    /// it holds or points to is that. Otherwise the data are to be stored. May wait for the disk.
    pub fn resolve_back_pointer(&self, oid: Oid, data_tid: Tid, data: &[u8]) -> Result<bool, ReadError> {
        let inner = self.inner().now();
        let Some((position, head)) = inner.find_record(oid, data_tid)? else { return Ok(false) };
        if head.data_length != 0 && head.data_length != data.len() as u64 {
            return Ok(false);
        }
        let mut there = Vec::new();
        let found = inner.log.data_at(oid, position, ReadMode::MayBlock, &mut there)?;
        Ok(if found { there == data } else { data.is_empty() })
    }
}

impl Generation {
    /// Makes `buffer`, which holds the beginning of the record's data or its back pointer, hold its data.
    fn data_of(
        &self,
        head: &RecordHead,
        position: u64,
        mode: ReadMode,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        self.log.complete(head, position, mode, buffer)?;
        if head.data_length != 0 {
            return Ok(());
        }
        let back = number(buffer, 0);
        check_earlier("back pointer", back, position)?;
        if self.log.data_at(head.oid, back, mode, buffer)? {
            Ok(())
        } else {
            Err(ReadError::NotFound(head.oid))
        }
    }

    /// Where the object's record in transaction `data_tid` lies, which was at `hint` when it was looked for (0: it was not
    /// found; the log may have been packed since).
    pub(crate) fn pointed_to(&self, oid: Oid, data_tid: Tid, hint: u64) -> Result<Option<u64>, ReadError> {
        if hint != 0
            && self.log.record_head(oid, hint, ReadMode::MayBlock).is_ok_and(|head| head.tid == data_tid)
        {
            return Ok(Some(hint));
        }
        Ok(self.find_record(oid, data_tid)?.map(|(position, _)| position))
    }

    /// The object's record in transaction `tid`, the last one where it has several, and where it lies.
    pub(crate) fn find_record(&self, oid: Oid, tid: Tid) -> Result<Option<(u64, RecordHead)>, ReadError> {
        let mode = ReadMode::MayBlock;
        let Some(mut position) = self.positions.object(oid, mode)? else { return Ok(None) };
        for _ in 0..HOPS_MAX {
            let head = self.log.record_head(oid, position, mode)?;
            if head.tid == tid {
                return Ok(Some((position, head)));
            }
            // A pack by ZODB can leave the history without its link to older revisions that it kept.
            if head.tid < tid {
                return Ok(None);
            }
            if head.previous == 0 {
                break;
            }
            position = head.previous;
        }
        let Some(entry) = self.positions.transaction(tid)? else { return Ok(None) };
        let mut scanner = Scanner::new(std::sync::Arc::clone(&self.log), self.mark().end);
        let transaction = scanner.transaction(entry.position)?;
        assert_eq!(transaction.head.tid, tid, "the index leads to the transaction that it names");
        let found = scanner.records().iter().rev().find(|record| record.oid == oid);
        found
            .map(|record| Ok((record.position, self.log.record_head(oid, record.position, mode)?)))
            .transpose()
    }
}
