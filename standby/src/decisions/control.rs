//! `control.redb`: what a node must remember of decisions, whatever happens.
//!
//! | table | key | value |
//! |---|---|---|
//! | `format` | `version` | 2 |
//! | `log` | index of an entry | the entry, as JSON |
//! | `state` | `node` (this node's number), `vote`, `purged`, `committed`, `state` (what the entries amount to, without the history), `history`, `snapshot`, `charter` (which log), `founding` (what a log that is being begun begins with), `others` (nodes to be told of it, or to join it at) | each as JSON |
//!
//! What a vote or the log promise to others is durable before it is told. The applied state is not synced by itself: the
//! entries that it is made of are in the log, and are applied again.
//!
//! Where there is no room on the disk, whoever wants to write waits until there is: to others the node stands still, and
//! nothing is promised. The file is opened anew for it, since `redb` does nothing more after an error; what was not durable
//! by then is as before it was written (`Control::openings`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::failover::entry::NodeId;
use crate::world;
use crate::world::random;

const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
const VERSION: u64 = 2;
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");

/// How soon it is tried again to write what there was no room for.
const ROOM: Duration = Duration::from_millis(200);

/// The file. Clones are the same.
#[derive(Clone, Debug)]
pub struct Control(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// `None`: it is to be opened anew.
    open: RwLock<Option<Database>>,
    /// There was no room: it is to be opened anew.
    no_room: AtomicBool,
    openings: AtomicU64,
    /// Nothing is waited for any more, and what is closed stays closed.
    gives_up: AtomicBool,
}

/// Something is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It cannot be read or written.
    #[error("control.redb: {0}")]
    Io(#[from] redb::Error),
    /// It says something that this program does not understand.
    #[error("control.redb: {0}")]
    Meaning(#[from] serde_json::Error),
    /// It was written by another version.
    #[error("control.redb has format {0}, and this program reads {VERSION}")]
    Version(u64),
    /// There was no room on its disk, or the node has stopped.
    #[error("control.redb is closed")]
    Closed,
}

impl ControlError {
    fn is_for_want_of_room(&self) -> bool {
        match self {
            Self::Io(redb::Error::Io(error)) => matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
            ),
            Self::Closed => true,
            _ => false,
        }
    }
}

/// A name in the table `state`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Node,
    Vote,
    Purged,
    Committed,
    State,
    History,
    Snapshot,
    Charter,
    Founding,
    Others,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Vote => "vote",
            Self::Purged => "purged",
            Self::Committed => "committed",
            Self::State => "state",
            Self::History => "history",
            Self::Snapshot => "snapshot",
            Self::Charter => "charter",
            Self::Founding => "founding",
            Self::Others => "others",
        }
    }
}

impl Control {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        let held = Held {
            path: path.to_owned(),
            open: RwLock::new(Some(open(path)?)),
            no_room: AtomicBool::new(false),
            openings: AtomicU64::new(0),
            gives_up: AtomicBool::new(false),
        };
        let control = Self(Arc::new(held));
        let version = control.write(true, |write| {
            write.table(LOG)?;
            write.table(STATE)?;
            let mut format = write.table(FORMAT)?;
            let found = format.get("version").map_err(redb::Error::from)?.map(|found| found.value());
            if found.is_none() {
                format.insert("version", VERSION).map_err(redb::Error::from)?;
            }
            Ok(found.unwrap_or(VERSION))
        })?;
        // Its name, too: a voter whose file a power failure takes away has forgotten what it promised.
        replica::world::sync_directory_of(path)
            .map_err(|error| redb::Error::from(redb::StorageError::Io(error)))?;
        if version == VERSION { Ok(control) } else { Err(ControlError::Version(version)) }
    }

    /// The node whose file this is: a new one where there was none.
    pub(super) fn node(&self) -> Result<NodeId, ControlError> {
        if let Some(node) = self.get(Key::Node)? {
            return Ok(node);
        }
        let node = NodeId(random());
        self.write(true, |write| write.put(Key::Node, &node))?;
        Ok(node)
    }

    /// What has this name.
    pub(super) fn get<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, ControlError> {
        self.read(
            |table: redb::ReadOnlyTable<&str, &[u8]>| {
                let found = table.get(key.name()).map_err(redb::Error::from)?;
                Ok(found.map(|found| serde_json::from_slice(found.value())).transpose()?)
            },
            STATE,
        )
    }

    /// The entries of the log in this range, in order.
    pub(super) fn entries<T: DeserializeOwned>(
        &self,
        range: impl std::ops::RangeBounds<u64>,
    ) -> Result<Vec<T>, ControlError> {
        self.read(
            |table: redb::ReadOnlyTable<u64, &[u8]>| {
                let range = (range.start_bound().cloned(), range.end_bound().cloned());
                let mut entries = Vec::new();
                for found in table.range(range).map_err(redb::Error::from)? {
                    entries.push(serde_json::from_slice(found.map_err(redb::Error::from)?.1.value())?);
                }
                Ok(entries)
            },
            LOG,
        )
    }

    /// The last entry of the log.
    pub(super) fn last_entry<T: DeserializeOwned>(&self) -> Result<Option<T>, ControlError> {
        self.read(
            |table: redb::ReadOnlyTable<u64, &[u8]>| {
                let last = table.last().map_err(redb::Error::from)?;
                Ok(last.map(|(_, entry)| serde_json::from_slice(entry.value())).transpose()?)
            },
            LOG,
        )
    }

    fn read<K: redb::Key + 'static, V: redb::Value + 'static, T>(
        &self,
        read: impl Fn(redb::ReadOnlyTable<K, V>) -> Result<T, ControlError>,
        table: TableDefinition<'_, K, V>,
    ) -> Result<T, ControlError> {
        self.with(|database| {
            let transaction = database.begin_read().map_err(redb::Error::from)?;
            read(transaction.open_table(table).map_err(redb::Error::from)?)
        })
    }

    /// Writes, all or nothing; with `durable`, this and everything before it survives a crash when it returns. Waits while
    /// there is no room on the disk, and then does it all again.
    pub(super) fn write<T>(
        &self,
        durable: bool,
        change: impl Fn(&Writing) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        self.with(|database| {
            let mut transaction = database.begin_write().map_err(redb::Error::from)?;
            let durability = if durable { Durability::Immediate } else { Durability::None };
            transaction.set_durability(durability).map_err(redb::Error::from)?;
            let writing = Writing(transaction);
            let changed = change(&writing)?;
            writing.0.commit().map_err(redb::Error::from)?;
            Ok(changed)
        })
    }

    /// How often the file was opened anew. Whenever it was, what was written and was not durable is gone. Stays the same
    /// within a change.
    pub(super) fn openings(&self) -> u64 {
        self.0.openings.load(Ordering::Acquire)
    }

    /// From now on nobody waits for room: the node stops.
    pub(super) fn give_up(&self) {
        self.0.gives_up.store(true, Ordering::Release);
    }

    /// Ends what is being done with the file, and lets go of it, whoever has clones of this: the node may start once more.
    pub(super) fn close(&self) {
        self.give_up();
        *self.0.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Does something with the file, when there is room on its disk.
    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, ControlError>) -> Result<T, ControlError> {
        let mut waits = false;
        loop {
            let error = match self.attempt(&work) {
                Err(error) if error.is_for_want_of_room() => error,
                done => {
                    if waits && done.is_ok() {
                        info!("there is room for decisions again: this node takes part");
                    }
                    return done;
                }
            };
            if self.0.gives_up.load(Ordering::Acquire) {
                return Err(error);
            }
            if !waits {
                warn!(%error, "there is no room for decisions: this node takes no part until there is");
                waits = true;
            }
            std::thread::sleep(ROOM);
            self.open_anew()?;
        }
    }

    /// Does something with the file once.
    fn attempt<T>(&self, work: impl Fn(&Database) -> Result<T, ControlError>) -> Result<T, ControlError> {
        let held = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
        let opening = self.openings();
        let done = match &*held {
            Some(database) => work(database),
            None => Err(ControlError::Closed),
        };
        if done.as_ref().is_err_and(ControlError::is_for_want_of_room) {
            self.0.no_room.store(true, Ordering::Release);
        }
        drop(held);
        // Whoever comes when another has found no room is told of an earlier error, perhaps before the other has said so.
        if matches!(done, Err(ControlError::Io(redb::Error::PreviousIo))) {
            let _others_are_done = self.0.open.write().unwrap_or_else(PoisonError::into_inner);
            if self.0.lacks_room() || self.openings() != opening {
                return Err(ControlError::Closed);
            }
        }
        done
    }

    /// Opens the file anew, if there is room to.
    fn open_anew(&self) -> Result<(), ControlError> {
        let mut held = self.0.open.write().unwrap_or_else(PoisonError::into_inner);
        if !self.0.lacks_room() || self.0.gives_up.load(Ordering::Acquire) {
            return Ok(()); // another has done it, or nobody wants it any more
        }
        *held = None; // closed before it is opened
        match open(&self.0.path) {
            Ok(database) => {
                *held = Some(database);
                self.0.openings.fetch_add(1, Ordering::Release);
                self.0.no_room.store(false, Ordering::Release);
                Ok(())
            }
            Err(error) if error.is_for_want_of_room() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Held {
    fn lacks_room(&self) -> bool {
        self.no_room.load(Ordering::Acquire)
    }
}

/// Opens the file, or makes it.
fn open(path: &Path) -> Result<Database, ControlError> {
    Ok(world::database(&mut Database::builder(), path).map_err(redb::Error::from)?)
}

/// Changes of the file that are made together.
pub(super) struct Writing(WriteTransaction);

impl Writing {
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<redb::Table<'_, K, V>, ControlError> {
        Ok(self.0.open_table(table).map_err(redb::Error::from)?)
    }

    pub(super) fn put<T: Serialize>(&self, key: Key, value: &T) -> Result<(), ControlError> {
        let value = serde_json::to_vec(value)?;
        self.table(STATE)?.insert(key.name(), value.as_slice()).map_err(redb::Error::from)?;
        Ok(())
    }

    pub(super) fn remove(&self, key: Key) -> Result<(), ControlError> {
        self.table(STATE)?.remove(key.name()).map_err(redb::Error::from)?;
        Ok(())
    }

    pub(super) fn put_entry<T: Serialize>(&self, index: u64, entry: &T) -> Result<(), ControlError> {
        let entry = serde_json::to_vec(entry)?;
        self.table(LOG)?.insert(index, entry.as_slice()).map_err(redb::Error::from)?;
        Ok(())
    }

    /// Removes the entries in this range.
    pub(super) fn remove_entries(&self, range: impl std::ops::RangeBounds<u64>) -> Result<(), ControlError> {
        self.table(LOG)?.retain_in(range, |_, _| false).map_err(redb::Error::from)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.redb");
        let control = Control::open(&path).expect("made");
        control
            .write(true, |write| {
                write.table(FORMAT)?.insert("version", 7).map_err(redb::Error::from)?;
                Ok(())
            })
            .expect("written");
        drop(control);
        let told = Control::open(&path).expect_err("it is newer").to_string();
        assert_eq!(told, "control.redb has format 7, and this program reads 2");
    }

    #[test]
    fn a_file_that_is_closed_is_free_whoever_still_knows_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.redb");
        let control = Control::open(&path).expect("made");
        let late = control.clone();
        control.close();
        let again = Control::open(&path).expect("free");
        let told = late.write(true, |write| write.put(Key::Vote, &"mine")).expect_err("it is closed");
        assert_eq!(told.to_string(), "control.redb is closed");
        assert_eq!(again.get::<String>(Key::Vote).expect("readable"), None);
    }

    #[test]
    fn what_was_durable_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.redb");
        let control = Control::open(&path).expect("made");
        control.write(true, |write| write.put(Key::Vote, &"mine")).expect("written");
        drop(control);
        let control = Control::open(&path).expect("there");
        assert_eq!(control.get::<String>(Key::Vote).expect("readable").as_deref(), Some("mine"));
    }
}
