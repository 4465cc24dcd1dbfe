//! Where a copy comes from: the epochs of its history, and whether it is whole yet.
//!
//! The file `Data.fs.standby/lineage`, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SBLINEAG` |
//! | 4 | version, 1 |
//! | 1 | bit 0: it has never been complete; bit 1: the next number counts |
//! | 8 | the transaction without which the copy is not whole |
//! | 4 | number of epochs |
//! | | each epoch: |
//! | 8 | its number |
//! | 8 | its boundary transaction |
//! | 8 | the transaction that it forked from |
//! | 2 + n | its primary's name, after its length |
//! | 16 | XXH3 (128 bits, seed 0) of all before |

use std::io::{self, Write};
use std::path::Path;

use twox_hash::XxHash3_128;

use crate::world::fs::File;
use crate::world::sync_directory_of;
use crate::{Epoch, Epochs, Storage, Tid};

const MAGIC: &[u8; 8] = b"SBLINEAG";
const VERSION: u32 = 1;

/// See the module. A log without the file has no epochs, and is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Who wrote which part of the history.
    pub epochs: Epochs,
    /// The copy was begun empty, and has never had all that its upstream had: it must not be served.
    pub unfinished: bool,
    /// The copy is in the making: before it has this transaction it must not be served.
    pub recovering: Option<Tid>,
}

/// Why a lineage could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// It is damaged, or of a later version. Without it nobody knows whether the copy is whole.
    #[error("{path} is damaged, or of a later version of Standby")]
    Damaged {
        /// The file.
        path: String,
    },
    /// The file could not be read or written.
    #[error("the lineage: {0}")]
    Io(#[from] io::Error),
    /// The disk failed under the log ([`Storage::failure`]): whoever opens it anew may find transactions that nobody knows
    /// of now, and these must not come to lie within another history.
    #[error("where this copy comes from is not changed before it is opened anew: {0}")]
    Failed(String),
}

impl Lineage {
    /// It may be served.
    pub fn is_whole(&self) -> bool {
        !self.unfinished && self.recovering.is_none()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.push(u8::from(self.unfinished) | u8::from(self.recovering.is_some()) << 1);
        bytes.extend_from_slice(&self.recovering.unwrap_or(Tid::ZERO).to_bytes());
        let epochs = self.epochs.as_slice();
        bytes.extend_from_slice(&(epochs.len() as u32).to_be_bytes());
        for Epoch { epoch, boundary, fork, node } in epochs {
            bytes.extend_from_slice(&epoch.to_be_bytes());
            bytes.extend_from_slice(&boundary.to_bytes());
            bytes.extend_from_slice(&fork.to_bytes());
            let length = u16::try_from(node.len()).expect("a node's name is short");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(node.as_bytes());
        }
        bytes.extend_from_slice(&XxHash3_128::oneshot(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
        if XxHash3_128::oneshot(content).to_be_bytes() != sum {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_be_bytes())?;
        let mut take = |length: usize| -> Option<&[u8]> {
            let (taken, left) = rest.split_at_checked(length)?;
            rest = left;
            Some(taken)
        };
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        let flags = take(1)?[0];
        let recovering = Tid::new(number(take(8)?));
        let count = u32::from_be_bytes(take(4)?.try_into().expect("four bytes"));
        let mut epochs = Vec::new();
        for _ in 0..count {
            let (epoch, boundary, fork) = (number(take(8)?), number(take(8)?), number(take(8)?));
            let length = u16::from_be_bytes(take(2)?.try_into().expect("two bytes"));
            let node = String::from_utf8(take(usize::from(length))?.to_vec()).ok()?;
            epochs.push(Epoch { epoch, boundary: Tid::new(boundary), fork: Tid::new(fork), node });
        }
        let epochs = Epochs::new(epochs).ok()?;
        let recovering = (flags & 2 != 0).then_some(recovering);
        Some(Self { epochs, unfinished: flags & 1 != 0, recovering })
    }

    fn read(path: &Path) -> Result<Self, LineageError> {
        match crate::world::fs::read(path) {
            Ok(bytes) => {
                Self::decode(&bytes).ok_or_else(|| LineageError::Damaged { path: path.display().to_string() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the file: at every moment it is the old one or the new one.
    fn write(&self, path: &Path) -> Result<(), LineageError> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        crate::world::fs::rename(&new, path)?;
        Ok(sync_directory_of(path)?)
    }
}

impl Storage {
    /// Where this copy comes from. Reads a file.
    pub fn lineage(&self) -> Result<Lineage, LineageError> {
        Lineage::read(&crate::open::lineage_path(self.path()))
    }

    /// Notes durably where this copy comes from.
    pub fn set_lineage(&self, lineage: &Lineage) -> Result<(), LineageError> {
        if let Some(failure) = self.failure() {
            return Err(LineageError::Failed(failure.to_owned()));
        }
        lineage.write(&crate::open::lineage_path(self.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage() -> Lineage {
        let epoch = |epoch, boundary, fork, node: &str| Epoch {
            epoch,
            boundary: Tid::new(boundary),
            fork: Tid::new(fork),
            node: node.to_owned(),
        };
        let epochs = vec![epoch(1, 10, 0, "a"), epoch(4, 90, 80, "bé")];
        let epochs = Epochs::new(epochs).expect("they fit");
        Lineage { epochs, unfinished: true, recovering: Some(Tid::new(7)) }
    }

    #[test]
    fn a_lineage_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lineage");
        assert_eq!(Lineage::read(&path).expect("none"), Lineage::default());
        lineage().write(&path).expect("written");
        assert_eq!(Lineage::read(&path).expect("readable"), lineage());
        Lineage::default().write(&path).expect("written");
        assert_eq!(Lineage::read(&path).expect("readable"), Lineage::default());
    }

    #[test]
    fn a_damaged_lineage_is_refused() {
        let bytes = lineage().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Lineage::decode(&changed), None, "byte {at}");
            assert_eq!(Lineage::decode(&bytes[..at]), None, "length {at}");
        }
    }
}
