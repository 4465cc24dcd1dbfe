//! What clients are told of the cluster, in the `info` push and in the answer to `get_info`.
//!
//! Stock clients merge it into what they know of the storage, and do nothing with it; others may find nodes by it. Under the key
//! `standby`: a dict of `cluster`, `epoch`, `primary` (a name, or None) and `nodes`, a list of dicts of `name`, `group`, `role`
//! (`primary` or `replica`), `state` (`alive`, `suspect`, `failed`, `left`, `unknown`), `zeo` and `zeo_ro` (HOST:PORT, or None).

use zeo_proto::Value;

use super::peer::State;
use super::roster::{Presence, Roster};

/// What clients of a node with this roster are told, under `standby`.
pub fn told_to_clients(cluster: &str, roster: &Roster<'_>) -> Value<'static> {
    let text = |text: &str| Value::Str(text.to_owned().into());
    let dict = |items: Vec<(&str, Value<'static>)>| {
        Value::Dict(items.into_iter().map(|(key, value)| (text(key), value)).collect())
    };
    let address = |address: Option<&String>| match address {
        Some(address) if !address.is_empty() => text(address),
        _ => Value::None,
    };
    let rows = roster.rows();
    let node = |row: &super::roster::Row<'_>| {
        dict(vec![
            ("name", text(&row.member.name)),
            ("group", text(&row.member.group)),
            ("role", text(if row.is_primary { "primary" } else { "replica" })),
            (
                "state",
                text(match row.presence {
                    Presence::Here | Presence::Seen(State::Alive) => "alive",
                    Presence::Seen(State::Suspect) => "suspect",
                    Presence::Seen(State::Failed) => "failed",
                    Presence::Seen(State::Left) => "left",
                    Presence::Never => "unknown",
                }),
            ),
            ("zeo", address(row.record.map(|record| &record.zeo))),
            ("zeo_ro", address(row.record.map(|record| &record.zeo_ro))),
        ])
    };
    let primary = rows.iter().find(|row| row.is_primary);
    dict(vec![
        ("cluster", text(cluster)),
        ("epoch", Value::Int(roster.decided.reign().map_or(0, |reign| reign.epoch) as i64)),
        ("primary", primary.map_or(Value::None, |row| text(&row.member.name))),
        ("nodes", Value::List(rows.iter().map(node).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::members::Members;
    use super::super::peer::Peer;
    use super::super::record::Record;
    use super::*;
    use crate::failover::decided::Decided;
    use crate::failover::entry::{Cause, Entry, LeaseMark, Member, NodeId};

    #[test]
    fn clients_are_told_who_belongs_where_and_who_is_the_primary() {
        let mut decided = Decided::default();
        for (node, name) in [(1, "a"), (2, "b"), (3, "c")] {
            let (name, group) = (name.to_owned(), "here".to_owned());
            let member = Member { name, group, electable: true, voter: true, priority: 0 };
            decided.apply(&Entry::Join { node: NodeId(node), member });
        }
        let after = LeaseMark::default();
        decided.apply(&Entry::Promote { node: NodeId(1), after, cause: Cause::Operator, used: None });
        let mut members = Members::default();
        let peer = Peer { node: NodeId(2), start: 1, renewal: 0, leaves: false, address: "b:1".into() };
        members.change(&peer, State::Failed, Duration::ZERO);
        members.tell(NodeId(2), Record { zeo_ro: "b:8101".into(), ..Record::unsaid() });
        let own = Record { zeo: "a:8100".into(), ..Record::unsaid() };
        let roster = Roster { me: NodeId(1), own: &own, decided: &decided, members: &members };
        let told = told_to_clients("plone", &roster);
        let of = |value: &Value<'_>, key: &str| value.item(key).cloned().map(Value::into_owned);
        let text = |text: &str| Some(Value::Str(text.to_owned().into()));
        assert_eq!(of(&told, "cluster"), text("plone"));
        assert_eq!(of(&told, "epoch"), Some(Value::Int(1)));
        assert_eq!(of(&told, "primary"), text("a"));
        let Some(Value::List(nodes)) = of(&told, "nodes") else { panic!("{told:?}") };
        let shown: Vec<_> =
            nodes.iter().map(|node| [of(node, "name"), of(node, "role"), of(node, "state")]).collect();
        assert_eq!(shown[0], [text("a"), text("primary"), text("alive")]);
        assert_eq!(shown[1], [text("b"), text("replica"), text("failed")]);
        assert_eq!(shown[2], [text("c"), text("replica"), text("unknown")]);
        assert_eq!((of(&nodes[0], "zeo"), of(&nodes[1], "zeo_ro")), (text("a:8100"), text("b:8101")));
        assert_eq!((of(&nodes[0], "zeo_ro"), of(&nodes[2], "zeo")), (Some(Value::None), Some(Value::None)));
    }
}
