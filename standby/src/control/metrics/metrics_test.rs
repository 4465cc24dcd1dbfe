use std::collections::{BTreeMap, BTreeSet};

use standby_control::{
    AcknowledgementStatus, CopyState, FollowerStatus, Lag, MemberState, MemberStatus, NodeStatus, Role,
    StorageStatus, UpstreamStatus, View,
};

use super::families::{FAMILIES, Kind};
use super::measured::{Counted, DecidedCounts, Measured};

const REFERENCE: &str = include_str!("../../../../docs/operations.md");

/// Name, type and labels of each metric.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// Of a node of which everything is known.
fn measured() -> Measured {
    let upstream = UpstreamStatus {
        node: Some("b".into()),
        connected: true,
        trouble: None,
        heard: Some(0.5),
        last_tid: Some("01".into()),
        lag_seconds: 0.25,
        route: Vec::new(),
        distance: 1,
    };
    let acknowledgements =
        AcknowledgementStatus { needed: 1, present: 1, waiting: 0, waiting_seconds: 0.0, fell_back: false };
    let follower = FollowerStatus {
        node: "c".into(),
        group: "paris".into(),
        flowing: true,
        acknowledges: false,
        since: 0.0,
        sent_tid: String::new(),
        durable_tid: String::new(),
        lag: Lag { transactions: 4, more: false, bytes: 500, seconds: 1.5 },
    };
    let storage = StorageStatus {
        name: "1".into(),
        state: CopyState::Serving,
        failure: None,
        last_tid: "01".into(),
        last_time: Some(12.0),
        epoch: 3,
        log_bytes: 1_000,
        clients: 2,
        upstream: Some(upstream),
        acknowledgements: Some(acknowledgements),
        followers: vec![follower],
    };
    let member = |name: &str, state| MemberStatus {
        banned: false,
        suspended: false,
        disabled: false,
        id: "00".into(),
        name: name.into(),
        group: "local".into(),
        voter: true,
        electable: true,
        role: Some(Role::Replica),
        state,
        for_seconds: None,
        gone: 0,
        flapping: name == "b",
        epoch: None,
        last_tid: None,
        last_time: None,
        lag_seconds: None,
        clock_ahead_seconds: None,
        clock_off: false,
        disk_failed: false,
        version: None,
        peer: None,
        zeo: None,
        zeo_ro: None,
    };
    let view = View {
        epoch: 4,
        primary: Some("a".into()),
        no_failover: None,
        clock_ahead_seconds: Some(-0.125),
        clock_off: false,
        nodes: vec![
            member("a", MemberState::Alive),
            member("b", MemberState::Failed),
            member("c", MemberState::Alive),
        ],
    };
    Measured {
        status: NodeStatus {
            quiet_seconds: None,
            cluster: "plone".into(),
            node: "a".into(),
            group: "local".into(),
            role: Role::Primary,
            version: "0.1.0".into(),
            started: 1.5,
            now: 2.5,
            storages: vec![storage],
            view: Some(view),
        },
        may_commit: true,
        serving: vec![("read_write", true), ("read_only", false)],
        parked: vec![("zeo", 3), ("zeo_ro", 0)],
        storages: BTreeMap::from([(
            "1".to_owned(),
            Counted { objects: 9, packing: true, ..Counted::default() },
        )]),
        decided: Some(DecidedCounts {
            paused: true,
            banned: vec![("b".into(), true)],
            promotions: BTreeMap::from([("failover", 2)]),
            lost: BTreeMap::from([(("a".into(), "1".into()), 7)]),
        }),
    }
}

/// What a text in Prometheus' format tells of.
fn described(text: &str) -> Described {
    let mut found = Described::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            found.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').expect("a series and its value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            found.get_mut(name).expect("its type was told before").1.extend(names);
        }
    }
    found
}

/// What the table in the documentation tells of: `| name | type | labels | meaning |`.
fn documented() -> Described {
    let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `standby_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[2].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (format!("standby_{}", cells[0].trim_end_matches('`')), (cells[1].to_owned(), labels))
    };
    rows.map(row).collect()
}

#[test]
fn the_documentation_lists_every_metric_with_its_type_and_labels() {
    assert_eq!(described(&measured().sheet().text()), documented());
    assert_eq!(documented().len(), FAMILIES.len());
}

#[test]
fn values_are_those_that_were_measured() {
    let text = measured().sheet().text();
    for line in [
        "standby_role{role=\"primary\"} 1.0",
        "standby_role{role=\"replica\"} 0.0",
        "standby_epoch{} 4.0",
        "standby_members{state=\"alive\"} 2.0",
        "standby_members{state=\"failed\"} 1.0",
        "standby_member_flapping{member=\"b\"} 1.0",
        "standby_clock_ahead_seconds{} -0.125",
        "standby_parked_clients{listener=\"zeo\"} 3.0",
        "standby_follower_lag_bytes{storage=\"1\",follower=\"c\",follower_group=\"paris\"} 500.0",
        "standby_history_lost_transactions{member=\"a\",storage=\"1\"} 7.0",
        "standby_storage_packing{storage=\"1\"} 1.0",
        "standby_failover_paused{} 1.0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\nis not in\n{text}");
    }
    let mut witness = measured();
    witness.status.role = Role::Witness;
    let witness = witness.sheet().text();
    assert!(witness.contains("standby_role{role=\"witness\"} 1.0"), "{witness}");
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for (name, kind, help) in FAMILIES {
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(name.starts_with("standby_") && !help.ends_with('.'), "{name}");
    }
}
