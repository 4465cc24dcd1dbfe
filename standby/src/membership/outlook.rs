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
    no_majority(roster)
        .or(decided)
        .or_else(|| why_nobody.map(|why| format!("no automatic failover: {why}")))
        .or_else(|| all_lag(roster))
}

/// Too few voters are seen. Shown first: more than a failover is missing then.
fn no_majority(roster: &Roster<'_>) -> Option<String> {
    roster.decided.reign()?;
    let is_there = |presence| {
        matches!(presence, Presence::Here | Presence::Seen(State::Alive) | Presence::Seen(State::Suspect))
    };
    let rows = roster.rows();
    let voters: Vec<_> = rows.iter().filter(|row| row.member.voter).collect();
    let here = voters.iter().filter(|row| is_there(row.presence)).count();
    let majority = voters.len() / 2 + 1;
    (here < majority && !voters.is_empty()).then(|| {
        format!(
            "NO MAJORITY: {here} of {} voters are seen from here, and nobody commits who sees fewer than {majority}",
            voters.len()
        )
    })
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
    use std::time::Duration;

    use super::super::members::Members;
    use super::super::peer::Peer;
    use super::super::record::Record;
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

    /// What node 2 says when it sees others so.
    fn seen_from_2(decided: &Decided, others: &[(u64, State)]) -> Option<String> {
        let mut members = Members::default();
        for &(node, state) in others {
            let address = String::new();
            let peer = Peer { node: NodeId(node), start: 1, renewal: 0, leaves: false, address };
            members.change(&peer, state, Duration::ZERO);
        }
        let own = Record::unsaid();
        of(&Roster { me: NodeId(2), own: &own, decided, members: &members }, None)
    }

    #[test]
    fn it_is_said_when_too_few_voters_are_seen_to_decide_anything() {
        let three = cluster(&[HERE, HERE, WITNESS, LEARNER]);
        assert_eq!(seen_from_2(&three, &[(1, State::Failed), (3, State::Alive)]), None);
        assert_eq!(seen_from_2(&three, &[(1, State::Suspect)]), None, "it may yet answer");
        let learner_only = [(1, State::Failed), (3, State::Left), (4, State::Alive)];
        let said = seen_from_2(&three, &learner_only).expect("something is wrong");
        assert!(said.starts_with("NO MAJORITY: 1 of 3 voters are seen from here"), "{said}");
        let two = cluster(&[HERE, HERE]);
        let said = seen_from_2(&two, &[(1, State::Failed)]).expect("something is wrong");
        assert!(said.starts_with("NO MAJORITY: 1 of 2"), "{said}");
    }
}
