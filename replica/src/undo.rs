//! Undo, as FileStorage does it where no class can resolve conflicts: each record of the undone transaction gets
//! a new record that points back to the revision before it. This needs the object's current state to be the one
//! that the undone transaction wrote: the same record, one that points to it, or equal data.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::number;
use crate::inner::Generation;
use crate::scan::{ScannedRecord, Scanner};
use crate::transaction::Body;
use crate::{Oid, ReadError, ReadMode, Storage, Tid, Transaction, UndoError};

const NOT_THERE: &str = "_loadBack() failed";
const ADDED: &str = "Can't undo an add transaction followed by conflicting transactions.";
const MODIFIED: &str = "Some data were modified by a later transaction";

impl Storage {
    /// The objects that undoing transaction `tid` would write, each once. May wait for the disk.
    pub fn transaction_oids(&self, tid: Tid) -> Result<Vec<Oid>, UndoError> {
        let mut oids = Vec::new();
        for record in self.inner().now().undoable_records(tid)? {
            if !oids.contains(&record.oid) {
                oids.push(record.oid);
            }
        }
        Ok(oids)
    }

    /// Adds to `transaction` what undoes transaction `tid`, and says for which objects. What `transaction` has for
    /// them already (from undoing a later one) counts as their current state, and is replaced, with its blob. Nothing
    /// is added when it cannot be undone. May wait for the disk.
    ///
    /// The caller sees to it that nobody commits these objects from before this until `transaction` is committed.
    pub fn undo(&self, tid: Tid, transaction: &mut Transaction) -> Result<Vec<Oid>, UndoError> {
        let inner = self.inner();
        loop {
            let now = inner.now_held();
            let undone = now.undone_by(tid, transaction)?;
            let mut bodies = Vec::with_capacity(undone.len());
            for (oid, undone) in undone {
                let pointer = match undone {
                    Undone::Nothing => None,
                    Undone::Pointer { data_tid, position } => Some((inner.pins.pin(oid, data_tid), position)),
                };
                bodies.push((oid, pointer));
            }
            if !Arc::ptr_eq(&inner.now(), &now) {
                continue; // a pack has come to its end, and may have dropped that
            }
            let oids = bodies.iter().map(|(oid, _)| *oid).collect();
            for (oid, pointer) in bodies {
                transaction.drop_blob(oid); // it belongs to what is replaced
                match pointer {
                    None => transaction.delete(oid)?,
                    Some((pin, position)) => transaction.point(pin, position, &now)?,
                }
            }
            return Ok(oids);
        }
    }
}

/// What undoes a record.
enum Undone {
    /// The object was created by it.
    Nothing,
    /// The record before it, of transaction `data_tid`.
    Pointer { data_tid: Tid, position: u64 },
}

/// The state of an object: where its data are (0: not in the log), and the data themselves where they had to be read.
struct State {
    record: u64,
    data: Option<Vec<u8>>,
}

impl Generation {
    /// What undoes a transaction: for each of its objects what to write.
    fn undone_by(&self, tid: Tid, transaction: &Transaction) -> Result<Vec<(Oid, Undone)>, UndoError> {
        let mut bodies: Vec<(Oid, Undone)> = Vec::new();
        let mut places = HashMap::new();
        let mut conflicts: Vec<(Oid, String)> = Vec::new();
        for record in self.undoable_records(tid)? {
            // ZODB can have written several records of an object in one transaction; the last one decides.
            conflicts.retain(|(oid, _)| *oid != record.oid);
            match self.undone(&record, transaction)? {
                Err(reason) => conflicts.push((record.oid, reason.to_owned())),
                Ok(body) => match places.get(&record.oid) {
                    Some(place) => bodies[*place] = (record.oid, body),
                    None => {
                        places.insert(record.oid, bodies.len());
                        bodies.push((record.oid, body));
                    }
                },
            }
        }
        if conflicts.is_empty() { Ok(bodies) } else { Err(UndoError::Conflicts(conflicts)) }
    }

    /// The records of a transaction that can be undone as far as that depends on the transaction alone.
    fn undoable_records(&self, tid: Tid) -> Result<Vec<ScannedRecord>, UndoError> {
        let mark = self.mark();
        let entry = self.positions.transaction(tid)?.filter(|entry| entry.tid <= mark.last_tid);
        let entry = entry.ok_or(UndoError::InvalidTransaction)?;
        let head = self.log.transaction_head(entry.position)?;
        if head.status != b' ' {
            // Looking from the end, ZODB finds the last packed transaction, and none before it.
            let next = entry.position + head.length + crate::format::REDUNDANT_LENGTH;
            let packed_behind = next < mark.end && self.log.transaction_head(next)?.status == b'p';
            return Err(if head.status == b'p' && packed_behind {
                UndoError::InvalidTransaction
            } else {
                UndoError::NotUndoable
            });
        }
        let mut scanner = Scanner::new(Arc::clone(&self.log), mark.end);
        scanner.transaction(entry.position)?;
        Ok(scanner.records().to_vec())
    }

    /// What to write to undo a record, or why that is not possible.
    fn undone(
        &self,
        undone: &ScannedRecord,
        transaction: &Transaction,
    ) -> Result<Result<Undone, &'static str>, ReadError> {
        let (oid, previous) = (undone.oid, undone.previous);
        let pending = transaction.body(oid);
        let current = self.positions.object(oid, ReadMode::MayBlock)?.ok_or(ReadError::NotFound(oid))?;
        if pending.is_some() || current != undone.position {
            let state = match pending {
                Some(body) => self.pending_state(oid, body, transaction)?,
                None => self.committed_state(oid, current)?,
            };
            if state.record != undone.position {
                let mut undone_data = Vec::new();
                if !self.log.data_at(oid, undone.position, ReadMode::MayBlock, &mut undone_data)? {
                    return Ok(Err(NOT_THERE));
                }
                let data = match state.data {
                    Some(data) => data,
                    None => {
                        let mut data = Vec::new();
                        if !self.log.data_at(oid, state.record, ReadMode::MayBlock, &mut data)? {
                            return Ok(Err(NOT_THERE));
                        }
                        data
                    }
                };
                if data != undone_data {
                    return Ok(Err(if previous == 0 { ADDED } else { MODIFIED }));
                }
            }
        }
        if previous == 0 {
            return Ok(Ok(Undone::Nothing));
        }
        let data_tid = self.log.record_head(oid, previous, ReadMode::MayBlock)?.tid;
        Ok(Ok(Undone::Pointer { data_tid, position: previous }))
    }

    fn pending_state(&self, oid: Oid, body: Body, transaction: &Transaction) -> Result<State, ReadError> {
        Ok(match body {
            Body::Data { .. } => {
                let data = transaction.data(oid).map_err(|error| std::io::Error::other(error.to_string()))?;
                State { record: 0, data: Some(data.unwrap_or_default().into_owned()) }
            }
            Body::Pointer { data_tid, position } => {
                State { record: self.pointed_to(oid, data_tid, position)?.unwrap_or(0), data: None }
            }
            Body::Nothing => State { record: 0, data: None },
        })
    }

    fn committed_state(&self, oid: Oid, position: u64) -> Result<State, ReadError> {
        let mut data = Vec::new();
        let head = self.log.record(oid, position, ReadMode::MayBlock, &mut data)?;
        self.log.complete(&head, position, ReadMode::MayBlock, &mut data)?;
        Ok(if head.data_length != 0 {
            State { record: position, data: Some(data) }
        } else {
            State { record: number(&data, 0), data: None }
        })
    }
}
