//! The cluster, as an operator reads it.

use standby_control::{MemberState, MemberStatus, Role, View};

use crate::table::aligned;
use crate::units::{moment, seconds};

/// What a node sees of its cluster.
pub fn shown(cluster: &str, view: &View) -> String {
    let primary = view.primary.as_deref().unwrap_or("NOBODY");
    let mut text = format!("cluster {cluster}: epoch {}, primary {primary}\n", view.epoch);
    if let Some(reason) = &view.no_failover {
        text.push_str(&format!("  {reason}\n"));
    }
    if view.clock_off {
        let ahead = view.clock_ahead_seconds.unwrap_or(0.0);
        let side = if ahead > 0.0 { "ahead of" } else { "behind" };
        let far = seconds(ahead.abs());
        text.push_str(&format!("  CLOCK OFF: this node's is {far} {side} the others'; it is not promoted\n"));
    }
    let mut rows = vec![["node", "group", "part", "state", "epoch", "last commit", "lag"].map(str::to_owned)];
    rows.extend(view.nodes.iter().map(row));
    text + &aligned(&rows, 4)
}

fn row(node: &MemberStatus) -> [String; 7] {
    let unsaid = || "-".to_owned();
    let part = node.role.map_or("-", |role| match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Undecided => "UNDECIDED",
        Role::Witness => "witness",
    });
    let last = match (&node.last_tid, node.last_time) {
        (Some(_), Some(time)) => moment(time),
        (Some(_), None) => "empty".to_owned(),
        (None, _) => unsaid(),
    };
    [
        node.name.clone(),
        node.group.clone(),
        part.to_owned(),
        state(node),
        node.epoch.map_or_else(unsaid, |epoch| epoch.to_string()),
        last,
        node.lag_seconds.map_or_else(unsaid, seconds),
    ]
}

fn state(node: &MemberStatus) -> String {
    let since = node.for_seconds.map(|since| format!(" for {}", seconds(since))).unwrap_or_default();
    let mut text = match node.state {
        MemberState::Alive => "alive".to_owned(),
        MemberState::Suspect => format!("SUSPECT{since}"),
        MemberState::Failed => format!("FAILED{since}"),
        MemberState::Left => format!("left{since}"),
        MemberState::Unknown => "NEVER SEEN".to_owned(),
    };
    if node.flapping {
        text.push_str(&format!(", FLAPPING: gone {} times", node.gone));
    }
    for (is_so, word) in
        [(node.banned, "BANNED"), (node.suspended, "BANNED FOR A WHILE"), (node.disabled, "DISABLED")]
    {
        if is_so {
            text.push_str(&format!(", {word}"));
        }
    }
    if node.clock_off {
        text.push_str(", CLOCK OFF");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, state: MemberState) -> MemberStatus {
        MemberStatus {
            id: "00".into(),
            name: name.into(),
            group: "local".into(),
            voter: true,
            electable: true,
            role: Some(Role::Replica),
            state,
            for_seconds: Some(12.0),
            gone: 0,
            flapping: false,
            banned: false,
            suspended: false,
            disabled: false,
            epoch: Some(3),
            last_tid: Some("040d29aa504606a5".into()),
            last_time: Some(1.5),
            lag_seconds: Some(0.0),
            clock_ahead_seconds: None,
            clock_off: false,
            version: None,
            peer: None,
            zeo: None,
            zeo_ro: None,
        }
    }

    #[test]
    fn every_node_has_a_line_and_words_in_capitals_want_attention() {
        let never = MemberStatus {
            role: None,
            for_seconds: None,
            epoch: None,
            last_tid: None,
            last_time: None,
            lag_seconds: None,
            ..node("d", MemberState::Unknown)
        };
        let flapping =
            MemberStatus { flapping: true, gone: 4, clock_off: true, ..node("c", MemberState::Alive) };
        let primary = MemberStatus { role: Some(Role::Primary), ..node("a", MemberState::Alive) };
        let view = View {
            epoch: 3,
            primary: Some("a".into()),
            no_failover: Some("no automatic failover: because".into()),
            clock_ahead_seconds: Some(-61.0),
            clock_off: true,
            nodes: vec![primary, node("b", MemberState::Failed), flapping, never],
        };
        assert_eq!(
            shown("plone", &view),
            "cluster plone: epoch 3, primary a\n\
             \x20 no automatic failover: because\n\
             \x20 CLOCK OFF: this node's is 61 s behind the others'; it is not promoted\n\
             \x20 node  group  part     state                                     epoch              last commit    lag\n\
             \x20 a     local  primary  alive                                         3  1970-01-01 00:00:01 UTC  0.0 s\n\
             \x20 b     local  replica  FAILED for 12 s                               3  1970-01-01 00:00:01 UTC  0.0 s\n\
             \x20 c     local  replica  alive, FLAPPING: gone 4 times, CLOCK OFF      3  1970-01-01 00:00:01 UTC  0.0 s\n\
             \x20 d     local  -        NEVER SEEN                                    -                        -      -\n"
        );
    }
}
