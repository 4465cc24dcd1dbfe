//! Writing the packed log.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::PackError;
use super::plan::Plan;
use crate::format::{
    LOG_START, MAGIC, RECORD_HEADER, REDUNDANT_LENGTH, RecordHead, TRANSACTION_HEADER, TransactionHead,
};
use crate::log::LogFile;
use crate::recent::Mix;
use crate::scan::{ScannedRecord, ScannedTransaction, Scanner};
use crate::{BlobStore, Oid, Progress, ReadError, ReadMode, Tid};

type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// What is gathered before it is written, in bytes.
const PIECE_BYTES: usize = 4 << 20;

/// Copies from one log to another, position by position.
pub(super) struct Copier {
    from: Arc<LogFile>,
    plan: Plan,
    out: Output,
    /// How far the old log is copied.
    copied: u64,
    /// Where each object's last record is in the new log.
    latest: Map<u64>,
    /// Where records of the packed part have gone.
    moved: Map<u64>,
    /// Behind the packed part everything moves by the same distance, but where a back pointer had to be replaced by
    /// data: old positions and the new ones, from which on the distance holds.
    distances: Vec<(u64, u64)>,
    pub(super) records_removed: u64,
    pub(super) blobs_to_remove: Vec<(Oid, Tid)>,
}

/// The new file's end.
struct Output {
    to: Arc<LogFile>,
    written: u64,
    bytes: Vec<u8>,
}

impl Output {
    fn end(&self) -> u64 {
        self.written + self.bytes.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes over what was put before.
    fn patch(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        match position.checked_sub(self.written) {
            Some(at) => {
                self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
            None => {
                self.flush()?;
                self.to.file().write_all_at(bytes, position)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.file().write_all_at(&self.bytes, self.written)?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

impl Copier {
    pub(super) fn new(from: Arc<LogFile>, to: Arc<LogFile>, plan: Plan) -> io::Result<Self> {
        let mut out = Output { to, written: 0, bytes: Vec::new() };
        out.put(MAGIC)?;
        Ok(Self {
            from,
            plan,
            out,
            copied: LOG_START,
            latest: HashMap::default(),
            moved: HashMap::default(),
            distances: Vec::new(),
            records_removed: 0,
            blobs_to_remove: Vec::new(),
        })
    }

    /// How far the old log is copied.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// The length of the new log.
    pub(super) fn end(&self) -> u64 {
        self.out.end()
    }

    /// Copies what stays of the transactions up to the pack time.
    pub(super) fn packed_part(
        &mut self,
        blobs: Option<&BlobStore>,
        progress: &dyn Progress,
    ) -> Result<(), PackError> {
        let end = self.plan.position;
        let mut scanner = Scanner::new(Arc::clone(&self.from), end);
        let mut told = 0;
        while self.copied < end {
            let transaction = scanner.transaction(self.copied)?;
            let (keep, drop): (Vec<ScannedRecord>, Vec<ScannedRecord>) =
                scanner.records().iter().partition(|record| self.plan.keeps(record.oid, record.position));
            self.records_removed += drop.len() as u64;
            if let Some(blobs) = blobs {
                for record in drop {
                    self.note_blob(blobs, record.oid, transaction.head.tid)?;
                }
            }
            if !keep.is_empty() {
                self.packed_transaction(&transaction, &keep)?;
            }
            self.copied = transaction.end;
            if self.copied - told > 64 << 20 {
                told = self.copied;
                progress.packing(self.copied, end);
            }
        }
        self.out.flush()?;
        self.distances.push((self.copied, self.out.end()));
        Ok(())
    }

    /// The blob of a removed revision goes, unless another record of the same transaction stays.
    fn note_blob(&mut self, blobs: &BlobStore, oid: Oid, tid: Tid) -> Result<(), PackError> {
        if !blobs.path(oid, tid).exists() {
            return Ok(());
        }
        if let Some(kept) = self.plan.kept(oid)
            && self.from.record_head(oid, kept, ReadMode::MayBlock)?.tid == tid
        {
            return Ok(());
        }
        self.blobs_to_remove.push((oid, tid));
        Ok(())
    }

    fn packed_transaction(
        &mut self,
        transaction: &ScannedTransaction,
        records: &[ScannedRecord],
    ) -> Result<(), PackError> {
        let begin = self.out.end();
        self.begin(transaction, b'p')?;
        let mut data = Vec::new();
        for record in records {
            let position = self.out.end();
            self.from.data_at(record.oid, record.position, ReadMode::MayBlock, &mut data)?;
            self.record(record.oid, transaction.head.tid, 0, begin, &Body::of(&data))?;
            self.latest.insert(record.oid.get(), position);
            self.moved.insert(record.position, position);
        }
        self.finish(begin)
    }

    /// Copies the transactions up to `end`, where one ends.
    pub(super) fn rest_up_to(&mut self, end: u64) -> Result<(), PackError> {
        self.slice(u64::MAX, end)
    }

    /// Copies transactions of together `bytes` or a little more, not beyond `end`, where one ends.
    pub(super) fn slice(&mut self, bytes: u64, end: u64) -> Result<(), PackError> {
        let until = self.copied.saturating_add(bytes).min(end);
        let mut scanner = Scanner::new(Arc::clone(&self.from), end);
        while self.copied < until {
            let transaction = scanner.transaction(self.copied)?;
            self.whole_transaction(&transaction, scanner.records())?;
            self.copied = transaction.end;
        }
        Ok(self.out.flush()?)
    }

    fn whole_transaction(
        &mut self,
        transaction: &ScannedTransaction,
        records: &[ScannedRecord],
    ) -> Result<(), PackError> {
        let begin = self.out.end();
        if transaction.head.status == b'u' {
            // Nobody reads its records.
            let mut bytes = vec![0; (transaction.end - transaction.position) as usize];
            self.from.read_fully(&mut bytes, transaction.position).map_err(ReadError::from)?;
            return Ok(self.out.put(&bytes)?);
        }
        self.begin(transaction, transaction.head.status)?;
        let mut data = Vec::new();
        for record in records {
            let position = self.out.end();
            let (last_old, last_new) = *self.distances.last().expect("the packed part is written");
            if position - last_new != record.position - last_old {
                self.distances.push((record.position, position));
            }
            let previous = self.latest.get(&record.oid.get()).copied().unwrap_or(0);
            let pointer = record.back.filter(|back| *back != 0).map(|back| self.relocated(back));
            let body = match (record.back, pointer) {
                (Some(0), _) => Body::Pointer(0),
                (_, Some(Some(back))) => Body::Pointer(back),
                // The data themselves, or what a removed record held.
                _ => {
                    self.from.data_at(record.oid, record.position, ReadMode::MayBlock, &mut data)?;
                    Body::of(&data)
                }
            };
            self.record(record.oid, transaction.head.tid, previous, begin, &body)?;
            self.latest.insert(record.oid.get(), position);
        }
        self.finish(begin)
    }

    /// Where a record of the old log is in the new one, if it is.
    fn relocated(&self, old: u64) -> Option<u64> {
        if old < self.plan.position {
            return self.moved.get(&old).copied();
        }
        let at = self.distances.partition_point(|(from, _)| *from <= old);
        let (from, to) = self.distances[at - 1];
        Some(to + (old - from))
    }

    fn begin(&mut self, transaction: &ScannedTransaction, status: u8) -> Result<(), PackError> {
        let head = TransactionHead { status, ..transaction.head };
        self.out.put(&head.encode())?;
        let mut metadata = vec![0; head.metadata_length() as usize];
        let at = transaction.position + TRANSACTION_HEADER as u64;
        self.from.read_fully(&mut metadata, at).map_err(ReadError::from)?;
        Ok(self.out.put(&metadata)?)
    }

    fn record(
        &mut self,
        oid: Oid,
        tid: Tid,
        previous: u64,
        transaction: u64,
        body: &Body<'_>,
    ) -> Result<(), PackError> {
        let data_length = if let Body::Data(data) = body { data.len() as u64 } else { 0 };
        let head = RecordHead { oid, tid, previous, transaction, version_length: 0, data_length };
        let header: [u8; RECORD_HEADER] = head.encode();
        self.out.put(&header)?;
        match body {
            Body::Data(data) => self.out.put(data)?,
            Body::Pointer(position) => self.out.put(&position.to_be_bytes())?,
        }
        Ok(())
    }

    /// Writes the length of the transaction that began at a position, at its beginning and at its end.
    fn finish(&mut self, begin: u64) -> Result<(), PackError> {
        let length = (self.out.end() - begin).to_be_bytes();
        self.out.put(&length)?;
        let length_at = begin + REDUNDANT_LENGTH; // behind the tid
        Ok(self.out.patch(length_at, &length)?)
    }
}

enum Body<'a> {
    Data(&'a [u8]),
    /// 0: no data.
    Pointer(u64),
}

impl<'a> Body<'a> {
    fn of(data: &'a [u8]) -> Self {
        if data.is_empty() { Self::Pointer(0) } else { Self::Data(data) }
    }
}
