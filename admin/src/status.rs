//! `standby-admin status`: a node and its followers, as an operator reads them.

use standby_control::{CopyState, FollowerStatus, Lag, NodeStatus, Role, StorageStatus, UpstreamStatus};

use crate::style::{self, attention};
use crate::table::{aligned, header};
use crate::units::{bytes, moment, seconds};
use crate::view;

/// An upstream says every second how far it is; one that has not for so many is silent.
const SILENT: f64 = 4.0;

/// The status as text, for a terminal.
pub fn shown(status: &NodeStatus) -> String {
    let role = match status.role {
        Role::Primary => style::primary("primary"),
        Role::Replica => "replica".to_owned(),
        Role::Undecided => attention("UNDECIDED"),
        Role::Witness => "witness".to_owned(),
    };
    let NodeStatus { node, group, version, .. } = status;
    let since = seconds(status.now - status.started);
    let mut text = format!("node {node} in group {group}: {role}, up {since}, standby {version}\n");
    if let Some(left) = status.quiet_seconds {
        text.push_str(&format!(
            "{}: it neither hears nor answers anybody on the network\n",
            attention(format!("QUIET for another {}", seconds(left)))
        ));
    }
    if let Some(view) = &status.view {
        text.push('\n');
        text.push_str(&view::shown(&status.cluster, view));
    }
    for storage in &status.storages {
        text.push('\n');
        show_storage(&mut text, storage);
    }
    text
}

fn show_storage(text: &mut String, storage: &StorageStatus) {
    let state = match storage.state {
        CopyState::Serving => "serving".to_owned(),
        CopyState::Behind => format!("{} its upstream", attention("BEHIND")),
        CopyState::Incomplete => format!("{}: not served before it is whole", attention("INCOMPLETE")),
    };
    let StorageStatus { name, clients, epoch, last_tid, log_bytes, .. } = storage;
    let last = storage.last_time.map_or("empty".to_owned(), moment);
    text.push_str(&format!("storage {name}: {state}\n"));
    if let Some(failure) = &storage.failure {
        text.push_str(&format!("  {}: {failure}\n", attention("DISK FAILED")));
        text.push_str("  nothing more is written until the node is started anew: look at its disk first\n");
    }
    let mut line = |key: &str, value: String| {
        let room = " ".repeat(16 - style::plain(key).len());
        text.push_str(&format!("  {key}{room}{value}\n"));
    };
    line("last commit", format!("{last}  (tid {last_tid}, epoch {epoch})"));
    line("log", bytes(*log_bytes));
    line("clients", clients.to_string());
    if let Some(upstream) = &storage.upstream {
        line("follows", upstream_text(upstream));
        if let Some(trouble) = &upstream.trouble {
            line(&attention("TROUBLE"), trouble.clone());
        }
    }
    if let Some(acks) = &storage.acknowledgements {
        let state = match () {
            () if acks.fell_back => format!("{}: clients are answered without them", attention("TOO FEW")),
            () if acks.waiting > 0 && acks.present < acks.needed => {
                let (few, waiting) = (attention("TOO FEW"), acks.waiting);
                format!("{few}: {waiting} commits wait, for {}", seconds(acks.waiting_seconds))
            }
            () if acks.present < acks.needed => {
                format!("{}: the next commit will wait", attention("TOO FEW"))
            }
            () => "in step".to_owned(),
        };
        line("acknowledged by", format!("{} of {} needed: {state}", acks.present, acks.needed));
    }
    if storage.upstream.is_none() && storage.followers.is_empty() {
        line("followers", "none".to_owned());
    }
    if !storage.followers.is_empty() {
        text.push_str(&followers_table(&storage.followers));
    }
}

fn upstream_text(upstream: &UpstreamStatus) -> String {
    let name = upstream.node.as_deref().unwrap_or("nobody yet");
    let lag = match upstream.lag_seconds {
        lag if upstream.last_tid.is_none() || lag > 0.0 => format!("behind by {} of commits", seconds(lag)),
        _ => "has all that it is known to have".to_owned(),
    };
    match (upstream.connected, upstream.heard) {
        (true, Some(heard)) if heard > SILENT => {
            format!("{name}: {}, {lag}", attention(format!("SILENT for {}", seconds(heard))))
        }
        (true, Some(_)) => format!("{name}: {lag}"),
        (true, None) => format!("{name}: connected"),
        (false, Some(heard)) => {
            format!("{name}: {}, last heard {} ago, {lag}", attention("CUT OFF"), seconds(heard))
        }
        (false, None) => format!("{name}: {}", attention("NOT CONNECTED")),
    }
}

fn followers_table(followers: &[FollowerStatus]) -> String {
    let mut rows = vec![header(["follower", "group", "state", "transactions", "bytes", "time"])];
    for follower in followers {
        let FollowerStatus { node, group, lag, .. } = follower;
        let Lag { transactions, more, .. } = *lag;
        let state = match (follower.flowing, transactions) {
            (false, _) => "comparing",
            (true, 0) => "in step",
            (true, _) => "streaming",
        };
        let at_least = if more { "> " } else { "" };
        rows.push([
            node.clone(),
            group.clone(),
            state.to_owned(),
            format!("{at_least}{transactions}"),
            bytes(lag.bytes),
            seconds(lag.seconds),
        ]);
    }
    aligned(&rows, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(node: &str, transactions: u64) -> FollowerStatus {
        FollowerStatus {
            node: node.into(),
            group: "local".into(),
            flowing: true,
            acknowledges: true,
            since: 0.0,
            sent_tid: String::new(),
            durable_tid: String::new(),
            lag: Lag { transactions, more: false, bytes: transactions * 1000, seconds: 2.0 },
        }
    }

    #[test]
    fn followers_stand_in_columns() {
        let table = followers_table(&[follower("b", 0), follower("longer-name", 1234)]);
        assert_eq!(
            style::plain(&table),
            "  follower     group  state      transactions    bytes   time\n\
             \x20 b            local  in step               0      0 B  2.0 s\n\
             \x20 longer-name  local  streaming          1234  1.2 MiB  2.0 s\n"
        );
    }
}
