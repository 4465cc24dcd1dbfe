use std::path::PathBuf;

use crate::{Checksum, PackStage, RewindStage, Tid};

/// How a storage is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Make a new, empty log where there is none. Without it, a missing log is an error.
    pub create: bool,
    /// Never change the log. The lock is taken where it is free, and done without where it is not.
    pub read_only: bool,
    /// Where the storage's blobs are (made where it does not exist). `None`: it has none.
    pub blob_dir: Option<PathBuf>,
    /// What the index may keep of its file in memory, in bytes.
    pub index_cache_bytes: usize,
    /// How many positions of current records are kept in memory beside those that the index file does not have
    /// yet. One takes about 24 bytes.
    pub recent_entries: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            blob_dir: None,
            index_cache_bytes: 16 << 20,
            recent_entries: 1_500_000,
        }
    }
}

/// What opening and other long work tell while they run. All methods do nothing unless they are overridden.
pub trait Progress: Send + Sync {
    /// So many bytes of the log have been read, of so many.
    fn indexing(&self, done_bytes: u64, total_bytes: u64) {
        let _ = (done_bytes, total_bytes);
    }

    /// A pack is at this stage, and has done so many bytes of the log in it, of so many (0: that is not known). From
    /// [`PackStage::Stopped`] on it is called with commits stopped, until [`PackStage::Switched`].
    fn packing(&self, stage: PackStage, done_bytes: u64, total_bytes: u64) {
        let _ = (stage, done_bytes, total_bytes);
    }

    /// A rewind has come to this stage.
    fn rewinding(&self, stage: RewindStage) {
        let _ = stage;
    }

    /// Something that an operator should know: an index that was rebuilt, a torn end that was cut off.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// What was found when a storage was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The log did not exist and was made.
    pub created: bool,
    /// Where the index came from.
    pub index: IndexSource,
    /// Bytes of the log that were read to bring the index up to its end.
    pub scanned_bytes: u64,
    /// The unfinished end that was cut off (or, opened read-only, is not looked at).
    pub cut: Option<Cut>,
    /// Nobody else can write the log while it is open here. False only for a read-only storage.
    pub locked: bool,
    /// The last transaction; [`Tid::ZERO`] when there is none.
    pub last_tid: Tid,
    /// The running checksum at `last_tid`.
    pub checksum: Checksum,
}

/// Where the index of an opened storage came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexSource {
    /// The index file covered the log up to here or an earlier point, from which the log was read.
    File,
    /// There was no index file, so that the whole log was read.
    Built,
    /// The index file was of another log or damaged, and was made anew from the whole log.
    Rebuilt,
    /// Somebody else holds the lock: a private index, which goes away with the storage.
    Private,
}

/// An unfinished append that was found at the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the log ends now.
    pub position: u64,
    /// How many bytes lay behind that.
    pub bytes: u64,
    /// The file that the bytes were saved to. `None` when opened read-only: then nothing was cut.
    pub saved_to: Option<std::path::PathBuf>,
    /// What is wrong with the transaction at `position`.
    pub reason: String,
}
