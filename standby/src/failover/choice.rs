//! Which replica is promoted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeo_proto::Tid;

use super::decided::Decided;
use super::entry::NodeId;
use super::settings::Setting;
use crate::span;

/// How far a node is, as it says itself after the lease has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It has a whole copy. What others have cannot be promoted or relied upon.
    pub ready: bool,
    /// Its wall clock is far from the other nodes': it is not promoted, since tids are timestamps. What it has counts.
    #[serde(default)]
    pub clock_off: bool,
    /// Its disk has failed: it takes nothing any more, and is not promoted. What it has counts.
    #[serde(default)]
    pub disk_failed: bool,
    /// The epoch that wrote its end.
    pub epoch: u64,
    /// Its last transactions, storage by storage, in the order of their names.
    #[serde(with = "numbers")]
    pub lasts: Vec<Tid>,
    /// The last transactions that it knows others to have, in the same order. Where nothing is known: none.
    #[serde(default, with = "numbers")]
    pub known: Vec<Tid>,
}

impl Standing {
    /// It could be the primary.
    fn is_fit(&self) -> bool {
        self.ready && !self.clock_off && !self.disk_failed
    }
}

/// Tids as numbers.
mod numbers {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeo_proto::Tid;

    pub(super) fn serialize<S: Serializer>(tids: &[Tid], serializer: S) -> Result<S::Ok, S::Error> {
        tids.iter().map(|tid| tid.get()).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tid>, D::Error> {
        Ok(Vec::<u64>::deserialize(deserializer)?.into_iter().map(Tid::new).collect())
    }
}

/// Why nobody is promoted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// None of those that answered may be.
    NoCandidate,
    /// Transactions that were acknowledged may be on nodes that did not answer.
    TooFewHeard {
        /// Replicas that answered.
        heard: usize,
        /// How many must.
        needed: usize,
    },
    /// Each of those that answered lacks something that another has.
    NoneHasEverything,
    /// The best of them is known to lack more than `max_lag_on_failover` allows.
    TooFarBehind {
        /// So much later was what it lacks committed.
        lacks: Duration,
        /// So much is allowed.
        limit: Duration,
    },
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCandidate => f.write_str("none of the nodes that answer may be promoted"),
            Self::TooFewHeard { heard, needed } => write!(
                f,
                "{heard} of the nodes that acknowledge answer, and {needed} must, so that nothing that was acknowledged is lost"
            ),
            Self::NoneHasEverything => {
                f.write_str("each of the nodes that could be promoted lacks transactions that another has")
            }
            Self::TooFarBehind { lacks, limit } => write!(
                f,
                "the best of the nodes that answer is known to lack {:.1} s of commits, and max_lag_on_failover is {}",
                lacks.as_secs_f64(),
                span::shown(*limit)
            ),
        }
    }
}

/// The node to promote. With acknowledgements asked for, only one that surely has every acknowledged transaction.
pub fn choose(decided: &Decided, answers: &BTreeMap<NodeId, Standing>) -> Result<NodeId, Nobody> {
    let primary = decided.reign().map(|reign| reign.primary);
    let is_known = |node: &NodeId| answers.get(node).is_some_and(|standing| standing.ready);
    let promise = decided.promise();
    let is_promised = promise.needed() > 0;
    #[cfg(test)]
    let is_promised = is_promised && decided.broken != super::simulation::Broken::Heard;
    if is_promised && !primary.is_some_and(|primary| is_known(&primary)) {
        // Each acknowledged transaction is on so many of them: on one of these at least.
        let replicas = promise.among().iter().filter(|node| Some(**node) != primary);
        let heard = replicas.filter(|node| is_known(node)).count();
        let needed = promise.must_answer(primary);
        if heard < needed {
            return Err(Nobody::TooFewHeard { heard, needed });
        }
    }
    let calm = |node: &NodeId| !decided.suspended().contains_key(node);
    match best_of(decided, answers, is_promised, calm) {
        // One that comes and goes is better than none.
        Err(_) if !decided.suspended().is_empty() => best_of(decided, answers, is_promised, |_| true),
        chosen => chosen,
    }
}

/// Of the candidates that may be, the one with the most history, if that is enough.
fn best_of(
    decided: &Decided,
    answers: &BTreeMap<NodeId, Standing>,
    is_promised: bool,
    may_be: impl Fn(&NodeId) -> bool,
) -> Result<NodeId, Nobody> {
    let candidates = decided.candidates().filter(|(node, _)| may_be(node)).filter_map(|(node, member)| {
        let standing = answers.get(&node).filter(|standing| standing.is_fit())?;
        Some((node, member, standing))
    });
    // Of names, the first.
    let best = candidates.max_by(|(_, member, standing), (_, other_member, other)| {
        (standing.epoch, &standing.lasts, member.priority)
            .cmp(&(other.epoch, &other.lasts, other_member.priority))
            .then_with(|| other_member.name.cmp(&member.name))
    });
    let (node, _, best) = best.ok_or(Nobody::NoCandidate)?;
    let has_all_of = |other: &Standing| {
        let further = best.lasts.iter().zip(&other.lasts).all(|(best, other)| best >= other);
        best.epoch > other.epoch || (best.epoch == other.epoch && further)
    };
    if is_promised && !answers.values().all(has_all_of) {
        return Err(Nobody::NoneHasEverything);
    }
    let lacks = answers.values().map(|standing| lacks(best, standing)).max().unwrap_or_default();
    let limit = decided.settings().time(Setting::MaxLagOnFailover);
    #[cfg(test)]
    let limit = limit.filter(|_| decided.broken != super::simulation::Broken::Lag);
    match limit {
        Some(limit) if lacks > limit => Err(Nobody::TooFarBehind { lacks, limit }),
        _ => Ok(node),
    }
}

/// So much later than the last transaction of one was the last committed that another has, or knows somebody to have.
pub fn lacks(one: &Standing, other: &Standing) -> Duration {
    let lacks = |(one, other): (&Tid, &Tid)| {
        let seconds = other.unix_seconds() - one.unix_seconds();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    };
    let others = other.lasts.iter().chain(&other.known);
    one.lasts
        .iter()
        .cycle()
        .take(other.lasts.len() + other.known.len())
        .zip(others)
        .map(lacks)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Acknowledged, Cause, Ceilings, Entry, LeaseMark, Member};
    use super::super::settings::Change;
    use super::*;

    /// Node 1 is the primary; 2 to 4 are its replicas; 5 is of another group.
    fn decided(acks: usize) -> Decided {
        let mut decided = Decided::default();
        for node in 1..=5 {
            let group = if node == 5 { "there" } else { "here" }.to_owned();
            let priority = u64::from(node == 4);
            let member = Member { name: format!("n{node}"), group, electable: true, voter: true, priority };
            decided.apply(&Entry::Join { node: NodeId(node), member });
        }
        let (node, after) = (NodeId(1), LeaseMark::default());
        decided.apply(&Entry::Promote { node, after, cause: Cause::Operator, used: None });
        let (mark, acks) = (LeaseMark { epoch: 1, seq: 1 }, Acknowledged { needed: acks, everywhere: None });
        let (start, lease, ceilings) = (0, Duration::from_secs(1), Ceilings::default());
        decided.apply(&Entry::Renew { mark, start, lease, ceilings, acks });
        decided
    }

    fn answers(list: &[(u64, u64, u64)]) -> BTreeMap<NodeId, Standing> {
        let standing = |epoch, last| Standing {
            ready: true,
            clock_off: false,
            disk_failed: false,
            epoch,
            lasts: vec![Tid::new(last)],
            known: Vec::new(),
        };
        list.iter().map(|&(node, epoch, last)| (NodeId(node), standing(epoch, last))).collect()
    }

    #[test]
    fn the_one_with_the_most_history_is_chosen_then_by_priority_then_by_name() {
        let decided = decided(0);
        let chosen = |list: &[(u64, u64, u64)]| choose(&decided, &answers(list));
        assert_eq!(chosen(&[(2, 1, 9), (3, 1, 10), (4, 1, 9)]), Ok(NodeId(3)));
        assert_eq!(chosen(&[(2, 2, 5), (3, 1, 10)]), Ok(NodeId(2)), "a later epoch is more");
        assert_eq!(chosen(&[(2, 1, 9), (4, 1, 9)]), Ok(NodeId(4)), "it has priority");
        assert_eq!(chosen(&[(3, 1, 9), (2, 1, 9)]), Ok(NodeId(2)));
        assert_eq!(chosen(&[(5, 1, 99), (2, 1, 9)]), Ok(NodeId(2)), "never one of another group");
        assert_eq!(chosen(&[(5, 1, 99)]), Err(Nobody::NoCandidate));
        assert_eq!(chosen(&[(1, 1, 10), (2, 1, 9)]), Ok(NodeId(1)), "the primary itself, when it is back");
        let mut unready = answers(&[(2, 1, 9), (3, 1, 10)]);
        unready.get_mut(&NodeId(3)).expect("there").ready = false;
        assert_eq!(choose(&decided, &unready), Ok(NodeId(2)));
    }

    #[test]
    fn a_node_whose_clock_is_off_or_whose_disk_has_failed_is_not_promoted_and_what_it_has_counts() {
        let spoils: [fn(&mut Standing); 2] =
            [|standing| standing.clock_off = true, |standing| standing.disk_failed = true];
        for spoil in spoils {
            let with_node_3_unfit = |list: &[(u64, u64, u64)]| {
                let mut answers = answers(list);
                spoil(answers.get_mut(&NodeId(3)).expect("there"));
                answers
            };
            let further = with_node_3_unfit(&[(2, 1, 9), (3, 1, 10), (4, 1, 8)]);
            assert_eq!(choose(&decided(0), &further), Ok(NodeId(2)));
            assert_eq!(choose(&decided(1), &further), Err(Nobody::NoneHasEverything));
            let level = with_node_3_unfit(&[(2, 1, 10), (3, 1, 10), (4, 1, 8)]);
            assert_eq!(
                choose(&decided(1), &level),
                Ok(NodeId(2)),
                "its answer is one of those that are needed"
            );
            assert_eq!(choose(&decided(0), &with_node_3_unfit(&[(3, 1, 9)])), Err(Nobody::NoCandidate));
        }
    }

    #[test]
    fn a_primary_whose_disk_has_failed_says_what_was_acknowledged() {
        let mut answers = answers(&[(1, 1, 10), (2, 1, 10)]);
        answers.get_mut(&NodeId(1)).expect("there").disk_failed = true;
        assert_eq!(choose(&decided(1), &answers), Ok(NodeId(2)), "it has all that the primary has");
        answers.get_mut(&NodeId(2)).expect("there").lasts = vec![Tid::new(9)];
        assert_eq!(choose(&decided(1), &answers), Err(Nobody::NoneHasEverything));
        assert_eq!(choose(&decided(0), &answers), Ok(NodeId(2)));
    }

    #[test]
    fn with_acknowledgements_enough_must_be_heard_to_be_sure() {
        let chosen = |acks, list: &[(u64, u64, u64)]| choose(&decided(acks), &answers(list));
        let too_few = |heard, needed| Err(Nobody::TooFewHeard { heard, needed });
        assert_eq!(chosen(1, &[(2, 1, 9), (3, 1, 10)]), too_few(2, 3));
        assert_eq!(chosen(1, &[(2, 1, 9), (3, 1, 10), (4, 1, 8)]), Ok(NodeId(3)));
        assert_eq!(chosen(2, &[(2, 1, 9), (3, 1, 10)]), Ok(NodeId(3)));
        assert_eq!(chosen(3, &[(2, 1, 9)]), Ok(NodeId(2)));
        assert_eq!(chosen(1, &[(1, 1, 10), (2, 1, 9)]), Ok(NodeId(1)), "the primary has them all");
    }

    #[test]
    fn with_acknowledgements_only_one_that_lacks_nothing_is_chosen() {
        let mut crossed = answers(&[(2, 1, 9), (3, 1, 10)]);
        crossed.get_mut(&NodeId(2)).expect("there").lasts.push(Tid::new(7));
        crossed.get_mut(&NodeId(3)).expect("there").lasts.push(Tid::new(6));
        assert_eq!(choose(&decided(2), &crossed), Err(Nobody::NoneHasEverything));
        assert_eq!(choose(&decided(0), &crossed), Ok(NodeId(3)));
    }

    #[test]
    fn one_that_an_operator_has_banned_is_not_chosen_and_what_it_has_counts() {
        let mut decided = decided(1);
        decided.apply(&Entry::Ban { node: NodeId(3), banned: true });
        let chosen = |list: &[(u64, u64, u64)]| choose(&decided, &answers(list));
        assert_eq!(chosen(&[(2, 1, 9), (4, 1, 9)]), Err(Nobody::TooFewHeard { heard: 2, needed: 3 }));
        assert_eq!(chosen(&[(2, 1, 9), (3, 1, 10), (4, 1, 9)]), Err(Nobody::NoneHasEverything));
        assert_eq!(chosen(&[(2, 1, 9), (3, 1, 9), (4, 1, 9)]), Ok(NodeId(4)));
    }

    #[test]
    fn one_that_comes_and_goes_is_chosen_where_no_other_can_be() {
        let mut decided = decided(0);
        decided.apply(&Entry::Suspend { node: NodeId(3), times: 3 });
        assert_eq!(choose(&decided, &answers(&[(2, 1, 9), (3, 1, 10)])), Ok(NodeId(2)));
        assert_eq!(choose(&decided, &answers(&[(3, 1, 10)])), Ok(NodeId(3)));
        let mut decided = self::decided(2);
        decided.apply(&Entry::Suspend { node: NodeId(3), times: 3 });
        assert_eq!(
            choose(&decided, &answers(&[(2, 1, 9), (3, 1, 10)])),
            Ok(NodeId(3)),
            "only it has everything"
        );
    }

    #[test]
    fn one_that_is_known_to_lack_more_than_is_allowed_is_not_chosen() {
        let tid = |seconds| Tid::from_time(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).get();
        let (early, late) = (tid(1_700_000_000), tid(1_700_000_012));
        let mut decided = decided(0);
        let behind = answers(&[(2, 1, early), (3, 1, early - 7)]);
        let mut heard = behind.clone();
        heard.get_mut(&NodeId(3)).expect("there").known = vec![Tid::new(late)];
        assert_eq!(choose(&decided, &heard), Ok(NodeId(2)), "it is off");
        let change = Change { name: "max_lag_on_failover".into(), value: Some("5s".into()) };
        decided.apply(&Entry::Set { changes: vec![change] });
        assert_eq!(choose(&decided, &behind), Ok(NodeId(2)), "nobody knows of more");
        let told = choose(&decided, &heard).expect_err("too far behind");
        assert_eq!(
            told.to_string(),
            "the best of the nodes that answer is known to lack 12.0 s of commits, and max_lag_on_failover is 5s"
        );
        heard.insert(NodeId(1), answers(&[(1, 1, late)])[&NodeId(1)].clone());
        assert_eq!(choose(&decided, &heard), Ok(NodeId(1)), "the primary is back");
    }
}
