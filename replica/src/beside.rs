use std::path::Path;
use std::sync::Arc;

use crate::format::{LOG_START, MAGIC, OLD_MAGIC};
use crate::lock::LogLock;
use crate::log::LogFile;
use crate::world::fs::File;
use crate::{OpenError, ReadError};

/// A log that is looked at, whoever has it open: neither locked nor changed.
pub(crate) struct Beside {
    pub(crate) log: Arc<LogFile>,
    /// How long it was, in bytes. A server may append to it since.
    pub(crate) size: u64,
    /// A server has it, and may have been in the middle of an append.
    pub(crate) in_use: bool,
}

impl Beside {
    /// Opens a log that is to be looked at.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        // It may be started, or stopped, just now.
        let taken = || matches!(LogLock::is_taken(path), Ok(true));
        let taken_before = taken();
        let file = File::open(path).map_err(|source| {
            let path = path.to_owned();
            Box::new(match source.kind() {
                std::io::ErrorKind::NotFound => OpenError::Missing(path),
                _ => OpenError::Io { what: "opening", path, source },
            })
        })?;
        let size = file.metadata()?.len();
        let in_use = taken_before || taken();
        let log = Arc::new(LogFile::new(file));
        let mut magic = vec![0; size.min(LOG_START) as usize];
        log.read_fully(&mut magic, 0)?;
        if magic != MAGIC && magic != OLD_MAGIC && !magic.is_empty() {
            return Err(ReadError::Open(Box::new(OpenError::NotFileStorage {
                path: path.to_owned(),
                magic,
            })));
        }
        Ok(Self { log, size, in_use })
    }
}
