//! `standby run`: a node of a cluster, from start to stop.

mod again;
mod auto;
mod belonging;
mod conductor;
mod handover;
mod listeners;
mod losses;
mod mend;
mod packs;
mod peers;
mod readiness;
mod reload;
mod surroundings;
mod tuning;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::again::Again;
pub(crate) use self::conductor::Part;
use self::conductor::Stage;
pub(crate) use self::listeners::Doors;
use self::listeners::Listeners;
pub(crate) use self::packs::Packs;
pub(crate) use self::peers::Copies;
pub(crate) use self::readiness::{of as readiness_of_all, of_copy as readiness_of};
use self::reload::Reload;
pub(crate) use self::reload::ReloadOrders;
pub(crate) use self::surroundings::Surroundings;
use self::tuning::Tuning;
use crate::config::{NodeConfig, Role};
use crate::control;
use crate::door::{Keeper, Readiness};
use crate::failover::lease::{LeaseView, since_boot};
use crate::failover::settings::Settings;
use crate::membership::members::Members;
use crate::opening::{self, ServiceSettings};
use crate::peer::PeerListener;
use crate::process::{Asked, Signals, run_until_done};
use crate::quiet::Quiet;
use crate::replication::copy::Copy;
use crate::replication::message::Recovery;
use crate::replication::run::Compression;
use crate::replication::upstream::FollowOptions;
use crate::server::Served;
use crate::supervisor;
use crate::world;

/// How long the connections may take to end when the node stops.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Runs the node until SIGTERM or SIGINT. Its file is read anew at SIGHUP; `refilter` is called with what is to be logged then.
/// `on_user_signal` is called at each SIGUSR2.
pub fn run(config: NodeConfig, path: &Path, refilter: fn(Option<&str>), on_user_signal: fn()) -> Result<()> {
    let file = NodeFile { path: path.to_owned(), config: watch::Sender::new(Arc::new(config)), refilter };
    run_until_done(on_user_signal, |signals| node(file, signals))
}

/// Runs the node within the caller's runtime, until `signals` say otherwise.
#[cfg(feature = "simulation")]
pub async fn run_within(config: NodeConfig, signals: Signals) -> Result<()> {
    let config = watch::Sender::new(Arc::new(config));
    node(NodeFile { path: PathBuf::new(), config, refilter: |_| () }, signals).await
}

/// The file that a node was started with.
struct NodeFile {
    path: PathBuf,
    /// What it says, as far as it has taken effect.
    config: watch::Sender<Arc<NodeConfig>>,
    refilter: fn(Option<&str>),
}

/// Makes a cluster of this node alone: `standby init`.
pub fn create_cluster(config: NodeConfig) -> Result<()> {
    run_until_done(|| (), |_| create_cluster_within(config))
}

/// The same within the caller's runtime.
pub async fn create_cluster_within(config: NodeConfig) -> Result<()> {
    let Role::Auto = config.node.role else {
        bail!("the node says its role itself: with `role = \"auto\"` in [node] the cluster decides it");
    };
    let identity =
        peers::identity(&config, &Quiet::default())?.context("a node of a cluster needs its secret")?;
    let specs = config.storages.clone();
    let settings = service_settings(&config);
    let opened = world::spawn_blocking(move || opening::open_all(&specs, &settings));
    let services = opened.await.map_err(|panic| anyhow!(panic))??;
    let mut epoch = 0;
    for service in &services {
        let lineage = service.storage().lineage()?;
        anyhow::ensure!(
            lineage.is_whole(),
            "storage {:?} is a copy that was never completed",
            service.options().name
        );
        epoch = epoch.max(lineage.epochs.newest());
    }
    let created = belonging::create(&config, identity, epoch).await;
    for service in &services {
        service.close()?;
    }
    created
}

fn service_settings(config: &NodeConfig) -> ServiceSettings {
    ServiceSettings {
        read_only: false,
        invalidations: config.zeo.invalidations,
        transaction_timeout: config.zeo.transaction_timeout,
        load_delay: Duration::ZERO,
    }
}

async fn node(file: NodeFile, mut signals: Signals) -> Result<()> {
    while let Some(again) = run_once(&file, &mut signals).await? {
        let config = file.config.borrow().clone();
        again.prepare(&config).await?;
    }
    Ok(())
}

/// Runs until the node is to stop, or must start once more.
async fn run_once(node_file: &NodeFile, signals: &mut Signals) -> Result<Option<Again>> {
    let file = &node_file.config;
    let config = &*file.borrow().clone();
    let NodeConfig { node, zeo, limits, storages, .. } = config;
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    let started = world::now();
    // Bound first: a port that is taken is found before a large file is indexed.
    let listeners = Listeners::bind(config).await?;
    let quiet = Quiet::default();
    let identity = peers::identity(config, &quiet)?;
    let peer = match (&config.listen.peer, &identity) {
        (Some(address), Some(identity)) => Some(peers::bind(address, identity).await?),
        _ => None,
    };
    let peer_address = peer.as_ref().map(PeerListener::address).transpose()?;
    let gossip = match (node.role, peer_address) {
        (role, Some(address)) if role.is_decided() => Some(auto::bind_gossip(address).await?),
        _ => None,
    };
    let admin = control::bind(config).await?;
    let admin_addresses: Vec<_> = admin.iter().filter_map(control::Socket::tcp_address).collect();
    let acceptor = tuning::acceptor(config)?;
    let settings = service_settings(config);
    let specs = storages.clone();
    let services = world::spawn_blocking(move || opening::open_all(&specs, &settings));
    let services = tokio::select! {
        services = services => services.map_err(|panic| anyhow!(panic))??,
        _ = signals.stop() => return Ok(None), // nothing is lost: an index in the making is made again
    };
    let mut served = Served::new(services, zeo.encoding, limits.clients);
    served.quiet = quiet.clone();
    let served = Arc::new(served);

    let copies = served.storages().map(|service| {
        let copy = Copy::open(&node.name, service.clone())?;
        Ok((copy.name().to_owned(), copy))
    });
    let copies: Copies = Arc::new(copies.collect::<Result<_>>()?);
    losses::note_own(&copies).await;
    info!(node = %node.name, group = %node.group, role = ?node.role, "starting");

    let packs = Packs::new(&copies);
    let (stop, stopped) = watch::channel(false);
    let mut background = JoinSet::new();
    let mut conductors = JoinSet::new();
    let (part, _) = watch::channel(match node.role {
        Role::Primary => Part::Primary,
        Role::Replica => Part::Replica,
        Role::Auto => Part::Undecided,
        Role::Witness => Part::Witness,
    });
    let tuning = Tuning::new(&served, &copies, acceptor);
    tuning.apply(config, &Settings::default());
    let mut decided = None;
    let mut surroundings = None;
    let mut lease = None;
    let refound = watch::Sender::new(None);
    let (read_write, read_only) = match node.role {
        Role::Auto | Role::Witness => {
            let identity = identity.clone().context("a node of a cluster needs its secret")?;
            let members = watch::Sender::new(Arc::new(Members::default()));
            let (told, seen) = (copies.clone(), members.subscribe());
            let standing = move || conductor::standing(&told, seen.borrow().is_own_clock_off(since_boot()));
            let started = auto::start(config, identity.clone(), standing).await?;
            decided = Some(started.decisions.clone());
            let known = watch::Sender::new(Arc::new(started.decided.clone()));
            tuning.apply(config, started.decided.settings());
            let why_nobody = watch::Sender::new(None);
            let seen = members.subscribe();
            let socket = gossip.context("a node that other nodes cannot reach")?;
            let views = (known.subscribe(), members.subscribe(), why_nobody.subscribe());
            let herald = auto::herald(config, &listeners, &copies, &part, &started, views)?;
            surroundings = Some(herald.surroundings.clone());
            let gossiping = auto::gossip(config, socket, &herald, members, quiet.clone(), stopped.clone())?;
            conductors.spawn(gossiping);
            background.spawn(herald.serve());
            let (target, targets) = watch::channel(None);
            let (idle, idles) = watch::channel(true);
            let options = FollowOptions {
                recovery: Recovery::Full,
                compression: config.replication.compression.unwrap_or(Compression::None),
            };
            let decisions = started.decisions.clone();
            background.spawn(auto::follow(targets, idle, decisions, options, identity, copies.clone()));
            background.spawn(belonging::keep_member(file.subscribe(), started.decisions.clone()));
            let (founding, others) = (started.founding.clone(), started.others.clone());
            let decisions = started.decisions.clone();
            background.spawn(losses::keep_noting(decisions.known(), copies.clone()));
            let belonging = belonging::belong(config.clone(), decisions, founding, others, copies.clone());
            background.spawn(async move {
                if let Err(error) = belonging.await {
                    warn!(error = format!("{error:#}"), "this node cannot join its cluster");
                }
            });
            let read_only = Keeper::new(readiness::of(&copies));
            background.spawn(readiness::keep(copies.clone(), read_only.clone()));
            let read_write = Keeper::new(Readiness::Closed);
            let lease_view = LeaseView::default();
            lease = Some(lease_view.clone());
            let stage = Stage {
                name: node.name.clone(),
                copies: copies.clone(),
                read_write: read_write.clone(),
                target,
                idle: idles,
                part: part.clone(),
                decided: known,
                refound: refound.clone(),
                lease: lease_view,
                config: file.subscribe(),
                tuning: tuning.clone(),
                members: seen,
                why_nobody,
                packs: packs.clone(),
            };
            let conducting = conductor::conduct(started, stage, stopped.clone());
            conductors.spawn(conducting);
            (read_write, read_only)
        }
        Role::Primary => {
            for copy in copies.values() {
                copy.begin_epoch(&node.name).await?;
            }
            background.spawn(tuning::keep_acknowledgements(file.subscribe(), copies.clone()));
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
        let options = FollowOptions { recovery: upstream.recovery, compression: upstream.compression };
        background.spawn(peers::follow_configured(file.subscribe(), options, identity, copies.clone()));
    }
    if let Some(peer) = peer {
        background.spawn(peers::serve(
            peer,
            node.group.clone(),
            copies.clone(),
            decided.clone(),
            stopped.clone(),
        ));
    }
    background.spawn(control::keep_lag_log(copies.clone()));
    background.spawn(supervisor::keep_telling(part.subscribe()));
    let (reload, mut reloads) = mpsc::channel(1);
    let doors = listeners.doors(&read_write, &read_only, &tuning);
    let subject = control::Subject {
        config: file.subscribe(),
        copies: copies.clone(),
        started,
        part: part.subscribe(),
        lease,
        doors: doors.clone(),
        decisions: decided.clone(),
        surroundings,
        reload,
        quiet: quiet.clone(),
        packs: packs.clone(),
    };
    conductors.spawn(control::serve(admin, subject, stopped.clone()));
    let serving = listeners.serve(&served, doors, &tuning, peer_address, &admin_addresses, &stopped)?;
    let reloading = Reload {
        path: &node_file.path,
        file,
        tuning: &tuning,
        decisions: decided.as_ref(),
        refilter: node_file.refilter,
    };
    let mut again = Box::pin(again::asked_for(&copies, decided.as_ref(), refound.subscribe()));
    let repairs = loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(signal) => {
                    info!(signal, "stopping");
                    supervisor::stopping();
                    break None;
                }
                Asked::Reload => drop(reloading.run("SIGHUP")),
            },
            Some((by, outcome)) = reloads.recv() => {
                let _ = outcome.send(reloading.run(&by)); // whoever left reads it in the log
            }
            again = &mut again => break Some(again),
        }
    };
    drop(again);
    quiet.end();
    stop.send_replace(true);
    while conductors.join_next().await.is_some() {}
    background.shutdown().await;
    if let Some(decided) = decided {
        decided.stop().await;
    }
    if tokio::time::timeout(STOP_LIMIT, serving.join_all()).await.is_err() {
        warn!("some connections did not end in time");
    }
    let closing = world::spawn_blocking(move || opening::close_all(&served));
    closing.await.map_err(|panic| anyhow!(panic))?.context("closing the storages")?;
    Ok(repairs)
}
