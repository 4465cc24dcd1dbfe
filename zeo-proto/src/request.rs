use std::borrow::Cow;

use crate::{Oid, Tid, Value};

pub(crate) mod build;
mod key;

pub use key::TransactionKey;

/// The revision that a client's change is based on: `None` for a client that says it knows of none. A new
/// object's is `None` or [`Tid::ZERO`], which old clients send as text of eight NULs.
pub type Serial = Option<Tid>;

/// A call, by the method it names: one variant for every method that a ZEO 5 server registers
/// (`ZEO/StorageServer.py`, `registered_methods`), with its arguments typed and its defaults filled in.
/// The data of records is borrowed from the frame.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the parameters of the methods, under ZEO's names")]
pub enum Request<'a> {
    /// Chooses the storage. The first call of a connection. A storage is named by text; other values are names
    /// of no storage, and shown as they are.
    Register { storage: Value<'a>, read_only: bool },
    /// Sizes and abilities of the storage.
    GetInfo,
    /// The newest tid.
    LastTransaction,
    /// What changed since a tid.
    GetInvalidations { tid: Tid },
    /// A number of unused oids.
    NewOids { n: i64 },
    /// Registered, and never there: every server answers that it has no such attribute.
    NewOid,
    /// The revision that was current just before a tid.
    LoadBefore { oid: Oid, before: Tid },
    /// One exact revision.
    LoadSerial { oid: Oid, serial: Tid },
    /// The newest revisions of an object, described. `size`: at most so many.
    History { oid: Oid, size: i64 },
    /// The current revision of an object and the oid after it, to walk over all objects.
    RecordIternext { next: Option<Oid> },
    /// The serial of the current revision.
    GetTid { oid: Oid },
    /// Opens a transaction. `tid` and `status` are only given when a transaction of another storage is copied.
    TpcBegin {
        id: TransactionKey,
        user: Cow<'a, [u8]>,
        description: Cow<'a, [u8]>,
        extension: Value<'a>,
        tid: Option<Tid>,
        status: u8,
    },
    /// A changed or new object.
    StoreA { oid: Oid, serial: Serial, data: Cow<'a, [u8]>, id: TransactionKey },
    /// A revision copied from another storage, as it was there. No data: an undone creation.
    RestoreA { oid: Oid, serial: Tid, data: Option<Cow<'a, [u8]>>, prev_txn: Option<Tid>, id: TransactionKey },
    /// Removes an object (external garbage collection).
    DeleteObject { oid: Oid, serial: Tid, id: TransactionKey },
    /// The transaction may only commit if this revision is still current.
    CheckCurrentSerialInTransaction { oid: Oid, serial: Tid, id: TransactionKey },
    /// Undoes a transaction, named by the base64 form of its tid, as given.
    UndoA { transaction: Cow<'a, [u8]>, id: TransactionKey },
    /// First phase of the commit.
    Vote { id: TransactionKey },
    /// Second phase of the commit.
    TpcFinish { id: TransactionKey },
    /// Gives the transaction up.
    TpcAbort { id: TransactionKey },
    /// Opens an iterator over transactions, both ends inclusive.
    IteratorStart { start: Option<Tid>, stop: Option<Tid> },
    /// The next transaction.
    IteratorNext { iid: i64 },
    /// Opens an iterator over the records of the transaction last handed out.
    IteratorRecordStart { txn_iid: i64, tid: Tid },
    /// The next record.
    IteratorRecordNext { iid: i64 },
    /// Forgets iterators. Ids that are not numbers are left out here: they name no iterator.
    IteratorGc { iids: Vec<i64> },
    /// Transactions that can be undone, newest first.
    UndoLog { first: i64, last: i64 },
    /// The same, of those that have these values; see [`Value::matches`].
    UndoInfo { first: i64, last: i64, specification: Option<Vec<(String, Value<'a>)>> },
    /// Removes old revisions and garbage. `time` in seconds since 1970.
    Pack { time: f64, wait: bool },
    /// A blob's contents follow.
    StoreBlobStart,
    /// A piece of the blob.
    StoreBlobChunk { chunk: Cow<'a, [u8]> },
    /// The blob is whole, and belongs to this record.
    StoreBlobEnd { oid: Oid, serial: Serial, data: Cow<'a, [u8]>, id: TransactionKey },
    /// The blob lies in the shared directory, under this name.
    StoreBlobShared {
        oid: Oid,
        serial: Serial,
        data: Cow<'a, [u8]>,
        filename: Cow<'a, str>,
        id: TransactionKey,
    },
    /// Asks for a blob's contents.
    SendBlob { oid: Oid, serial: Tid },
    /// Counters.
    ServerStatus,
    /// A name for the connection in the log.
    SetClientLabel { label: Cow<'a, str> },
    /// Are you there?
    Ping,
}

impl Request<'_> {
    /// The name of the method on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::GetInfo => "get_info",
            Self::LastTransaction => "lastTransaction",
            Self::GetInvalidations { .. } => "getInvalidations",
            Self::NewOids { .. } => "new_oids",
            Self::NewOid => "new_oid",
            Self::LoadBefore { .. } => "loadBefore",
            Self::LoadSerial { .. } => "loadSerial",
            Self::History { .. } => "history",
            Self::RecordIternext { .. } => "record_iternext",
            Self::GetTid { .. } => "getTid",
            Self::TpcBegin { .. } => "tpc_begin",
            Self::StoreA { .. } => "storea",
            Self::RestoreA { .. } => "restorea",
            Self::DeleteObject { .. } => "deleteObject",
            Self::CheckCurrentSerialInTransaction { .. } => "checkCurrentSerialInTransaction",
            Self::UndoA { .. } => "undoa",
            Self::Vote { .. } => "vote",
            Self::TpcFinish { .. } => "tpc_finish",
            Self::TpcAbort { .. } => "tpc_abort",
            Self::IteratorStart { .. } => "iterator_start",
            Self::IteratorNext { .. } => "iterator_next",
            Self::IteratorRecordStart { .. } => "iterator_record_start",
            Self::IteratorRecordNext { .. } => "iterator_record_next",
            Self::IteratorGc { .. } => "iterator_gc",
            Self::UndoLog { .. } => "undoLog",
            Self::UndoInfo { .. } => "undoInfo",
            Self::Pack { .. } => "pack",
            Self::StoreBlobStart => "storeBlobStart",
            Self::StoreBlobChunk { .. } => "storeBlobChunk",
            Self::StoreBlobEnd { .. } => "storeBlobEnd",
            Self::StoreBlobShared { .. } => "storeBlobShared",
            Self::SendBlob { .. } => "sendBlob",
            Self::ServerStatus => "server_status",
            Self::SetClientLabel { .. } => "set_client_label",
            Self::Ping => "ping",
        }
    }
}
