//! The transaction that a client is collecting, and its vote.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use replica::{
    ReadError, ReadMode, Reservation, ReserveError, Storage, Transaction, TransactionError, UndoError,
};
use zeo_proto::{ErrorReply, Oid, Serial, Tid, TransactionKey};

use super::blobs::UploadedBlob;
use crate::service::locks::{Claims, Owner};

/// What a client has asked for between `tpc_begin` and its vote. Nothing is checked before the vote.
pub(super) struct PendingTransaction {
    /// The client's name for it.
    pub(super) key: TransactionKey,
    /// Whose locks it takes.
    pub(super) owner: Owner,
    buffer: Transaction,
    /// What the vote has to look at, in order of arrival.
    checks: Vec<Check>,
    /// The place of each written object in `checks`: a later write of an object replaces the earlier one.
    written: HashMap<Oid, usize>,
    /// Uploads whose contents have yet to be synced.
    uploads: Vec<(Oid, UploadedBlob)>,
}

#[derive(Debug)]
enum Check {
    Store { oid: Oid, serial: Serial },
    Delete { oid: Oid, serial: Tid },
    Current { oid: Oid, serial: Tid },
    Restore { oid: Oid, data_tid: Option<Tid> },
    Undo { tid: Tid },
}

/// How a vote ended.
pub(super) enum Vote {
    /// Voted through: the transaction can be finished. Objects whose data the server determined (undo).
    Ready(Reservation, Vec<Oid>),
    /// The client must resolve these and vote again: object, its committed serial, the serial that the client
    /// saw, the client's data.
    Conflicts(Vec<Conflict>),
    /// The transaction is over, with this error for the client.
    Failed(ErrorReply),
}

/// A store that does not build on the current revision.
#[derive(Debug)]
pub(super) struct Conflict {
    /// The object.
    pub(super) oid: Oid,
    /// Its current revision.
    pub(super) committed: Tid,
    /// The revision that the client's change builds on.
    pub(super) given: Serial,
    /// What the client stored.
    pub(super) data: Vec<u8>,
}

/// A vote cannot go on here: it needs the disk, and this thread must not wait.
#[derive(Debug)]
pub(super) struct NeedsDisk;

impl PendingTransaction {
    /// Begins a transaction.
    pub(super) fn new(key: TransactionKey, owner: Owner, buffer: Transaction) -> Self {
        Self { key, owner, buffer, checks: Vec::new(), written: HashMap::new(), uploads: Vec::new() }
    }

    /// Notes a store.
    pub(super) fn store(&mut self, oid: Oid, serial: Serial, data: &[u8]) -> Result<(), TransactionError> {
        self.buffer.store(oid, data)?;
        self.replace(oid, Check::Store { oid, serial });
        Ok(())
    }

    /// The object's record comes with this blob.
    pub(super) fn attach_blob(&mut self, oid: Oid, blob: UploadedBlob) {
        self.uploads.push((oid, blob));
    }

    /// Notes a record of a transaction that is being copied from elsewhere.
    pub(super) fn restore(
        &mut self,
        oid: Oid,
        data: Option<&[u8]>,
        data_tid: Option<Tid>,
    ) -> Result<(), TransactionError> {
        match data {
            Some(data) => self.buffer.store(oid, data)?,
            None => self.buffer.delete(oid)?,
        }
        self.replace(oid, Check::Restore { oid, data_tid });
        Ok(())
    }

    /// Notes a deletion.
    pub(super) fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), TransactionError> {
        self.buffer.delete(oid)?;
        self.uploads.retain(|(known, _)| *known != oid);
        self.replace(oid, Check::Delete { oid, serial });
        Ok(())
    }

    /// Notes that an object must still be at this revision.
    pub(super) fn check_current(&mut self, oid: Oid, serial: Tid) {
        self.checks.push(Check::Current { oid, serial });
    }

    /// Notes that a transaction is to be undone.
    pub(super) fn undo(&mut self, tid: Tid) {
        self.checks.push(Check::Undo { tid });
    }

    /// Whether the vote must read the log at length, so that it is better done elsewhere from the start.
    pub(super) fn reads_log(&self) -> bool {
        self.checks.iter().any(|check| matches!(check, Check::Undo { .. } | Check::Restore { .. }))
    }

    /// The locks that the vote needs.
    pub(super) fn claims(&self, storage: &Storage) -> Result<Claims, ErrorReply> {
        if self.buffer.tid().is_some() {
            return Ok(Claims::storage());
        }
        let mut written = Vec::with_capacity(self.checks.len());
        let mut checked = Vec::new();
        for check in &self.checks {
            match check {
                Check::Store { oid, .. } | Check::Delete { oid, .. } | Check::Restore { oid, .. } => {
                    written.push(*oid)
                }
                Check::Current { oid, .. } => checked.push(*oid),
                Check::Undo { tid } => written.extend(storage.transaction_oids(*tid).map_err(undo_error)?),
            }
        }
        Ok(Claims::objects(written, checked))
    }

    /// The greatest object id that is stored.
    pub(super) fn greatest_oid(&self) -> Option<Oid> {
        self.buffer.oids().max()
    }

    /// The transaction as the committer wants it.
    pub(super) fn into_buffer(self) -> Transaction {
        self.buffer
    }

    /// Decides the vote. All locks of [`Self::claims`] are held, so what it finds stays true until they are given
    /// back.
    pub(super) fn vote(&mut self, storage: &Storage, mode: ReadMode) -> Result<Vote, NeedsDisk> {
        match self.try_vote(storage, mode) {
            Ok(vote) => Ok(vote),
            Err(Failure::NeedsDisk) => Err(NeedsDisk),
            Err(Failure::Error(error)) => Ok(Vote::Failed(error)),
        }
    }

    fn try_vote(&mut self, storage: &Storage, mode: ReadMode) -> Result<Vote, Failure> {
        if let Some(tid) = self.buffer.tid()
            && tid <= storage.last_tid()
        {
            let text = format!("tid {tid} is not after the last transaction");
            return Err(Failure::Error(ErrorReply::StorageTransactionText(text)));
        }
        let mut conflicts = Vec::new();
        let mut undone = Vec::new();
        for index in 0..self.checks.len() {
            match &self.checks[index] {
                Check::Store { oid, serial } => {
                    if let Some(committed) = conflicting(storage, *oid, serial, mode)? {
                        let given = *serial;
                        conflicts.push(Conflict { oid: *oid, committed, given, data: self.data_of(*oid)? });
                    }
                }
                Check::Delete { oid, serial } => match current(storage, *oid, mode)? {
                    None => return Err(Failure::Error(ErrorReply::PosKey(*oid))),
                    Some(committed) if committed != *serial => {
                        let (oid, given) = (*oid, Some(*serial));
                        return Err(Failure::Error(ErrorReply::Conflict { oid, committed, given }));
                    }
                    Some(_) => {}
                },
                Check::Current { oid, serial } => match current(storage, *oid, mode)? {
                    None => return Err(Failure::Error(ErrorReply::PosKey(*oid))),
                    Some(committed) if committed != *serial => {
                        let (oid, given) = (*oid, Some(*serial));
                        return Err(Failure::Error(ErrorReply::ReadConflict { oid, committed, given }));
                    }
                    Some(_) => {}
                },
                Check::Restore { oid, data_tid: Some(data_tid) } => {
                    if mode == ReadMode::Cached {
                        return Err(Failure::NeedsDisk);
                    }
                    let data = self.data_of(*oid)?;
                    if storage.resolve_back_pointer(*oid, *data_tid, &data).map_err(Failure::from)? {
                        self.buffer.store_as(*oid, *data_tid).map_err(Failure::from)?;
                    }
                }
                Check::Restore { data_tid: None, .. } => {}
                Check::Undo { tid } => {
                    if mode == ReadMode::Cached {
                        return Err(Failure::NeedsDisk);
                    }
                    let oids = storage
                        .undo(*tid, &mut self.buffer)
                        .map_err(|error| Failure::Error(undo_error(error)))?;
                    self.copy_undone_blobs(storage, &oids)?;
                    undone.extend(oids);
                }
            }
        }
        self.sync_uploads(mode)?;
        if !conflicts.is_empty() {
            return Ok(Vote::Conflicts(conflicts));
        }
        let reservation = storage.reserve(&self.buffer).map_err(reserve_error)?;
        Ok(Vote::Ready(reservation, undone))
    }

    fn sync_uploads(&mut self, mode: ReadMode) -> Result<(), Failure> {
        if mode == ReadMode::Cached && !self.uploads.is_empty() {
            return Err(Failure::NeedsDisk);
        }
        for (oid, upload) in self.uploads.drain(..) {
            let failed = |error| Failure::Error(super::errors::storage_error(error));
            self.buffer.attach_blob(oid, upload.sync().map_err(failed)?);
        }
        Ok(())
    }

    /// A record that an undo brings back brings its blob back, under the undoing transaction's tid.
    fn copy_undone_blobs(&mut self, storage: &Storage, oids: &[Oid]) -> Result<(), Failure> {
        let Some(blobs) = storage.blobs() else { return Ok(()) };
        for &oid in oids {
            let Some(data_tid) = self.buffer.back_pointer(oid) else { continue };
            match blobs.stage_copy(oid, data_tid) {
                Ok(copy) => self.buffer.attach_blob(oid, copy),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // no blob object
                Err(error) => return Err(Failure::Error(super::errors::storage_error(error))),
            }
        }
        Ok(())
    }

    fn data_of(&self, oid: Oid) -> Result<Vec<u8>, Failure> {
        let data = self.buffer.data(oid).map_err(Failure::from)?;
        Ok(data.map(|data| data.into_owned()).unwrap_or_default())
    }

    fn replace(&mut self, oid: Oid, check: Check) {
        match self.written.entry(oid) {
            Entry::Occupied(place) => self.checks[*place.get()] = check,
            Entry::Vacant(place) => {
                place.insert(self.checks.len());
                self.checks.push(check);
            }
        }
    }
}

/// The committed serial that a store of `given` conflicts with, if it does.
fn conflicting(storage: &Storage, oid: Oid, given: &Serial, mode: ReadMode) -> Result<Option<Tid>, Failure> {
    let committed = current(storage, oid, mode)?;
    Ok(committed.filter(|committed| *given != Some(*committed)))
}

/// The serial of an object's current record; `None` for an object that was never stored.
fn current(storage: &Storage, oid: Oid, mode: ReadMode) -> Result<Option<Tid>, Failure> {
    Ok(storage.current(oid, mode)?.map(|current| current.serial))
}

fn undo_error(error: UndoError) -> ErrorReply {
    let undo = |reason: &str| ErrorReply::Undo { reason: reason.to_owned(), oid: None };
    match error {
        UndoError::InvalidTransaction => undo("Invalid transaction id"),
        UndoError::NotUndoable => undo("non-undoable transaction"),
        UndoError::Conflicts(conflicts) => ErrorReply::MultipleUndo(conflicts),
        UndoError::Read(error) => super::errors::read_error(error),
        other => super::errors::storage_error(other),
    }
}

fn reserve_error(error: ReserveError) -> Failure {
    Failure::Error(super::errors::storage_error(error))
}

enum Failure {
    NeedsDisk,
    Error(ErrorReply),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::WouldBlock => Self::NeedsDisk,
            error => Self::Error(super::errors::read_error(error)),
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        Self::Error(super::errors::transaction_error(error))
    }
}
