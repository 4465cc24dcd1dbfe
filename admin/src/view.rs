//! The cluster, as an operator reads it.

use standby_control::{MemberState, MemberStatus, Role, View};

use crate::style::{self, attention, caution};
use crate::table::{aligned, header};
use crate::units::{moment, seconds};

/// What a node sees of its cluster.
pub fn shown(cluster: &str, view: &View) -> String {
    let primary = primary(view);
    let mut text = format!("cluster {cluster}: epoch {}, primary {primary}\n", view.epoch);
    if let Some(reason) = &view.no_failover {
        text.push_str(&format!("  {}\n", caution(reason)));
    }
    if view.clock_off {
        let ahead = view.clock_ahead_seconds.unwrap_or(0.0);
        let side = if ahead > 0.0 { "ahead of" } else { "behind" };
        let far = seconds(ahead.abs());
        text.push_str(&format!(
            "  {}: this node's is {far} {side} the others'; it is not promoted\n",
            attention("CLOCK OFF")
        ));
    }
    let mut rows = vec![header(["node", "group", "part", "state", "epoch", "last commit", "lag"])];
    rows.extend(view.nodes.iter().map(row));
    text + &aligned(&rows, 4)
}

/// Who commits. The last that was decided does not, when it is gone.
fn primary(view: &View) -> String {
    let Some(name) = &view.primary else { return attention("NOBODY") };
    let is_gone = |node: &&MemberStatus| {
        node.name == *name && matches!(node.state, MemberState::Failed | MemberState::Left)
    };
    match view.nodes.iter().find(is_gone) {
        Some(_) => format!("{} since {name} is gone", attention("NOBODY")),
        None => style::primary(name),
    }
}

fn row(node: &MemberStatus) -> [String; 7] {
    let unsaid = || "-".to_owned();
    let part = node.role.map_or_else(unsaid, |role| match role {
        Role::Primary => style::primary("primary"),
        Role::Replica => "replica".to_owned(),
        Role::Undecided => attention("UNDECIDED"),
        Role::Witness => "witness".to_owned(),
    });
    let last = match (&node.last_tid, node.last_time) {
        (Some(_), Some(time)) => moment(time),
        (Some(_), None) => "empty".to_owned(),
        (None, _) => unsaid(),
    };
    [
        node.name.clone(),
        node.group.clone(),
        part,
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
        MemberState::Suspect => attention(format!("SUSPECT{since}")),
        MemberState::Failed => attention(format!("FAILED{since}")),
        MemberState::Left => caution(format!("left{since}")),
        MemberState::Unknown => attention("NEVER SEEN"),
    };
    if node.flapping {
        text.push_str(&format!(", {}", attention(format!("FLAPPING: gone {} times", node.gone))));
    }
    for (is_so, word) in
        [(node.banned, "BANNED"), (node.suspended, "BANNED FOR A WHILE"), (node.disabled, "DISABLED")]
    {
        if is_so {
            text.push_str(&format!(", {}", caution(word)));
        }
    }
    if node.disk_failed {
        text.push_str(&format!(", {}", attention("DISK FAILED")));
    }
    if node.clock_off {
        text.push_str(&format!(", {}", attention("CLOCK OFF")));
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
            disk_failed: false,
            version: None,
            peer: None,
            zeo: None,
            zeo_ro: None,
        }
    }

    #[test]
    fn nobody_is_the_primary_while_the_last_one_is_gone() {
        for (state, expected) in [
            (MemberState::Alive, "primary a"),
            (MemberState::Suspect, "primary a"),
            (MemberState::Failed, "primary NOBODY since a is gone"),
            (MemberState::Left, "primary NOBODY since a is gone"),
        ] {
            let view = View {
                epoch: 3,
                primary: Some("a".into()),
                no_failover: None,
                clock_ahead_seconds: None,
                clock_off: false,
                nodes: vec![node("a", state), node("b", MemberState::Failed)],
            };
            let shown = style::plain(&shown("plone", &view));
            assert_eq!(shown.lines().next(), Some(&*format!("cluster plone: epoch 3, {expected}")));
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
        let failed = MemberStatus { disk_failed: true, ..node("e", MemberState::Alive) };
        let view = View {
            epoch: 3,
            primary: Some("a".into()),
            no_failover: Some("no automatic failover: because".into()),
            clock_ahead_seconds: Some(-61.0),
            clock_off: true,
            nodes: vec![primary, node("b", MemberState::Failed), flapping, never, failed],
        };
        assert_eq!(
            style::plain(&shown("plone", &view)),
            "cluster plone: epoch 3, primary a\n\
             \x20 no automatic failover: because\n\
             \x20 CLOCK OFF: this node's is 61 s behind the others'; it is not promoted\n\
             \x20 node  group  part     state                                     epoch              last commit    lag\n\
             \x20 a     local  primary  alive                                         3  1970-01-01 00:00:01 UTC  0.0 s\n\
             \x20 b     local  replica  FAILED for 12 s                               3  1970-01-01 00:00:01 UTC  0.0 s\n\
             \x20 c     local  replica  alive, FLAPPING: gone 4 times, CLOCK OFF      3  1970-01-01 00:00:01 UTC  0.0 s\n\
             \x20 d     local  -        NEVER SEEN                                    -                        -      -\n\
             \x20 e     local  replica  alive, DISK FAILED                            3  1970-01-01 00:00:01 UTC  0.0 s\n"
        );
    }
}
