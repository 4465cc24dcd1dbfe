use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::blobs::Placed;
use crate::checksum::Chain;
use crate::committer::{Job, Publish};
use crate::format::{RECORD_HEADER, RecordHead, TransactionHead, number};
use crate::index::{Mark, TransactionEntry};
use crate::inner::{Generation, Inner};
use crate::recent::Mix;
use crate::transaction::{Body, Entry, Transaction};
use crate::{CommitError, Committed, Oid, ReadError, ReadMode, StagedBlob, Tid};

/// One append holds at most this many bytes, unless it is one larger transaction.
pub(crate) const BATCH_BYTES_MAX: u64 = 16 << 20;
/// What was collected is written as soon as it is so much: it comes out of the processor's cache then.
const PIECE_BYTES: usize = 512 << 10;
/// A buffer that grew beyond this is not kept.
const BUFFER_BYTES_KEPT: usize = 2 * PIECE_BYTES;

/// Builds what is appended to the log, appends it, makes it durable, and publishes it.
pub(crate) struct Writer {
    storage: Arc<Inner>,
    /// The log that this batch is appended to.
    generation: Arc<Generation>,
    publish: Arc<dyn Publish>,
    /// What is to be written, from position `written` of the log on.
    bytes: Vec<u8>,
    written: u64,
    /// The records of this batch.
    records: Vec<NewRecord>,
    transactions: Vec<TransactionEntry>,
    /// The latest record of each object in this batch: only kept when the batch has several transactions.
    latest: HashMap<Oid, u64, BuildHasherDefault<Mix>>,
    /// The first of the records, by oid and tid: so many as there were when a back pointer was resolved last.
    by_tid: HashMap<(Oid, Tid), u64, BuildHasherDefault<Mix>>,
    in_by_tid: usize,
    /// What was found out about the records of the transaction that is being built.
    resolved: Vec<Resolved>,
    /// The blobs of this batch: taken back if it does not become durable.
    placed: Vec<Placed>,
    /// Kept to save its allocation.
    batch: Vec<Job>,
}

struct NewRecord {
    oid: Oid,
    tid: Tid,
    position: u64,
    has_data: bool,
    /// The object had no record before.
    new: bool,
}

struct Resolved {
    previous: u64,
    back: u64,
}

impl Writer {
    pub(crate) fn new(storage: Arc<Inner>, publish: Arc<dyn Publish>) -> Self {
        Self {
            generation: storage.now_held(),
            storage,
            publish,
            bytes: Vec::new(),
            written: 0,
            records: Vec::new(),
            transactions: Vec::new(),
            latest: HashMap::default(),
            by_tid: HashMap::default(),
            in_by_tid: 0,
            resolved: Vec::new(),
            placed: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// Lets go of a log that is not the storage's any more.
    pub(crate) fn follow(&mut self) {
        self.generation = self.storage.now_held();
    }

    /// An empty batch to be filled.
    pub(crate) fn take_batch_buffer(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.batch)
    }

    /// Takes the emptied batch back.
    pub(crate) fn keep_batch_buffer(&mut self, batch: Vec<Job>) {
        self.batch = batch;
    }

    /// Commits all of a batch that can be, and leaves it empty.
    pub(crate) fn commit(&mut self, batch: &mut Vec<Job>) {
        if let Some(error) = self.refusal() {
            self.fail(batch, &error);
            return;
        }
        self.follow();
        let start = self.generation.mark();
        self.clear(start.end);
        let several = batch.len() > 1;
        let mut mark = start;
        let mut committed = Vec::with_capacity(batch.len());
        let mut done = Vec::with_capacity(batch.len());
        let mut written = Ok(());
        let mut jobs = batch.drain(..);
        while written.is_ok()
            && let Some(mut job) = jobs.next()
        {
            match self.add(&mut job, &mut mark, several) {
                Ok(answer) => {
                    committed.push(answer);
                    done.push(job);
                }
                Err(error) => {
                    if self.written > mark.end {
                        // Part of it is in the file already; it is alone in its batch.
                        assert!(!several, "only a transaction that is alone is written in part");
                        self.take_back(mark.end);
                    }
                    self.fail_one(&job, &error);
                }
            }
            if self.bytes.len() >= PIECE_BYTES {
                written = self.write_out();
            }
        }
        // When nothing can be written, none of the batch is committed.
        done.extend(jobs);
        if done.is_empty() {
            return;
        }
        if let Err(error) = written.and_then(|()| self.write_out()) {
            self.take_back(start.end);
            self.fail(&mut done, &CommitError::Write(Arc::new(error)));
            return;
        }
        if let Err(error) = self.sync() {
            // What is on disk cannot be known any more: the kernel may have dropped what it could not write. A
            // second sync might say that all is well.
            self.stop_for_good(format!("syncing the log failed: {error}"));
            tracing::error!(%error, "syncing the log failed; nothing is committed any more until a restart");
            self.placed.drain(..).for_each(Placed::leave);
            let error = self.refusal().expect("it has just failed");
            self.fail(&mut done, &error);
            return;
        }
        self.placed.drain(..).for_each(Placed::complete);
        self.make_visible(mark);
        drop(done);
        self.publish.published(committed);
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        self.generation.drainer.wait_for_room();
    }

    fn refusal(&self) -> Option<CommitError> {
        if self.storage.read_only {
            return Some(CommitError::ReadOnly);
        }
        self.storage.failed.get().cloned().map(CommitError::Failed)
    }

    fn stop_for_good(&self, reason: String) {
        self.storage.failed.get_or_init(|| reason);
    }

    fn fail(&self, jobs: &mut Vec<Job>, error: &CommitError) {
        for job in jobs.drain(..) {
            self.fail_one(&job, error);
        }
    }

    fn fail_one(&self, job: &Job, error: &CommitError) {
        job.transaction.series.break_off();
        self.publish.failed(job.tag, error);
    }

    fn clear(&mut self, end: u64) {
        self.bytes.clear();
        self.written = end;
        self.records.clear();
        self.transactions.clear();
        self.latest.clear();
        self.by_tid.clear();
        self.in_by_tid = 0;
        self.placed.clear();
    }

    /// Adds a transaction to what is to be written, and moves the mark behind it; or adds nothing.
    fn add(&mut self, job: &mut Job, mark: &mut Mark, several: bool) -> Result<Committed, CommitError> {
        if job.transaction.series.is_broken() {
            return Err(CommitError::SeriesBroken);
        }
        let blobs = job.transaction.take_blobs();
        let transaction = &job.transaction;
        let tid = match transaction.tid {
            None => self.next_tid(mark.last_tid)?,
            Some(given) if given > mark.last_tid => given,
            Some(given) => return Err(CommitError::TidNotAbove { given, last: mark.last_tid }),
        };
        self.resolve(&transaction.entries)?;
        let placed = self.place_blobs(tid, blobs)?;
        let begin = self.bytes.len();
        let records_begin = self.records.len();
        let position = mark.end;
        assert_eq!(position, self.written + begin as u64, "transactions follow each other without a gap");
        let built =
            self.build(transaction, tid, position, mark).and_then(|checksum| match transaction.expected {
                Some(expected) if expected != checksum => {
                    Err(CommitError::Checksum { tid, expected, computed: checksum })
                }
                _ => Ok(checksum),
            });
        let checksum = match built {
            Ok(checksum) => checksum,
            Err(error) => {
                if self.written <= position {
                    self.bytes.truncate(begin);
                }
                self.records.truncate(records_begin);
                return Err(error);
            }
        };
        let end = position + transaction.len_bytes();
        assert_eq!(end, self.written + self.bytes.len() as u64, "a transaction has the length that it says");
        for record in &self.records[records_begin..] {
            mark.objects += u64::from(record.new);
            mark.max_oid = mark.max_oid.max(record.oid);
            if several {
                self.latest.insert(record.oid, record.position);
            }
        }
        *mark = Mark { end, last_tid: tid, last_position: position, checksum, ..*mark };
        self.transactions.push(TransactionEntry { tid, position, checksum });
        self.placed.extend(placed);
        Ok(Committed {
            tag: job.tag,
            tid,
            oids: transaction.oids().collect(),
            object_count: mark.objects,
            size_bytes: end,
            checksum,
        })
    }

    /// The clock, where that is above what was used and not above what may be.
    fn next_tid(&self, last: Tid) -> Result<Tid, CommitError> {
        let ceiling = self.storage.tid_ceiling();
        let (now, next) = (Tid::after(last, crate::world::now()), last.next());
        match ceiling {
            _ if now <= ceiling => Ok(now),
            _ if next <= ceiling => Ok(next),
            _ => Err(CommitError::TidAboveCeiling { next, ceiling }),
        }
    }

    /// Moves a transaction's blobs to their final names; all of them or none.
    fn place_blobs(&self, tid: Tid, blobs: Vec<(Oid, StagedBlob)>) -> Result<Vec<Placed>, CommitError> {
        let place = |(oid, staged)| {
            let store = self.storage.blobs.as_ref().expect("a storage without blobs stages none");
            store.place(oid, tid, staged).map_err(|error| CommitError::Blob(Arc::new(error)))
        };
        blobs.into_iter().map(place).collect()
    }

    /// Finds the records that the new ones point to.
    fn resolve(&mut self, entries: &[Entry]) -> Result<(), CommitError> {
        self.resolved.clear();
        for entry in entries {
            let previous = match self.latest.get(&entry.oid) {
                Some(position) => *position,
                None => self
                    .generation
                    .positions
                    .object(entry.oid, ReadMode::MayBlock)
                    .map_err(read)?
                    .unwrap_or(0),
            };
            let back = match entry.body {
                Body::Pointer { data_tid, position } => self.back_pointer(entry.oid, data_tid, position)?,
                Body::Data { .. } | Body::Nothing => 0,
            };
            self.resolved.push(Resolved { previous, back });
        }
        Ok(())
    }

    fn back_pointer(&mut self, oid: Oid, data_tid: Tid, position: u64) -> Result<u64, CommitError> {
        let new = self.records[self.in_by_tid..].iter();
        self.by_tid.extend(new.map(|record| ((record.oid, record.tid), record.position)));
        self.in_by_tid = self.records.len();
        if let Some(position) = self.by_tid.get(&(oid, data_tid)) {
            return Ok(*position);
        }
        let found = self.generation.pointed_to(oid, data_tid, position).map_err(read)?;
        found.ok_or(CommitError::BackPointer { oid, data_tid })
    }

    /// The data that a record of the log, or of this batch, has or leads to.
    fn pointed_data(&self, oid: Oid, mut position: u64) -> Result<Option<Cow<'_, [u8]>>, ReadError> {
        while let Some(at) = position.checked_sub(self.written) {
            let record = &self.bytes[at as usize..];
            let head = RecordHead::decode(record).expect("records are collected whole");
            let body = &record[RECORD_HEADER..];
            if head.data_length != 0 {
                return Ok(Some(Cow::Borrowed(&body[..head.data_length as usize])));
            }
            position = number(body, 0);
        }
        let mut data = Vec::new();
        let found = self.generation.log.data_at(oid, position, ReadMode::MayBlock, &mut data)?;
        Ok(found.then_some(Cow::Owned(data)))
    }

    fn build(
        &mut self,
        transaction: &Transaction,
        tid: Tid,
        position: u64,
        mark: &Mark,
    ) -> Result<crate::Checksum, CommitError> {
        let metadata = &transaction.metadata;
        let (user, description, extension) = (&metadata.user, &metadata.description, &metadata.extension);
        let mut chain = Chain::new(mark.checksum, tid, user, description, extension);
        let short = |bytes: &[u8]| u16::try_from(bytes.len()).expect("the length was checked");
        let length = transaction.length();
        let head = TransactionHead {
            tid,
            length,
            status: transaction.status,
            user_length: short(user),
            description_length: short(description),
            extension_length: short(extension),
        };
        self.bytes.extend_from_slice(&head.encode());
        for part in [user, description, extension] {
            self.bytes.extend_from_slice(part);
        }
        let large = transaction.len_bytes() > BATCH_BYTES_MAX;
        let counted = transaction.status != b'u';
        for (at, entry) in transaction.entries.iter().enumerate() {
            let Resolved { previous, back } = self.resolved[at];
            let oid = entry.oid;
            let record_position = self.written + self.bytes.len() as u64;
            let data_length = if let Body::Data { length, .. } = entry.body { length } else { 0 };
            let head =
                RecordHead { oid, tid, previous, transaction: position, version_length: 0, data_length };
            self.bytes.extend_from_slice(&head.encode());
            match entry.body {
                Body::Data { offset, length } => {
                    if counted {
                        chain.data_follow(oid, length);
                    }
                    let mut done = 0;
                    while done < length {
                        let piece = (length - done).min(PIECE_BYTES as u64);
                        let data = transaction.content.read(offset + done, piece).map_err(write)?;
                        if counted {
                            chain.data(&data);
                        }
                        self.bytes.extend_from_slice(&data);
                        done += piece;
                        if large && self.bytes.len() >= PIECE_BYTES {
                            self.write_out().map_err(write)?;
                        }
                    }
                }
                Body::Pointer { .. } => {
                    if counted {
                        let data = self.pointed_data(oid, back).map_err(read)?;
                        chain.pointer(oid, data.as_deref());
                    }
                    self.bytes.extend_from_slice(&back.to_be_bytes());
                }
                Body::Nothing => {
                    if counted {
                        chain.nothing(oid);
                    }
                    self.bytes.extend_from_slice(&0u64.to_be_bytes());
                }
            }
            if counted {
                let new = previous == 0 && transaction.is_last_of(oid, at);
                let has_data = data_length != 0;
                self.records.push(NewRecord { oid, tid, position: record_position, has_data, new });
            }
        }
        self.bytes.extend_from_slice(&length.to_be_bytes());
        Ok(chain.finish())
    }

    /// Writes what was collected behind what was written.
    fn write_out(&mut self) -> io::Result<()> {
        #[cfg(test)]
        self.meet(Fault::Write)?;
        self.generation.log.file().write_all_at(&self.bytes, self.written)?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.meet(Fault::Sync)?;
        self.generation.log.file().sync_data()
    }

    /// Fails once where a test wants it, half of a write done.
    #[cfg(test)]
    fn meet(&self, here: Fault) -> io::Result<()> {
        let mut fault = self.storage.fault.lock().expect("a fault");
        if *fault != Some(here) {
            return Ok(());
        }
        *fault = None;
        if here == Fault::Write {
            self.generation.log.file().write_all_at(&self.bytes[..self.bytes.len() / 2], self.written)?;
        }
        Err(io::Error::other("as the test wants it"))
    }

    /// Cuts off what was written in part, and removes the blobs that belonged to it.
    fn take_back(&mut self, end: u64) {
        self.placed.clear();
        self.bytes.clear();
        self.written = end;
        if let Err(error) = self.generation.log.file().set_len(end) {
            self.stop_for_good(format!("what was written in part could not be taken back: {error}"));
            tracing::error!(%error, "a failed write could not be taken back; nothing is committed any more");
            return;
        }
        if let Err(error) = self.storage.space.cut_back() {
            tracing::warn!(%error, "space for voted transactions could not be reserved again after a failed write");
        }
    }

    /// Lets readers see what is durable now.
    fn make_visible(&mut self, mark: Mark) {
        for record in &self.records {
            let serial = record.has_data.then_some(record.tid);
            self.generation.positions.commit(record.oid, record.position, serial);
        }
        let new = self.records.iter().filter(|record| record.new).map(|record| record.oid);
        self.generation.positions.commit_transactions(&self.transactions, new);
        self.generation.publish(mark);
        self.storage.space.advance(mark.end);
        let objects = self.records.iter().map(|record| (record.oid.get(), record.position));
        self.generation.drainer.push(objects, self.transactions.iter().copied(), mark);
    }
}

fn read(error: ReadError) -> CommitError {
    CommitError::Read(Arc::new(error))
}

fn write(error: io::Error) -> CommitError {
    CommitError::Write(Arc::new(error))
}

/// What a test lets fail.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Write,
    Sync,
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
