use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{BlobError, Checksum, Oid, Tid};

/// Why a storage could not be opened. Unless said otherwise the log is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process (or another storage of this one) has the log open for writing.
    #[error("{path} is locked by process {pid}; is another server running on this file?", pid = .pid.as_deref().unwrap_or("(unknown)"))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process id that the lock file names.
        pid: Option<String>,
    },
    /// There is no log, and none was to be made.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// The file does not begin as a FileStorage log does.
    #[error("{path} is not a FileStorage file: it begins with {magic:02x?}")]
    NotFileStorage {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        magic: Vec<u8>,
    },
    /// A transaction is damaged, and what follows it is not the unfinished end of a crash, so that nothing may be
    /// cut off.
    #[error(
        "{path} is damaged at position {position}: {reason}. It does not look like an append that a crash left \
         unfinished, so nothing was cut off. Run `standby verify` to see all of the damage"
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// The first transaction that is not right.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The blob directory cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The index could be neither used nor made anew.
    #[error("the index cannot be made: {0}")]
    Index(#[from] IndexError),
    /// Reading or writing failed. A new log may have been made, an unfinished end may have been saved and cut off.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
}

/// Why the index file did not do what it should. The log is not concerned: the index can be made from it anew.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct IndexError(pub(crate) Arc<redb::Error>);

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        Self(Arc::new(error.into()))
    }
}

/// Why something could not be read. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The answer is not in memory. Ask again with [`ReadMode::MayBlock`](crate::ReadMode::MayBlock) where waiting
    /// for a disk is allowed.
    #[error("the answer is not in memory")]
    WouldBlock,
    /// The object is unknown, or the revision that was asked for is a deletion or the undoing of its creation.
    #[error("object {0} is not there")]
    NotFound(Oid),
    /// The log does not hold what it should at this position.
    #[error("the log is damaged at position {position}: {reason}")]
    Corrupt {
        /// Where.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The index file failed. The log is not concerned.
    #[error("the index failed: {0}")]
    Index(#[from] IndexError),
    /// The storage was closed.
    #[error("the storage is closed")]
    Closed,
    /// What was being read was taken back meanwhile, or is not there any more: begin anew.
    #[error("what was being read was rewound or packed meanwhile")]
    Gone,
    /// Reading the log failed.
    #[error("reading the log failed: {0}")]
    Io(io::Error),
    /// A log could not be opened to be verified.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
}

/// What was read lies behind the place where a rewind cut the log off.
#[derive(Debug, thiserror::Error)]
#[error("what was being read was rewound meanwhile")]
pub(crate) struct CutOff;

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        let gone = error.get_ref().is_some_and(|inner| inner.is::<CutOff>());
        if gone { Self::Gone } else { Self::Io(error) }
    }
}

impl ReadError {
    pub(crate) fn corrupt(position: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { position, reason: reason.into() }
    }
}

/// Why a transaction could not be undone. The transaction that was to hold the undo is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// There is no such transaction, or it was packed.
    #[error("Invalid transaction id")]
    InvalidTransaction,
    /// The transaction is not one that can be undone.
    #[error("non-undoable transaction")]
    NotUndoable,
    /// Some of its objects changed since. Each with the reason.
    #[error("{} objects cannot be undone: {}", .0.len(), .0.iter().map(|(oid, why)| format!("{oid}: {why}")).collect::<Vec<_>>().join("; "))]
    Conflicts(Vec<(Oid, String)>),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The undo could not be collected.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

/// Why something could not be added to a transaction. The transaction is as it was; the storage is not concerned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A field of the metadata is longer than 65,535 bytes.
    #[error("{field} too long: {bytes} bytes, at most 65535")]
    TooLong {
        /// `user name`, `description` or `extension data`.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// The temporary file for a large transaction failed. The transaction can only be dropped.
    #[error("the temporary file of a large transaction failed: {0}")]
    Spill(io::Error),
    /// What a back pointer leads to could not be read.
    #[error(transparent)]
    Read(#[from] Box<ReadError>),
}

/// Why no space could be reserved. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// The disk is full.
    #[error("no space on the disk for {bytes} bytes: {source}")]
    NoSpace {
        /// How many bytes the transaction takes.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The storage is read-only.
    #[error("the storage is read-only")]
    ReadOnly,
    /// The transaction points back to a revision that is not there, or not any more: a pack may have removed it.
    #[error("object {oid} has no revision {data_tid} to point back to")]
    NothingToPointTo {
        /// The object.
        oid: Oid,
        /// The revision.
        data_tid: Tid,
    },
    /// The storage does not commit any more.
    #[error("the storage does not commit any more: {0}")]
    Failed(String),
    /// The system could not say.
    #[error("reserving space failed: {0}")]
    Io(io::Error),
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The tid that the transaction came with is not above the last one. Nothing was written.
    #[error("tid {given} is not above the last transaction, {last}")]
    TidNotAbove {
        /// The transaction's.
        given: Tid,
        /// The last one.
        last: Tid,
    },
    /// The transaction would need a tid above what is allowed now ([`Storage::set_tid_ceiling`]). Nothing was written.
    ///
    /// [`Storage::set_tid_ceiling`]: crate::Storage::set_tid_ceiling
    #[error("tid {next} is above {ceiling}, the greatest that may be used now")]
    TidAboveCeiling {
        /// What it would need at least.
        next: Tid,
        /// What is allowed.
        ceiling: Tid,
    },
    /// The running checksum does not come to what was expected: the transaction, or what is before it, is not what it
    /// was where it comes from. Nothing was written.
    #[error("transaction {tid} would have the running checksum {computed} instead of {expected}")]
    Checksum {
        /// The transaction.
        tid: Tid,
        /// What it should be.
        expected: Checksum,
        /// What it would be.
        computed: Checksum,
    },
    /// A back pointer names a revision that is not there. Nothing was written.
    #[error("object {oid} has no revision {data_tid} to point back to")]
    BackPointer {
        /// The object.
        oid: Oid,
        /// The revision.
        data_tid: Tid,
    },
    /// A transaction before it in its series was not committed. Nothing was written.
    #[error("a transaction before it was not committed")]
    SeriesBroken,
    /// Reading, to build what was to be written, failed. Nothing was written.
    #[error("the transaction could not be built: {0}")]
    Read(Arc<ReadError>),
    /// A blob could not be moved to its place. Nothing was written.
    #[error("a blob could not be put in place: {0}")]
    Blob(Arc<io::Error>),
    /// Writing failed, and what had been written was taken back. The next transaction may succeed.
    #[error("writing the log failed: {0}")]
    Write(Arc<io::Error>),
    /// The storage failed and commits nothing any more. Whether this transaction is on disk is known only after a
    /// restart, which recovers what is.
    #[error("the storage failed, and a restart will recover what is durable: {0}")]
    Failed(String),
    /// The committer was stopped, or the storage closed, before the transaction was taken up. Nothing was written.
    #[error("the storage is closing")]
    Stopped,
    /// The storage is read-only. Nothing was written.
    #[error("the storage is read-only")]
    ReadOnly,
}

/// What went wrong while a storage was closed. It is closed all the same, and the log is whole; the next opening
/// takes longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The index has no durable checkpoint of the end.
    #[error("the index could not be completed: {0}")]
    Index(#[from] IndexError),
    /// Space that was reserved behind the end of the log could not be given back.
    #[error("reserved space could not be given back: {0}")]
    Io(#[from] io::Error),
}
