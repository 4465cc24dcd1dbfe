//! A disk: a tree of folders and files in memory, of which a crash keeps what was synced, and of the rest what chance leaves.

mod file;
mod folder;
mod handle;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) use file::FileNode;
pub(crate) use folder::{FolderNode, Node};
pub(crate) use handle::{Access, Handle};

thread_local! {
    static DISKS: RefCell<BTreeMap<PathBuf, Disk>> = const { RefCell::new(BTreeMap::new()) };
}

/// Chance: a number less than the one that it is given.
pub trait Random {
    /// A number in `0..end`. `end` is at least 1.
    fn below(&mut self, end: u64) -> u64;
}

impl<F: FnMut(u64) -> u64> Random for F {
    fn below(&mut self, end: u64) -> u64 {
        self(end)
    }
}

/// A disk, which [`crate::fs`] finds under its path on the thread that made it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Disk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Arc<FolderNode>,
    /// How often it was switched off: who opened a file before has nothing any more.
    reign: AtomicU64,
    off: AtomicBool,
    /// What is synced is not kept.
    lies: AtomicBool,
    syncs: AtomicU64,
    /// So many more changes, and then the power fails.
    left: AtomicU64,
    names: AtomicU64,
}

impl Disk {
    /// A new disk, empty and on, in the place of one that was at this path. `path` is absolute; nothing else is above it.
    ///
    /// # Panics
    /// When the path is not absolute.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        assert!(path.is_absolute(), "a disk's path is absolute");
        let disk = Self {
            shared: Arc::new(Shared {
                root: Arc::default(),
                reign: AtomicU64::new(0),
                off: AtomicBool::new(false),
                lies: AtomicBool::new(false),
                syncs: AtomicU64::new(0),
                left: AtomicU64::new(u64::MAX),
                names: AtomicU64::new(0),
            }),
        };
        DISKS.with(|disks| disks.borrow_mut().insert(path, disk.clone()));
        disk
    }

    /// The power fails. What was synced is kept; of every change since, chance decides: none, the first few, or any
    /// sectors of 512 bytes of any of them; of a folder's names, the first few changes. Until [`Disk::start`], everything that
    /// is asked of it fails, and what was open stays lost.
    pub fn crash(&self, random: &mut dyn Random) {
        self.shared.off.store(true, Ordering::SeqCst);
        self.shared.reign.fetch_add(1, Ordering::SeqCst);
        self.shared.root.crash(random);
    }

    /// The process dies, and the machine goes on: nothing is lost but what is open, until [`Disk::start`].
    pub fn kill(&self) {
        self.shared.off.store(true, Ordering::SeqCst);
        self.shared.reign.fetch_add(1, Ordering::SeqCst);
        self.shared.root.unlock();
    }

    /// The power fails at the change (or sync) after so many more, in the midst of whatever is done then. What that leaves is
    /// settled by [`Disk::crash`].
    pub fn fail_after(&self, changes: u64) {
        self.shared.left.store(changes, Ordering::SeqCst);
    }

    /// Whether it is off.
    pub fn is_off(&self) -> bool {
        self.shared.off.load(Ordering::SeqCst)
    }

    /// It can be used again.
    pub fn start(&self) {
        self.shared.left.store(u64::MAX, Ordering::SeqCst);
        self.shared.off.store(false, Ordering::SeqCst);
    }

    /// From now on (or not any more) syncing does nothing: a disk as no database can live on, for tests of tests.
    pub fn lie(&self, lies: bool) {
        self.shared.lies.store(lies, Ordering::SeqCst);
    }

    /// From now on (or not any more) a file cannot be synced: that fails, and what was changed waits.
    ///
    /// # Errors
    /// It is not there.
    ///
    /// # Panics
    /// No disk is there.
    pub fn fail_syncs(path: impl AsRef<Path>, fails: bool) -> io::Result<()> {
        let (_, node) = Self::find(path.as_ref())?;
        node.file()?.fail(fails);
        Ok(())
    }

    /// How often something was synced.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// A name that no file of it has had.
    pub(crate) fn new_name(&self) -> String {
        format!("{:06}", self.shared.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Fails when it is off, or was since `reign`.
    pub(crate) fn check(&self, reign: u64) -> io::Result<()> {
        if self.shared.off.load(Ordering::SeqCst) || reign != self.reign() {
            return Err(io::Error::other("the power failed"));
        }
        Ok(())
    }

    /// Something is about to be changed.
    pub(crate) fn change(&self) -> io::Result<()> {
        self.check(self.reign())?;
        let left = self.shared.left.load(Ordering::SeqCst);
        if left == 0 {
            self.shared.off.store(true, Ordering::SeqCst);
            self.shared.reign.fetch_add(1, Ordering::SeqCst);
            return self.check(self.reign());
        }
        if left != u64::MAX {
            self.shared.left.store(left - 1, Ordering::SeqCst);
        }
        Ok(())
    }

    pub(crate) fn reign(&self) -> u64 {
        self.shared.reign.load(Ordering::SeqCst)
    }

    /// Counts a sync, and says whether it is to be done.
    pub(crate) fn keeps(&self) -> bool {
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        !self.shared.lies.load(Ordering::Relaxed)
    }

    /// The disk that a path is on, and the names on it.
    fn of(path: &Path) -> io::Result<(Self, Vec<OsString>)> {
        let found = DISKS.with(|disks| {
            let disks = disks.borrow();
            let found =
                disks.iter().find_map(|(root, disk)| Some((disk.clone(), path.strip_prefix(root).ok()?)));
            found.map(|(disk, rest)| (disk, rest.to_owned()))
        });
        let Some((disk, rest)) = found else {
            panic!("no disk of this thread's world is at {}", path.display());
        };
        disk.check(disk.reign())?;
        let mut names = Vec::new();
        for component in rest.components() {
            match component {
                Component::Normal(name) => names.push(name.to_owned()),
                Component::CurDir => {}
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok((disk, names))
    }

    /// What is at a path.
    pub(crate) fn find(path: &Path) -> io::Result<(Self, Node)> {
        let (disk, names) = Self::of(path)?;
        let mut node = Node::Folder(Arc::clone(&disk.shared.root));
        for name in names {
            node = node.folder()?.entry(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok((disk, node))
    }

    /// The folder that a path is in, and its name there.
    pub(crate) fn place(path: &Path) -> io::Result<(Self, Arc<FolderNode>, OsString)> {
        let (disk, mut names) = Self::of(path)?;
        let name = names.pop().ok_or(io::ErrorKind::AlreadyExists)?;
        let mut folder = Arc::clone(&disk.shared.root);
        for name in &names {
            folder = folder.entry(OsStr::new(name)).ok_or(io::ErrorKind::NotFound)?.folder()?;
        }
        Ok((disk, folder, name))
    }
}
