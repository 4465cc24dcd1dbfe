//! What is measured of a node, and which metrics that makes.

use std::collections::BTreeMap;

use replica::ReadError;
use standby_control::{
    AcknowledgementStatus, CopyState, FollowerStatus, MemberState, NodeStatus, Role, StorageStatus,
    UpstreamStatus, View,
};

use super::super::health::Vitals;
use super::super::{Subject, status};
use super::sheet::Sheet;
use crate::failover::entry::Cause;
use crate::failover::history::What;
use crate::replication::copy::Copy;
use crate::service::clients::Totals;

/// Everything that metrics tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) status: NodeStatus,
    /// The node may commit.
    pub(super) may_commit: bool,
    /// Whether clients of each kind are served, where they have a listener.
    pub(super) serving: Vec<(&'static str, bool)>,
    /// How many clients wait at each listener.
    pub(super) parked: Vec<(&'static str, usize)>,
    /// By the names of storages.
    pub(super) storages: BTreeMap<String, Counted>,
    /// What was decided, where a cluster decides.
    pub(super) decided: Option<DecidedCounts>,
}

/// What a storage counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) clients: Totals,
    pub(super) objects: u64,
    pub(super) open_transactions: u64,
    pub(super) waiting_votes: usize,
    pub(super) packing: bool,
    pub(super) failed: bool,
}

/// What was decided, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DecidedCounts {
    pub(super) paused: bool,
    /// Every member, and whether it is banned.
    pub(super) banned: Vec<(String, bool)>,
    /// By their cause.
    pub(super) promotions: BTreeMap<&'static str, u64>,
    /// By node and storage.
    pub(super) lost: BTreeMap<(String, String), u64>,
}

impl Measured {
    /// Of this node, now. May wait for the disk.
    pub(super) fn of(subject: &Subject) -> Result<Self, ReadError> {
        let vitals = Vitals::of(subject);
        let doors = &subject.doors;
        let mut serving = Vec::new();
        if doors.read_write.is_some() {
            serving.push(("read_write", vitals.writes().is_ok()));
        }
        if doors.read_only.is_some() {
            serving.push(("read_only", vitals.reads(None).is_ok()));
        }
        let parked = [("zeo", &doors.read_write), ("zeo_ro", &doors.read_only)];
        let parked = parked.into_iter().filter_map(|(name, door)| Some((name, door.as_ref()?.parked())));
        Ok(Self {
            status: status::of_node(subject)?,
            may_commit: vitals.may_commit(),
            serving,
            parked: parked.collect(),
            storages: subject.copies.values().map(|copy| (copy.name().to_owned(), counted(copy))).collect(),
            decided: subject.decisions.as_ref().map(|decisions| {
                let known = decisions.known().borrow().clone();
                let mut counts = decided_counts(known.history.happenings().map(|happening| &happening.what));
                counts.paused = known.decided.is_paused();
                let members = known.decided.members().iter();
                counts.banned = members
                    .map(|(node, member)| (member.name.clone(), known.decided.is_banned(*node)))
                    .collect();
                counts
            }),
        })
    }

    /// The metrics of it.
    pub(super) fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new();
        let status = &self.status;
        sheet.set("standby_build_info", &[("version", &status.version)], 1u8);
        let node = [("cluster", &*status.cluster), ("node", &*status.node), ("group", &*status.group)];
        sheet.set("standby_node_info", &node, 1u8);
        sheet.set("standby_start_time_seconds", &[], status.started);
        let role = role(status.role);
        for known in ["primary", "replica", "undecided", "witness"] {
            sheet.set_flag("standby_role", &[("role", known)], known == role);
        }
        let of_storages = status.storages.iter().map(|storage| storage.epoch).max();
        let epoch = status.view.as_ref().map(|view| view.epoch).or(of_storages).unwrap_or(0);
        sheet.set_number("standby_epoch", &[], epoch);
        sheet.set_flag("standby_lease_held", &[], self.may_commit);
        for (clients, served) in &self.serving {
            sheet.set_flag("standby_serving", &[("clients", clients)], *served);
        }
        for (listener, parked) in &self.parked {
            sheet.set_number("standby_parked_clients", &[("listener", listener)], *parked as u64);
        }
        if let Some(view) = &status.view {
            put_view(&mut sheet, view);
        }
        if let Some(decided) = &self.decided {
            put_decided(&mut sheet, decided);
        }
        for storage in &status.storages {
            put_storage(&mut sheet, storage, self.storages.get(&storage.name));
        }
        sheet
    }
}

fn counted(copy: &Copy) -> Counted {
    let service = copy.service();
    Counted {
        clients: service.clients().totals(),
        objects: service.storage().object_count(),
        open_transactions: service.stats().active_txns.get(),
        waiting_votes: service.lock_status().0,
        packing: service.pack_status().is_some(),
        failed: service.storage().failure().is_some(),
    }
}

fn decided_counts<'a>(happenings: impl Iterator<Item = &'a What>) -> DecidedCounts {
    let mut counts = DecidedCounts::default();
    for cause in ["failover", "switchover", "operator"] {
        counts.promotions.insert(cause, 0);
    }
    for what in happenings {
        match what {
            What::Promoted { cause, .. } => {
                let cause = match cause {
                    Cause::Failover => "failover",
                    Cause::Switchover => "switchover",
                    Cause::Operator => "operator",
                };
                *counts.promotions.entry(cause).or_default() += 1;
            }
            What::Lost { node, storage, transactions, .. } => {
                *counts.lost.entry((node.clone(), storage.clone())).or_default() += transactions;
            }
            _ => {}
        }
    }
    counts
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Undecided => "undecided",
        Role::Witness => "witness",
    }
}

fn put_view(sheet: &mut Sheet, view: &View) {
    for (name, state) in [
        ("alive", MemberState::Alive),
        ("suspect", MemberState::Suspect),
        ("failed", MemberState::Failed),
        ("left", MemberState::Left),
        ("unknown", MemberState::Unknown),
    ] {
        let seen = view.nodes.iter().filter(|node| node.state == state).count();
        sheet.set_number("standby_members", &[("state", name)], seen as u64);
    }
    for node in &view.nodes {
        sheet.set_flag("standby_member_flapping", &[("member", &node.name)], node.flapping);
    }
    sheet.set_flag("standby_failover_possible", &[], view.no_failover.is_none());
    if let Some(ahead) = view.clock_ahead_seconds {
        sheet.set("standby_clock_ahead_seconds", &[], ahead);
    }
    sheet.set_flag("standby_clock_off", &[], view.clock_off);
}

fn put_decided(sheet: &mut Sheet, decided: &DecidedCounts) {
    sheet.set_flag("standby_failover_paused", &[], decided.paused);
    for (member, banned) in &decided.banned {
        sheet.set_flag("standby_member_banned", &[("member", member)], *banned);
    }
    for (cause, promotions) in &decided.promotions {
        sheet.set_number("standby_history_promotions", &[("cause", cause)], *promotions);
    }
    for ((member, storage), lost) in &decided.lost {
        let labels = [("member", &**member), ("storage", storage)];
        sheet.set_number("standby_history_lost_transactions", &labels, *lost);
    }
}

fn put_storage(sheet: &mut Sheet, status: &StorageStatus, counted: Option<&Counted>) {
    let storage = &[("storage", &*status.name)][..];
    sheet.set_flag("standby_storage_serving", storage, status.state != CopyState::Incomplete);
    sheet.set_number("standby_storage_epoch", storage, status.epoch);
    if let Some(time) = status.last_time {
        sheet.set("standby_storage_last_commit_time_seconds", storage, time);
    }
    sheet.set_number("standby_storage_log_bytes", storage, status.log_bytes);
    sheet.set_number("standby_storage_clients", storage, status.clients);
    if let Some(counted) = counted {
        put_counted(sheet, storage, counted);
    }
    if let Some(upstream) = &status.upstream {
        put_upstream(sheet, storage, upstream);
    }
    for follower in &status.followers {
        put_follower(sheet, &status.name, follower);
    }
    if let Some(acks) = &status.acknowledgements {
        put_acknowledgements(sheet, storage, acks);
    }
}

fn put_counted(sheet: &mut Sheet, storage: &[(&'static str, &str)], counted: &Counted) {
    let Totals { loads, stores, commits, aborts, conflicts, conflicts_returned } = counted.clients;
    sheet.count("standby_storage_loads_total", storage, loads);
    sheet.count("standby_storage_stores_total", storage, stores);
    sheet.count("standby_storage_commits_total", storage, commits);
    sheet.count("standby_storage_aborts_total", storage, aborts);
    sheet.count("standby_storage_conflicts_total", storage, conflicts);
    sheet.count("standby_storage_conflicts_returned_total", storage, conflicts_returned);
    sheet.set_number("standby_storage_objects", storage, counted.objects);
    sheet.set_number("standby_storage_open_transactions", storage, counted.open_transactions);
    sheet.set_number("standby_storage_waiting_votes", storage, counted.waiting_votes as u64);
    sheet.set_flag("standby_storage_packing", storage, counted.packing);
    sheet.set_flag("standby_storage_failed", storage, counted.failed);
}

fn put_upstream(sheet: &mut Sheet, storage: &[(&'static str, &str)], upstream: &UpstreamStatus) {
    sheet.set_flag("standby_upstream_connected", storage, upstream.connected);
    sheet.set("standby_upstream_distance", storage, upstream.distance);
    if let Some(heard) = upstream.heard {
        sheet.set("standby_upstream_heard_age_seconds", storage, heard);
    }
    if upstream.last_tid.is_some() {
        sheet.set("standby_upstream_lag_seconds", storage, upstream.lag_seconds);
    }
}

fn put_follower(sheet: &mut Sheet, storage: &str, follower: &FollowerStatus) {
    let labels = [("storage", storage), ("follower", &*follower.node), ("follower_group", &*follower.group)];
    sheet.set_flag("standby_follower_flowing", &labels, follower.flowing);
    sheet.set_number("standby_follower_lag_transactions", &labels, follower.lag.transactions);
    sheet.set_number("standby_follower_lag_bytes", &labels, follower.lag.bytes);
    sheet.set("standby_follower_lag_seconds", &labels, follower.lag.seconds);
}

fn put_acknowledgements(sheet: &mut Sheet, storage: &[(&'static str, &str)], acks: &AcknowledgementStatus) {
    sheet.set_number("standby_acks_needed", storage, acks.needed as u64);
    sheet.set_number("standby_acks_present", storage, acks.present as u64);
    sheet.set_number("standby_acks_waiting", storage, acks.waiting as u64);
    sheet.set("standby_acks_waiting_seconds", storage, acks.waiting_seconds);
    sheet.set_flag("standby_acks_fell_back", storage, acks.fell_back);
}
