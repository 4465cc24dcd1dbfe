//! What becomes of the cluster when a node is lost.

use super::roster::{Presence, Roster};
use crate::failover::choice::Nobody;
use crate::failover::decided::Decided;
use crate::failover::settings::Setting;
use crate::membership::peer::State;
use crate::span;

/// Why no other node would take the primary's place by itself, or why nobody does; `None`: one may.
pub fn of(roster: &Roster<'_>, why_nobody: Option<Nobody>) -> Option<String> {
    let decided = no_failover(roster.decided).map(str::to_owned);
    decided
        .or_else(|| why_nobody.map(|why| format!("no automatic failover: {why}")))
        .or_else(|| all_lag(roster))
}

/// Of the replicas that are there, each is known to lack more than is allowed.
fn all_lag(roster: &Roster<'_>) -> Option<String> {
    let limit = roster.decided.settings().time(Setting::MaxLagOnFailover)?;
    let is_there = |presence| matches!(presence, Presence::Here | Presence::Seen(State::Alive));
    let is_candidate = |node| roster.decided.candidates().any(|(candidate, _)| candidate == node);
    let rows = roster.rows();
    let replicas =
        rows.iter().filter(|row| !row.is_primary && is_there(row.presence) && is_candidate(row.node));
    let lags: Vec<u128> = replicas.filter_map(|row| Some(u128::from(row.record?.lag_ms))).collect();
    let all = !lags.is_empty() && lags.iter().all(|lag| *lag > limit.as_millis());
    all.then(|| {
        let limit = span::shown(limit);
        format!("no automatic failover: each replica lacks more than max_lag_on_failover ({limit}) allows")
    })
}

/// Why no other node would take the primary's place by itself; `None`: one may.
pub fn no_failover(decided: &Decided) -> Option<&'static str> {
    decided.reign()?;
    let voters = decided.members().values().filter(|member| member.voter).count();
    match voters {
        0 => Some("no automatic failover: no node of this cluster votes"),
        1 => Some("no automatic failover: this cluster has one voter, which is alone"),
        2 => Some("no automatic failover: with two voters, the loss of one leaves no majority"),
        _ if decided.is_paused() => Some("no automatic failover: it is paused"),
        _ if decided.candidates().count() < 2 => {
            Some("no automatic failover: no other node of the primary's group may be promoted")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::entry::{Cause, Entry, LeaseMark, Member, NodeId};

    /// The first is the primary.
    fn cluster(nodes: &[(&str, bool, bool)]) -> Decided {
        let mut decided = Decided::default();
        for (node, &(group, electable, voter)) in (1..).zip(nodes) {
            let member =
                Member { name: format!("n{node}"), group: group.to_owned(), electable, voter, priority: 0 };
            decided.apply(&Entry::Join { node: NodeId(node), member });
        }
        let (node, after) = (NodeId(1), LeaseMark::default());
        decided.apply(&Entry::Promote { node, after, cause: Cause::Operator, used: None });
        decided
    }

    const HERE: (&str, bool, bool) = ("here", true, true);
    const WITNESS: (&str, bool, bool) = ("here", false, true);
    const LEARNER: (&str, bool, bool) = ("here", true, false);
    const AFAR: (&str, bool, bool) = ("afar", true, true);

    #[track_caller]
    fn says(nodes: &[(&str, bool, bool)], what: Option<&str>) {
        let said = no_failover(&cluster(nodes));
        match what {
            None => assert_eq!(said, None),
            Some(what) => assert!(said.is_some_and(|said| said.contains(what)), "{said:?}: {what}"),
        }
    }

    #[test]
    fn fewer_than_three_voters_cannot_lose_one() {
        assert_eq!(no_failover(&Decided::default()), None, "there is no cluster yet");
        says(&[HERE], Some("alone"));
        says(&[HERE, LEARNER, LEARNER], Some("alone"));
        let two = "with two voters, the loss of one leaves no majority";
        says(&[HERE, HERE], Some(two));
        says(&[HERE, HERE, LEARNER], Some(two));
        says(&[HERE, HERE, HERE], None);
        says(&[HERE, HERE, WITNESS], None);
    }

    #[test]
    fn voters_alone_are_not_enough() {
        says(&[HERE, WITNESS, AFAR], Some("no other node of the primary's group"));
        let mut paused = cluster(&[HERE, HERE, HERE]);
        paused.apply(&Entry::Pause { paused: true });
        assert!(no_failover(&paused).is_some_and(|said| said.contains("paused")));
    }
}
