use std::os::unix::fs::PermissionsExt;

use crate::disk::Node;

/// What is known of a file or folder.
#[derive(Clone, Debug)]
pub struct Metadata {
    length: u64,
    folder: bool,
    mode: u32,
}

impl Metadata {
    pub(crate) fn of(node: &Node) -> Self {
        match node {
            Node::File(file) => Self { length: file.length(), folder: false, mode: file.mode() },
            Node::Folder(_) => Self { length: 0, folder: true, mode: 0o755 },
        }
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)] // as std's
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        !self.folder
    }

    /// Whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.folder
    }

    /// What it is.
    pub fn file_type(&self) -> FileType {
        FileType { folder: self.folder }
    }

    /// Who may do what.
    pub fn permissions(&self) -> Permissions {
        Permissions { mode: self.mode }
    }
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    folder: bool,
}

impl FileType {
    /// A file.
    pub fn is_file(&self) -> bool {
        !self.folder
    }

    /// A folder.
    pub fn is_dir(&self) -> bool {
        self.folder
    }

    /// Never: there are none.
    pub fn is_symlink(&self) -> bool {
        false
    }
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    mode: u32,
}

impl Permissions {
    pub(crate) fn bits(&self) -> u32 {
        self.mode
    }
}

impl PermissionsExt for Permissions {
    fn mode(&self) -> u32 {
        self.mode
    }

    fn set_mode(&mut self, mode: u32) {
        self.mode = mode;
    }

    fn from_mode(mode: u32) -> Self {
        Self { mode }
    }
}
