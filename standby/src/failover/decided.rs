//! What the decided entries amount to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entry::{Acknowledged, Cause, Ceilings, Entry, LeaseMark, Member, NodeId};
use super::promise::Promise;
use super::settings::Settings;

/// So many earlier starts of a primary are remembered: what they proposed was decided or lost long ago.
const PAST_MAX: usize = 100;

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
    /// Nodes that come and go, and the numbers of their bans.
    suspended: BTreeMap<NodeId, u64>,
    bans: u64,
    disabled: BTreeSet<NodeId>,
    /// Nodes that were removed: they never come back under their numbers.
    gone: BTreeSet<NodeId>,
    settings: Settings,
    promise: Promise,
    roll: u64,
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
    /// How long that lease is, and no earlier one ends later; `None`: whoever waits for its end takes its own word.
    pub lease: Option<Duration>,
    /// Which start of the primary proposed it.
    pub start: u64,
    /// Starts of it before that one. What they have proposed has no effect any more: a lease of theirs that is decided late may be
    /// shorter than the one that is held, and whoever waits for its end would not wait long enough.
    pub past: Vec<u64>,
    /// So many replicas have what is answered while it is the last one.
    pub acks: usize,
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
            decided.reign.as_ref().map(|reign| Reign { seq: 0, lease: None, start: 0, ..reign.clone() })
        };
        reign(self) == reign(other)
            && self.members == other.members
            && self.paused == other.paused
            && self.settings == other.settings
            && (&self.banned, &self.suspended, &self.disabled)
                == (&other.banned, &other.suspended, &other.disabled)
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

    /// It does not count.
    pub fn is_disabled(&self, node: NodeId) -> bool {
        self.disabled.contains(&node)
    }

    /// Nodes that come and go, with the numbers of their bans: they are promoted only where no other can be.
    pub fn suspended(&self) -> &BTreeMap<NodeId, u64> {
        &self.suspended
    }

    /// Whether a node may be banned for coming and going: another candidate must be left.
    pub fn may_be_suspended(&self, node: NodeId) -> bool {
        let is_left = |node: &NodeId| !self.suspended.contains_key(node);
        let mut left = self.candidates().map(|(node, _)| node).filter(is_left);
        let of_them: Vec<NodeId> = left.by_ref().collect();
        of_them.contains(&node) && of_them.len() > 1
    }

    /// What was set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where everything is that was acknowledged.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Changes whenever other nodes count for acknowledgements.
    pub fn roll(&self) -> u64 {
        self.roll
    }

    /// Those whose acknowledgements count: electable members of the primary's group that are not disabled. All groups, before the
    /// first primary.
    pub fn locals(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        let all = self.members.iter().map(|(node, member)| (*node, member));
        all.filter(|(node, member)| self.is_local(*node, member))
    }

    fn is_local(&self, node: NodeId, member: &Member) -> bool {
        let is_in_group = self.reign.as_ref().is_none_or(|reign| reign.group == member.group);
        member.electable && is_in_group && !self.disabled.contains(&node)
    }

    /// Those that may be promoted without an operator: of those that count, all that no operator has banned.
    pub fn candidates(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.locals().filter(|(node, _)| !self.banned.contains(node))
    }

    /// Those that must be asked before one is promoted: what they have counts.
    pub fn asked(&self) -> BTreeSet<NodeId> {
        let locals = self.locals().map(|(node, _)| node);
        let promised = self.promise.among().iter().copied();
        locals.chain(promised.filter(|node| self.members.contains_key(node))).collect()
    }

    /// Takes in the next entry.
    pub fn apply(&mut self, entry: &Entry) -> Effect {
        let took_effect = match entry {
            Entry::Promote { node, after, cause, used } => {
                return self.promote(*node, *after, *cause, *used);
            }
            Entry::Renew { mark, start, lease, ceilings, acks } => {
                return self.renew(*mark, *start, *lease, *ceilings, *acks);
            }
            Entry::Join { node, .. } if self.is_gone(*node) => false,
            Entry::Join { node, member } => self.join(*node, member),
            Entry::Leave { node } if self.is_primary(*node) => false,
            Entry::Leave { node } => {
                self.gone.insert(*node);
                self.drop_member(*node)
            }
            Entry::Began { epoch } => match &mut self.reign {
                Some(reign) if reign.epoch == *epoch => !std::mem::replace(&mut reign.began, true),
                _ => false,
            },
            Entry::Release { mark, start } => {
                let is_last = *mark == self.mark();
                match &mut self.reign {
                    Some(reign) if is_last && (reign.start == *start || reign.seq == 0) => {
                        !std::mem::replace(&mut reign.released, true)
                    }
                    _ => false,
                }
            }
            Entry::Create { epoch, ceilings } if self.reign.is_none() => {
                (self.before, self.ceilings) = (*epoch, *ceilings);
                true
            }
            Entry::Create { .. } => false,
            Entry::Pause { paused } => std::mem::replace(&mut self.paused, *paused) != *paused,
            Entry::Ban { node, banned: true } => self.banned.insert(*node),
            Entry::Ban { node, banned: false } => {
                let was_suspended = self.suspended.remove(node).is_some();
                self.banned.remove(node) || was_suspended
            }
            Entry::Suspend { node, .. } if !self.may_be_suspended(*node) => false,
            Entry::Suspend { node, .. } => {
                self.bans += 1;
                self.suspended.insert(*node, self.bans).is_none()
            }
            Entry::Lift { node, ban } => {
                self.suspended.get(node) == Some(ban) && self.suspended.remove(node).is_some()
            }
            Entry::Disable { node, disabled: true } if self.is_primary(*node) => false,
            Entry::Disable { node, disabled } => self.disable(*node, *disabled),
            Entry::Set { changes } => self.settings.change(changes).unwrap_or(false),
            Entry::Lost { .. } => true, // it is history
        };
        if took_effect { Effect::Changed } else { Effect::None }
    }

    fn is_primary(&self, node: NodeId) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.primary == node)
    }

    fn join(&mut self, node: NodeId, member: &Member) -> bool {
        let others =
            self.members.iter().filter(|(known, other)| **known != node && other.name == member.name);
        for other in others.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.drop_member(other);
        }
        let is_news = self.members.insert(node, member.clone()).as_ref() != Some(member);
        if is_news {
            self.roll += 1;
            if self.is_local(node, member) {
                self.promise.add(node);
            }
        }
        is_news
    }

    /// What only it has of what was promised goes on to count, until the primary knows better.
    fn drop_member(&mut self, node: NodeId) -> bool {
        self.banned.remove(&node);
        self.suspended.remove(&node);
        self.disabled.remove(&node);
        self.roll += 1;
        self.members.remove(&node).is_some()
    }

    fn disable(&mut self, node: NodeId, disabled: bool) -> bool {
        let Some(member) = self.members.get(&node).cloned() else { return false };
        let is_news = if disabled { self.disabled.insert(node) } else { self.disabled.remove(&node) };
        if is_news {
            self.roll += 1;
            if self.is_local(node, &member) {
                self.promise.add(node);
            }
        }
        is_news
    }

    fn promote(&mut self, node: NodeId, after: LeaseMark, cause: Cause, used: Option<Ceilings>) -> Effect {
        let Some(member) = self.members.get(&node) else { return Effect::None };
        let may = match cause {
            Cause::Failover => !self.paused && self.is_local(node, member) && !self.banned.contains(&node),
            Cause::Operator | Cause::Switchover => member.electable && !self.is_disabled(node),
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
        let stays = self.reign.as_ref().is_some_and(|reign| reign.group == member.group);
        self.reign = Some(Reign {
            epoch: self.mark().epoch + 1,
            primary: node,
            group: member.group.clone(),
            seq: 0,
            lease: None,
            start: 0,
            past: Vec::new(),
            acks: 0,
            began: false,
            released: false,
        });
        if !stays {
            // What was promised in another group is not promised in this one.
            let locals = self.locals().map(|(node, _)| node).collect();
            self.promise.begin_anew(locals);
        }
        Effect::Promoted
    }

    fn renew(
        &mut self,
        mark: LeaseMark,
        start: u64,
        lease: Duration,
        ceilings: Ceilings,
        acks: Acknowledged,
    ) -> Effect {
        match &mut self.reign {
            Some(reign) if reign.epoch == mark.epoch && reign.past.contains(&start) => Effect::None,
            Some(reign) if reign.epoch == mark.epoch && mark.seq > reign.seq && !reign.released => {
                if reign.start != start && reign.seq > 0 {
                    reign.past.push(reign.start);
                    let too_many = reign.past.len().saturating_sub(PAST_MAX);
                    reign.past.drain(..too_many);
                }
                (reign.seq, reign.lease, reign.acks) = (mark.seq, Some(lease), acks.needed);
                // One that was proposed before a restart does not know what was answered since.
                let goes_on = std::mem::replace(&mut reign.start, start) == start;
                let is_everywhere = goes_on && acks.everywhere == Some(self.roll);
                let locals: Vec<NodeId> = self.locals().map(|(node, _)| node).collect();
                self.promise.renew(acks, is_everywhere, locals.into_iter());
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
    use super::super::settings::Change;
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
        let (lease, acks) = (Duration::from_secs(1), Acknowledged::default());
        Entry::Renew { mark: mark(lease_mark), start: 0, lease, ceilings, acks }
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
            Entry::Suspend { node: NodeId(2), times: 3 },
            Entry::Disable { node: NodeId(2), disabled: true },
            Entry::Set { changes: vec![Change { name: "acks".into(), value: Some("1".into()) }] },
            Entry::Began { epoch: 1 },
            Entry::Release { mark: mark((1, 0)), start: 0 },
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
    fn what_an_earlier_start_of_the_primary_proposed_has_no_effect_any_more() {
        let mut decided = cluster();
        let renew_by = |start, seq| match renew((1, seq), 10) {
            Entry::Renew { mark, lease, ceilings, acks, .. } => {
                Entry::Renew { mark, start, lease, ceilings, acks }
            }
            other => other,
        };
        assert_eq!(decided.apply(&renew_by(7, 1)), Effect::Renewed);
        assert_eq!(decided.apply(&renew_by(8, 2)), Effect::Renewed, "it was started anew");
        assert_eq!(decided.apply(&renew_by(7, 9)), Effect::None, "its next number would be free");
        let release = |start| Entry::Release { mark: mark((1, 2)), start };
        assert_eq!(decided.apply(&release(7)), Effect::None, "it speaks of another lease of that number");
        assert_eq!(decided.apply(&renew_by(8, 3)), Effect::Renewed);
        assert_eq!(decided.apply(&Entry::Release { mark: mark((1, 3)), start: 8 }), Effect::Changed);
    }

    #[test]
    fn a_lease_that_was_given_back_is_over() {
        let mut decided = cluster();
        decided.apply(&renew((1, 1), 10));
        assert_eq!(
            decided.apply(&Entry::Release { mark: mark((1, 0)), start: 0 }),
            Effect::None,
            "it went on meanwhile"
        );
        assert_eq!(decided.apply(&Entry::Release { mark: mark((1, 1)), start: 0 }), Effect::Changed);
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

    #[test]
    fn a_node_that_comes_and_goes_is_banned_unless_it_is_the_last_until_that_ban_is_lifted() {
        let mut decided = cluster();
        let suspend = |node| Entry::Suspend { node: NodeId(node), times: 3 };
        assert_eq!(decided.apply(&suspend(3)), Effect::None, "it is of another group");
        assert_eq!(decided.apply(&suspend(2)), Effect::Changed);
        assert_eq!(decided.apply(&suspend(2)), Effect::None, "it is already");
        assert_eq!(decided.apply(&suspend(1)), Effect::None, "it is the last");
        assert_eq!(decided.apply(&Entry::Lift { node: NodeId(2), ban: 7 }), Effect::None, "another ban");
        assert_eq!(decided.apply(&Entry::Lift { node: NodeId(2), ban: 1 }), Effect::Changed);
        assert_eq!(decided.apply(&suspend(1)), Effect::Changed);
        assert_eq!(decided.suspended(), &BTreeMap::from([(NodeId(1), 2)]));
        assert_eq!(
            decided.apply(&Entry::Ban { node: NodeId(1), banned: false }),
            Effect::Changed,
            "an operator may"
        );
        assert!(decided.suspended().is_empty());
    }

    #[test]
    fn a_disabled_node_is_not_promoted_whoever_wants_it_and_the_primary_is_not_disabled() {
        let mut decided = cluster();
        let disable = |node, disabled| Entry::Disable { node: NodeId(node), disabled };
        assert_eq!(decided.apply(&disable(1, true)), Effect::None);
        assert_eq!(decided.apply(&disable(9, true)), Effect::None);
        assert_eq!(decided.apply(&disable(2, true)), Effect::Changed);
        for cause in [Cause::Failover, Cause::Operator, Cause::Switchover] {
            assert_eq!(decided.apply(&promote(2, (1, 0), cause)), Effect::None, "{cause:?}");
        }
        assert_eq!(decided.apply(&disable(2, false)), Effect::Changed);
        assert_eq!(decided.apply(&promote(2, (1, 0), Cause::Failover)), Effect::Promoted);
    }

    #[test]
    fn a_node_that_is_taken_out_counts_until_the_primary_has_seen_everything_elsewhere() {
        let mut decided = Decided::default();
        for node in 1..=3 {
            decided.apply(&Entry::Join { node: NodeId(node), member: member(&format!("n{node}"), "here") });
        }
        decided.apply(&promote(1, (0, 0), Cause::Operator));
        let renew = |decided: &mut Decided, seq, start, needed, everywhere| {
            let (mark, acks) = (mark((1, seq)), Acknowledged { needed, everywhere });
            let (lease, ceilings) = (Duration::from_secs(1), Ceilings::default());
            assert_eq!(decided.apply(&Entry::Renew { mark, start, lease, ceilings, acks }), Effect::Renewed);
            (decided.promise().needed(), decided.promise().among().len())
        };
        assert_eq!(renew(&mut decided, 1, 7, 1, None), (1, 3));
        decided.apply(&Entry::Disable { node: NodeId(3), disabled: true });
        let roll = decided.roll();
        assert_eq!(renew(&mut decided, 2, 7, 1, Some(roll - 1)), (1, 3), "it did not know of it yet");
        assert_eq!(renew(&mut decided, 3, 8, 1, Some(roll)), (1, 3), "it was started anew meanwhile");
        assert_eq!(renew(&mut decided, 4, 8, 1, Some(roll)), (1, 2));
        decided.apply(&Entry::Disable { node: NodeId(3), disabled: false });
        assert_eq!(decided.promise().among().len(), 3, "from now on it may have what others do not");
    }

    #[test]
    fn settings_that_mean_nothing_change_nothing() {
        let mut decided = cluster();
        let set = |name: &str, value: &str| {
            let change = Change { name: name.into(), value: Some(value.into()) };
            Entry::Set { changes: vec![change] }
        };
        assert_eq!(decided.apply(&set("lease", "2s")), Effect::Changed);
        assert_eq!(decided.apply(&set("lease", "2h")), Effect::None);
        assert_eq!(decided.apply(&set("of another version", "2h")), Effect::None);
        assert_eq!(
            decided.settings().time(super::super::settings::Setting::Lease),
            Some(Duration::from_secs(2))
        );
    }
}
