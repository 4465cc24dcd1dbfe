//! What the applied entries amount to, as `openraft` wants it.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, SnapshotMeta};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::control::{Control, ControlError, Key};
use super::types::{IoError, LogEntry, LogId, Membership, StorageError, Types};
use crate::failover::decided::{Decided, Effect};
use crate::failover::entry::{Entry, NodeId};
use crate::failover::history::History;

/// Snapshots are made of a state of so much history: older entries are forgotten.
const SNAPSHOT_NAME: &str = "decided";

/// What a node hears of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The next entry was applied.
    Entry(Entry),
    /// Many were, all at once: this is what they amount to.
    State(Box<Decided>),
}

/// The state, and where it is kept.
#[derive(Debug)]
pub struct DecidedState {
    control: Control,
    now: Applied,
    news: mpsc::UnboundedSender<News>,
    known: watch::Sender<Arc<Known>>,
}

/// What a node knows of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What was decided.
    pub decided: Decided,
    /// How that came.
    pub history: History,
}

/// The state after some entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Applied {
    last: Option<LogId>,
    membership: Membership,
    decided: Decided,
    #[serde(default)]
    history: History,
}

impl Applied {
    fn known(&self) -> Arc<Known> {
        Arc::new(Known { decided: self.decided.clone(), history: self.history.clone() })
    }
}

/// A snapshot, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    meta: SnapshotMeta<NodeId, BasicNode>,
    applied: Applied,
}

impl DecidedState {
    /// The state in this file. Whatever is applied from now on is told.
    pub fn open(control: Control) -> Result<(Self, mpsc::UnboundedReceiver<News>), ControlError> {
        let now: Applied = control.get(Key::State)?.unwrap_or_default();
        let (news, heard) = mpsc::unbounded_channel();
        let known = watch::Sender::new(now.known());
        Ok((Self { control, now, news, known }, heard))
    }

    /// What was decided, as far as it is applied.
    pub fn decided(&self) -> &Decided {
        &self.now.decided
    }

    /// What is known, as it changes.
    pub fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    async fn keep(&self) -> Result<(), StorageError> {
        let (control, now) = (self.control.clone(), self.now.clone());
        let written = spawn_blocking(move || control.write(false, |write| write.put(Key::State, &now)));
        written.await.expect("no panic").map_err(|error| IoError::write_state_machine(&error).into())
    }
}

impl RaftStateMachine<Types> for DecidedState {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.now.last, self.now.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Effect>, StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        let mut effects = Vec::with_capacity(entries.len());
        for entry in entries {
            self.now.last = Some(entry.log_id);
            effects.push(match entry.payload {
                EntryPayload::Blank => Effect::None,
                EntryPayload::Membership(membership) => {
                    self.now.membership = Membership::new(Some(entry.log_id), membership);
                    Effect::Changed
                }
                EntryPayload::Normal(stamped) => {
                    let before = self.now.decided.clone();
                    let effect = self.now.decided.apply(&stamped.entry);
                    self.now.history.note(&stamped, effect, &before, &self.now.decided);
                    let _ = self.news.send(News::Entry(stamped.entry)); // whoever is gone needs no news
                    effect
                }
            });
        }
        self.known.send_replace(self.now.known());
        self.keep().await?;
        Ok(effects)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { control: self.control.clone(), applied: self.now.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<NodeId, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let failed = |error: &dyn std::fmt::Display| {
            let error = std::io::Error::other(error.to_string());
            StorageError::from(IoError::read_snapshot(Some(meta.signature()), &error))
        };
        let applied: Applied = serde_json::from_slice(snapshot.get_ref()).map_err(|error| failed(&error))?;
        let kept = Kept { meta: meta.clone(), applied: applied.clone() };
        let control = self.control.clone();
        // The log before it may be dropped now: it must be durable.
        let written = spawn_blocking(move || {
            control.write(true, |write| {
                write.put(Key::State, &kept.applied)?;
                write.put(Key::Snapshot, &kept)
            })
        });
        written.await.expect("no panic").map_err(|error| failed(&error))?;
        self.now = applied;
        self.known.send_replace(self.now.known());
        let _ = self.news.send(News::State(Box::new(self.now.decided.clone())));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let control = self.control.clone();
        let kept = spawn_blocking(move || control.get::<Kept>(Key::Snapshot)).await.expect("no panic");
        let kept = kept.map_err(|error| IoError::read_snapshot(None, &error))?;
        Ok(kept.map(|kept| kept.snapshot()))
    }
}

impl Kept {
    fn snapshot(self) -> Snapshot<Types> {
        let bytes = serde_json::to_vec(&self.applied).expect("it can be written as JSON");
        Snapshot { meta: self.meta, snapshot: Box::new(Cursor::new(bytes)) }
    }
}

/// Makes a snapshot of a state.
pub struct Builder {
    control: Control,
    applied: Applied,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let Applied { last, membership, .. } = &self.applied;
        let at = last.map_or(String::new(), |last| format!("-{}-{}", last.leader_id, last.index));
        let meta = SnapshotMeta {
            last_log_id: *last,
            last_membership: membership.clone(),
            snapshot_id: format!("{SNAPSHOT_NAME}{at}"),
        };
        let kept = Kept { meta, applied: self.applied.clone() };
        let (control, written) = (self.control.clone(), kept.clone());
        let written = spawn_blocking(move || control.write(true, |write| write.put(Key::Snapshot, &written)));
        written.await.expect("no panic").map_err(|error| IoError::write_snapshot(None, &error))?;
        Ok(kept.snapshot())
    }
}
