//! The log in [`Control`], as `openraft` wants it.

use std::fmt::Debug;
use std::ops::RangeBounds;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, Vote};

use super::control::{Control, ControlError, Key};
use super::types::{IoError, LogEntry, LogId, StorageError, Types};
use crate::failover::entry::NodeId;
use crate::world::spawn_blocking;

/// The log. Clones are the same.
#[derive(Clone, Debug)]
pub struct DecidedLog(Control);

impl DecidedLog {
    /// The log in this file.
    pub fn new(control: Control) -> Self {
        Self(control)
    }

    /// Works with the file where that may wait for the disk.
    async fn with<T: Send + 'static>(
        &self,
        failed: impl FnOnce(&ControlError) -> IoError,
        work: impl FnOnce(&Control) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let control = self.0.clone();
        let done = spawn_blocking(move || work(&control)).await.expect("no panic");
        done.map_err(|error| failed(&error).into())
    }
}

impl RaftLogReader<Types> for DecidedLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.with(|error| IoError::read_logs(error), move |control| control.entries(range)).await
    }
}

impl RaftLogStorage<Types> for DecidedLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        self.with(
            |error| IoError::read_logs(error),
            |control| {
                let last_purged_log_id: Option<LogId> = control.get(Key::Purged)?;
                let last: Option<LogEntry> = control.last_entry()?;
                let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
                Ok(LogState { last_purged_log_id, last_log_id })
            },
        )
        .await
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), StorageError> {
        let vote = *vote;
        self.with(
            |error| IoError::write_vote(error),
            move |control| control.write(true, |write| write.put(Key::Vote, &vote)),
        )
        .await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        self.with(|error| IoError::read_vote(error), |control| control.get(Key::Vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.with(
            |error| IoError::write(error),
            move |control| control.write(false, |write| write.put(Key::Committed, &committed)),
        )
        .await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let found = self.with(|error| IoError::read(error), |control| control.get(Key::Committed)).await?;
        Ok(found.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        self.with(
            |error| IoError::write_logs(error),
            move |control| {
                control.write(true, |write| {
                    entries.iter().try_for_each(|entry| write.put_entry(entry.log_id.index, entry))
                })
            },
        )
        .await?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        self.with(
            |error| IoError::write_logs(error),
            move |control| control.write(true, |write| write.remove_entries(from.index..)),
        )
        .await
    }

    async fn purge(&mut self, up_to: LogId) -> Result<(), StorageError> {
        self.with(
            |error| IoError::write_logs(error),
            move |control| {
                control.write(true, |write| {
                    write.put(Key::Purged, &up_to)?;
                    write.remove_entries(..=up_to.index)
                })
            },
        )
        .await
    }
}
