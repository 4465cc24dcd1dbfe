//! What a node sees of its cluster.

use standby_control::{MemberState, MemberStatus, View};
use zeo_proto::Tid;

use super::status::role;
use crate::failover::decided::Decided;
use crate::failover::lease::since_boot;
use crate::membership::peer::State;
use crate::membership::roster::{Presence, Roster, Row};

pub(super) fn of_cluster(roster: &Roster<'_>, no_failover: Option<String>, own_peer: Option<&str>) -> View {
    let rows = roster.rows();
    let ahead = roster.clock_ahead_ms(since_boot());
    View {
        epoch: roster.decided.reign().map_or(0, |reign| reign.epoch),
        primary: rows.iter().find(|row| row.is_primary).map(|row| row.member.name.clone()),
        no_failover,
        clock_ahead_seconds: ahead.map(seconds),
        clock_off: crate::membership::clock::is_off(ahead),
        nodes: rows.iter().map(|row| of_member(row, roster.decided, own_peer)).collect(),
    }
}

fn of_member(row: &Row<'_>, decided: &Decided, own_peer: Option<&str>) -> MemberStatus {
    let now = since_boot();
    let record = row.record;
    let last = record.map(|record| record.last_tid);
    let address = |address: &String| (!address.is_empty()).then(|| address.clone());
    MemberStatus {
        id: row.node.to_string(),
        name: row.member.name.clone(),
        group: row.member.group.clone(),
        voter: row.member.voter,
        electable: row.member.electable,
        role: record.map(|record| role(record.part)),
        state: match row.presence {
            Presence::Here | Presence::Seen(State::Alive) => MemberState::Alive,
            Presence::Seen(State::Suspect) => MemberState::Suspect,
            Presence::Seen(State::Failed) => MemberState::Failed,
            Presence::Seen(State::Left) => MemberState::Left,
            Presence::Never => MemberState::Unknown,
        },
        for_seconds: row.seen.map(|seen| now.saturating_sub(seen.since).as_secs_f64()),
        gone: row.seen.map_or(0, |seen| seen.gone(now) as u64),
        flapping: row.seen.is_some_and(|seen| seen.is_flapping(now)),
        banned: decided.is_banned(row.node),
        suspended: decided.suspended().contains_key(&row.node),
        disabled: decided.is_disabled(row.node),
        epoch: record.map(|record| record.epoch),
        last_tid: last.map(|tid| tid.to_string()),
        last_time: last.filter(|tid| *tid > Tid::ZERO).map(Tid::unix_seconds),
        lag_seconds: record.map(|record| f64::from(record.lag_ms) / 1_000.0),
        clock_ahead_seconds: row.seen.and_then(|seen| seen.clock_ahead_ms(now)).map(seconds),
        clock_off: record.is_some_and(|record| record.clock_off),
        disk_failed: record.is_some_and(|record| record.disk_failed),
        version: record.map(|record| record.version.clone()),
        peer: match row.presence {
            Presence::Here => own_peer.map(str::to_owned),
            _ => row.seen.and_then(|seen| address(&seen.address)),
        },
        zeo: record.and_then(|record| address(&record.zeo)),
        zeo_ro: record.and_then(|record| address(&record.zeo_ro)),
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
