//! Which replica is promoted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeo_proto::Tid;

use super::decided::Decided;
use super::entry::NodeId;

/// How far a node is, as it says itself after the lease has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It has a whole copy. What others have cannot be promoted or relied upon.
    pub ready: bool,
    /// Its wall clock is far from the other nodes': it is not promoted, since tids are timestamps. What it has counts.
    #[serde(default)]
    pub clock_off: bool,
    /// The epoch that wrote its end.
    pub epoch: u64,
    /// Its last transactions, storage by storage, in the order of their names.
    #[serde(with = "numbers")]
    pub lasts: Vec<Tid>,
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
}

/// The node to promote. With acknowledgements asked for, only one that surely has every acknowledged transaction.
pub fn choose(decided: &Decided, answers: &BTreeMap<NodeId, Standing>) -> Result<NodeId, Nobody> {
    let primary = decided.reign().map(|reign| reign.primary);
    let is_known = |node: &NodeId| answers.get(node).is_some_and(|standing| standing.ready);
    let replicas: Vec<NodeId> =
        decided.candidates().map(|(node, _)| node).filter(|node| Some(*node) != primary).collect();
    let acks = decided.acks();
    #[cfg(test)]
    let acks = if decided.broken == super::simulation::Broken::Heard { 0 } else { acks };
    if acks > 0 && !primary.is_some_and(|primary| is_known(&primary)) {
        // Each acknowledged transaction is on `acks` of the replicas: on one of these at least.
        let heard = replicas.iter().filter(|node| is_known(node)).count();
        let needed = (replicas.len() + 1).saturating_sub(acks).max(1);
        if heard < needed {
            return Err(Nobody::TooFewHeard { heard, needed });
        }
    }
    let candidates = decided.candidates().filter_map(|(node, member)| {
        let standing = answers.get(&node).filter(|standing| standing.ready && !standing.clock_off)?;
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
    if acks > 0 && !answers.values().all(has_all_of) {
        return Err(Nobody::NoneHasEverything);
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Cause, Entry, LeaseMark, Member};
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
        decided.apply(&Entry::Acknowledge { acks });
        let (node, after) = (NodeId(1), LeaseMark::default());
        decided.apply(&Entry::Promote { node, after, cause: Cause::Operator, used: None });
        decided
    }

    fn answers(list: &[(u64, u64, u64)]) -> BTreeMap<NodeId, Standing> {
        let standing =
            |epoch, last| Standing { ready: true, clock_off: false, epoch, lasts: vec![Tid::new(last)] };
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
    fn a_node_whose_clock_is_off_is_not_promoted_and_what_it_has_counts() {
        let with_node_3_off = |list: &[(u64, u64, u64)]| {
            let mut answers = answers(list);
            answers.get_mut(&NodeId(3)).expect("there").clock_off = true;
            answers
        };
        let further = with_node_3_off(&[(2, 1, 9), (3, 1, 10), (4, 1, 8)]);
        assert_eq!(choose(&decided(0), &further), Ok(NodeId(2)));
        assert_eq!(choose(&decided(1), &further), Err(Nobody::NoneHasEverything));
        let level = with_node_3_off(&[(2, 1, 10), (3, 1, 10), (4, 1, 8)]);
        assert_eq!(choose(&decided(1), &level), Ok(NodeId(2)), "its answer is one of those that are needed");
        assert_eq!(choose(&decided(0), &with_node_3_off(&[(3, 1, 9)])), Err(Nobody::NoCandidate));
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
}
