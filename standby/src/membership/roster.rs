//! Who belongs, as the log says, together with who is there, as gossip says.

use std::time::Duration;

use super::members::{Members, Seen};
use super::peer::State;
use super::record::Record;
use crate::failover::decided::Decided;
use crate::failover::entry::{Member, NodeId};

/// How a node that belongs to the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is the one that says so.
    Here,
    /// As gossip has it.
    Seen(State),
    /// Nobody has heard of it since this node was started.
    Never,
}

/// A node that belongs to the cluster.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The node.
    pub node: NodeId,
    /// What was decided of it.
    pub member: &'a Member,
    /// It is the primary.
    pub is_primary: bool,
    /// How it is.
    pub presence: Presence,
    /// What it told of itself last.
    pub record: Option<&'a Record>,
    /// How it is seen, but for the node that sees.
    pub seen: Option<&'a Seen>,
}

/// A node with what it knows.
#[derive(Clone, Copy, Debug)]
pub struct Roster<'a> {
    /// The node.
    pub me: NodeId,
    /// What it tells of itself.
    pub own: &'a Record,
    /// What was decided.
    pub decided: &'a Decided,
    /// What it sees.
    pub members: &'a Members,
}

impl<'a> Roster<'a> {
    /// All nodes that belong to the cluster, by group and name.
    pub fn rows(&self) -> Vec<Row<'a>> {
        let primary = self.decided.reign().map(|reign| reign.primary);
        let row = |(node, member): (&NodeId, &'a Member)| {
            let is_me = *node == self.me;
            let seen = self.members.get(*node).filter(|_| !is_me);
            let presence = match seen {
                _ if is_me => Presence::Here,
                Some(seen) => Presence::Seen(seen.state),
                None => Presence::Never,
            };
            let record = if is_me { Some(self.own) } else { seen.and_then(|seen| seen.record.as_ref()) };
            Row { node: *node, member, is_primary: primary == Some(*node), presence, record, seen }
        };
        let mut rows: Vec<Row<'a>> = self.decided.members().iter().map(row).collect();
        rows.sort_by_key(|row| (&row.member.group, &row.member.name));
        rows
    }

    /// How far this node's wall clock is ahead of the others', in milliseconds.
    pub fn clock_ahead_ms(&self, now: Duration) -> Option<i64> {
        self.members.own_clock_ahead_ms(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::Peer;
    use super::*;
    use crate::failover::entry::{Cause, Entry, LeaseMark};
    use crate::node::Part;

    #[test]
    fn every_node_that_belongs_has_a_row_seen_or_not() {
        let mut decided = Decided::default();
        for (node, name, group) in [(1, "a", "here"), (2, "b", "here"), (3, "c", "here"), (4, "d", "afar")] {
            let member =
                Member { name: name.into(), group: group.into(), electable: true, voter: true, priority: 0 };
            decided.apply(&Entry::Join { node: NodeId(node), member });
        }
        let after = LeaseMark::default();
        decided.apply(&Entry::Promote { node: NodeId(2), after, cause: Cause::Operator, used: None });
        let mut members = Members::default();
        for (node, state) in [(2, State::Alive), (3, State::Failed), (9, State::Alive)] {
            let address = String::new();
            let peer = Peer { node: NodeId(node), start: 1, renewal: 0, leaves: false, address };
            members.change(&peer, state, Duration::ZERO);
        }
        let own = Record::unsaid();
        members.tell(NodeId(2), Record { part: Part::Primary, ..Record::unsaid() });
        let roster = Roster { me: NodeId(1), own: &own, decided: &decided, members: &members };
        let shown: Vec<_> =
            roster.rows().iter().map(|row| (row.node.0, row.presence, row.is_primary)).collect();
        let seen = Presence::Seen;
        assert_eq!(
            shown,
            [
                (4, Presence::Never, false),
                (1, Presence::Here, false),
                (2, seen(State::Alive), true),
                (3, seen(State::Failed), false),
            ],
            "the one that does not belong is not among them"
        );
        assert_eq!(roster.rows()[2].record.map(|record| record.part), Some(Part::Primary));
    }
}
