//! What a node says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use replica::ReadError;
use standby_control::{
    AcknowledgementStatus, CopyState, FollowerStatus, NodeStatus, Role, StorageStatus, UpstreamStatus,
};
use zeo_proto::Tid;

use super::Subject;
use super::{lag::lag, view};
use crate::config;
use crate::door::Readiness;
use crate::node::{Part, readiness_of};
use crate::replication::copy::Copy;
use crate::world;

pub(super) fn of_node(subject: &Subject) -> Result<NodeStatus, ReadError> {
    let config = subject.config.borrow().clone();
    let config::NodeConfig { cluster, node, .. } = &*config;
    let role = role(*subject.part.borrow());
    let follows = role != Role::Primary;
    let own_peer = node.address.clone().or_else(|| config.listen.peer.as_ref().map(ToString::to_string));
    Ok(NodeStatus {
        cluster: cluster.name.clone(),
        node: node.name.clone(),
        group: node.group.clone(),
        role,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: unix(subject.started),
        now: unix(world::now()),
        quiet_seconds: subject.quiet.left().map(|left| left.as_secs_f64()),
        view: subject.surroundings.as_ref().map(|known| {
            known.with_roster(|roster| view::of_cluster(&roster, known.outlook(), own_peer.as_deref()))
        }),
        storages: subject.copies.values().map(|copy| of_copy(copy, follows)).collect::<Result<_, _>>()?,
    })
}

pub(super) fn role(part: Part) -> Role {
    match part {
        Part::Primary => Role::Primary,
        Part::Replica => Role::Replica,
        Part::Undecided => Role::Undecided,
        Part::Witness => Role::Witness,
    }
}

fn of_copy(copy: &Copy, follows: bool) -> Result<StorageStatus, ReadError> {
    let service = copy.service();
    let last = service.publications().last_tid();
    let epochs = copy.lineage().epochs;
    Ok(StorageStatus {
        name: copy.name().to_owned(),
        state: match readiness_of(copy) {
            Readiness::Open => CopyState::Serving,
            Readiness::Behind => CopyState::Behind,
            Readiness::Closed => CopyState::Incomplete,
        },
        failure: service.storage().failure().map(str::to_owned),
        last_tid: last.to_string(),
        last_time: (last > Tid::ZERO).then(|| last.unix_seconds()),
        epoch: epochs.as_slice().iter().rfind(|epoch| epoch.boundary <= last).map_or(0, |epoch| epoch.epoch),
        log_bytes: service.storage().size_bytes(),
        clients: service.publications().subscribers() as u64,
        upstream: follows.then(|| upstream(copy, last)),
        acknowledgements: service.acknowledgements().map(|state| AcknowledgementStatus {
            needed: state.needed,
            present: state.present,
            waiting: state.waiting,
            waiting_seconds: state.since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
            fell_back: state.fell_back,
        }),
        followers: followers(copy)?,
    })
}

fn upstream(copy: &Copy, last: Tid) -> UpstreamStatus {
    let progress = *copy.progress().borrow();
    let heard = copy.heard();
    UpstreamStatus {
        node: heard.node,
        connected: heard.connected,
        trouble: heard.trouble,
        heard: heard.at.map(|at| at.elapsed().as_secs_f64()),
        last_tid: progress.upstream.map(|tid| tid.to_string()),
        lag_seconds: copy.behind(last).as_secs_f64(),
        route: copy.route().borrow().nodes().to_vec(),
        distance: progress.distance,
    }
}

fn followers(copy: &Copy) -> Result<Vec<FollowerStatus>, ReadError> {
    let told = copy.followers().list().into_iter().map(|follower| {
        let reached = follower.reached;
        Ok(FollowerStatus {
            node: follower.peer.node,
            group: follower.peer.group,
            flowing: reached.flowing,
            acknowledges: follower.peer.acknowledges,
            since: unix(follower.since),
            sent_tid: reached.sent.to_string(),
            durable_tid: reached.durable.to_string(),
            lag: lag(copy.service().storage(), reached.durable)?,
        })
    });
    let mut told = told.collect::<Result<Vec<_>, ReadError>>()?;
    told.sort_by(|one, other| (&one.group, &one.node).cmp(&(&other.group, &other.node)));
    Ok(told)
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
