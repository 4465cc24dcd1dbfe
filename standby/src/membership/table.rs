//! What a node knows of all others, and what of it goes into the next message.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claim::{Claim, State};
use super::message::{Item, Told};
use crate::failover::entry::NodeId;

/// Greatest number of nodes that are known.
pub(super) const NODES_MAX: usize = 256;

/// What is known of a node.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) claim: Claim,
    pub(super) told: Option<Told>,
    /// When this node took the state for its own.
    pub(super) since: Duration,
    claim_sent: Sent,
    told_sent: Sent,
}

/// How often an item went out.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    times: u32,
    /// In which message last.
    last: u64,
}

/// All nodes but this one, and what this one tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    nodes: BTreeMap<NodeId, Known>,
    own: Option<Told>,
    own_sent: Sent,
    messages: u64,
}

impl Table {
    pub(super) fn get(&self, node: NodeId) -> Option<&Known> {
        self.nodes.get(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.nodes.values()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Takes a newer claim. What was known before.
    pub(super) fn claim(&mut self, claim: Claim, now: Duration) -> Option<Claim> {
        let claim_sent = Sent::default();
        match self.nodes.get_mut(&claim.node) {
            Some(known) => {
                let is_same = (known.claim.state, known.claim.start) == (claim.state, claim.start);
                // One that contradicted, and is suspected again, has its time anew.
                if !is_same || claim.state == State::Suspect {
                    known.since = now;
                }
                known.claim_sent = claim_sent;
                Some(std::mem::replace(&mut known.claim, claim))
            }
            None => {
                let told_sent = Sent::default();
                let known = Known { told: None, since: now, claim_sent, told_sent, claim };
                self.nodes.insert(known.claim.node, known);
                None
            }
        }
    }

    /// Takes what a known node tells. Whether it is news.
    pub(super) fn tell(&mut self, told: &Told) -> bool {
        let Some(known) = self.nodes.get_mut(&told.node) else { return false };
        let is_news = known.told.as_ref().is_none_or(|known| told.supersedes(known));
        if is_news {
            (known.told, known.told_sent) = (Some(told.clone()), Sent::default());
        }
        is_news
    }

    /// What this node tells.
    pub(super) fn tell_own(&mut self, told: Told) {
        (self.own, self.own_sent) = (Some(told), Sent::default());
    }

    pub(super) fn own(&self) -> Option<&Told> {
        self.own.as_ref()
    }

    /// Forgets nodes of which this does not hold.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Known) -> bool) {
        self.nodes.retain(|_, known| keeps(known));
    }

    /// Time passed in which this node stood still.
    pub(super) fn shift(&mut self, by: Duration) {
        self.nodes.values_mut().for_each(|known| known.since += by);
    }

    /// There is something that has not been passed on often enough.
    pub(super) fn has_news(&self) -> bool {
        let enough = self.enough();
        let of_others = self.nodes.values().any(|known| {
            known.claim_sent.times < enough || (known.told.is_some() && known.told_sent.times < enough)
        });
        of_others || (self.own.is_some() && self.own_sent.times < enough)
    }

    /// News is passed on so often: enough that every node hears it with near certainty, as in SWIM.
    fn enough(&self) -> u32 {
        3 * (self.nodes.len() + 2).next_power_of_two().ilog2()
    }

    /// The items for a message to `to`, in so many bytes. First that it is not held for alive, which it wants to contradict;
    /// then news, the least told first; then, unless it is only for news, what was sent longest ago, so that everybody
    /// hears everything in the end, however many messages are lost.
    pub(super) fn items(&mut self, to: Option<NodeId>, bytes_max: usize, only_news: bool) -> Vec<Item> {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum Which {
            Own,
            Claim(NodeId),
            Told(NodeId),
        }
        self.messages += 1;
        let enough = self.enough();
        let mut candidates: Vec<((u32, u64), Which)> = Vec::new();
        let mut consider = |sent: Sent, first: bool, which: Which| {
            let is_news = sent.times < enough;
            if first || is_news || !only_news {
                let turn = if first { 0 } else { 1 + sent.times.min(enough) };
                candidates.push(((turn, sent.last), which));
            }
        };
        for (node, known) in &self.nodes {
            let first = Some(*node) == to && known.claim.state != State::Alive;
            // The receiver knows best how it is.
            if Some(*node) != to || first {
                consider(known.claim_sent, first, Which::Claim(*node));
            }
            if known.told.is_some() && Some(*node) != to {
                consider(known.told_sent, false, Which::Told(*node));
            }
        }
        if self.own.is_some() {
            consider(self.own_sent, false, Which::Own);
        }
        candidates.sort_unstable();
        let (mut items, mut bytes_left) = (Vec::new(), bytes_max);
        for (_, which) in candidates {
            let (item, sent) = match which {
                Which::Own => (self.own.clone().map(Item::Told), &mut self.own_sent),
                Which::Claim(node) => {
                    let known = self.nodes.get_mut(&node).expect("listed above");
                    (Some(Item::Claim(known.claim.clone())), &mut known.claim_sent)
                }
                Which::Told(node) => {
                    let known = self.nodes.get_mut(&node).expect("listed above");
                    (known.told.clone().map(Item::Told), &mut known.told_sent)
                }
            };
            let Some(item) = item else { continue };
            if item.bytes() <= bytes_left && items.len() < usize::from(u8::MAX) {
                bytes_left -= item.bytes();
                *sent = Sent { times: sent.times.saturating_add(1), last: self.messages };
                items.push(item);
            }
        }
        items
    }
}
