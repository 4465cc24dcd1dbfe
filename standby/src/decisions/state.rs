//! What the applied entries amount to, as `openraft` wants it.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, SnapshotMeta};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::control::{Control, ControlError, Key};
use super::types::{IoError, LogEntry, LogId, Membership, StorageError, Types};
use crate::failover::decided::{Decided, Effect};
use crate::failover::entry::{Entry, NodeId};
use crate::failover::history::{Chronicler, History, Stamped};
use crate::world::spawn_blocking;

/// What begins the names of snapshots.
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
    /// As it is in the file.
    kept_history: Option<History>,
    /// How often the file had been opened anew by then.
    kept_when: u64,
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
    state: State,
    history: History,
}

/// What of it changes with every lease. It is kept apart from the history, which is longer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    last: Option<LogId>,
    membership: Membership,
    decided: Decided,
    chronicler: Chronicler,
}

impl State {
    fn apply(&mut self, stamped: &Stamped, history: &mut History) -> Effect {
        let before = self.decided.clone();
        let effect = self.decided.apply(&stamped.entry);
        if let Some(happening) = self.chronicler.tell(stamped, effect, &before, &self.decided) {
            history.add(happening);
        }
        if let Entry::Lost { storage, loss: Some(loss), .. } = &stamped.entry {
            history.lose(storage, loss);
        }
        effect
    }
}

impl Applied {
    fn known(&self) -> Arc<Known> {
        Arc::new(Known { decided: self.state.decided.clone(), history: self.history.clone() })
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
        let state = control.get(Key::State)?.unwrap_or_default();
        let history: Option<History> = control.get(Key::History)?;
        let now = Applied { state, history: history.clone().unwrap_or_default() };
        let (news, heard) = mpsc::unbounded_channel();
        let known = watch::Sender::new(now.known());
        Ok((Self { kept_when: control.openings(), control, now, kept_history: history, news, known }, heard))
    }

    /// What was decided, as far as it is applied.
    pub fn decided(&self) -> &Decided {
        &self.now.state.decided
    }

    /// What is known, as it changes.
    pub fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    /// Writes the state, and the history if that has changed.
    async fn keep(&mut self) -> Result<(), StorageError> {
        let (control, Applied { state, history }) = (self.control.clone(), self.now.clone());
        let is_kept = self.kept_history.as_ref().is_some_and(|kept| kept.is_same(&history));
        self.kept_history = Some(history.clone());
        let kept_when = self.kept_when;
        let written = spawn_blocking(move || {
            control.write(false, |write| {
                // It was not durable: a file that was opened anew may not have it.
                if !is_kept || control.openings() != kept_when {
                    write.put(Key::History, &history)?;
                }
                write.put(Key::State, &state)?;
                Ok(control.openings())
            })
        });
        let written = written.await.expect("no panic");
        self.kept_when = written.map_err(|error| StorageError::from(IoError::write_state_machine(&error)))?;
        Ok(())
    }
}

impl RaftStateMachine<Types> for DecidedState {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.now.state.last, self.now.state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Effect>, StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        let mut effects = Vec::with_capacity(entries.len());
        for entry in entries {
            self.now.state.last = Some(entry.log_id);
            effects.push(match entry.payload {
                EntryPayload::Blank => Effect::None,
                EntryPayload::Membership(membership) => {
                    self.now.state.membership = Membership::new(Some(entry.log_id), membership);
                    Effect::Changed
                }
                EntryPayload::Normal(stamped) => {
                    let effect = self.now.state.apply(&stamped, &mut self.now.history);
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
                write.put(Key::State, &kept.applied.state)?;
                write.put(Key::History, &kept.applied.history)?;
                write.put(Key::Snapshot, &kept)
            })
        });
        written.await.expect("no panic").map_err(|error| failed(&error))?;
        self.kept_history = Some(applied.history.clone());
        self.now = applied;
        self.known.send_replace(self.now.known());
        let _ = self.news.send(News::State(Box::new(self.now.state.decided.clone())));
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
        let State { last, membership, .. } = &self.applied.state;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openraft::CommittedLeaderId;
    use zeo_proto::{Oid, Tid};

    use super::*;
    use crate::failover::entry::{Acknowledged, Cause, Ceilings, LeaseMark, Member};

    async fn apply(state: &mut DecidedState, index: u64, entry: Entry) {
        let stamped = Stamped { at_millis: index, by: "a".to_owned(), entry };
        let log_id = LogId::new(CommittedLeaderId::new(1, NodeId(1)), index);
        let entries = [LogEntry { log_id, payload: EntryPayload::Normal(stamped) }];
        state.apply(entries).await.expect("written");
    }

    fn renew(seq: u64) -> Entry {
        let ceilings = Ceilings { tid: Tid::new(seq), oid: Oid::new(seq) };
        let mark = LeaseMark { epoch: 1, seq };
        let (lease, acks) = (Duration::from_secs(1), Acknowledged::default());
        Entry::Renew { mark, start: 0, lease, ceilings, acks }
    }

    #[tokio::test]
    async fn a_renewed_lease_does_not_write_the_history_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let control = Control::open(&folder.path().join("control.redb")).expect("made");
        let (mut state, _news) = DecidedState::open(control.clone()).expect("new");
        let (name, group) = ("a".to_owned(), "here".to_owned());
        let member = Member { name, group, electable: true, voter: true, priority: 0 };
        apply(&mut state, 1, Entry::Join { node: NodeId(1), member }).await;
        let (node, after, cause) = (NodeId(1), LeaseMark::default(), Cause::Operator);
        apply(&mut state, 2, Entry::Promote { node, after, cause, used: None }).await;
        let kept = || control.get::<History>(Key::History).expect("readable");
        assert_eq!(kept().expect("written").happenings().count(), 2);

        // Whoever writes it now shows.
        control.write(false, |write| write.remove(Key::History)).expect("written");
        for seq in 1..20 {
            apply(&mut state, 2 + seq, renew(seq)).await;
        }
        assert_eq!(kept(), None);
        let known = state.known().borrow().clone();
        assert_eq!((known.decided.mark().seq, known.history.happenings().count()), (19, 2));
        apply(&mut state, 30, Entry::Began { epoch: 1 }).await;
        assert_eq!(kept().expect("written").happenings().count(), 3);

        drop(state);
        let (state, _news) = DecidedState::open(control.clone()).expect("readable");
        let known = state.known().borrow().clone();
        assert_eq!((known.decided.mark().seq, known.history.happenings().count()), (19, 3));
    }
}
