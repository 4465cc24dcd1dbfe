//! Writes a FileStorage file of many objects directly: the quick way to a large database.
//!
//! The format is that of `ZODB/FileStorage/format.py`: a magic, then transactions, each with its length before and
//! after. Every number is big-endian.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use zodb_types::Tid;

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
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    file.write_all(MAGIC)?;
    let mut position = MAGIC.len() as u64;
    let mut tid = Tid::from_time(SystemTime::now() - std::time::Duration::from_secs(3600));
    let description = b"made by the testbed";
    let mut begin = oids.start;
    while begin < oids.end {
        let end = oids.end.min(begin + BATCH);
        tid = tid.next();
        let mut records = Vec::new();
        for oid in begin..end {
            let data = record(record_bytes, oid);
            records.extend_from_slice(&oid.to_be_bytes());
            records.extend_from_slice(&tid.to_bytes());
            records.extend_from_slice(&0u64.to_be_bytes()); // no earlier revision
            records.extend_from_slice(&position.to_be_bytes());
            records.extend_from_slice(&0u16.to_be_bytes()); // the length of a version, long gone
            records.extend_from_slice(&(data.len() as u64).to_be_bytes());
            debug_assert_eq!(RECORD_HEADER_BYTES, 8 * 5 + 2);
            records.extend_from_slice(&data);
        }
        let length = TRANSACTION_HEADER_BYTES + description.len() as u64 + records.len() as u64;
        file.write_all(&tid.to_bytes())?;
        file.write_all(&length.to_be_bytes())?;
        file.write_all(b" ")?;
        for metadata_length in [0, description.len() as u16, 0] {
            file.write_all(&metadata_length.to_be_bytes())?;
        }
        file.write_all(description)?;
        file.write_all(&records)?;
        file.write_all(&length.to_be_bytes())?;
        position += length + 8;
        begin = end;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

/// How long a transaction of `objects` records of `record_bytes` is in the file, without user and description.
pub fn transaction_bytes(objects: usize, record_bytes: usize) -> usize {
    TRANSACTION_HEADER_BYTES as usize + objects * (RECORD_HEADER_BYTES as usize + record_bytes) + 8
}
