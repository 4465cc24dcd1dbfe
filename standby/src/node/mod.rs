//! `standby run`: a node of a cluster, from start to stop.

mod listeners;
mod mend;
mod peers;
mod readiness;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::listeners::Listeners;
pub(crate) use self::peers::Copies;
pub(crate) use self::readiness::of_copy as readiness_of;
use crate::config::{NodeConfig, Role};
use crate::control;
use crate::door::{Keeper, Readiness};
use crate::listener::ListenAddress;
use crate::opening::{self, ServiceSettings};
use crate::peer::PeerListener;
use crate::process::{Signals, run_until_done};
use crate::replication::copy::Copy;
use crate::replication::upstream::FollowOptions;
use crate::server::Served;

/// How long the connections may take to end when the node stops.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Runs the node until SIGTERM or SIGINT. `on_user_signal` is called at each SIGUSR2.
pub fn run(config: NodeConfig, on_user_signal: fn()) -> Result<()> {
    run_until_done(on_user_signal, |signals| node(config, signals))
}

async fn node(config: NodeConfig, mut signals: Signals) -> Result<()> {
    while let Some(repairs) = run_once(&config, &mut signals).await? {
        let specs = config.storages.clone();
        let mending = tokio::task::spawn_blocking(move || mend::mend(&specs, &repairs));
        mending.await.map_err(|panic| anyhow!(panic))??;
    }
    Ok(())
}

/// Runs until the node is to stop, or copies must be mended before it can go on.
async fn run_once(config: &NodeConfig, signals: &mut Signals) -> Result<Option<mend::Repairs>> {
    let NodeConfig { node, zeo, limits, storages, .. } = config;
    let started = SystemTime::now();
    // Bound first: a port that is taken is found before a large file is indexed.
    let listeners = Listeners::bind(config).await?;
    let identity = peers::identity(config)?;
    let peer = match (&config.listen.peer, &identity) {
        (Some(address), Some(identity)) => Some(peers::bind(address, identity).await?),
        _ => None,
    };
    let peer_address = peer.as_ref().map(PeerListener::address).transpose()?;
    let admin = match &config.listen.admin {
        Some(ListenAddress::Unix(path)) => Some(control::bind(path)?),
        Some(ListenAddress::Tcp(_)) => bail!("the control API listens on unix:PATH only"),
        None => None,
    };
    let settings = ServiceSettings {
        read_only: false,
        invalidations: zeo.invalidations,
        transaction_timeout: zeo.transaction_timeout,
        load_delay: Duration::ZERO,
    };
    let specs = storages.clone();
    let services = tokio::task::spawn_blocking(move || opening::open_all(&specs, &settings));
    let services = tokio::select! {
        services = services => services.map_err(|panic| anyhow!(panic))??,
        _ = signals.stop() => return Ok(None), // nothing is lost: an index in the making is made again
    };
    let served = Arc::new(Served::new(services, zeo.encoding, limits.clients));

    let copies = served.storages().map(|service| {
        let copy = Copy::open(&node.name, service.clone())?;
        Ok((copy.name().to_owned(), copy))
    });
    let copies: Copies = Arc::new(copies.collect::<Result<_>>()?);
    info!(node = %node.name, group = %node.group, role = ?node.role, "starting");

    let (stop, stopped) = watch::channel(false);
    let mut background = JoinSet::new();
    let (read_write, read_only) = match node.role {
        Role::Primary => {
            for copy in copies.values() {
                copy.begin_epoch(&node.name).await?;
                if let Some(acks) = config.replication.acks {
                    copy.service().require_acknowledgements(acks);
                    background.spawn(copy.service().clone().watch_acknowledgements(acks));
                }
            }
            (Keeper::new(Readiness::Open), Keeper::new(Readiness::Open))
        }
        Role::Replica => {
            for copy in copies.values() {
                copy.begin_following().await?;
            }
            let read_only = Keeper::new(readiness::of(&copies));
            background.spawn(readiness::keep(copies.clone(), read_only.clone()));
            (Keeper::new(Readiness::Closed), read_only)
        }
    };
    if let (Some(upstream), Some(identity)) = (config.upstream.clone(), identity.clone()) {
        let options = FollowOptions {
            recovery: upstream.recovery,
            compression: upstream.compression,
            follow_pack: config.replication.follow_pack,
        };
        background.spawn(peers::follow_upstream(upstream, options, identity, copies.clone()));
    }
    if let Some(peer) = peer {
        background.spawn(peers::serve(peer, node.group.clone(), copies.clone(), stopped.clone()));
    }
    background.spawn(control::keep_lag_log(copies.clone()));
    if let Some(admin) = admin {
        let subject = control::Subject { config: config.clone(), copies: copies.clone(), started };
        background.spawn(control::serve(admin, subject));
    }
    let serving = listeners.serve(&served, &read_write, &read_only, peer_address, &stopped)?;
    let repairs = tokio::select! {
        signal = signals.stop() => {
            info!(signal, "stopping");
            None
        }
        repairs = mend::asked_for(&copies) => Some(repairs),
    };
    stop.send_replace(true);
    background.shutdown().await;
    if tokio::time::timeout(STOP_LIMIT, serving.join_all()).await.is_err() {
        warn!("some connections did not end in time");
    }
    let closing = tokio::task::spawn_blocking(move || opening::close_all(&served));
    closing.await.map_err(|panic| anyhow!(panic))?.context("closing the storages")?;
    Ok(repairs)
}
