//! A node of which the cluster decides what it does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tracing::{info, warn};

use super::conductor::{Part, Target};
use super::listeners::Listeners;
use super::peers::{self, Copies};
use super::surroundings::{self, Herald, Surroundings};
use crate::config::{NodeConfig, Secret};
use crate::decisions::network::Admission;
use crate::decisions::raft::{Decisions, Pace, Started};
use crate::failover::choice::Standing;
use crate::failover::decided::Decided;
use crate::failover::entry::{Cause, Entry, LeaseMark, Member};
use crate::failover::timing::Timing;
use crate::membership::datagram::GossipKey;
use crate::membership::gossip;
use crate::membership::members::Members;
use crate::membership::record::Record;
use crate::peer::Identity;
use crate::replication::upstream::FollowOptions;

/// How long one attempt to join or to have something decided may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Takes part in decisions.
pub(super) async fn start(
    config: &NodeConfig,
    identity: Arc<Identity>,
    standing: impl Fn() -> Standing + Send + Sync + 'static,
) -> Result<Started> {
    let path = control_path(config)?;
    let pace = pace(&timing(config));
    let started = Decisions::start(&path, identity, pace, standing).await;
    started.with_context(|| format!("cannot take part in decisions with {}", path.display()))
}

/// How failover is timed.
pub(super) fn timing(config: &NodeConfig) -> Timing {
    Timing::of_lease(config.cluster.lease)
}

/// A leader is missed well before a lease ends.
fn pace(timing: &Timing) -> Pace {
    Pace { heartbeat: timing.lease / 15, election: timing.lease / 5, ..Pace::default() }
}

/// Not in the folder beside the storage: that is set aside with it, and what this node has promised is not.
fn control_path(config: &NodeConfig) -> Result<PathBuf> {
    let storage = config.storages.first().context("a node without storages")?;
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

fn member(config: &NodeConfig) -> Member {
    let node = &config.node;
    Member {
        name: node.name.clone(),
        group: node.group.clone(),
        electable: node.electable,
        voter: node.voter,
        priority: node.priority,
    }
}

/// Makes a cluster of this node alone, of which it is the primary, for storages with so many epochs behind them.
pub(super) async fn create(config: &NodeConfig, identity: Arc<Identity>, epoch: u64) -> Result<()> {
    let nobody = || Standing { ready: false, clock_off: false, epoch: 0, lasts: Vec::new() };
    let Started { decisions, .. } = start(config, identity, nobody).await?;
    let created = async {
        decisions.create(&address(config)?).await.context("this node belongs to a cluster already")?;
        let node = decisions.me();
        let by = format!("standby init at {}", config.node.name);
        let after = LeaseMark { epoch, seq: 0 };
        let acks = config.replication.acks.map_or(0, |acks| acks.needed);
        for entry in [
            Entry::Create { epoch },
            Entry::Join { node, member: member(config) },
            Entry::Acknowledge { acks },
            Entry::Promote { node, after, cause: Cause::Operator, used: None },
        ] {
            decide(&decisions, entry, &by).await?;
        }
        anyhow::Ok(())
    };
    let created = created.await;
    decisions.stop().await;
    created
}

/// The socket of gossip, beside the peer listener.
pub(super) async fn bind_gossip(address: SocketAddr) -> Result<UdpSocket> {
    UdpSocket::bind(address).await.with_context(|| format!("cannot listen on {address} (UDP)"))
}

/// Makes the one who keeps everybody informed of the cluster.
pub(super) fn herald(
    config: &NodeConfig,
    listeners: &Listeners,
    copies: &Copies,
    part: &watch::Sender<Part>,
    decisions: &Decisions,
    decided: &watch::Sender<Arc<Decided>>,
    members: &watch::Sender<Arc<Members>>,
) -> Result<Herald> {
    let here = address(config)?;
    let zeo = |zeo_ro| surroundings::reachable(listeners.address(zeo_ro), &here);
    let own = Record { zeo: zeo(false), zeo_ro: zeo(true), ..Record::unsaid() };
    let own = watch::Sender::new(own);
    let surroundings = Surroundings {
        me: decisions.me(),
        decided: decided.subscribe(),
        members: members.subscribe(),
        own: own.subscribe(),
    };
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
    stopped: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>> {
    let Secret::Bytes(secret) = &config.cluster.secret else { bail!("a node of a cluster needs its secret") };
    let setup = gossip::Setup {
        socket,
        key: GossipKey::derive(secret, &config.cluster.name),
        node: herald.surroundings.me,
        address: address(config)?,
        pace: crate::membership::pace::Pace::of_lease(config.cluster.lease),
        belong: herald.belong.subscribe(),
        decided: herald.surroundings.decided.clone(),
        own: herald.own.subscribe(),
        members,
    };
    Ok(gossip::gossip(setup, stopped))
}

/// Has something decided as soon as there is a leader.
async fn decide(decisions: &Decisions, entry: Entry, by: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..50 {
        match decisions.propose(entry.clone(), by, ATTEMPT).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(last.map_or_else(|| anyhow::anyhow!("never tried"), Into::into))
}

/// Sees to it that the cluster knows this node as its configuration says.
pub(super) async fn belong(config: NodeConfig, decisions: Decisions, known_as: Option<Member>) -> Result<()> {
    let member = member(&config);
    let admission = Admission { node: decisions.me(), address: address(&config)?, votes: member.voter };
    let is_told = decisions.address_of(admission.node).as_ref() == Some(&admission.address)
        && decisions.is_voter(admission.node) == admission.votes;
    if known_as.as_ref() == Some(&member) && is_told {
        return Ok(());
    }
    if known_as.is_none() && config.cluster.join.is_empty() {
        warn!("this node belongs to no cluster yet: `standby init` makes one, `join` in [cluster] names one");
    }
    let mut told = false;
    loop {
        let mut joined = known_as.is_some() && is_told;
        // Whoever it knows may have moved, too; and whoever was restarted alone knows itself.
        for known in config.cluster.join.iter().chain(&decisions.addresses()) {
            if joined {
                break;
            }
            match decisions.join(known, &admission, ATTEMPT).await {
                Ok(()) => joined = true,
                Err(error) if !told => warn!(%known, %error, "cannot join yet"),
                Err(_) => {}
            }
        }
        told = true;
        let entry = Entry::Join { node: decisions.me(), member: member.clone() };
        if joined && decisions.propose(entry, &member.name, ATTEMPT).await.is_ok() {
            info!(cluster = %config.cluster.name, "this node belongs to the cluster");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
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
    }
}
