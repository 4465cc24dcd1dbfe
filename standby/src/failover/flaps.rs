//! Nodes that come and go, as one node counts them on its own clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::decided::Decided;
use super::entry::{Entry, NodeId};
use super::settings::{Setting, all};

/// What is noticed within this part of the window is one going: a crash of the primary is noticed by the promotion of another, by
/// gossip, and once more when the node starts itself anew to take back what was lost.
const SAME: u32 = 20;
/// Of one node, so many are counted at most.
const GOINGS_MAX: usize = 100;

/// When a node is held for one that comes and goes, and for how long it is banned then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapRules {
    /// So often; 0: never.
    pub limit: u64,
    /// Within so long.
    pub window: Duration,
    /// For so long.
    pub ban: Duration,
}

impl FlapRules {
    /// Those that were decided.
    pub fn of(decided: &Decided) -> Self {
        let settings = decided.settings();
        let defaults = all();
        let default = |setting: Setting| {
            defaults
                .iter()
                .find(|definition| definition.setting == setting)
                .map(|found| found.default.clone())
        };
        let time = |setting| match settings.get(setting).cloned().or_else(|| default(setting)) {
            Some(super::settings::Value::Time(time)) => time,
            _ => Duration::ZERO,
        };
        let limit = match settings.get(Setting::FlapLimit).cloned().or_else(|| default(Setting::FlapLimit)) {
            Some(super::settings::Value::Count(count)) => count,
            _ => 0,
        };
        Self { limit, window: time(Setting::FlapWindow), ban: time(Setting::FlapBan) }
    }
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Flaps {
    goings: BTreeMap<NodeId, VecDeque<Duration>>,
    /// The bans that are known, and since when.
    bans: BTreeMap<u64, (NodeId, Duration)>,
    not_before: Duration,
}

impl Flaps {
    /// A node has gone, or was started anew.
    pub fn note(&mut self, node: NodeId, now: Duration) {
        let goings = self.goings.entry(node).or_default();
        goings.push_back(now);
        if goings.len() > GOINGS_MAX {
            goings.pop_front();
        }
    }

    /// Takes over which bans there are. What led to one, or came before it was lifted, does not count again.
    pub fn follow(&mut self, decided: &Decided, now: Duration) {
        let current = decided.suspended();
        let ended: Vec<u64> =
            self.bans.keys().copied().filter(|ban| !current.values().any(|at| at == ban)).collect();
        for ban in ended {
            if let Some((node, _)) = self.bans.remove(&ban) {
                self.goings.remove(&node);
            }
        }
        for (node, ban) in current {
            if !self.bans.contains_key(ban) {
                self.bans.insert(*ban, (*node, now));
                self.goings.remove(node);
            }
        }
        self.goings.retain(|node, _| decided.members().contains_key(node));
    }

    /// What should be decided by now, again and again at this distance.
    pub fn wanted(
        &mut self,
        decided: &Decided,
        may_lift: bool,
        now: Duration,
        retry: Duration,
    ) -> Vec<Entry> {
        if now < self.not_before {
            return Vec::new();
        }
        let rules = FlapRules::of(decided);
        let mut wanted = Vec::new();
        for (node, goings) in &self.goings {
            let lately = goings.iter().copied().filter(|at| now.saturating_sub(*at) <= rules.window);
            let times = apart(lately, rules.window / SAME);
            if rules.limit > 0 && times >= rules.limit && decided.may_be_suspended(*node) {
                wanted.push(Entry::Suspend { node: *node, times });
            }
        }
        for (ban, (node, since)) in &self.bans {
            if may_lift && now.saturating_sub(*since) >= rules.ban {
                wanted.push(Entry::Lift { node: *node, ban: *ban });
            }
        }
        if !wanted.is_empty() {
            self.not_before = now + retry;
        }
        wanted
    }
}

/// How many there are, where one that comes within so long after one that counts does not.
fn apart(times: impl Iterator<Item = Duration>, same: Duration) -> u64 {
    let mut last = None;
    let counts = times.filter(|at| {
        let counts = last.is_none_or(|last| at.saturating_sub(last) >= same);
        if counts {
            last = Some(*at);
        }
        counts
    });
    counts.count() as u64
}

#[cfg(test)]
mod tests {
    use super::super::entry::Member;
    use super::super::settings::Change;
    use super::*;

    const RETRY: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn decided(nodes: u64) -> Decided {
        let mut decided = Decided::default();
        for node in 1..=nodes {
            let (name, group) = (format!("n{node}"), "here".to_owned());
            let member = Member { name, group, electable: true, voter: true, priority: 0 };
            decided.apply(&Entry::Join { node: NodeId(node), member });
        }
        decided
    }

    #[test]
    fn a_node_that_goes_three_times_within_ten_minutes_is_banned_for_ten() {
        let (mut decided, mut flaps) = (decided(3), Flaps::default());
        for time in [0, 1, 700, 800] {
            flaps.note(NodeId(2), at(time));
        }
        assert_eq!(flaps.wanted(&decided, true, at(801), RETRY), []);
        flaps.note(NodeId(2), at(900));
        let suspend = Entry::Suspend { node: NodeId(2), times: 3 };
        assert_eq!(flaps.wanted(&decided, true, at(901), RETRY).as_slice(), std::slice::from_ref(&suspend));
        assert_eq!(flaps.wanted(&decided, true, at(901), RETRY), [], "that takes a moment");
        decided.apply(&suspend);
        flaps.follow(&decided, at(902));
        assert_eq!(flaps.wanted(&decided, true, at(1501), RETRY), []);
        assert_eq!(flaps.wanted(&decided, false, at(1503), RETRY), [], "others do that");
        let lift = Entry::Lift { node: NodeId(2), ban: 1 };
        assert_eq!(flaps.wanted(&decided, true, at(1503), RETRY).as_slice(), std::slice::from_ref(&lift));
        flaps.note(NodeId(2), at(1503));
        decided.apply(&lift);
        flaps.follow(&decided, at(1504));
        assert_eq!(
            flaps.wanted(&decided, true, at(1600), RETRY),
            [],
            "what came before does not count again"
        );
    }

    #[test]
    fn what_is_noticed_of_one_crash_counts_once() {
        let (decided, mut flaps) = (decided(3), Flaps::default());
        for time in [100, 103, 110, 129, 300, 302] {
            flaps.note(NodeId(2), at(time));
        }
        assert_eq!(flaps.wanted(&decided, true, at(303), RETRY), []);
        flaps.note(NodeId(2), at(400));
        assert_eq!(
            flaps.wanted(&decided, true, at(401), RETRY),
            [Entry::Suspend { node: NodeId(2), times: 3 }]
        );
    }

    #[test]
    fn the_rules_are_those_that_were_decided() {
        let (mut decided, mut flaps) = (decided(3), Flaps::default());
        (0..5).for_each(|time| flaps.note(NodeId(2), at(time * 60)));
        let set = |decided: &mut Decided, name: &str, value: &str| {
            let change = Change { name: name.to_owned(), value: Some(value.to_owned()) };
            decided.apply(&Entry::Set { changes: vec![change] });
        };
        set(&mut decided, "flap_limit", "0");
        assert_eq!(flaps.wanted(&decided, true, at(241), RETRY), []);
        set(&mut decided, "flap_limit", "5");
        assert_eq!(
            flaps.wanted(&decided, true, at(241), RETRY),
            [Entry::Suspend { node: NodeId(2), times: 5 }]
        );
        set(&mut decided, "flap_window", "2s");
        assert_eq!(flaps.wanted(&decided, true, at(245), RETRY), []);
    }

    #[test]
    fn the_last_that_could_be_promoted_is_not_banned() {
        let (decided, mut flaps) = (decided(1), Flaps::default());
        (0..5).for_each(|time| flaps.note(NodeId(1), at(time * 60)));
        assert_eq!(flaps.wanted(&decided, true, at(241), RETRY), []);
    }
}
