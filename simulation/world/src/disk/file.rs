use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Random;

/// What a disk writes as a whole, or not at all.
const SECTOR: usize = 512;

/// A file, whatever it is called.
#[derive(Debug)]
pub(crate) struct FileNode {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Vec<u8>,
    /// What is there after a crash.
    kept: Vec<u8>,
    /// What was changed since it was synced, oldest first.
    since: Vec<Change>,
    mode: u32,
    exclusive: Option<u64>,
    shared: BTreeSet<u64>,
    /// It cannot be synced.
    fails: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Write { at, bytes } => write(content, *at, bytes),
        }
    }
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Default for FileNode {
    fn default() -> Self {
        let state = State {
            now: Vec::new(),
            kept: Vec::new(),
            since: Vec::new(),
            mode: 0o644,
            exclusive: None,
            shared: BTreeSet::new(),
            fails: false,
        };
        Self { state: Mutex::new(state) }
    }
}

impl FileNode {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn length(&self) -> u64 {
        self.state().now.len() as u64
    }

    pub(crate) fn mode(&self) -> u32 {
        self.state().mode
    }

    pub(crate) fn set_mode(&self, mode: u32) {
        self.state().mode = mode;
    }

    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        let state = self.state();
        let Some(from) = state.now.get(at as usize..) else { return 0 };
        let length = from.len().min(into.len());
        into[..length].copy_from_slice(&from[..length]);
        length
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) {
        self.change(Change::Write { at: at as usize, bytes: bytes.to_vec() });
    }

    pub(crate) fn set_length(&self, length: u64) {
        self.change(Change::Length(length as usize));
    }

    fn change(&self, change: Change) {
        let mut state = self.state();
        change.apply(&mut state.now);
        state.since.push(change);
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.fails {
            return Err(io::Error::other("the disk has failed"));
        }
        for change in state.since.drain(..) {
            change.apply(&mut state.kept);
        }
        Ok(())
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.state().fails = fails;
    }

    pub(crate) fn crash(&self, random: &mut dyn Random) {
        let mut guard = self.state();
        let state = &mut *guard;
        let since = std::mem::take(&mut state.since);
        if !since.is_empty() {
            match random.below(3) {
                0 => {}
                1 => first_few(&mut state.kept, &since, random),
                _ => any_sectors(&mut state.kept, &since, random),
            }
        }
        state.now = state.kept.clone();
        drop(guard);
        self.unlock_all();
    }

    /// Whether `who` has the lock now. A lock of its own of the other kind is given up for it.
    pub(crate) fn try_lock(&self, who: u64, exclusive: bool) -> bool {
        let mut state = self.state();
        let others = state.exclusive.is_some_and(|holder| holder != who)
            || (exclusive && state.shared.iter().any(|holder| *holder != who));
        if others {
            return false;
        }
        state.shared.remove(&who);
        state.exclusive = exclusive.then_some(who);
        if !exclusive {
            state.shared.insert(who);
        }
        true
    }

    pub(crate) fn unlock(&self, who: u64) {
        let mut state = self.state();
        state.shared.remove(&who);
        state.exclusive = state.exclusive.filter(|holder| *holder != who);
    }

    pub(crate) fn unlock_all(&self) {
        let mut state = self.state();
        state.shared.clear();
        state.exclusive = None;
    }
}

/// The first of the changes came to the disk, and of the next one its beginning.
fn first_few(content: &mut Vec<u8>, changes: &[Change], random: &mut dyn Random) {
    let whole = random.below(changes.len() as u64 + 1) as usize;
    for change in &changes[..whole] {
        change.apply(content);
    }
    if let Some(Change::Write { at, bytes }) = changes.get(whole) {
        let length = random.below(bytes.len() as u64 + 1) as usize;
        // Sectors are those of the disk, and not of the write.
        let end = (at + length) / SECTOR * SECTOR;
        if end > *at {
            write(content, *at, &bytes[..end - at]);
        }
    }
}

/// Any sectors of any changes came to the disk.
fn any_sectors(content: &mut Vec<u8>, changes: &[Change], random: &mut dyn Random) {
    for change in changes {
        let Change::Write { at, bytes } = change else {
            if random.below(2) == 0 {
                change.apply(content);
            }
            continue;
        };
        let mut done = 0;
        while done < bytes.len() {
            let end = ((at + done) / SECTOR + 1) * SECTOR - at;
            let end = end.min(bytes.len());
            if random.below(2) == 0 {
                write(content, at + done, &bytes[done..end]);
            }
            done = end;
        }
    }
}
