//! What must be known to be let in, and is never shown.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::reader::Section;
use super::values;

/// Length of the shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 16;

/// A secret: what the nodes of a cluster share, or an operator's token.
#[derive(Clone, Default, PartialEq)]
pub enum Secret {
    /// None: there is nobody to prove it to.
    #[default]
    None,
    /// It is in this file.
    File(PathBuf),
    /// It.
    Bytes(Vec<u8>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Bytes(_) => f.write_str("Bytes(..)"),
        }
    }
}

impl Secret {
    /// The secret that one of two keys gives: itself, or the file that it is in.
    pub(super) fn read(section: &mut Section<'_, '_>, key: &str, file_key: &str) -> Self {
        let file = section.optional(file_key, values::path);
        let text = section.optional(key, values::text);
        if text.as_ref().is_some_and(|text| text.len() < SECRET_BYTES_MIN) {
            section.wrong(key, format!("`{key}` is shorter than {SECRET_BYTES_MIN} bytes"));
        }
        match (text, file) {
            (Some(text), file) => {
                if file.is_some() {
                    section.wrong(key, format!("give `{key}` or `{file_key}`, not both"));
                }
                Self::Bytes(text.into_bytes())
            }
            (None, Some(path)) => Self::File(path),
            (None, None) => Self::None,
        }
    }

    /// Reads the file, whose path is taken from `folder`; a newline at its end does not count. `what` it is, is only shown.
    pub(super) fn load(&mut self, folder: &Path, what: &str) -> anyhow::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let path = folder.join(path);
        let mut bytes =
            std::fs::read(&path).with_context(|| format!("cannot read the {what} {}", path.display()))?;
        while bytes.last().is_some_and(u8::is_ascii_whitespace) {
            bytes.pop();
        }
        if bytes.len() < SECRET_BYTES_MIN {
            bail!("the {what} in {} is shorter than {SECRET_BYTES_MIN} bytes", path.display());
        }
        *self = Self::Bytes(bytes);
        Ok(())
    }

    /// Refuses a file that others than its owner may read.
    pub(super) fn refuse_open_file(&self, folder: &Path, what: &str) -> anyhow::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let path = folder.join(path);
        let metadata =
            std::fs::metadata(&path).with_context(|| format!("cannot read the {what} {}", path.display()))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            bail!("others may read the {what} {}: chmod 600 it", path.display());
        }
        Ok(())
    }
}
