//! What the decided entries amount to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entry::{Cause, Ceilings, Entry, LeaseMark, Member, NodeId};

/// The state of the cluster after some entries of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    members: BTreeMap<NodeId, Member>,
    reign: Option<Reign>,
    /// The last epoch of before the cluster was made.
    before: u64,
    ceilings: Ceilings,
    paused: bool,
    banned: BTreeSet<NodeId>,
    /// Nodes that were removed: they never come back under their numbers.
    gone: BTreeSet<NodeId>,
    acks: usize,
    /// Rules that are broken on purpose, to see that the simulation notices.
    #[cfg(test)]
    #[serde(skip)]
    pub(super) broken: super::simulation::Broken,
}

/// The reign of one primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// Its number.
    pub epoch: u64,
    /// Who.
    pub primary: NodeId,
    /// The group that was promoted with it.
    pub group: String,
    /// The last lease of it; 0: only promoted yet.
    pub seq: u64,
    /// How long that lease is; `None`: whoever waits for its end takes its own word.
    pub lease: Option<Duration>,
    /// Its boundary is written.
    pub began: bool,
    /// It gave the lease back.
    pub released: bool,
}

/// What an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing: what it was about has passed.
    None,
    /// A node became the primary.
    Promoted,
    /// The lease goes on.
    Renewed,
    /// Something else changed.
    Changed,
}

impl Decided {
    /// Those that belong to the cluster.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// The last reign.
    pub fn reign(&self) -> Option<&Reign> {
        self.reign.as_ref()
    }

    /// The last lease.
    pub fn mark(&self) -> LeaseMark {
        let none = LeaseMark { epoch: self.before, seq: 0 };
        self.reign.as_ref().map_or(none, |reign| LeaseMark { epoch: reign.epoch, seq: reign.seq })
    }

    /// Whether both say the same of everything but how far the primary's leases have come.
    pub fn differs_by_leases_only(&self, other: &Self) -> bool {
        let reign = |decided: &Self| {
            decided.reign.as_ref().map(|reign| Reign { seq: 0, lease: None, ..reign.clone() })
        };
        reign(self) == reign(other)
            && self.members == other.members
            && (self.paused, self.acks) == (other.paused, other.acks)
            && self.banned == other.banned
    }

    /// What any primary may have used so far.
    pub fn ceilings(&self) -> Ceilings {
        self.ceilings
    }

    /// Automatic failover is off.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Kept from being promoted.
    pub fn is_banned(&self, node: NodeId) -> bool {
        self.banned.contains(&node)
    }

    /// Removed for good.
    pub fn is_gone(&self, node: NodeId) -> bool {
        self.gone.contains(&node)
    }

    /// So many replicas must acknowledge a transaction.
    pub fn acks(&self) -> usize {
        self.acks
    }

    /// Those that may be promoted without an operator: electable members of the primary's group that are not banned. All
    /// groups, before the first primary.
    pub fn candidates(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        let all = self.members.iter().map(|(node, member)| (*node, member));
        all.filter(|(node, member)| self.is_candidate(*node, member))
    }

    fn is_candidate(&self, node: NodeId, member: &Member) -> bool {
        let is_local = self.reign.as_ref().is_none_or(|reign| reign.group == member.group);
        member.electable && is_local && !self.banned.contains(&node)
    }

    /// Takes in the next entry.
    pub fn apply(&mut self, entry: &Entry) -> Effect {
        let took_effect = match entry {
            Entry::Promote { node, after, cause, used } => {
                return self.promote(*node, *after, *cause, *used);
            }
            Entry::Renew { mark, lease, ceilings, .. } => return self.renew(*mark, *lease, *ceilings),
            Entry::Join { node, .. } if self.is_gone(*node) => false,
            Entry::Join { node, member } => {
                self.members.retain(|known, other| known == node || other.name != member.name);
                self.members.insert(*node, member.clone()).as_ref() != Some(member)
            }
            Entry::Leave { node } if self.is_primary(*node) => false,
            Entry::Leave { node } => {
                self.banned.remove(node);
                self.gone.insert(*node);
                self.members.remove(node).is_some()
            }
            Entry::Began { epoch } => match &mut self.reign {
                Some(reign) if reign.epoch == *epoch => !std::mem::replace(&mut reign.began, true),
                _ => false,
            },
            Entry::Release { mark } => {
                let is_last = *mark == self.mark();
                match &mut self.reign {
                    Some(reign) if is_last => !std::mem::replace(&mut reign.released, true),
                    _ => false,
                }
            }
            Entry::Create { epoch } => match self.reign {
                None => std::mem::replace(&mut self.before, *epoch) != *epoch,
                Some(_) => false,
            },
            Entry::Pause { paused } => std::mem::replace(&mut self.paused, *paused) != *paused,
            Entry::Ban { node, banned: true } => self.banned.insert(*node),
            Entry::Ban { node, banned: false } => self.banned.remove(node),
            Entry::Acknowledge { acks } => std::mem::replace(&mut self.acks, *acks) != *acks,
            Entry::Lost { .. } => true, // it is history
        };
        if took_effect { Effect::Changed } else { Effect::None }
    }

    fn is_primary(&self, node: NodeId) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.primary == node)
    }

    fn promote(&mut self, node: NodeId, after: LeaseMark, cause: Cause, used: Option<Ceilings>) -> Effect {
        let Some(member) = self.members.get(&node) else { return Effect::None };
        let may = match cause {
            Cause::Failover => !self.paused && self.is_candidate(node, member),
            Cause::Operator | Cause::Switchover => member.electable,
        };
        let is_last = after == self.mark();
        #[cfg(test)]
        let is_last = is_last || self.broken == super::simulation::Broken::CompareAndSet;
        if !may || !is_last {
            return Effect::None;
        }
        if let (Cause::Switchover, Some(used)) = (cause, used) {
            // It is known exactly; but oids may still be with clients that have not used them yet.
            self.ceilings.tid = used.tid;
        }
        self.reign = Some(Reign {
            epoch: self.mark().epoch + 1,
            primary: node,
            group: member.group.clone(),
            seq: 0,
            lease: None,
            began: false,
            released: false,
        });
        Effect::Promoted
    }

    fn renew(&mut self, mark: LeaseMark, lease: Duration, ceilings: Ceilings) -> Effect {
        match &mut self.reign {
            Some(reign) if reign.epoch == mark.epoch && mark.seq > reign.seq && !reign.released => {
                (reign.seq, reign.lease) = (mark.seq, Some(lease));
                self.ceilings.tid = self.ceilings.tid.max(ceilings.tid);
                self.ceilings.oid = self.ceilings.oid.max(ceilings.oid);
                Effect::Renewed
            }
            _ => Effect::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeo_proto::{Oid, Tid};

    fn member(name: &str, group: &str) -> Member {
        Member { name: name.into(), group: group.into(), electable: true, voter: true, priority: 0 }
    }

    fn cluster() -> Decided {
        let mut decided = Decided::default();
        for (node, group) in [(1, "here"), (2, "here"), (3, "there")] {
            decided.apply(&Entry::Join { node: NodeId(node), member: member(&format!("n{node}"), group) });
        }
        assert_eq!(decided.apply(&promote(1, (0, 0), Cause::Operator)), Effect::Promoted);
        decided
    }

    fn mark((epoch, seq): (u64, u64)) -> LeaseMark {
        LeaseMark { epoch, seq }
    }

    fn promote(node: u64, after: (u64, u64), cause: Cause) -> Entry {
        Entry::Promote { node: NodeId(node), after: mark(after), cause, used: None }
    }

    fn renew(lease_mark: (u64, u64), tid: u64) -> Entry {
        let ceilings = Ceilings { tid: Tid::new(tid), oid: Oid::new(tid * 2) };
        Entry::Renew { mark: mark(lease_mark), start: 0, lease: Duration::from_secs(1), ceilings }
    }

    #[test]
    fn a_promotion_takes_effect_only_after_the_lease_that_it_names() {
        let mut decided = cluster();
        assert_eq!(decided.apply(&renew((1, 1), 10)), Effect::Renewed);
        assert_eq!(decided.apply(&promote(2, (1, 0), Cause::Failover)), Effect::None, "renewed meanwhile");
        assert_eq!(decided.apply(&promote(2, (1, 1), Cause::Failover)), Effect::Promoted);
        assert_eq!(decided.apply(&promote(1, (1, 1), Cause::Failover)), Effect::None, "somebody was faster");
        let reign = decided.reign().expect("there is one");
        assert_eq!((reign.epoch, reign.primary, decided.ceilings().tid), (2, NodeId(2), Tid::new(10)));
        assert_eq!(decided.apply(&renew((1, 2), 99)), Effect::None, "it is not the primary any more");
        assert_eq!(decided.ceilings().tid, Tid::new(10));
    }

    #[test]
    fn a_renewed_lease_is_no_news_and_everything_else_is() {
        let before = cluster();
        let after = |entry: Entry| {
            let mut decided = before.clone();
            decided.apply(&entry);
            decided
        };
        assert!(after(renew((1, 1), 10)).differs_by_leases_only(&before));
        for news in [
            promote(2, (1, 0), Cause::Failover),
            Entry::Leave { node: NodeId(2) },
            Entry::Ban { node: NodeId(2), banned: true },
            Entry::Pause { paused: true },
            Entry::Acknowledge { acks: 1 },
            Entry::Began { epoch: 1 },
            Entry::Release { mark: mark((1, 0)) },
        ] {
            assert!(!after(news.clone()).differs_by_leases_only(&before), "{news:?}");
        }
    }

    #[test]
    fn leases_only_go_forward() {
        let mut decided = cluster();
        assert_eq!(decided.apply(&renew((1, 3), 10)), Effect::Renewed);
        assert_eq!(decided.apply(&renew((1, 2), 99)), Effect::None);
        assert_eq!(decided.apply(&renew((1, 4), 5)), Effect::Renewed);
        assert_eq!(decided.ceilings().tid, Tid::new(10), "what may have been used stays so");
    }

    #[test]
    fn a_lease_that_was_given_back_is_over() {
        let mut decided = cluster();
        decided.apply(&renew((1, 1), 10));
        assert_eq!(
            decided.apply(&Entry::Release { mark: mark((1, 0)) }),
            Effect::None,
            "it went on meanwhile"
        );
        assert_eq!(decided.apply(&Entry::Release { mark: mark((1, 1)) }), Effect::Changed);
        assert_eq!(decided.apply(&renew((1, 2), 99)), Effect::None);
    }

    #[test]
    fn other_groups_the_banned_and_nobody_while_paused_are_promoted_by_themselves() {
        let mut decided = cluster();
        assert_eq!(decided.apply(&promote(3, (1, 0), Cause::Failover)), Effect::None);
        decided.apply(&Entry::Ban { node: NodeId(2), banned: true });
        assert_eq!(decided.apply(&promote(2, (1, 0), Cause::Failover)), Effect::None);
        decided.apply(&Entry::Ban { node: NodeId(2), banned: false });
        decided.apply(&Entry::Pause { paused: true });
        assert_eq!(decided.apply(&promote(2, (1, 0), Cause::Failover)), Effect::None);
        assert_eq!(decided.apply(&promote(3, (1, 0), Cause::Operator)), Effect::Promoted, "an operator may");
        let local: Vec<NodeId> = decided.candidates().map(|(node, _)| node).collect();
        assert_eq!(local, [NodeId(3)], "its group is the local one now");
    }

    #[test]
    fn a_primary_that_hands_over_says_what_it_has_used() {
        let mut decided = cluster();
        decided.apply(&renew((1, 1), 10));
        let used = Some(Ceilings { tid: Tid::new(7), oid: Oid::new(8) });
        let (node, cause) = (NodeId(2), Cause::Switchover);
        let hand_over = |seq| Entry::Promote { node, after: mark((1, seq)), cause, used };
        assert_eq!(decided.apply(&hand_over(0)), Effect::None, "it went on meanwhile");
        assert_eq!(decided.apply(&hand_over(1)), Effect::Promoted);
        assert_eq!(decided.ceilings(), Ceilings { tid: Tid::new(7), oid: Oid::new(20) });
    }

    #[test]
    fn a_node_that_was_removed_does_not_come_back_and_the_primary_is_not_removed() {
        let mut decided = cluster();
        assert_eq!(decided.apply(&Entry::Leave { node: NodeId(1) }), Effect::None, "it is the primary");
        assert_eq!(decided.apply(&Entry::Leave { node: NodeId(2) }), Effect::Changed);
        let again = Entry::Join { node: NodeId(2), member: member("n2", "here") };
        assert_eq!(decided.apply(&again), Effect::None);
        assert_eq!(decided.apply(&promote(2, (1, 0), Cause::Operator)), Effect::None);
    }

    #[test]
    fn a_node_takes_the_place_of_the_one_with_its_name() {
        let mut decided = cluster();
        decided.apply(&Entry::Join { node: NodeId(9), member: member("n1", "here") });
        assert!(!decided.members().contains_key(&NodeId(1)));
        assert_eq!(
            decided.apply(&promote(1, (1, 0), Cause::Operator)),
            Effect::None,
            "it is not there any more"
        );
    }
}
