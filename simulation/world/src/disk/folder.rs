use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileNode, Random};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(Arc<FileNode>),
    Folder(Arc<FolderNode>),
}

impl Node {
    pub(crate) fn folder(&self) -> io::Result<Arc<FolderNode>> {
        match self {
            Self::Folder(folder) => Ok(Arc::clone(folder)),
            Self::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(crate) fn file(&self) -> io::Result<Arc<FileNode>> {
        match self {
            Self::File(file) => Ok(Arc::clone(file)),
            Self::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

type Entries = BTreeMap<OsString, Node>;

#[derive(Debug, Default)]
pub(crate) struct FolderNode {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Entries,
    /// What is there after a crash.
    kept: Entries,
    /// What was changed since it was synced, oldest first. One change is kept as a whole, or not.
    since: Vec<Vec<(OsString, Option<Node>)>>,
}

impl State {
    /// Gives names, or takes them away, all at once.
    fn change(&mut self, changes: Vec<(OsString, Option<Node>)>) {
        put(&mut self.now, &changes);
        self.since.push(changes);
    }
}

fn put(entries: &mut Entries, changes: &[(OsString, Option<Node>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => entries.insert(name.clone(), node.clone()),
            None => entries.remove(name),
        };
    }
}

impl FolderNode {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, name: &OsStr) -> Option<Node> {
        self.state().now.get(name).cloned()
    }

    pub(crate) fn entries(&self) -> Vec<(OsString, Node)> {
        self.state().now.iter().map(|(name, node)| (name.clone(), node.clone())).collect()
    }

    pub(crate) fn insert(&self, name: OsString, node: Node) {
        self.state().change(vec![(name, Some(node))]);
    }

    pub(crate) fn remove(&self, name: OsString) {
        self.state().change(vec![(name, None)]);
    }

    /// Gives another name to an entry of this folder, in place of what had it.
    pub(crate) fn rename(&self, from: OsString, to: OsString, node: Node) {
        self.state().change(vec![(from, None), (to, Some(node))]);
    }

    pub(crate) fn sync(&self) {
        let mut state = self.state();
        state.kept = state.now.clone();
        state.since.clear();
    }

    pub(crate) fn crash(&self, random: &mut dyn Random) {
        let mut guard = self.state();
        let state = &mut *guard;
        let survive = random.below(state.since.len() as u64 + 1) as usize;
        for changes in state.since.drain(..).take(survive) {
            put(&mut state.kept, &changes);
        }
        state.since.clear();
        state.now = state.kept.clone();
        let entries: Vec<_> = state.now.values().cloned().collect();
        drop(guard);
        for node in entries {
            match node {
                Node::File(file) => file.crash(random),
                Node::Folder(folder) => folder.crash(random),
            }
        }
    }

    /// Nobody has a lock on any file any more.
    pub(crate) fn unlock(&self) {
        for (_, node) in self.entries() {
            match node {
                Node::File(file) => file.unlock_all(),
                Node::Folder(folder) => folder.unlock(),
            }
        }
    }
}
