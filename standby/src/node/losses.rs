//! What was lost in failovers: the saved files of this node, which the cluster is told of, and what the cluster knows, which
//! the services are told of.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use replica::{Saved, SavedChanges};
use tokio::sync::watch;
use tracing::warn;

use super::peers::Copies;
use crate::config::NodeConfig;
use crate::decisions::raft::Decisions;
use crate::decisions::state::Known;
use crate::failover::entry::Entry;
use crate::failover::history::{History, What};
use crate::failover::loss::{Loss, TOLD_MAX};
use crate::replication::copy::Copy;
use crate::world;

/// How long one attempt to tell may take, and how long it is until the next.
const ATTEMPT: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So many of the last saved files are read when a node starts.
const READ_MAX: usize = 16;

/// Tells the services of this node's own losses.
pub(super) async fn note_own(copies: &Copies) {
    for copy in copies.values() {
        let copy = copy.clone();
        let noted = world::spawn_blocking(move || note_own_of(&copy)).await.expect("no panic");
        if let Err(error) = noted {
            warn!(error = format!("{error:#}"), "saved transactions cannot be read");
        }
    }
}

fn note_own_of(copy: &Copy) -> Result<()> {
    let saved = saved(copy)?;
    saved.iter().rev().take(READ_MAX).rev().filter_map(loss).for_each(|loss| copy.service().note_loss(loss));
    Ok(())
}

/// Tells the services of all losses that the cluster knows of, as it hears of them.
pub(super) async fn keep_noting(mut known: watch::Receiver<Arc<Known>>, copies: Copies) {
    let mut noted = History::default();
    loop {
        let history = known.borrow_and_update().history.clone();
        if !history.is_same(&noted) {
            for (storage, loss) in history.losses() {
                if let Some(copy) = copies.get(storage) {
                    copy.service().note_loss(Arc::clone(loss));
                }
            }
            noted = history;
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

/// Has the cluster's history name each saved file of this node: also one that was saved just before a crash.
pub(super) async fn tell(config: &NodeConfig, decisions: &Decisions, copies: &Copies) -> Result<()> {
    let name = &config.node.name;
    for copy in copies.values() {
        let copy = copy.clone();
        let storage = copy.name().to_owned();
        let history = decisions.known().borrow().history.clone();
        let node = name.clone();
        let untold = world::spawn_blocking(move || {
            let untold = saved(&copy)?.into_iter().filter(|saved| !is_told(&history, &node, saved));
            anyhow::Ok(untold.map(|saved| (count(&saved), loss(&saved), file(&saved))).collect::<Vec<_>>())
        });
        for (transactions, loss, file) in untold.await.expect("no panic")? {
            let storage = storage.clone();
            let entry = Entry::Lost { node: decisions.me(), storage, transactions, file, loss };
            while decisions.propose(entry.clone(), name, ATTEMPT).await.is_err() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
    Ok(())
}

fn saved(copy: &Copy) -> Result<Vec<Saved>> {
    let storage = copy.service().storage();
    storage.saved().with_context(|| format!("cannot list {}", storage.lost_folder().display()))
}

/// How many transactions a file has. Where it is damaged, those before the damage.
fn count(saved: &Saved) -> u64 {
    let (count, counted) = saved.count();
    if let Err(error) = counted {
        warn!(%error, file = %saved.path.display(), "saved transactions cannot be read to their end");
    }
    count
}

/// What was lost, unless that is too much to tell, or cannot be read any more.
fn loss(saved: &Saved) -> Option<Arc<Loss>> {
    match saved.changes(TOLD_MAX) {
        Ok(changes) => {
            changes.map(|SavedChanges { tids, oids }| Arc::new(Loss { fork: saved.fork, tids, oids }))
        }
        Err(error) => {
            warn!(%error, file = %saved.path.display(), "saved transactions cannot be read");
            None
        }
    }
}

fn file(saved: &Saved) -> String {
    saved.path.display().to_string()
}

/// Whether the history names a file of this node, or has forgotten it.
fn is_told(history: &History, node: &str, saved: &Saved) -> bool {
    let file = file(saved);
    let names =
        |what: &What| matches!(what, What::Lost { node: of, file: at, .. } if of == node && *at == file);
    let forgotten = history.forgets_before_millis().is_some_and(|millis| saved.at < since_1970(millis));
    forgotten || history.happenings().any(|happening| names(&happening.what))
}

fn since_1970(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
