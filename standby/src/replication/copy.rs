//! A node's copy of a storage: what its streams share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use replica::{Epoch, Epochs, Lineage, LineageError, Transaction};
use tokio::sync::watch;
use zeo_proto::Tid;

use super::followers::Followers;
use super::message::Have;
use super::route::Route;
use crate::service::Service;
use crate::world::{self, Instant, spawn_blocking};

/// A copy, as its source and its followers see it. Clones are the same.
#[derive(Clone)]
pub struct Copy(Arc<Shared>);

struct Shared {
    node: String,
    service: Service,
    lineage: Mutex<Lineage>,
    /// Streams to others end when the epochs change, or what was published is taken back.
    epochs: watch::Sender<Epochs>,
    progress: watch::Sender<Progress>,
    /// What the node follows.
    route: watch::Sender<Route>,
    repair: watch::Sender<Option<Repair>>,
    followers: Followers,
    heard: Mutex<Heard>,
    follows_packs: AtomicBool,
}

/// What was heard of the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last node that was followed.
    pub node: Option<String>,
    /// It still is.
    pub connected: bool,
    /// When it said last how far it is.
    pub at: Option<Instant>,
    /// Why it is not followed, if it has said nothing since.
    pub trouble: Option<String>,
}

/// What must be done to a copy before it can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The transactions after this one are lost: they are saved, and taken back.
    Rewind(Tid),
    /// It cannot be continued: it is set aside, and begun anew.
    SetAside,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewind(fork) => {
                write!(f, "everything after transaction {fork} was lost, and is taken back")
            }
            Self::SetAside => f.write_str("it cannot be continued, and is set aside"),
        }
    }
}

/// How a copy stands to its upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// It may be served.
    pub whole: bool,
    /// The last transaction that the upstream is known to have.
    pub upstream: Option<Tid>,
    /// How many upstreams lie between this node and the primary.
    pub distance: u8,
}

impl Copy {
    /// The copy behind a service of the node of this name. Reads a file.
    pub fn open(node: &str, service: Service) -> Result<Self, LineageError> {
        let lineage = service.storage().lineage()?;
        let progress = Progress { whole: lineage.is_whole(), upstream: None, distance: 0 };
        Ok(Self(Arc::new(Shared {
            node: node.to_owned(),
            service,
            epochs: watch::Sender::new(lineage.epochs.clone()),
            lineage: Mutex::new(lineage),
            progress: watch::Sender::new(progress),
            route: watch::Sender::default(),
            repair: watch::Sender::new(None),
            followers: Followers::default(),
            heard: Mutex::default(),
            follows_packs: AtomicBool::new(true),
        })))
    }

    /// The storage in service.
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    /// What the storage is called.
    pub fn name(&self) -> &str {
        &self.0.service.options().name
    }

    /// What its node is called.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// Where it comes from.
    pub fn lineage(&self) -> Lineage {
        self.0.lineage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it has.
    pub fn have(&self) -> Have {
        let storage = self.service().storage();
        let (mut last, first) = (storage.last_place(), storage.first_place());
        let lineage = self.lineage();
        if lineage.recovering.is_some() {
            last.tid = storage.last_tid(); // of what has holes, the end is what is in the log
        }
        Have { epochs: lineage.epochs, first, last }
    }

    /// So much of the upstream's history is known to be missing after `last`.
    pub fn behind(&self, last: Tid) -> Duration {
        let upstream = self.0.progress.borrow().upstream;
        let seconds = upstream.map_or(0.0, |upstream| upstream.unix_seconds() - last.unix_seconds());
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// The epochs, as they change.
    pub fn epochs(&self) -> watch::Receiver<Epochs> {
        self.0.epochs.subscribe()
    }

    /// How it stands, as that changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }

    /// What the node follows, as that changes.
    pub fn route(&self) -> watch::Receiver<Route> {
        self.0.route.subscribe()
    }

    /// Notes what the node follows.
    pub fn set_route(&self, route: Route) {
        self.0.route.send_if_modified(|known| {
            let changed = *known != route;
            *known = route;
            changed
        });
    }

    /// What must be done to it, once that is known.
    pub fn repair(&self) -> watch::Receiver<Option<Repair>> {
        self.0.repair.subscribe()
    }

    /// What was heard of its upstream.
    pub fn heard(&self) -> Heard {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what was heard of its upstream.
    pub fn note_heard(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.0.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// It packs when its source has packed.
    pub fn follows_packs(&self) -> bool {
        self.0.follows_packs.load(Ordering::Relaxed)
    }

    /// Whether it packs when its source has packed, from now on.
    pub fn set_follows_packs(&self, follows: bool) {
        self.0.follows_packs.store(follows, Ordering::Relaxed);
    }

    /// Who follows it.
    pub fn followers(&self) -> &Followers {
        &self.0.followers
    }

    /// Has something done to it.
    pub fn ask_for(&self, repair: Repair) {
        self.0.repair.send_replace(Some(repair));
    }

    /// Notes how it stands.
    pub fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.0.progress.send_if_modified(|progress| {
            let before = *progress;
            change(progress);
            before != *progress
        });
    }

    /// Changes where it comes from, durably.
    pub async fn change_lineage(
        &self,
        change: impl FnOnce(&mut Lineage) + Send + 'static,
    ) -> Result<(), LineageError> {
        let copy = self.clone();
        let changed = spawn_blocking(move || {
            let mut lineage = copy.0.lineage.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = lineage.clone();
            change(&mut next);
            if next != *lineage {
                copy.service().storage().set_lineage(&next)?;
                *lineage = next.clone();
            }
            Ok::<_, LineageError>(next)
        });
        let lineage = changed.await.expect("no panic")?;
        self.note(|progress| progress.whole = lineage.is_whole());
        self.service().set_epochs(lineage.epochs.clone());
        self.0.epochs.send_if_modified(|epochs| {
            let changed = *epochs != lineage.epochs;
            *epochs = lineage.epochs;
            changed
        });
        Ok(())
    }

    /// Follows nobody any more.
    pub fn follows_nobody(&self) {
        self.note(|progress| (progress.upstream, progress.distance) = (None, 0));
        self.note_heard(|heard| *heard = Heard::default());
    }

    /// Begins to follow: an empty copy is not served before it has what its upstream has.
    pub async fn begin_following(&self) -> Result<(), LineageError> {
        let empty = self.have().is_empty();
        self.change_lineage(move |lineage| lineage.unfinished |= empty).await
    }

    /// Begins the reign of this node, unless its own is the last: with a transaction without records, so that everything
    /// it commits is above everything that was committed before.
    pub async fn begin_epoch(&self, node: &str) -> anyhow::Result<()> {
        let epochs = self.lineage().epochs.up_to(self.have().last.tid);
        if epochs.as_slice().last().is_some_and(|epoch| epoch.node == node) {
            return Ok(());
        }
        let next = self.lineage().epochs.newest() + 1;
        self.begin_epoch_above(next, node, Tid::ZERO).await
    }

    /// Begins that epoch, unless it has begun: everything that is committed from then on is above this tid.
    pub async fn begin_epoch_above(&self, epoch: u64, node: &str, above: Tid) -> anyhow::Result<()> {
        let lineage = self.lineage();
        if !lineage.is_whole() {
            anyhow::bail!(
                "storage {:?} is a copy that was never completed: it cannot be a primary's",
                self.name()
            );
        }
        let storage = self.service().storage();
        let fork = self.have().last.tid;
        // It may know of reigns from which it has nothing, its own included: a crash came before the boundary.
        let mut epochs = lineage.epochs.up_to(fork);
        if epochs.newest() >= epoch {
            return Ok(());
        }
        let boundary = Tid::after(above.max(fork), world::now());
        let mut transaction: Transaction = storage.begin();
        transaction.set_tid(boundary);
        let description = format!("standby: epoch {epoch} begins at node {node} after transaction {fork}");
        transaction.set_metadata(b"", description.as_bytes(), b"")?;
        let mut applied = self.service().applied();
        let reservation = storage.reserve(&transaction)?;
        let node = node.to_owned();
        // Before the boundary itself: who follows must not take that for a transaction of the reign before.
        epochs = Epochs::new(
            epochs.as_slice().iter().cloned().chain([Epoch { epoch, boundary, fork, node }]).collect(),
        )
        .expect("the newest is above all");
        self.change_lineage(move |lineage| lineage.epochs = epochs).await?;
        self.service().apply(vec![(transaction, reservation)]);
        // Whoever applies next hears of it: a stream that has begun since.
        applied.recv().await.context("another node is followed by now")?.outcome?;
        tracing::info!(storage = self.name(), epoch, %fork, %boundary, "a new epoch begins");
        Ok(())
    }
}

#[cfg(test)]
#[path = "copy_test.rs"]
pub(crate) mod tests;
