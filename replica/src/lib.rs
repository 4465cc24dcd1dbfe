//! One durable copy of a ZODB storage on one disk.

mod blobs;
mod checksum;
mod error;
mod options;
mod skeleton;
mod types;

pub use blobs::{BlobError, BlobStore, Layout, StagedBlob};
pub use checksum::Checksum;
pub use error::{
    CloseError, CommitError, IndexError, OpenError, ReadError, ReserveError, TransactionError, UndoError,
};
pub use options::{Cut, IndexSource, NoProgress, OpenOptions, OpenReport, Progress};
pub use skeleton::{
    Committer, Problem, Publish, Records, Reservation, Storage, Transaction, Transactions, VerifyReport,
    verify,
};
pub use types::{
    Changed, Committed, Current, HistoryEntry, NextRecord, ReadMode, Record, Revision, TransactionHeader,
};
pub use zodb_types::{Oid, Tid};
