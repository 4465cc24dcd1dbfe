//! What was lost in failovers: the saved files of this node, which the cluster is told of, and what the cluster knows, which
//! the services are told of.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use replica::Saved;
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

/// How long one attempt to tell may take, and how long it is until the next.
const ATTEMPT: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So many of the last saved files are read when a node starts.
const READ_MAX: usize = 16;

/// Tells the services of this node's own losses.
pub(super) async fn note_own(copies: &Copies) {
    for copy in copies.values() {
        let copy = copy.clone();
        let noted = tokio::task::spawn_blocking(move || note_own_of(&copy)).await.expect("no panic");
        if let Err(error) = noted {
            warn!(error = format!("{error:#}"), "saved transactions cannot be read");
        }
    }
}

fn note_own_of(copy: &Copy) -> Result<()> {
    for saved in saved(copy)?.iter().rev().take(READ_MAX).rev() {
        if let Some(loss) = Loss::of(saved.fork, &read(saved)?.contents) {
            copy.service().note_loss(Arc::new(loss));
        }
    }
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
        let untold = tokio::task::spawn_blocking(move || {
            let untold = saved(&copy)?.into_iter().filter(|saved| !is_told(&history, &node, saved));
            untold.map(|saved| read(&saved)).collect::<Result<Vec<_>>>()
        });
        for Read { file, fork, contents } in untold.await.expect("no panic")? {
            let loss = Loss::of(fork, &contents).map(Arc::new);
            let (storage, transactions) = (storage.clone(), contents.transactions);
            let entry = Entry::Lost { node: decisions.me(), storage, transactions, file, loss };
            while decisions.propose(entry.clone(), name, ATTEMPT).await.is_err() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
    Ok(())
}

struct Read {
    file: String,
    fork: replica::Tid,
    contents: replica::SavedContents,
}

fn saved(copy: &Copy) -> Result<Vec<Saved>> {
    let storage = copy.service().storage();
    storage.saved().with_context(|| format!("cannot list {}", storage.lost_folder().display()))
}

fn read(saved: &Saved) -> Result<Read> {
    let contents = saved.read(TOLD_MAX).with_context(|| format!("cannot read {}", saved.path.display()))?;
    Ok(Read { file: saved.path.display().to_string(), fork: saved.fork, contents })
}

/// Whether the history names a file of this node, or has forgotten it.
fn is_told(history: &History, node: &str, saved: &Saved) -> bool {
    let file = saved.path.display().to_string();
    let names =
        |what: &What| matches!(what, What::Lost { node: of, file: at, .. } if of == node && *at == file);
    let forgotten = history.forgets_before_millis().is_some_and(|millis| saved.at < since_1970(millis));
    forgotten || history.happenings().any(|happening| names(&happening.what))
}

fn since_1970(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
