//! The greatest oid that was ever stored, where the log does not say so any more: a rewind took it back, and it must
//! not be issued again. The file `Data.fs.standby/oids`, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SBMAXOID` |
//! | 4 | version, 1 |
//! | 8 | the oid |
//! | 16 | XXH3 (128 bits, seed 0) of all before |

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_128;

use crate::Oid;
use crate::world::fs::{self, File};
use crate::world::sync_directory_of;

const MAGIC: &[u8; 8] = b"SBMAXOID";
const VERSION: u32 = 1;
const LENGTH: usize = 36;

/// Oids up to this one were in use, whatever the log says. Nothing is known without the file, or when it is damaged.
pub(crate) fn kept(log: &Path) -> io::Result<Oid> {
    let path = path(log);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Oid::ROOT),
        other => other?,
    };
    Ok(decode(&bytes).unwrap_or_else(|| {
        tracing::warn!(path = %path.display(), "the note of the greatest oid is damaged");
        Oid::ROOT
    }))
}

/// Notes durably that oids up to this one were in use.
pub(crate) fn keep(log: &Path, oid: Oid) -> io::Result<()> {
    let path = path(log);
    let oid = oid.max(kept(log)?);
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&encode(oid))?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    sync_directory_of(&path)
}

fn path(log: &Path) -> PathBuf {
    crate::open::folder(log).join("oids")
}

fn encode(oid: Oid) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &VERSION.to_be_bytes(), &oid.to_bytes()].concat();
    bytes.extend_from_slice(&XxHash3_128::oneshot(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Oid> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let oid = Oid::new(crate::format::number(bytes, 12));
    (encode(oid) == bytes).then_some(oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oid_reads_back_as_it_was_written_and_not_when_a_byte_changed() {
        let bytes = encode(Oid::new(77));
        assert_eq!(decode(&bytes), Some(Oid::new(77)));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "byte {at}");
        }
    }
}
