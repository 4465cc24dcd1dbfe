//! What the storage must hold, in memory: the model.

use std::collections::{BTreeMap, BTreeSet};

use zeo_proto::{Oid, Tid};

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// What is in its record.
    pub(super) body: Body,
    /// The blob beside it: its bytes are made from a number, and so many.
    pub(super) blob: Option<(u8, usize)>,
}

/// What is in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Object { value: u8, references: Vec<u64> },
    Blob,
}

impl State {
    /// The record as ZODB would write it: a pack reads the references, and by the class it knows blobs.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Body::Object { value, references } = &self.body else {
            return b"\x80\x03cZODB.blob\nBlob\n.\x80\x03N.".to_vec();
        };
        let mut record = b"\x80\x03cpersistent.mapping\nPersistentMapping\n.\x80\x03(K".to_vec();
        record.push(*value);
        for oid in references {
            record.extend_from_slice(b"C\x08");
            record.extend_from_slice(&Oid::new(*oid).to_bytes());
            record.extend_from_slice(b"cpersistent\nPersistent\n\x86Q");
        }
        record.extend_from_slice(b"t.");
        record
    }

    pub(super) fn references(&self) -> &[u64] {
        match &self.body {
            Body::Object { references, .. } => references,
            Body::Blob => &[],
        }
    }
}

/// A record's bytes, for messages that can be read.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The bytes of a blob.
pub(super) fn blob_bytes((value, size): (u8, usize)) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ value).collect()
}

/// A record of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// `None`: the object is deleted, or its creation undone.
    pub(super) state: Option<State>,
    /// The revision that it points back to.
    pub(super) points_to: Option<Tid>,
    /// It is one of the object's revisions. (An older one that a pack had to keep for a back pointer is none.)
    pub(super) linked: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) tid: Tid,
    pub(super) records: BTreeMap<u64, Record>,
    pub(super) packed: bool,
}

/// All transactions that are in the log.
#[derive(Clone, Debug, Default)]
pub(super) struct History(pub(super) Vec<Transaction>);

/// What a load must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Revision {
        data: String,
        serial: Tid,
        end: Option<Tid>,
    },
    /// There is the object, but not yet then.
    NothingBefore,
    NoObject,
}

/// Why a transaction cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UndoRefusal {
    /// It is packed, or not there.
    NotUndoable,
    /// Something was changed after it.
    Conflicts,
}

impl History {
    /// The revisions of an object, oldest first.
    pub(super) fn revisions(&self, oid: u64) -> impl Iterator<Item = (Tid, &Record)> {
        self.0
            .iter()
            .filter_map(move |transaction| Some((transaction.tid, transaction.records.get(&oid)?)))
            .filter(|(_, record)| record.linked)
    }

    pub(super) fn record(&self, oid: u64, tid: Tid) -> Option<&Record> {
        self.transaction(tid)?.records.get(&oid)
    }

    pub(super) fn transaction(&self, tid: Tid) -> Option<&Transaction> {
        self.0.iter().find(|transaction| transaction.tid == tid)
    }

    /// The last revision of an object that is not after `view`.
    pub(super) fn current(&self, oid: u64, view: Tid) -> Option<(Tid, &Record)> {
        self.revisions(oid).take_while(|(tid, _)| *tid <= view).last()
    }

    /// What `loadBefore` says to a client that sees the storage as of `view`.
    pub(super) fn load(&self, oid: u64, before: Tid, view: Tid) -> Load {
        let mut seen = self.revisions(oid).take_while(|(tid, _)| *tid <= view).peekable();
        if seen.peek().is_none() {
            return Load::NoObject;
        }
        let mut found = None;
        let mut end = None;
        for (tid, record) in seen {
            if tid >= before {
                end = Some(tid);
                break;
            }
            found = Some((tid, record));
        }
        match found {
            None => Load::NothingBefore,
            Some((_, Record { state: None, .. })) => Load::NoObject,
            Some((serial, Record { state: Some(state), .. })) => {
                Load::Revision { data: shown(&state.bytes()), serial, end }
            }
        }
    }

    /// What undoing these transactions, in this order, writes.
    pub(super) fn undo(&self, tids: &[Tid]) -> Result<BTreeMap<u64, Record>, UndoRefusal> {
        let undoable = |tid: &Tid| self.transaction(*tid).filter(|transaction| !transaction.packed);
        let undone: Option<Vec<_>> = tids.iter().map(undoable).collect();
        let mut written: BTreeMap<u64, Record> = BTreeMap::new();
        for undone in undone.ok_or(UndoRefusal::NotUndoable)? {
            let tid = &undone.tid;
            let mut step = Vec::new();
            for (oid, record) in &undone.records {
                let (serial, committed) = self.current(*oid, Tid::MAX).ok_or(UndoRefusal::Conflicts)?;
                // It is the state that the undone transaction wrote: the same record, one that points to it, or the same data.
                let current = written.get(oid).unwrap_or(committed);
                let is_it = current.points_to == Some(*tid) || (!written.contains_key(oid) && serial == *tid);
                let bodies = (current.state.as_ref(), record.state.as_ref());
                let is_equal = matches!(bodies, (Some(current), Some(undone)) if current.body == undone.body);
                if !is_it && !is_equal {
                    return Err(UndoRefusal::Conflicts);
                }
                let before = self.revisions(*oid).take_while(|(at, _)| at < tid).last();
                step.push((*oid, before));
            }
            for (oid, before) in step {
                let state = before.and_then(|(_, record)| record.state.clone());
                let points_to = before.map(|(at, _)| at);
                written.insert(oid, Record { state, points_to, linked: true });
            }
        }
        Ok(written)
    }

    /// The objects that have a state.
    pub(super) fn exists(&self, oid: u64) -> bool {
        self.current(oid, Tid::MAX).is_some_and(|(_, record)| record.state.is_some())
    }

    /// The records that there are.
    pub(super) fn places(&self) -> BTreeSet<(Tid, u64)> {
        let of = |transaction: &Transaction| {
            let tid = transaction.tid;
            transaction.records.keys().map(move |oid| (tid, *oid)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }
}
