//! A node of which the cluster decides what it does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tracing::warn;

use super::conductor::{Part, Target};
use super::listeners::Listeners;
use super::peers::{self, Copies};
use super::surroundings::{self, Herald, Surroundings};
use crate::config::{NodeConfig, Secret};
use crate::decisions::raft::{Decisions, Pace, Started};
use crate::failover::choice::{Nobody, Standing};
use crate::failover::decided::Decided;
use crate::failover::settings::Setting;
use crate::failover::timing::Timing;
use crate::membership::datagram::GossipKey;
use crate::membership::gossip;
use crate::membership::members::Members;
use crate::membership::record::Record;
use crate::peer::Identity;
use crate::quiet::Quiet;
use crate::replication::upstream::FollowOptions;
use crate::world::net::UdpSocket;

/// Takes part in decisions.
pub(super) async fn start(
    config: &NodeConfig,
    identity: Arc<Identity>,
    standing: impl Fn() -> Standing + Send + Sync + 'static,
) -> Result<Started> {
    let path = control_path(config)?;
    let own = config.cluster.lease;
    let pace = |decided: &Decided| pace(&Timing::of_lease(lease(decided, own)));
    let started = Decisions::start(&path, identity, pace, standing).await;
    started.with_context(|| format!("cannot take part in decisions with {}", path.display()))
}

/// How long leases are: as was decided, or as the node's file says.
fn lease(decided: &Decided, own: Duration) -> Duration {
    decided.settings().time(Setting::Lease).unwrap_or(own)
}

/// A leader is missed before a lease ends: after 0.7 of its length.
fn pace(timing: &Timing) -> Pace {
    Pace { heartbeat: timing.lease / 15, election: timing.lease / 3, ..Pace::default() }
}

/// Not in the folder beside the storage: that is set aside with it, and what this node has promised is not.
pub(super) fn control_path(config: &NodeConfig) -> Result<PathBuf> {
    if let Some(path) = &config.node.control {
        return Ok(path.clone());
    }
    let storage = config.storages.first().context("a node without storages needs `control` in [node]")?;
    let mut path = storage.path.clone().into_os_string();
    path.push(".control.redb");
    Ok(path.into())
}

/// Where others reach this node.
pub(super) fn address(config: &NodeConfig) -> Result<String> {
    match (&config.node.address, &config.listen.peer) {
        (Some(address), _) => Ok(address.clone()),
        (None, Some(peer)) => Ok(peer.to_string()),
        (None, None) => bail!("a node that other nodes cannot reach"),
    }
}

/// The socket of gossip, beside the peer listener.
pub(super) async fn bind_gossip(address: SocketAddr) -> Result<UdpSocket> {
    UdpSocket::bind(address).await.with_context(|| format!("cannot listen on {address} (UDP)"))
}

/// What was decided, who is there, and why nobody was promoted.
pub(super) type Views =
    (watch::Receiver<Arc<Decided>>, watch::Receiver<Arc<Members>>, watch::Receiver<Option<Nobody>>);

/// Makes the one who keeps everybody informed of the cluster.
pub(super) fn herald(
    config: &NodeConfig,
    listeners: &Listeners,
    copies: &Copies,
    part: &watch::Sender<Part>,
    Started { decisions, .. }: &Started,
    (decided, members, why_nobody): Views,
) -> Result<Herald> {
    let here = address(config)?;
    let zeo = |zeo_ro| surroundings::reachable(listeners.address(zeo_ro), &here);
    let own = Record { zeo: zeo(false), zeo_ro: zeo(true), ..Record::unsaid() };
    let own = watch::Sender::new(own);
    let surroundings =
        Surroundings { me: decisions.me(), decided, members, own: own.subscribe(), why_nobody };
    Ok(Herald {
        cluster: config.cluster.name.clone(),
        join: config.cluster.join.clone(),
        copies: copies.clone(),
        part: part.subscribe(),
        decisions: decisions.clone(),
        surroundings,
        own,
        belong: watch::Sender::default(),
    })
}

/// Takes part in gossip, until `stopped`.
pub(super) fn gossip(
    config: &NodeConfig,
    socket: UdpSocket,
    herald: &Herald,
    members: watch::Sender<Arc<Members>>,
    quiet: Quiet,
    stopped: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>> {
    let Secret::Bytes(secret) = &config.cluster.secret else { bail!("a node of a cluster needs its secret") };
    let setup = gossip::Setup {
        socket,
        key: GossipKey::derive(secret, &config.cluster.name),
        node: herald.surroundings.me,
        address: address(config)?,
        pace: crate::membership::pace::of_lease(lease(
            &herald.surroundings.decided.borrow(),
            config.cluster.lease,
        )),
        belong: herald.belong.subscribe(),
        decided: herald.surroundings.decided.clone(),
        own: herald.own.subscribe(),
        members,
        quiet,
    };
    Ok(gossip::gossip(setup, stopped))
}

/// Follows whom it is told to, until the task is dropped.
pub(super) async fn follow(
    mut target: watch::Receiver<Target>,
    idle: watch::Sender<bool>,
    decisions: Decisions,
    options: FollowOptions,
    identity: Arc<Identity>,
    copies: Copies,
) {
    loop {
        let primary = *target.borrow_and_update();
        let Some(primary) = primary else {
            idle.send_replace(true);
            if target.changed().await.is_err() {
                return;
            }
            continue;
        };
        idle.send_replace(false);
        for copy in copies.values() {
            if let Err(error) = copy.begin_following().await {
                warn!(storage = copy.name(), %error, "cannot note that this copy follows");
            }
        }
        let Some(address) = decisions.address_of(primary) else {
            // The log tells of it soon.
            let _ = tokio::time::timeout(Duration::from_millis(50), target.changed()).await;
            continue;
        };
        peers::follow_upstream(&[address], options, &identity, &copies, &mut target).await;
        if target.has_changed().is_err() {
            return; // nobody says any more who is to be followed
        }
    }
}
