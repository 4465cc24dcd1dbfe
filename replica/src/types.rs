use crate::{Checksum, Oid, Tid};

/// Whether a read may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Answer only from memory and from the page cache, else with [`ReadError::WouldBlock`](crate::ReadError).
    Cached,
    /// Wait for the disk where need be.
    MayBlock,
}

/// A revision of an object. Its data are in the buffer that the read was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The transaction that wrote it.
    pub serial: Tid,
    /// The transaction that wrote the next revision; `None` for the current one.
    pub end: Option<Tid>,
}

/// The current revision of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// The transaction that wrote it.
    pub serial: Tid,
    /// It is a deletion, or the undoing of the object's creation.
    pub deleted: bool,
}

/// One revision in the history of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction that wrote it.
    pub transaction: TransactionHeader,
    /// Length of the data in its record, in bytes; 0 for a back pointer and for a deletion.
    pub size: u64,
}

/// An object in the order of oids. Its data are in the buffer that the read was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextRecord {
    /// The object.
    pub oid: Oid,
    /// The transaction that wrote its current revision.
    pub serial: Tid,
    /// The next object that is not deleted.
    pub next: Option<Oid>,
}

/// A transaction in the log, without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader {
    /// Its id.
    pub tid: Tid,
    /// `b' '`: as committed; `b'p'`: packed; `b'u'`: taken back by a ZODB of long ago, its records do not count.
    pub status: u8,
    /// Who committed it.
    pub user: Vec<u8>,
    /// What for.
    pub description: Vec<u8>,
    /// A pickled dict, or nothing.
    pub extension: Vec<u8>,
    /// Where it begins in the log.
    pub position: u64,
    /// Its length in the log without the redundant length behind it, in bytes.
    pub length: u64,
}

/// A record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The object.
    pub oid: Oid,
    /// The transaction that the record is of.
    pub serial: Tid,
    /// The object's state, also where the record only points back to it. `None`: a deletion, or the undoing of the
    /// object's creation.
    pub data: Option<Vec<u8>>,
    /// The revision that the record points back to.
    pub data_tid: Option<Tid>,
}

/// What changed since a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// These objects, in the transactions up to `last`.
    Oids {
        /// The last transaction.
        last: Tid,
        /// In the order of their first change, without duplicates.
        oids: Vec<Oid>,
    },
    /// More objects than the limit allows.
    TooMany,
    /// The transaction is not in the log: packed away, or never part of this history.
    Unknown,
}

/// A transaction that is durable and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What [`Committer::commit`](crate::Committer::commit) was given.
    pub tag: u64,
    /// The transaction's id.
    pub tid: Tid,
    /// The objects that it wrote, in the order of first store.
    pub oids: Vec<Oid>,
    /// [`Storage::object_count`](crate::Storage::object_count) after it.
    pub object_count: u64,
    /// [`Storage::size_bytes`](crate::Storage::size_bytes) after it.
    pub size_bytes: u64,
    /// The running checksum after it.
    pub checksum: Checksum,
}
