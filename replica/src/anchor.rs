//! The anchor: where the running checksum goes on after what was packed.
//!
//! A pack removes what older values of the running checksum were computed from. The value after everything that
//! was packed is therefore kept, here and in the index, so that the transactions behind it, which are whole, have the
//! same values before the pack and after, and also in an index that is made anew from the packed log. It is kept
//! with the checksum of the packed part itself (computed as if that were a history of its own), so that it is
//! believed only beside the log that it belongs to; beside any other, it is left aside.
//!
//! The file `Data.fs.standby/anchor`, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SBANCHOR` |
//! | 4 | version, 1 |
//! | 8 | the last transaction that the packed part stands for |
//! | 16 | the running checksum after it |
//! | 8 | where the packed part ends in the log |
//! | 16 | the checksum of the packed part |
//! | 8 | the greatest oid that had been stored when it was packed |
//! | 16 | XXH3 (128 bits, seed 0) of all before |

use std::io::{self, Write};
use std::path::Path;

use twox_hash::XxHash3_128;

use crate::world::fs::File;
use crate::{Checksum, Oid, Tid};

const MAGIC: &[u8; 8] = b"SBANCHOR";
const VERSION: u32 = 1;
const LENGTH: usize = 84;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// The last transaction that the packed part stands for.
    pub(crate) tid: Tid,
    /// The running checksum after it.
    pub(crate) checksum: Checksum,
    /// Where the packed part ends in the log.
    pub(crate) end: u64,
    /// The checksum of the packed part.
    pub(crate) packed: Checksum,
    /// The greatest oid that had been stored.
    pub(crate) max_oid: Oid,
}

impl Anchor {
    /// The running checksum of a history that has `computed` at `end`.
    pub(crate) fn settle(anchor: Option<&Self>, end: u64, computed: Checksum) -> Checksum {
        anchor.filter(|anchor| anchor.is_at(end, computed)).map_or(computed, |anchor| anchor.checksum)
    }

    /// Whether what ends there with the checksum `computed` is the packed part that this is of.
    pub(crate) fn is_at(&self, end: u64, computed: Checksum) -> bool {
        (self.end, self.packed) == (end, computed)
    }

    /// The file's content.
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.tid.to_bytes());
        bytes.extend_from_slice(&self.checksum.to_bytes());
        bytes.extend_from_slice(&self.end.to_be_bytes());
        bytes.extend_from_slice(&self.packed.to_bytes());
        bytes.extend_from_slice(&self.max_oid.to_bytes());
        bytes.extend_from_slice(&XxHash3_128::oneshot(&bytes).to_be_bytes());
        bytes.try_into().expect("the length is that of the table")
    }

    /// `None`: it is not one, or damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let (content, sum) = bytes.split_at(LENGTH - 16);
        let whole = XxHash3_128::oneshot(content).to_be_bytes() == sum;
        if !whole || !content.starts_with(MAGIC) || content[8..12] != VERSION.to_be_bytes() {
            return None;
        }
        let number = |at| crate::format::number(bytes, at);
        let sixteen = |at: usize| Checksum::from_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"));
        Some(Self {
            tid: Tid::new(number(12)),
            checksum: sixteen(20),
            end: number(36),
            packed: sixteen(44),
            max_oid: Oid::new(number(60)),
        })
    }

    /// What the file at `path` holds; `None` where there is none or it is damaged.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match crate::world::fs::read(path) {
            Ok(bytes) => {
                let anchor = Self::decode(&bytes);
                if anchor.is_none() {
                    tracing::warn!(path = %path.display(), "the checksum anchor is damaged");
                }
                Ok(anchor)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file, durably except for its name.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(&self.encode())?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_reads_back_as_it_was_written_and_not_when_a_bit_changed() {
        let anchor = Anchor {
            tid: Tid::new(1),
            checksum: Checksum::new(2),
            end: 3,
            packed: Checksum::new(4),
            max_oid: Oid::new(5),
        };
        let bytes = anchor.encode();
        assert_eq!(Anchor::decode(&bytes), Some(anchor));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(Anchor::decode(&changed), None, "byte {at}");
        }
        assert_eq!(Anchor::decode(&bytes[1..]), None);
    }
}
