use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::{BACK_POINTER, RECORD_HEADER, REDUNDANT_LENGTH, TRANSACTION_HEADER};
use crate::inner::{Generation, Inner};
use crate::pins::Pin;
use crate::recent::Mix;
use crate::series::Series;
use crate::world::fs::File;
use crate::{Checksum, Oid, ReadMode, ReserveError, StagedBlob, Tid, TransactionError};

/// Record data beyond this go to a temporary file.
const MEMORY_BYTES_MAX: usize = 16 << 20;
/// The greatest length of user, description and extension each.
const METADATA_BYTES_MAX: usize = u16::MAX as usize;

/// A transaction that is being collected: what it will write, nothing of it in the log yet.
///
/// Large ones (beyond 16 MiB of record data) are kept in a temporary file without a name, in the log's folder.
pub struct Transaction {
    storage: Arc<Inner>,
    pub(crate) metadata: Metadata,
    pub(crate) tid: Option<Tid>,
    /// What the running checksum must come to.
    pub(crate) expected: Option<Checksum>,
    pub(crate) series: Series,
    pub(crate) status: u8,
    pub(crate) entries: Vec<Entry>,
    by_oid: HashMap<u64, usize, BuildHasherDefault<Mix>>,
    pub(crate) content: Content,
    records_length: u64,
    blobs: Vec<(Oid, StagedBlob)>,
    /// For each object that has a back pointer, or data that stand for one because a pack may drop what it would
    /// lead to: that.
    pins: HashMap<u64, Pin, BuildHasherDefault<Mix>>,
}

/// User, description and extension.
#[derive(Default)]
pub(crate) struct Metadata {
    pub(crate) user: Vec<u8>,
    pub(crate) description: Vec<u8>,
    pub(crate) extension: Vec<u8>,
}

/// What will be written for an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) oid: Oid,
    pub(crate) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Data at this offset of the content; at least one byte.
    Data { offset: u64, length: u64 },
    /// A back pointer to the object's record in transaction `data_tid`, which was at `position` when it was
    /// looked for (0: it was not found).
    Pointer { data_tid: Tid, position: u64 },
    /// A deletion, or the undoing of a creation.
    Nothing,
}

impl Body {
    fn record_length(self) -> u64 {
        let body = if let Self::Data { length, .. } = self { length } else { BACK_POINTER as u64 };
        RECORD_HEADER as u64 + body
    }
}

/// The record data of a transaction, one behind the other: first what it was made of, then those in the file, then
/// those in memory.
#[derive(Default)]
pub(crate) struct Content {
    shared: Bytes,
    file: Option<File>,
    in_file: u64,
    memory: Vec<u8>,
}

impl Transaction {
    pub(crate) fn new(storage: Arc<Inner>) -> Self {
        Self {
            storage,
            metadata: Metadata::default(),
            tid: None,
            expected: None,
            series: Series::default(),
            status: b' ',
            entries: Vec::new(),
            by_oid: HashMap::default(),
            content: Content::default(),
            records_length: 0,
            blobs: Vec::new(),
            pins: HashMap::default(),
        }
    }

    /// Says who commits, what for, and what else (a pickle, or nothing). At most 65,535 bytes each.
    pub fn set_metadata(
        &mut self,
        user: &[u8],
        description: &[u8],
        extension: &[u8],
    ) -> Result<(), TransactionError> {
        let fields = [("user name", user), ("description", description), ("extension data", extension)];
        for (field, value) in fields {
            if value.len() > METADATA_BYTES_MAX {
                return Err(TransactionError::TooLong { field, bytes: value.len() });
            }
        }
        self.metadata = Metadata {
            user: user.to_vec(),
            description: description.to_vec(),
            extension: extension.to_vec(),
        };
        Ok(())
    }

    /// Gives the transaction a tid instead of that of its moment. When it is committed, the tid must be above the
    /// last one.
    pub fn set_tid(&mut self, tid: Tid) {
        self.tid = Some(tid);
    }

    /// When it is committed, the running checksum must come to this, or it fails.
    pub fn expect_checksum(&mut self, checksum: Checksum) {
        self.expected = Some(checksum);
    }

    /// It is committed only when all before it in the series were.
    pub fn join(&mut self, series: &Series) {
        self.series = series.clone();
    }

    /// The tid that it was given.
    pub fn tid(&self) -> Option<Tid> {
        self.tid
    }

    /// Gives the transaction a status, `b' '` (as it has without), `b'p'` or `b'u'`.
    ///
    /// # Panics
    /// With any other status: the log would not be readable.
    pub fn set_status(&mut self, status: u8) {
        assert!(
            matches!(status, b' ' | b'p' | b'u'),
            "{status:#04x} is not the status of a finished transaction"
        );
        self.status = status;
    }

    /// Stores the object's state. A later store, deletion or back pointer of the same object replaces it. Storing
    /// no bytes at all is a deletion, since the log has no other meaning for it.
    pub fn store(&mut self, oid: Oid, data: &[u8]) -> Result<(), TransactionError> {
        if data.is_empty() {
            return self.delete(oid);
        }
        let offset = self.content.append(data, &self.storage).map_err(TransactionError::Spill)?;
        self.put(oid, Body::Data { offset, length: data.len() as u64 });
        Ok(())
    }

    /// Takes over where data lie that will be stored with [`Transaction::store_shared`], instead of copies of them.
    /// Nothing was stored yet.
    pub(crate) fn share(&mut self, content: Bytes) {
        assert!(self.entries.is_empty(), "nothing was stored yet");
        if content.len() <= MEMORY_BYTES_MAX {
            self.content.shared = content;
        }
    }

    /// So many objects will be stored, as far as is known: spares growing for one after the other.
    pub(crate) fn expect_objects(&mut self, count: usize) {
        self.entries.reserve(count);
        self.by_oid.reserve(count);
    }

    /// As [`Transaction::store`], with data that are the bytes at `offset` of what is shared.
    pub(crate) fn store_shared(
        &mut self,
        oid: Oid,
        offset: usize,
        data: &[u8],
    ) -> Result<(), TransactionError> {
        if data.is_empty() || self.content.shared.is_empty() {
            return self.store(oid, data);
        }
        debug_assert_eq!(&self.content.shared[offset..offset + data.len()], data);
        self.put(oid, Body::Data { offset: offset as u64, length: data.len() as u64 });
        Ok(())
    }

    /// Stores a back pointer to the object's record in transaction `data_tid`, which has been committed or is queued
    /// before this one; if it is not there when this one is committed, this one fails. See
    /// [`Storage::resolve_back_pointer`](crate::Storage::resolve_back_pointer).
    pub fn store_as(&mut self, oid: Oid, data_tid: Tid) -> Result<(), TransactionError> {
        loop {
            let now = self.storage.now_held();
            let found = now.find_record(oid, data_tid).map_err(Box::new)?;
            let position = found.map_or(0, |(position, _)| position);
            let pin = self.storage.pins.pin(oid, data_tid);
            if Arc::ptr_eq(&self.storage.now(), &now) {
                return self.point(pin, position, &now);
            }
            // A pack has come to its end, and may have dropped it.
        }
    }

    /// Stores a back pointer, since another copy has one there that leads to these data (to none, if they are empty). Where
    /// this copy has nothing to point to, and it will not come any more, stores the data themselves. If a pack drops what
    /// it leads to before this is committed, this fails.
    pub(crate) fn point_or_store(
        &mut self,
        oid: Oid,
        data_tid: Tid,
        data: &[u8],
    ) -> Result<(), TransactionError> {
        let pin = self.storage.pins.pin(oid, data_tid);
        let now = self.storage.now_held();
        let found = now.find_record(oid, data_tid).map_err(Box::new)?;
        if found.is_none() && data_tid <= now.first_place().tid {
            return self.store(oid, data);
        }
        let position = found.map_or(0, |(position, _)| position);
        self.put(oid, Body::Pointer { data_tid, position });
        self.pins.insert(oid.get(), pin);
        Ok(())
    }

    /// Stores a back pointer to a record at a position of this log, or what it leads to where a pack may drop that.
    pub(crate) fn point(&mut self, pin: Pin, position: u64, of: &Generation) -> Result<(), TransactionError> {
        let (oid, data_tid) = (pin.oid, pin.tid);
        if pin.holds || position == 0 {
            self.put(oid, Body::Pointer { data_tid, position });
        } else {
            let mut data = Vec::new();
            of.log.data_at(oid, position, ReadMode::MayBlock, &mut data).map_err(Box::new)?;
            self.store(oid, &data)?;
        }
        self.pins.insert(oid.get(), pin);
        Ok(())
    }

    /// Deletes the object: a record without data.
    pub fn delete(&mut self, oid: Oid) -> Result<(), TransactionError> {
        self.drop_blob(oid);
        self.put(oid, Body::Nothing);
        Ok(())
    }

    /// The state that was stored for the object. `None`: nothing was, or a deletion.
    pub fn data(&self, oid: Oid) -> Result<Option<Cow<'_, [u8]>>, TransactionError> {
        match self.body(oid) {
            None | Some(Body::Nothing) => Ok(None),
            Some(Body::Data { offset, length }) => {
                self.content.read(offset, length).map(Some).map_err(TransactionError::Spill)
            }
            Some(Body::Pointer { data_tid, position }) => {
                let mut data = Vec::new();
                let now = self.storage.now_held();
                let position = now.pointed_to(oid, data_tid, position).map_err(Box::new)?.unwrap_or(0);
                let found =
                    now.log.data_at(oid, position, ReadMode::MayBlock, &mut data).map_err(Box::new)?;
                Ok(found.then_some(Cow::Owned(data)))
            }
        }
    }

    /// The object's record comes with this blob, whose contents are synced. A later one replaces it.
    pub fn attach_blob(&mut self, oid: Oid, blob: StagedBlob) {
        self.drop_blob(oid);
        self.blobs.push((oid, blob));
    }

    /// The object's record comes without a blob after all.
    pub(crate) fn drop_blob(&mut self, oid: Oid) {
        self.blobs.retain(|(known, _)| *known != oid);
    }

    /// The revision that the object's record will point back to, or whose data it repeats because a pack may drop
    /// that revision.
    pub fn back_pointer(&self, oid: Oid) -> Option<Tid> {
        self.pins.get(&oid.get()).map(|pin| pin.tid)
    }

    /// What it points back to must be there.
    pub(crate) fn check_pointers(&self, now: &Generation) -> Result<(), ReserveError> {
        for entry in &self.entries {
            if let Body::Pointer { data_tid, position } = entry.body {
                let oid = entry.oid;
                if data_tid > now.last_tid() {
                    continue; // of a transaction that is queued before this one
                }
                let found = now.pointed_to(oid, data_tid, position);
                let found = found.map_err(|error| ReserveError::Io(io::Error::other(error)))?;
                found.ok_or(ReserveError::NothingToPointTo { oid, data_tid })?;
            }
        }
        Ok(())
    }

    pub(crate) fn take_blobs(&mut self) -> Vec<(Oid, StagedBlob)> {
        std::mem::take(&mut self.blobs)
    }

    /// Whether something is to be written for the object.
    pub fn contains(&self, oid: Oid) -> bool {
        self.by_oid.contains_key(&oid.get())
    }

    /// The objects that are to be written, in the order of their records.
    pub fn oids(&self) -> impl Iterator<Item = Oid> {
        self.entries.iter().map(|entry| entry.oid)
    }

    /// How many bytes the transaction will take in the log.
    pub fn len_bytes(&self) -> u64 {
        self.length() + REDUNDANT_LENGTH
    }

    /// Forgets all records; metadata, tid and status stay.
    pub fn clear_records(&mut self) {
        self.pins.clear();
        self.entries.clear();
        self.by_oid.clear();
        self.content = Content::default();
        self.records_length = 0;
        self.blobs.clear();
    }

    /// The length that the log's header of it says.
    pub(crate) fn length(&self) -> u64 {
        let metadata = &self.metadata;
        let metadata_length = metadata.user.len() + metadata.description.len() + metadata.extension.len();
        (TRANSACTION_HEADER + metadata_length) as u64 + self.records_length
    }

    pub(crate) fn body(&self, oid: Oid) -> Option<Body> {
        self.by_oid.get(&oid.get()).map(|at| self.entries[*at].body)
    }

    /// Whether the record at this place is the only one of its object, or the last of several.
    pub(crate) fn is_last_of(&self, oid: Oid, place: usize) -> bool {
        self.by_oid.get(&oid.get()) == Some(&place)
    }

    /// A later record of the object does not replace those that are there, but follows them.
    pub(crate) fn keep_earlier(&mut self, oid: Oid) {
        self.by_oid.remove(&oid.get());
    }

    fn put(&mut self, oid: Oid, body: Body) {
        self.records_length += body.record_length();
        self.pins.remove(&oid.get());
        match self.by_oid.entry(oid.get()) {
            std::collections::hash_map::Entry::Occupied(at) => {
                let entry = &mut self.entries[*at.get()];
                self.records_length -= entry.body.record_length();
                entry.body = body;
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(self.entries.len());
                self.entries.push(Entry { oid, body });
            }
        }
    }

    pub(crate) fn belongs_to(&self, storage: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.storage, storage)
    }
}

impl Content {
    fn append(&mut self, data: &[u8], storage: &Inner) -> io::Result<u64> {
        if self.memory.len() + data.len() > MEMORY_BYTES_MAX && !self.memory.is_empty() {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(crate::world::unnamed_file(Some(storage.directory()))?),
            };
            if let Err(error) = file.write_all(&self.memory) {
                // Nothing that counts was changed: what was written in part is written over.
                io::Seek::seek(file, io::SeekFrom::Start(self.in_file))?;
                return Err(error);
            }
            self.in_file += self.memory.len() as u64;
            self.memory = Vec::new();
        }
        let offset = self.shared.len() as u64 + self.in_file + self.memory.len() as u64;
        self.memory.extend_from_slice(data);
        Ok(offset)
    }

    /// The bytes at an offset.
    pub(crate) fn read(&self, offset: u64, length: u64) -> io::Result<Cow<'_, [u8]>> {
        let Some(offset) = offset.checked_sub(self.shared.len() as u64) else {
            let from = offset as usize;
            return Ok(Cow::Borrowed(&self.shared[from..from + length as usize]));
        };
        if let Some(from) = offset.checked_sub(self.in_file) {
            let from = from as usize;
            return Ok(Cow::Borrowed(&self.memory[from..from + length as usize]));
        }
        let file = self.file.as_ref().expect("what is not in memory is in the file");
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(Cow::Owned(bytes))
    }
}
