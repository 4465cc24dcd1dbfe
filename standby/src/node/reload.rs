//! Reading the node's file anew while it runs: at SIGHUP, and when an operator asks for it.

use std::path::Path;
use std::sync::Arc;

use standby_control::{Reloaded, SettingOfFile};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::tuning::{Tuning, acceptor};
use crate::config::difference::{Difference, differences, merged};
use crate::config::{self, NodeConfig};
use crate::decisions::raft::Decisions;

/// What became of it: what has changed, or everything that is wrong with the file.
pub(crate) type ReloadOutcome = Result<Reloaded, String>;

/// Whoever wants it, and where to say what became of it.
pub(crate) type ReloadOrders = mpsc::Sender<(String, oneshot::Sender<ReloadOutcome>)>;

/// What is needed for it.
pub(super) struct Reload<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a watch::Sender<Arc<NodeConfig>>,
    pub(super) tuning: &'a Tuning,
    /// The cluster, where one decides: what it has decided goes before the file.
    pub(super) decisions: Option<&'a Decisions>,
    /// Changes what is logged.
    pub(super) refilter: fn(Option<&str>),
}

impl Reload<'_> {
    /// Reads it, and takes over what can be.
    pub(super) fn run(&self, by: &str) -> ReloadOutcome {
        let outcome = self.take_over();
        match &outcome {
            Ok(Reloaded { took_effect, needs_restart, .. }) => {
                for SettingOfFile { key, from, to } in took_effect {
                    info!(key, from, to, "took effect");
                }
                for SettingOfFile { key, from, to } in needs_restart {
                    warn!(key, from, to, "takes effect when the node is started again");
                }
                let (took, left) = (took_effect.len(), needs_restart.len());
                info!(by, took_effect = took, needs_restart = left, "the configuration was read anew");
            }
            Err(mistakes) => {
                warn!(by, "the configuration was not taken over, and nothing has changed:\n{mistakes}")
            }
        }
        outcome
    }

    fn take_over(&self) -> ReloadOutcome {
        let new = config::load(self.path).map_err(|error| format!("{error:#}"))?;
        let old = self.file.borrow().clone();
        let next = merged(&old, &new);
        // It reads files, which may be wrong, too: before anything changes.
        let tls = acceptor(&next).map_err(|error| format!("tls: {error:#}"))?;
        let (at_once, later): (Vec<_>, Vec<_>) =
            differences(&old, &new).into_iter().partition(|difference| difference.at_once);
        let certificates = tls.is_some();
        self.tuning.tls.send_replace(tls);
        (self.refilter)(next.log.as_deref());
        let decided = self.decisions.map(|decisions| decisions.known().borrow().decided.settings().clone());
        self.tuning.apply(&next, &decided.unwrap_or_default());
        self.file.send_replace(Arc::new(next));
        Ok(Reloaded { took_effect: told(at_once), needs_restart: told(later), certificates })
    }
}

fn told(differences: Vec<Difference>) -> Vec<SettingOfFile> {
    let one = |Difference { key, from, to, .. }| SettingOfFile { key, from, to };
    differences.into_iter().map(one).collect()
}
