//! Writes a FileStorage file of many objects directly: the quick way to a large database.
//!
//! The format is that of `ZODB/FileStorage/format.py`: a magic, then transactions, each with its length before and
//! after. Every number is big-endian.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use zodb_types::{Oid, Tid};

use crate::driver::record;

const MAGIC: &[u8] = b"FS30";
const TRANSACTION_HEADER_BYTES: u64 = 23;
const RECORD_HEADER_BYTES: u64 = 42;

/// Objects in one transaction.
const BATCH: u64 = 1000;

/// Creates the file `path` with one revision of each of the objects `oids`, in transactions of a thousand. The
/// record of an object is [`record`]`(record_bytes, oid)`.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn write(path: &Path, oids: Range<u64>, record_bytes: usize) -> Result<()> {
    let mut file = DataFile::create(path)?;
    for begin in oids.clone().step_by(BATCH as usize) {
        let batch = begin..oids.end.min(begin + BATCH);
        file.transaction(batch.map(|oid| (Oid::new(oid), record(record_bytes, oid))))?;
    }
    file.finish()
}

/// A file in the making.
pub struct DataFile {
    file: BufWriter<File>,
    position: u64,
    tid: Tid,
    /// Where the last record of each object is.
    records: HashMap<Oid, u64>,
}

impl DataFile {
    /// Begins one. Its transactions are of an hour ago.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        file.write_all(MAGIC)?;
        let tid = Tid::from_time(SystemTime::now() - std::time::Duration::from_secs(3600));
        Ok(Self { file, position: MAGIC.len() as u64, tid, records: HashMap::new() })
    }

    /// Adds a transaction with these records. Its tid.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn transaction(&mut self, objects: impl IntoIterator<Item = (Oid, Vec<u8>)>) -> Result<Tid> {
        let description = b"made by the testbed";
        self.tid = self.tid.next();
        let header = TRANSACTION_HEADER_BYTES + description.len() as u64;
        let mut records = Vec::new();
        for (oid, data) in objects {
            let at = self.position + header + records.len() as u64;
            let previous = self.records.insert(oid, at).unwrap_or(0);
            records.extend_from_slice(&oid.to_bytes());
            records.extend_from_slice(&self.tid.to_bytes());
            records.extend_from_slice(&previous.to_be_bytes());
            records.extend_from_slice(&self.position.to_be_bytes());
            records.extend_from_slice(&0u16.to_be_bytes()); // the length of a version, long gone
            records.extend_from_slice(&(data.len() as u64).to_be_bytes());
            records.extend_from_slice(&data);
        }
        let length = header + records.len() as u64;
        self.file.write_all(&self.tid.to_bytes())?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(b" ")?;
        for metadata_length in [0, description.len() as u16, 0] {
            self.file.write_all(&metadata_length.to_be_bytes())?;
        }
        self.file.write_all(description)?;
        self.file.write_all(&records)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.position += length + 8;
        Ok(self.tid)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<()> {
        self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(())
    }
}

/// How long a transaction of `objects` records of `record_bytes` is in the file, without user and description.
pub fn transaction_bytes(objects: usize, record_bytes: usize) -> usize {
    TRANSACTION_HEADER_BYTES as usize + objects * (RECORD_HEADER_BYTES as usize + record_bytes) + 8
}
