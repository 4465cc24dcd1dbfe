//! The transactions of a FileStorage file, as the checker reads them. Nothing of the server's code is used for it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use standby_checker::{Stored, Transaction, value_of};
use zeo_proto::{Oid, Tid};

/// Lengths in the format: of the file's, a transaction's and a record's head.
const MAGIC: &[u8] = b"FS30";
const TRANSACTION: usize = 23;
const RECORD: usize = 42;

/// All of a file, in order. Values stand for records as those of a [`Swarm`](crate::swarm::Swarm) do. The first transaction of
/// a primary says whom it follows.
///
/// # Errors
/// The file cannot be read, or is not whole.
pub fn transactions(path: &Path) -> Result<Vec<Transaction>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    ensure!(bytes.starts_with(MAGIC), "{} is no FileStorage", path.display());
    let (mut rest, mut log) = (&bytes[MAGIC.len()..], Vec::new());
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let length = transaction(rest, &mut log)
            .with_context(|| format!("{} is damaged at {at}, or ends there", path.display()))?;
        rest = &rest[length..];
    }
    Ok(log)
}

/// Takes one transaction in. Its length.
fn transaction(bytes: &[u8], log: &mut Vec<Transaction>) -> Option<usize> {
    let length = usize::try_from(number(bytes, 8)?).ok()?;
    let all = bytes.get(..length.checked_add(8)?)?;
    let [user, description, extension] = [17, 19, 21].map(|at| short(all, at));
    let description_at = TRANSACTION + user?;
    let description = all.get(description_at..description_at + description?)?;
    let mut record_at = description_at + description.len() + extension?;
    let mut writes = Vec::new();
    while record_at < length {
        let data_length = usize::try_from(number(all, record_at + 34)?).ok()?;
        let data = all.get(record_at + RECORD..(record_at + RECORD).checked_add(data_length)?)?;
        let oid = Oid::new(number(all, record_at)?);
        // Without data it undoes something, which clients of tests do not.
        let value = (data_length > 0).then(|| value_of(data));
        writes.push(Stored { oid, value });
        record_at += RECORD + if data_length > 0 { data_length } else { 8 };
    }
    let is_whole = record_at == length && number(all, length)? == length as u64 && all[16] != b'c';
    log.push(Transaction { tid: Tid::new(number(all, 0)?), writes, follows: follows(description) });
    is_whole.then_some(length + 8)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes).into())
}

/// What the description of a primary's first transaction says.
fn follows(description: &[u8]) -> Option<Tid> {
    let told = std::str::from_utf8(description).ok()?.strip_prefix("standby: epoch ")?;
    let tid = told.split_once(" after transaction ")?.1.get(..16)?;
    u64::from_str_radix(tid, 16).ok().map(Tid::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction of one record.
    fn bytes(tid: u64, description: &str, data: &[u8]) -> Vec<u8> {
        let length = (TRANSACTION + description.len() + RECORD + data.len()) as u64;
        let mut bytes = [tid.to_be_bytes(), length.to_be_bytes()].concat();
        bytes.push(b' ');
        for part in [0, description.len(), 0] {
            bytes.extend((part as u16).to_be_bytes());
        }
        bytes.extend(description.as_bytes());
        for part in [7, tid, 0, 4] {
            bytes.extend(u64::to_be_bytes(part));
        }
        bytes.extend([0, 0]);
        bytes.extend((data.len() as u64).to_be_bytes());
        bytes.extend(data);
        bytes.extend(length.to_be_bytes());
        bytes
    }

    #[test]
    fn transactions_are_read_as_they_were_written_and_torn_ones_are_errors() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("Data.fs");
        let boundary = "standby: epoch 2 begins at node b after transaction 0000000000000001";
        let all = [MAGIC.to_vec(), bytes(1, "", b"one"), bytes(9, boundary, b"two")].concat();
        std::fs::write(&path, &all)?;
        let log = transactions(&path)?;
        let told: Vec<_> = log.iter().map(|one| (one.tid.get(), one.follows.map(Tid::get))).collect();
        assert_eq!(told, [(1, None), (9, Some(1))]);
        assert_eq!(log[1].writes, [Stored { oid: Oid::new(7), value: Some(value_of(b"two")) }]);
        std::fs::write(&path, &all[..all.len() - 1])?;
        assert!(transactions(&path).is_err());
        Ok(())
    }
}
