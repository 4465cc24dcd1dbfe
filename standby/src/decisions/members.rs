//! Who takes part: letting nodes in and going on without them, where this node leads.
//!
//! Who votes changes in two steps, of which the first asks for the majorities of before and after ("joint consensus"). Were
//! the second left out, the cluster could not do without nodes that it could do without before. So there is one change at a
//! time, and whoever leads completes what somebody has left.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::{BasicNode, ChangeMembers};
use tokio::sync::MutexGuard;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::network::{Admission, Proposed};
use super::raft::{Decisions, refused};
use crate::failover::decided::Effect;
use crate::failover::entry::NodeId;

/// Another change is waited for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// A new node may take so long to take in the log, before it is to vote.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// It has caught up when it lacks no more entries than this.
const LAG: u64 = 20;
/// Whoever makes a change may take so long to complete it, before somebody else does.
const LEFT_AFTER: Duration = Duration::from_secs(1);

type Change = ChangeMembers<NodeId, BasicNode>;

impl Decisions {
    pub(super) async fn admit_here(&self, Admission { node, address, votes }: Admission) -> Proposed {
        if self.address_of(node).as_ref() != Some(&address) {
            let told = self.tell_from_now_on(node, &address).await;
            if !matches!(told, Proposed::Decided(_)) {
                return told;
            }
        }
        // Until it has the log, its vote would be missing.
        if votes && !self.is_voter(node) && timeout(CATCHING_UP, self.catches_up(node)).await.is_err() {
            return Proposed::Failed("it does not take in what was decided".to_owned());
        }
        let _alone = match self.alone().await {
            Ok(alone) => alone,
            Err(told) => return told,
        };
        match (votes, self.is_voter(node)) {
            (true, false) => self.change(Change::AddVoterIds([node].into())).await,
            (false, true) => self.change(Change::RemoveVoters([node].into())).await,
            _ => Proposed::Decided(Effect::Changed),
        }
    }

    /// Nobody counts on its vote any more, nor tells it anything.
    pub(super) async fn dismiss_here(&self, node: NodeId) -> Proposed {
        let _alone = match self.alone().await {
            Ok(alone) => alone,
            Err(told) => return told,
        };
        // Two changes: a node that votes is first one that does not.
        if self.is_voter(node) {
            let told = self.change(Change::RemoveVoters([node].into())).await;
            if !matches!(told, Proposed::Decided(_)) {
                return told;
            }
        }
        if self.address_of(node).is_none() {
            return Proposed::Decided(Effect::None);
        }
        self.change(Change::RemoveNodes([node].into())).await
    }

    /// Whether its vote counts.
    pub fn is_voter(&self, node: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().voter_ids().any(|voter| voter == node)
    }

    /// Whether a change of who votes is half done.
    pub fn is_changing(&self) -> bool {
        is_joint(&self.raft.metrics().borrow())
    }

    /// Completes changes that somebody has left half done, whenever this node leads, until it is stopped.
    pub(super) async fn complete_changes(self) {
        let mut metrics = self.raft.metrics();
        while metrics.wait_for(is_joint).await.is_ok() {
            sleep(LEFT_AFTER).await;
            if !self.is_changing() || self.leader().await != Some(self.me()) {
                continue;
            }
            match self.alone().await {
                Ok(_) => info!("a change of who votes, which somebody had begun, is complete"),
                Err(told) => debug!(?told, "a change of who votes cannot be completed yet"),
            }
        }
    }

    /// It hears what is decided, at this address.
    async fn tell_from_now_on(&self, node: NodeId, address: &str) -> Proposed {
        let _alone = match self.alone().await {
            Ok(alone) => alone,
            Err(told) => return told,
        };
        let basic = BasicNode::new(address);
        match self.address_of(node) {
            Some(known) if known == address => Proposed::Decided(Effect::Changed),
            // It is elsewhere now.
            Some(_) => self.change(Change::SetNodes(BTreeMap::from([(node, basic)]))).await,
            None => match self.raft.add_learner(node, basic, false).await {
                Ok(_) => Proposed::Decided(Effect::Changed),
                Err(error) => refused(error),
            },
        }
    }

    /// Waits until it has nearly all that is in the log, or another node leads.
    async fn catches_up(&self, node: NodeId) {
        let mut metrics = self.raft.metrics();
        let has_caught_up = metrics.wait_for(|metrics| {
            let Some(replication) = &metrics.replication else { return true };
            let has = replication.get(&node).and_then(|matched| matched.map(|matched| matched.index));
            has.is_some_and(|has| has + LAG >= metrics.last_log_index.unwrap_or(0))
        });
        let _ = has_caught_up.await; // else the node stops
    }

    /// Nobody else makes a change meanwhile, and none is half done.
    async fn alone(&self) -> Result<MutexGuard<'_, ()>, Proposed> {
        let Ok(alone) = timeout(PATIENCE, self.changing.lock()).await else {
            return Err(Proposed::Failed("another change of who takes part is under way".to_owned()));
        };
        if self.is_changing() {
            let told = self.change(Change::AddVoterIds(Default::default())).await;
            if !matches!(told, Proposed::Decided(_)) {
                return Err(told);
            }
        }
        Ok(alone)
    }

    /// Changes who is told and who votes, where this node leads. Nodes that vote no longer are still told.
    async fn change(&self, change: Change) -> Proposed {
        match self.raft.change_membership(change, true).await {
            Ok(_) => Proposed::Decided(Effect::Changed),
            Err(error) => refused(error),
        }
    }
}

/// Whether the majorities of two sets of voters are asked for.
pub(super) fn is_joint(metrics: &openraft::RaftMetrics<NodeId, BasicNode>) -> bool {
    metrics.membership_config.membership().get_joint_config().len() > 1
}
