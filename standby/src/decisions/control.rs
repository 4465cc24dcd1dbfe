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

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::raft::random;
use crate::failover::entry::NodeId;

const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
const VERSION: u64 = 2;
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");

/// So long in milliseconds is waited for whoever has the file open to let go of it.
const LET_GO: u32 = 3_000;
const RETRY: Duration = Duration::from_millis(20);

/// The file. Clones are the same.
#[derive(Clone, Debug)]
pub struct Control(Arc<Database>);

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
        let mut patience = LET_GO / RETRY.as_millis() as u32;
        let database = loop {
            match Database::create(path) {
                // A node that starts once more within its process: what it did last may still end.
                Err(DatabaseError::DatabaseAlreadyOpen) if patience > 0 => {
                    patience -= 1;
                    std::thread::sleep(RETRY);
                }
                opened => break opened.map_err(redb::Error::from)?,
            }
        };
        let control = Self(Arc::new(database));
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
        read: impl FnOnce(redb::ReadOnlyTable<K, V>) -> Result<T, ControlError>,
        table: TableDefinition<'_, K, V>,
    ) -> Result<T, ControlError> {
        let transaction = self.0.begin_read().map_err(redb::Error::from)?;
        read(transaction.open_table(table).map_err(redb::Error::from)?)
    }

    /// Writes, all or nothing; with `durable`, this and everything before it survives a crash when it returns.
    pub(super) fn write<T>(
        &self,
        durable: bool,
        change: impl FnOnce(&Writing) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut transaction = self.0.begin_write().map_err(redb::Error::from)?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).map_err(redb::Error::from)?;
        let writing = Writing(transaction);
        let changed = change(&writing)?;
        writing.0.commit().map_err(redb::Error::from)?;
        Ok(changed)
    }
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
