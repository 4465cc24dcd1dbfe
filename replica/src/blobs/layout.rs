use std::path::{Path, PathBuf};

use super::{BlobError, LAYOUT_MARKER};
use crate::Oid;
use crate::world::fs;

/// How oids become directories (`ZODB/blob.py`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// A directory for each byte of the oid: `0x00/0x00/.../0x1f`.
    Bushy,
    /// One directory for each oid: `0x1f`. Deprecated, since some file systems slow down with many entries.
    Lawn,
}

impl Layout {
    /// What the marker file says; without one, lawn for a directory in use, as ZODB assumes, and else bushy.
    pub(super) fn of_directory(root: &Path) -> Result<Self, BlobError> {
        let marker = root.join(LAYOUT_MARKER);
        match fs::read_to_string(&marker) {
            Ok(name) => match name.trim() {
                "bushy" => Ok(Self::Bushy),
                "lawn" => Ok(Self::Lawn),
                other => Err(BlobError::UnknownLayout { path: root.to_owned(), layout: other.to_owned() }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let in_use = fs::read_dir(root).is_ok_and(|entries| {
                    entries.flatten().any(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
                });
                Ok(if in_use { Self::Lawn } else { Self::Bushy })
            }
            Err(source) => Err(BlobError::Io { what: "reading", path: marker, source }),
        }
    }

    /// The name in the marker file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bushy => "bushy",
            Self::Lawn => "lawn",
        }
    }

    /// The directory of an object's blobs, relative to the root.
    pub(super) fn directory(self, oid: Oid) -> PathBuf {
        match self {
            Self::Bushy => oid.to_bytes().iter().map(|byte| format!("0x{byte:02x}")).collect(),
            Self::Lawn => hex(oid.get()).into(),
        }
    }
}

/// A number as ZODB writes oids and tids in file names: `0x` and whole bytes in hexadecimal, none of them a leading
/// zero byte, but at least one.
pub(super) fn hex(number: u64) -> String {
    let bytes = (u64::BITS - number.leading_zeros()).div_ceil(8).max(1) as usize;
    format!("0x{number:0digits$x}", digits = bytes * 2)
}

#[cfg(test)]
mod tests {
    use super::hex;

    /// `ZODB.utils.oid_repr(p64(number))`
    #[test]
    fn numbers_in_file_names_are_whole_bytes() {
        assert_eq!(hex(0), "0x00");
        assert_eq!(hex(0xf), "0x0f");
        assert_eq!(hex(0x100), "0x0100");
        assert_eq!(hex(0x03f9_66f9_cf37_9aaa), "0x03f966f9cf379aaa");
        assert_eq!(hex(u64::MAX), "0xffffffffffffffff");
    }
}
