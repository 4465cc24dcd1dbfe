use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;

use super::Place;
use super::portable::PortableWriter;
use crate::format::{BACK_POINTER, RECORD_HEADER, number};
use crate::history::{RecordHeads, TransactionHeads};
use crate::index::View;
use crate::inner::{Generation, Inner};
use crate::log::check_earlier;
use crate::window::Window;
use crate::world;
use crate::{Checksum, Oid, ReadError, ReadMode, Storage, Tid};

/// How much of the log is read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Where the name of a blob's class is looked for: it is the first thing in a record.
const CLASS_BYTES: usize = 64;

/// What of the transactions is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// All of them.
    All,
    /// Up to the place where the export began, only records that were current there, in transactions that say that
    /// they are packed; what comes later, whole.
    Current,
}

/// A transaction that was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its tid.
    pub tid: Tid,
    /// The running checksum after it.
    pub checksum: Checksum,
    /// The objects whose blobs it brings.
    pub blobs: Vec<Oid>,
    /// The length of the log up to its end.
    pub log_bytes: u64,
}

/// Reads transactions for another copy, in order, as they are published. When a pack replaces the log, it goes on in the log
/// that it began with, until it has all of it or all that differs. Until the next call it holds on to that, and to its disk space.
pub struct Exporter {
    storage: Arc<Inner>,
    generation: Arc<Generation>,
    /// How many rewinds there had been when that was looked for.
    rewinds: u64,
    what: Export,
    /// The other copy may have objects that were deleted since.
    resumed: bool,
    /// See [`Exporter::anchor`].
    anchor: Place,
    /// The last transaction that was passed.
    passed: Tid,
    transactions: TransactionHeads,
    window: Window,
    /// What the index has, for a while.
    view: Option<View>,
}

impl Storage {
    /// Exports the published transactions after `after`. May wait for the disk, as what it returns may.
    pub fn export(&self, after: Tid, what: Export) -> Result<Exporter, ReadError> {
        let storage = Arc::clone(self.inner());
        let rewinds = storage.rewinds();
        let generation = storage.now_held();
        let anchor = match what {
            Export::All => generation.first_place(),
            Export::Current => generation.last_place(),
        };
        let (transactions, window) = open(&generation, after)?;
        let (resumed, passed) = (after > Tid::ZERO, after);
        Ok(Exporter {
            storage,
            generation,
            rewinds,
            what,
            resumed,
            anchor,
            passed,
            transactions,
            window,
            view: None,
        })
    }
}

/// What follows `after` in this log.
fn open(generation: &Arc<Generation>, after: Tid) -> Result<(TransactionHeads, Window), ReadError> {
    let mark = generation.mark();
    let next = generation.positions.transaction_from(Tid::new(after.get() + 1))?;
    let position = next.map_or(mark.end, |next| next.position);
    let window = Window::new(Arc::clone(&generation.log), PIECE_BYTES, mark.end);
    Ok((TransactionHeads::new(position, None), window))
}

impl Exporter {
    /// Up to here what is exported may have holes, or is all that a pack left; from here on it is whole. A copy that is
    /// made of it takes this place over when it comes to it.
    pub fn anchor(&self) -> Place {
        self.anchor
    }

    /// Appends the next transaction to `out` in its portable form. `None`: there are no more yet.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when what it has passed was rewound: what follows is another history.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Exported>, ReadError> {
        let begin = out.len();
        loop {
            self.keep_up()?;
            let passed = self.passed;
            let next = self.read(out);
            if self.storage.rewinds() == self.rewinds {
                return next;
            }
            // Rewound meanwhile: this may be lost.
            out.truncate(begin);
            self.passed = passed;
        }
    }

    /// Goes on in the log as it is after a rewind, or after a pack of what was passed.
    fn keep_up(&mut self) -> Result<(), ReadError> {
        let rewinds = self.storage.rewinds();
        if rewinds == self.rewinds {
            return self.leave_packed();
        }
        let now = self.storage.now_held();
        let first = now.first_place();
        let is_known =
            |tid| Ok::<_, ReadError>(tid <= first.tid || now.positions.transaction(tid)?.is_some());
        if first.tid > self.anchor.tid || !is_known(self.passed)? || !is_known(self.anchor.tid)? {
            return Err(ReadError::Gone);
        }
        self.rewinds = rewinds;
        self.open(now)
    }

    fn open(&mut self, generation: Arc<Generation>) -> Result<(), ReadError> {
        (self.transactions, self.window) = open(&generation, self.passed)?;
        self.generation = generation;
        self.view = None;
        Ok(())
    }

    /// Lets go of what is only kept to be quick. To be called when the next transaction may be long in coming.
    pub fn rest(&mut self) {
        self.view = None;
    }

    /// Beyond the anchor, a packed log has what the one before has.
    fn leave_packed(&mut self) -> Result<(), ReadError> {
        let now = self.storage.now();
        if !Arc::ptr_eq(&now, &self.generation) && now.first_place().tid <= self.passed {
            self.open(Arc::clone(&now))?;
        }
        Ok(())
    }

    fn read(&mut self, out: &mut Vec<u8>) -> Result<Option<Exported>, ReadError> {
        loop {
            let Some(header) = self.transactions.next(&mut self.window)? else {
                if !self.go_on()? {
                    return Ok(None);
                }
                continue;
            };
            self.passed = header.tid;
            let only_current = self.what == Export::Current && header.tid <= self.anchor.tid;
            let status = if only_current { b'p' } else { header.status };
            let begin = out.len();
            out.reserve(header.length.min(PIECE_BYTES as u64) as usize);
            let metadata = [&header.user[..], &header.description, &header.extension];
            let mut writer = PortableWriter::new(out, header.tid, status, metadata);
            let mut blobs = Vec::new();
            let mut heads = RecordHeads::new(&header);
            if only_current && !self.views(self.anchor.tid) {
                self.view = self.generation.positions.index.view()?;
            }
            while let Some((position, head)) = heads.next(&mut self.window)? {
                let oid = head.oid;
                if only_current && !self.is_current(oid, position)? {
                    continue;
                }
                let body = position + RECORD_HEADER as u64;
                let is_blob = if head.data_length != 0 {
                    let data = writer.data(oid, head.data_length);
                    let start = data.len();
                    self.window.copy(body, head.data_length, data)?;
                    names_blob(&data[start..])
                } else {
                    let pointer = self.window.at(body, BACK_POINTER)?;
                    if pointer.len() < BACK_POINTER {
                        return Err(ReadError::corrupt(position, "the log ends within a record"));
                    }
                    let back = number(pointer, 0);
                    check_earlier("back pointer", back, position)?;
                    self.pointer(&mut writer, oid, back, only_current)?
                };
                if is_blob && self.has_blob(oid, header.tid) {
                    blobs.push(oid);
                }
            }
            // The last one always goes: a copy ends where the original does.
            if writer.finish() == 0 && only_current && header.tid < self.anchor.tid {
                out.truncate(begin);
                continue;
            }
            let checksum = self.checksum(header.tid)?;
            let log_bytes = header.position + header.length + crate::format::REDUNDANT_LENGTH;
            return Ok(Some(Exported { tid: header.tid, checksum, blobs, log_bytes }));
        }
    }

    /// Whether there is more, in this log or in the one that a pack has put in its place.
    fn go_on(&mut self) -> Result<bool, ReadError> {
        let mut now = Arc::clone(&self.generation);
        if now.mark().end == self.window.end() {
            now = self.storage.now_held();
            if Arc::ptr_eq(&now, &self.generation) {
                return Ok(false);
            }
        }
        self.open(now)?;
        Ok(true)
    }

    /// Whether it may be the record of a blob.
    fn pointer(
        &mut self,
        writer: &mut PortableWriter<'_>,
        oid: Oid,
        back: u64,
        resolved: bool,
    ) -> Result<bool, ReadError> {
        if back == 0 {
            // A copy that begins empty does without the objects that are gone.
            if !resolved || self.resumed {
                writer.nothing(oid);
            }
            return Ok(false);
        }
        let log = &self.generation.log;
        let mut data = Vec::new();
        let found = log.data_at(oid, back, ReadMode::MayBlock, &mut data)?;
        if !resolved {
            writer.pointer(oid, log.record_head(oid, back, ReadMode::MayBlock)?.tid, &data);
        } else if found {
            writer.data(oid, data.len() as u64).extend_from_slice(&data);
        } else if self.resumed {
            writer.nothing(oid);
        }
        Ok(true)
    }

    /// Whether the index is viewed as of this transaction or a later one.
    fn views(&self, tid: Tid) -> bool {
        self.view.as_ref().is_some_and(|view| tid <= view.up_to)
    }

    /// Whether the record at `position` is its object's last at the anchor.
    fn is_current(&self, oid: Oid, position: u64) -> Result<bool, ReadError> {
        let last = match self.view.as_ref().filter(|_| self.views(self.anchor.tid)) {
            Some(view) => view.position(oid)?,
            None => self.generation.positions.object(oid, ReadMode::MayBlock)?,
        };
        let mut at = last.unwrap_or(0);
        while at > position {
            let head = self.generation.log.record_head(oid, at, ReadMode::MayBlock)?;
            if head.tid <= self.anchor.tid {
                return Ok(false);
            }
            check_earlier("previous record", head.previous, at)?;
            at = head.previous;
        }
        Ok(at == position)
    }

    fn has_blob(&self, oid: Oid, tid: Tid) -> bool {
        self.storage.blobs.as_ref().is_some_and(|blobs| world::exists(blobs.path(oid, tid)))
    }

    fn checksum(&mut self, tid: Tid) -> Result<Checksum, ReadError> {
        if !self.views(tid) {
            // In this order: what the index file takes in leaves the pending ones only afterwards.
            if let Some(pending) = self.generation.positions.pending_transaction(tid) {
                return Ok(pending.checksum);
            }
            self.view = self.generation.positions.index.view()?;
        }
        let entry = self.view.as_ref().map(|view| view.transaction(tid)).transpose()?.flatten();
        let end = self.window.end();
        let missing = || ReadError::corrupt(end, format!("the index does not have transaction {tid}"));
        entry.map(|entry| entry.checksum).ok_or_else(missing)
    }
}

/// Whether a record's class is `ZODB.blob.Blob`, or may be.
fn names_blob(data: &[u8]) -> bool {
    static NAME: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("ZODB.blob"));
    NAME.find(&data[..data.len().min(CLASS_BYTES)]).is_some()
}
