//! A primary hands over: what is in the way, and waiting until the other has everything.

use std::time::Duration;

use super::peers::Copies;
use crate::failover::decided::Decided;
use crate::failover::entry::{Ceilings, NodeId};
use crate::service::recess::Recess;
use crate::world::Instant;

/// How often it is looked at whether the other has everything.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// When what is missing has not changed for so long, it is given up: clients wait, and no longer than for a failover.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// What speaks against handing over to a node now, as an operator reads it. Empty: nothing.
pub(super) fn objections(decided: &Decided, me: NodeId, to: NodeId, copies: &Copies) -> Vec<String> {
    let mut found = of_the_cluster(decided, me, to);
    let Some(name) = decided.members().get(&to).map(|member| &member.name) else { return found };
    if to == me {
        return found;
    }
    for copy in copies.values() {
        let followers = copy.followers().list();
        let follower = followers.iter().find(|follower| follower.peer.node == *name);
        let storage = copy.name();
        match follower {
            None => found.push(format!("{name} does not follow storage {storage}")),
            Some(follower) if !follower.reached.flowing => {
                found.push(format!("{name} still compares what it has of storage {storage}"));
            }
            Some(_) => {}
        }
        if let Some(acks) = copy.service().acknowledgements()
            && acks.present < acks.needed
        {
            found.push(format!(
                "storage {storage}: {} of {} replicas that must acknowledge are there",
                acks.present, acks.needed
            ));
        }
    }
    found
}

/// The node to hand over to, where the operator names none: one with nothing in the way, by priority, then by name.
pub(super) fn best_successor(decided: &Decided, me: NodeId, copies: &Copies) -> Option<NodeId> {
    let candidates = decided.candidates().filter(|(node, _)| *node != me);
    let fit = candidates.filter(|(node, _)| objections(decided, me, *node, copies).is_empty());
    let best = fit.min_by_key(|(_, member)| (std::cmp::Reverse(member.priority), &member.name));
    best.map(|(node, _)| node)
}

/// What the decided log says against it.
fn of_the_cluster(decided: &Decided, me: NodeId, to: NodeId) -> Vec<String> {
    let mut found = Vec::new();
    let primary = decided.reign().map(|reign| reign.primary);
    if primary != Some(me) {
        found.push("this node is not the primary".to_owned());
    }
    match decided.members().get(&to) {
        None => found.push("it does not belong to the cluster".to_owned()),
        Some(member) if to == me => found.push(format!("{} is the primary", member.name)),
        Some(member) if !member.electable => found.push(format!("{} is not electable", member.name)),
        Some(member) if decided.is_disabled(to) => found.push(format!("{} is disabled", member.name)),
        Some(member) if decided.is_banned(to) => found.push(format!("{} is banned", member.name)),
        Some(_) => {}
    }
    found
}

/// Waits until nothing is being committed and a node has everything. Says what was used; or, after the limit or when it
/// comes no closer, what was missing.
pub(super) async fn drained(
    copies: &Copies,
    recesses: &[Recess],
    name: &str,
    used: impl Fn() -> Ceilings,
    within: Duration,
) -> Result<Ceilings, String> {
    let until = Instant::now() + within;
    let (mut before, mut since) = (None, Instant::now());
    loop {
        let Some(missing) = missing(copies, recesses, name) else { return Ok(used()) };
        let now = Instant::now();
        if before.as_ref() != Some(&missing) {
            (before, since) = (Some(missing.clone()), now);
        }
        if now >= until || now >= since + STALLED_AFTER {
            return Err(missing);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn missing(copies: &Copies, recesses: &[Recess], name: &str) -> Option<String> {
    if !recesses.iter().all(Recess::is_quiet) {
        return Some("a client has voted, and has not finished its transaction".to_owned());
    }
    copies.values().find_map(|copy| {
        let last = copy.service().storage().last_tid();
        let followers = copy.followers().list();
        let reached = followers.iter().filter(|follower| follower.peer.node == name);
        match reached
            .map(|follower| follower.reached)
            .filter(|reached| reached.flowing)
            .max_by_key(|r| r.durable)
        {
            None => Some(format!("{name} does not follow storage {} any more", copy.name())),
            Some(reached) if reached.durable < last => {
                Some(format!("{name} has storage {} up to {}, not {last}", copy.name(), reached.durable))
            }
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::entry::{Cause, Entry, LeaseMark, Member};

    #[test]
    fn only_a_primary_hands_over_and_only_to_an_electable_member_that_is_not_banned() {
        let mut decided = Decided::default();
        for (number, electable) in [(1, true), (2, true), (3, false)] {
            let (name, group) = (format!("n{number}"), "here".to_owned());
            let member = Member { name, group, electable, voter: true, priority: 0 };
            decided.apply(&Entry::Join { node: NodeId(number), member });
        }
        let (node, after) = (NodeId(1), LeaseMark::default());
        decided.apply(&Entry::Promote { node, after, cause: Cause::Operator, used: None });
        let told = |me: u64, to: u64| of_the_cluster(&decided, NodeId(me), NodeId(to)).join(", ");
        assert_eq!(told(1, 2), "");
        assert_eq!(told(1, 1), "n1 is the primary");
        assert_eq!(told(1, 3), "n3 is not electable");
        assert_eq!(told(1, 9), "it does not belong to the cluster");
        assert_eq!(told(2, 1), "this node is not the primary");
        let mut banned = decided.clone();
        banned.apply(&Entry::Ban { node: NodeId(2), banned: true });
        assert_eq!(of_the_cluster(&banned, NodeId(1), NodeId(2)), ["n2 is banned"]);
    }
}
