use std::io;

use crate::error::IndexError;
use crate::references::ReferenceError;
use crate::{Oid, ReadError, Tid};

/// Why a storage was not packed. It is as it was, and what had been made is removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// It is being packed.
    #[error("Already packing")]
    InProgress,
    /// It is read-only.
    #[error("the storage is read-only")]
    ReadOnly,
    /// It does not commit any more.
    #[error("the storage does not commit any more: {0}")]
    Failed(String),
    /// It was closed meanwhile.
    #[error("the storage is closing")]
    Stopped,
    /// An object is referred to that is not there at the pack time. (Packing without garbage collection, or to
    /// another time, does not look for it.)
    #[error("object {oid} is not there at the pack time{}", .referrer.map(|of| format!(", and object {of} refers to it")).unwrap_or_default())]
    Missing {
        /// The object.
        oid: Oid,
        /// What refers to it; `None` for the root object.
        referrer: Option<Oid>,
    },
    /// A record is damaged so that what it refers to is not known.
    #[error("the record of object {oid} at position {position} is damaged: {source}")]
    References {
        /// The object.
        oid: Oid,
        /// Where its record is.
        position: u64,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// Objects that could not be reached were referred to again, each time that they were about to be dropped.
    #[error(
        "transaction {tid} refers to object {oid}, which was about to be dropped; pack to an earlier time"
    )]
    Resurrected {
        /// The object.
        oid: Oid,
        /// What refers to it again.
        tid: Tid,
    },
    /// The disk has too little space.
    #[error("a pack needs up to {needed_bytes} bytes on the disk, and {free_bytes} are free")]
    NoSpace {
        /// As much as the log and its index take now.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// There are more than 2^31 objects, or as many references to missing ones.
    #[error("too many objects")]
    TooLarge,
    /// The log is damaged, or could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The index of the packed log could not be made.
    #[error("the index of the packed log failed: {0}")]
    Index(#[from] IndexError),
    /// Writing or renaming failed.
    #[error("writing the packed log failed: {0}")]
    Io(#[from] io::Error),
    /// Blobs that an earlier pack dropped could not be removed. They are removed before the next ones are dropped.
    #[error("blobs that an earlier pack dropped could not be removed: {0}")]
    Blobs(Box<PackError>),
}
