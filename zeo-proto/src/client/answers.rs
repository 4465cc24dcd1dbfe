//! What servers answer, as types.

use crate::{Oid, Serial, Tid, Value};

/// Objects that were changed up to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidations {
    /// The last transaction.
    pub tid: Tid,
    /// The objects.
    pub oids: Vec<Oid>,
}

/// What a transaction is recorded with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Who.
    pub user: Vec<u8>,
    /// What.
    pub description: Vec<u8>,
    /// Anything else, as plain data.
    pub extension: Vec<(Value<'static>, Value<'static>)>,
}

/// What the first phase of a commit has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Objects that others have changed meanwhile. While there are any, the transaction cannot be finished; it may store
    /// them again on top of what was committed, and vote again.
    pub conflicts: Vec<Conflict>,
    /// Objects whose records the server itself has made: by an undo, or (the stock server) by resolving conflicts.
    pub changed: Vec<Oid>,
}

/// An object that a transaction has based on a revision which is not the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The object.
    pub oid: Oid,
    /// Its current revision.
    pub committed: Tid,
    /// The revision that the transaction is based on.
    pub given: Serial,
}

impl Conflict {
    /// From the dictionary that a vote tells it with, or the attributes of a conflict error.
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        let [committed, given] = value.item("serials")?.as_sequence()? else { return None };
        Some(Self {
            oid: value.item("oid")?.as_oid()?,
            committed: committed.as_tid()?,
            // A client that has based it on nothing may have said so with a text of NULs.
            given: given.as_tid(),
        })
    }
}

/// A transaction that can be undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Undoable {
    /// Its name, as [`Transaction::undo`](super::Transaction::undo) takes it.
    pub id: Vec<u8>,
    /// When, in seconds since 1970.
    pub time: f64,
    /// Who.
    pub user: Vec<u8>,
    /// What.
    pub description: Vec<u8>,
}

impl Undoable {
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        let bytes = |key| match value.item(key)? {
            Value::Str(text) => Some(text.as_bytes().to_vec()),
            other => other.as_bytes().map(<[u8]>::to_vec),
        };
        let Value::Float(time) = *value.item("time")? else { return None };
        Some(Self { id: bytes("id")?, time, user: bytes("user_name")?, description: bytes("description")? })
    }
}
