//! One durable copy of a ZODB storage on one disk.
//!
//! The data lie in a FileStorage log, `Data.fs`, which ZODB's own tools can read at any time. [`Storage::open`] opens
//! it; everything else is made from it. Readers ([`Storage::load_before`] and others) are many and wait for
//! nobody. There is one writer, the [`Committer`]'s thread: it takes the [`Transaction`]s that wait, appends them
//! at once, syncs once, and only then lets readers see them and tells [`Publish`].
//!
//! | module | what |
//! |---|---|
//! | `format`, `log`, `window` | the bytes of the log; reading it at positions; reading it in order |
//! | `scan`, `tail`, `checksum` | believing nothing of it; what a crash leaves at its end; the running checksum |
//! | `lock`, `open` | keeping others out; bringing everything up |
//! | `index`, `recent`, `known`, `positions`, `drainer` | where things are: on disk, in memory, both, and from one to the other |
//! | `revisions`, `history`, `undo` | reading objects; reading transactions; undoing them |
//! | `transaction`, `space`, `committer`, `batch` | collecting, reserving, queueing, writing |
//! | `references`, `pack` | what records refer to; rewriting the log without what nobody needs |
//! | `epochs`, `lineage`, `stream` | who wrote which part of a history; giving it to another copy |
//! | `rewind`, `oids` | taking lost transactions back; the oids that they used |
//! | `aside` | moving a whole copy out of the way |
//! | `beside`, `verify`, `dump` | opening a log that others may have open; checking all of it; listing it |

mod anchor;
mod aside;
mod batch;
mod beside;
mod blobs;
mod checksum;
mod committer;
mod drainer;
mod dump;
mod epochs;
mod error;
mod format;
mod history;
mod index;
mod inner;
mod known;
mod lineage;
mod lock;
mod log;
mod oids;
mod open;
mod options;
mod pack;
mod pins;
mod positions;
mod recent;
mod references;
mod revisions;
mod rewind;
mod scan;
mod series;
mod space;
mod storage;
mod stream;
mod tail;
mod transaction;
mod turns;
mod types;
mod undo;
mod verify;
mod window;
#[doc(hidden)]
pub mod world;

pub use aside::set_aside;
pub use blobs::{BlobError, BlobStore, Layout, StagedBlob};
pub use checksum::Checksum;
pub use committer::{Committer, Publish};
pub use dump::{Dump, DumpRange, DumpedRecord};
pub use epochs::{Epoch, Epochs, EpochsError};
pub use error::{
    CloseError, CommitError, IndexError, OpenError, ReadError, ReserveError, TransactionError, UndoError,
};
pub use history::{Records, Transactions};
pub use lineage::{Lineage, LineageError};
pub use options::{Cut, IndexSource, NoProgress, OpenOptions, OpenReport, Progress};
pub use pack::{PackError, PackOptions, PackReport, PackStage, Packed};
pub use references::{ReferenceError, ReferenceScanner};
pub use rewind::{LostTransaction, RewindError, RewindReport, RewindStage, Saved, SavedChanges};
pub use series::Series;
pub use space::Reservation;
pub use storage::Storage;
pub use stream::{AnchorError, Beyond, Export, Exported, Exporter, ImportError, NotPortable, Place};
pub use transaction::Transaction;
pub use types::{
    Changed, Committed, Current, HistoryEntry, NextRecord, ReadMode, Record, Revision, TransactionHeader,
};
pub use verify::{IndexComparison, Problem, VerifyReport, verify};
pub use zodb_types::{Oid, Tid};
