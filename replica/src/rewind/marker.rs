//! The note that a rewind is under way: `Data.fs.standby/rewind`. Numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SBREWIND` |
//! | 4 | version, 1 |
//! | 8 | where the log is to end |
//! | 8 | the last transaction there, 0 for none |
//! | 8 | where that begins |
//! | 16 | the running checksum after it |
//! | 8 | the greatest oid that was ever stored |
//! | 8 | where the log ended when the rewind began |
//! | 2 + n | the file with the lost transactions, after its length; relative to the log's folder if it is below that |
//! | 16 | XXH3 (128 bits, seed 0) of all before |

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_128;

use crate::index::Mark;
use crate::world::fs::{self, File};
use crate::world::sync_directory_of;
use crate::{Checksum, Oid, Tid};

const MAGIC: &[u8; 8] = b"SBREWIND";
const VERSION: u32 = 1;
/// Length of everything before the file's name.
const FIXED: usize = 8 + 4 + 8 * 3 + 16 + 8 * 2 + 2;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// What the log is to end with. The number of objects is not kept.
    pub(super) end: Mark,
    /// Where the log ended before.
    pub(super) log_end: u64,
    /// The file with the lost transactions: in the note, as seen from the log's folder, if it is below that.
    pub(super) saved_to: PathBuf,
}

impl Marker {
    fn encode(&self) -> Vec<u8> {
        let name = self.saved_to.as_os_str().as_bytes();
        let mut bytes = Vec::with_capacity(FIXED + name.len() + 16);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        for number in [self.end.end, self.end.last_tid.get(), self.end.last_position] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.end.checksum.to_bytes());
        bytes.extend_from_slice(&self.end.max_oid.to_bytes());
        bytes.extend_from_slice(&self.log_end.to_be_bytes());
        let length = u16::try_from(name.len()).expect("a path is shorter than the system's 4,096 bytes");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&XxHash3_128::oneshot(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
        if XxHash3_128::oneshot(content).to_be_bytes() != sum {
            return None;
        }
        let (fixed, name) = content.split_at_checked(FIXED)?;
        if !fixed.starts_with(MAGIC) || fixed[8..12] != VERSION.to_be_bytes() {
            return None;
        }
        let number = |at| crate::format::number(fixed, at);
        let end = Mark {
            end: number(12),
            last_tid: Tid::new(number(20)),
            last_position: number(28),
            checksum: Checksum::from_bytes(fixed[36..52].try_into().expect("sixteen bytes")),
            max_oid: Oid::new(number(52)),
            objects: 0,
        };
        (fixed[68..] == (name.len() as u16).to_be_bytes()).then(|| Self {
            end,
            log_end: number(60),
            saved_to: OsStr::from_bytes(name).into(),
        })
    }

    /// The note beside a log; `None`: there is none.
    pub(super) fn read(log: &Path) -> io::Result<Option<Self>> {
        match fs::read(path(log)) {
            Ok(bytes) => {
                let marker = Self::decode(&bytes).ok_or_else(|| {
                    let path = path(log);
                    let what = format!("{} is damaged, or of a later version of Standby", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, what)
                })?;
                Ok(Some(Self { saved_to: log_folder(log)?.join(&marker.saved_to), ..marker }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the note, durably, all or nothing.
    pub(super) fn write(&self, log: &Path) -> io::Result<()> {
        let path = path(log);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        let saved_to = self.saved_to.strip_prefix(log_folder(log)?).unwrap_or(&self.saved_to).to_owned();
        file.write_all(&Self { saved_to, ..self.clone() }.encode())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory_of(&path)
    }

    pub(super) fn remove(log: &Path) -> io::Result<()> {
        let path = path(log);
        fs::remove_file(&path)?;
        sync_directory_of(&path)
    }
}

/// The folder that the log is in.
fn log_folder(log: &Path) -> io::Result<PathBuf> {
    Ok(std::path::absolute(log)?.parent().unwrap_or(Path::new("/")).to_owned())
}

fn path(log: &Path) -> PathBuf {
    crate::open::folder(log).join("rewind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_as_it_was_written_and_not_when_a_byte_changed() {
        let end = Mark {
            end: 1,
            last_tid: Tid::new(2),
            last_position: 3,
            checksum: Checksum::new(4),
            max_oid: Oid::new(5),
            objects: 0,
        };
        let marker = Marker { end, log_end: 6, saved_to: "lost/some.fs".into() };
        let bytes = marker.encode();
        assert_eq!(Marker::decode(&bytes), Some(marker));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Marker::decode(&changed), None, "byte {at}");
            assert_eq!(Marker::decode(&bytes[..at]), None, "length {at}");
        }
    }
}
