//! Why a node starts once more within its process, and what is done before.

use anyhow::{Result, anyhow};
use tokio::sync::watch;
use tracing::warn;

use super::auto::control_path;
use super::belonging::begin_anew;
use super::mend::{self, Repairs};
use super::peers::Copies;
use crate::config::NodeConfig;
use crate::decisions::founding::{Addresses, give_up};
use crate::decisions::raft::{Decisions, Superseded};
use crate::failover::decided::Decided;
use crate::failover::entry::NodeId;
use crate::world;

/// Why.
pub(super) enum Again {
    /// Copies cannot go on as they are.
    Mend(Repairs),
    /// An operator goes on with this node, without the majority of the voters.
    Refound {
        /// This node.
        node: NodeId,
        /// What it knows of the log that it leaves.
        before: Box<Decided>,
        /// The other nodes of that.
        others: Addresses,
        /// The operator.
        by: String,
    },
    /// An operator has done so elsewhere.
    Superseded(Superseded),
}

impl Again {
    /// Prepares the next start, while nothing is open.
    pub(super) async fn prepare(self, config: &NodeConfig) -> Result<()> {
        let config = config.clone();
        let prepared = world::spawn_blocking(move || self.prepare_here(&config));
        prepared.await.map_err(|panic| anyhow!(panic))?
    }

    fn prepare_here(self, config: &NodeConfig) -> Result<()> {
        match self {
            Self::Mend(repairs) => mend::mend(&config.storages, &repairs),
            Self::Refound { node, before, others, by } => {
                begin_anew(config, node, &before, &others, by)?;
                Ok(())
            }
            Self::Superseded(Superseded { by, address }) => {
                warn!(%by, at = %address, "the log of the cluster was begun anew without this node: it joins that");
                give_up(&control_path(config)?, by, &Addresses::from([address]))?;
                Ok(())
            }
        }
    }
}

/// Waits until the node must start once more.
pub(super) async fn asked_for(
    copies: &Copies,
    decisions: Option<&Decisions>,
    mut refound: watch::Receiver<Option<String>>,
) -> Again {
    let Some(decisions) = decisions else { return Again::Mend(mend::asked_for(copies).await) };
    let mut superseded = decisions.superseded();
    tokio::select! {
        repairs = mend::asked_for(copies) => Again::Mend(repairs),
        Ok(superseded) = superseded.wait_for(Option::is_some) => {
            Again::Superseded(superseded.clone().expect("waited for"))
        }
        Ok(by) = refound.wait_for(Option::is_some) => Again::Refound {
            node: decisions.me(),
            before: Box::new(decisions.known().borrow().decided.clone()),
            others: decisions.addresses().into_iter().collect(),
            by: by.clone().expect("waited for"),
        },
    }
}
