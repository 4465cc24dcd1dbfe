//! In place of `std::fs`, for as much of it as a node uses. Whatever is not said here is as there. Paths are absolute and
//! name what is on a [`crate::Disk`] of this thread.

mod file;
mod metadata;
mod open;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, FileNode, Node};

pub use file::File;
pub use metadata::{FileType, Metadata, Permissions};
pub use open::OpenOptions;
pub use std::fs::TryLockError;

/// Whether something is there.
///
/// # Errors
/// The disk is off.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match Disk::find(path.as_ref()) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// What is known of a file or folder.
///
/// # Errors
/// It is not there, or the disk is off.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    Ok(Metadata::of(&Disk::find(path.as_ref())?.1))
}

/// The same: there are no symbolic links.
///
/// # Errors
/// As [`metadata`].
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    metadata(path)
}

/// The same path, if something is there.
///
/// # Errors
/// As [`metadata`].
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    Disk::find(path.as_ref())?;
    Ok(path.as_ref().to_owned())
}

/// The content of a file.
///
/// # Errors
/// As [`File::open`].
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut File::open(path)?, &mut bytes)?;
    Ok(bytes)
}

/// The content of a file that is UTF-8.
///
/// # Errors
/// As [`File::open`], or it is not.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Makes a file with this content, or makes it that of one that is there.
///
/// # Errors
/// As [`File::create`].
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> io::Result<()> {
    io::Write::write_all(&mut File::create(path)?, content.as_ref())
}

/// Copies the content of a file. Returns its length in bytes.
///
/// # Errors
/// As [`File::open`] and [`File::create`].
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let content = read(from)?;
    write(to, &content)?;
    Ok(content.len() as u64)
}

/// Makes a folder.
///
/// # Errors
/// There is something, or the folder above is not there, or the disk is off.
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let (disk, folder, name) = Disk::place(path.as_ref())?;
    if folder.entry(&name).is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    disk.change()?;
    folder.insert(name, Node::Folder(Arc::default()));
    Ok(())
}

/// Makes a folder and those above it that are not there.
///
/// # Errors
/// A file is in the way, or the disk is off.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    match Disk::find(path) {
        Ok((_, node)) => return node.folder().map(drop),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    if let Some(above) = path.parent() {
        create_dir_all(above)?;
    }
    create_dir(path)
}

/// Removes a file's name.
///
/// # Errors
/// There is none, or it is a folder's, or the disk is off.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let (disk, folder, name) = Disk::place(path.as_ref())?;
    folder.entry(&name).ok_or(io::ErrorKind::NotFound)?.file()?;
    disk.change()?;
    folder.remove(name);
    Ok(())
}

/// Removes an empty folder.
///
/// # Errors
/// There is none, or something is in it, or the disk is off.
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let (disk, folder, name) = Disk::place(path.as_ref())?;
    let removed = folder.entry(&name).ok_or(io::ErrorKind::NotFound)?.folder()?;
    if !removed.entries().is_empty() {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    disk.change()?;
    folder.remove(name);
    Ok(())
}

/// Removes a folder with all that is in it.
///
/// # Errors
/// There is none, or the disk is off.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    for entry in read_dir(path.as_ref())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_dir_all(entry.path())?;
        } else {
            remove_file(entry.path())?;
        }
    }
    remove_dir(path)
}

/// Gives another name, in place of the file or empty folder that has it. After a crash, one of both names is there, or between
/// two folders of which one was synced perhaps both or none.
///
/// # Errors
/// There is nothing, or something that cannot be replaced, or the disk is off.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (_, from_folder, from_name) = Disk::place(from.as_ref())?;
    let (disk, to_folder, to_name) = Disk::place(to.as_ref())?;
    let node = from_folder.entry(&from_name).ok_or(io::ErrorKind::NotFound)?;
    match (&node, to_folder.entry(&to_name)) {
        (_, None) | (Node::File(_), Some(Node::File(_))) => {}
        (Node::Folder(_), Some(Node::Folder(there))) if there.entries().is_empty() => {}
        (Node::File(_), Some(Node::Folder(_))) => return Err(io::ErrorKind::IsADirectory.into()),
        (Node::Folder(_), Some(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
        (Node::Folder(_), Some(Node::Folder(_))) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
    disk.change()?;
    if Arc::ptr_eq(&from_folder, &to_folder) {
        from_folder.rename(from_name, to_name, node);
    } else {
        to_folder.insert(to_name, node);
        from_folder.remove(from_name);
    }
    Ok(())
}

/// Gives a file a second name.
///
/// # Errors
/// There is no file, or the name is taken, or the disk is off.
pub fn hard_link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let file: Arc<FileNode> = Disk::find(from.as_ref())?.1.file()?;
    let (disk, folder, name) = Disk::place(to.as_ref())?;
    if folder.entry(&name).is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    disk.change()?;
    folder.insert(name, Node::File(file));
    Ok(())
}

/// Changes who may do what. Nobody is kept from anything by it here.
///
/// # Errors
/// There is nothing, or the disk is off.
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    if let Node::File(file) = Disk::find(path.as_ref())?.1 {
        file.set_mode(permissions.bits());
    }
    Ok(())
}

/// What is in a folder, in the order of the names.
///
/// # Errors
/// There is no folder, or the disk is off.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let folder = Disk::find(path)?.1.folder()?;
    let entries: Vec<_> = folder
        .entries()
        .into_iter()
        .map(|(name, node)| DirEntry { path: path.join(&name), name, node })
        .collect();
    Ok(ReadDir { entries: entries.into_iter() })
}

/// See [`read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    entries: std::vec::IntoIter<DirEntry>,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(Ok)
    }
}

/// A name in a folder.
#[derive(Debug)]
pub struct DirEntry {
    path: PathBuf,
    name: OsString,
    node: Node,
}

impl DirEntry {
    /// The whole path.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The name.
    pub fn file_name(&self) -> OsString {
        self.name.clone()
    }

    /// What is known of it.
    ///
    /// # Errors
    /// None here.
    pub fn metadata(&self) -> io::Result<Metadata> {
        Ok(Metadata::of(&self.node))
    }

    /// What it is.
    ///
    /// # Errors
    /// None here.
    pub fn file_type(&self) -> io::Result<FileType> {
        Ok(self.metadata()?.file_type())
    }
}

/// A file without a name, which goes away with what is opened of it.
///
/// # Errors
/// There is no such folder, or the disk is off.
pub fn unnamed_file(folder: impl AsRef<Path>) -> io::Result<File> {
    let (disk, node) = Disk::find(folder.as_ref())?;
    node.folder()?;
    Ok(File::unnamed(disk))
}

/// A new file whose name begins and ends as said, open for reading and writing.
///
/// # Errors
/// As [`create_dir`].
pub fn new_file(folder: impl AsRef<Path>, prefix: &str, suffix: &str) -> io::Result<(File, PathBuf)> {
    let (disk, _) = Disk::find(folder.as_ref())?;
    let path = folder.as_ref().join(format!("{prefix}{}{suffix}", disk.new_name()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    Ok((file, path))
}
