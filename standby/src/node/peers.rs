//! Other nodes: those that follow this one, and the one that it follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{NodeConfig, Secret};
use crate::decisions::line;
use crate::decisions::raft::Decisions;
use crate::listener::ListenAddress;
use crate::peer::{Backoff, ChannelOptions, Connection, Hello, Identity, PeerListener, dial};
use crate::quiet::Quiet;
use crate::replication::copy::Copy;
use crate::replication::downstream;
use crate::replication::followers::Peer;
use crate::replication::upstream::{FollowOptions, follow};

/// What begins the name of a channel on which a storage is streamed.
const STREAM: &str = "stream:";
/// The feature of a node that may become the primary.
const ELECTABLE: &str = "electable";
/// A transaction is one message.
const STREAM_OPTIONS: ChannelOptions =
    ChannelOptions { window_bytes: 16 << 20, message_bytes_max: 0x7fff_ffff };

/// The copies of a node, by the names of their storages.
pub(crate) type Copies = Arc<BTreeMap<String, Copy>>;

/// What this node says of itself to others; `None` where it speaks with none.
pub(super) fn identity(config: &NodeConfig, quiet: &Quiet) -> Result<Option<Arc<Identity>>> {
    let Secret::Bytes(secret) = &config.cluster.secret else { return Ok(None) };
    let hello = Hello {
        cluster: config.cluster.name.clone(),
        node: config.node.name.clone(),
        group: config.node.group.clone(),
        features: if config.node.electable { vec![ELECTABLE.to_owned()] } else { Vec::new() },
    };
    Ok(Some(Arc::new(Identity::new(hello, secret)?.with_quiet(quiet.clone()))))
}

/// Listens for other nodes.
pub(super) async fn bind(address: &ListenAddress, identity: &Arc<Identity>) -> Result<PeerListener> {
    let ListenAddress::Tcp(host_and_port) = address else { bail!("other nodes come over TCP only") };
    let bound = PeerListener::bind(host_and_port, identity.clone()).await;
    bound.with_context(|| format!("cannot listen on {address}"))
}

/// Lets other nodes follow, until the node stops.
pub(super) async fn serve(
    mut listener: PeerListener,
    group: String,
    copies: Copies,
    decisions: Option<Decisions>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.next() => {
                connections.spawn(serve_one(connection, group.clone(), copies.clone(), decisions.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

async fn serve_one(connection: Connection, group: String, copies: Copies, decisions: Option<Decisions>) {
    let remote = connection.remote();
    let electable = remote.features.iter().any(|feature| feature == ELECTABLE);
    let peer = Peer {
        node: remote.node.clone(),
        group: remote.group.clone(),
        acknowledges: electable && remote.group == group,
    };
    let mut streams = JoinSet::new();
    while let Some(opening) = connection.next_opening().await {
        if opening.name() == line::CHANNEL
            && let Some(decisions) = decisions.clone()
        {
            if let Ok(channel) = opening.accept(line::CHANNEL_OPTIONS) {
                streams.spawn(async move { decisions.serve(channel).await });
            }
            continue;
        }
        let Some(name) = opening.name().strip_prefix(STREAM) else { continue };
        let Some(copy) = copies.get(name) else {
            let reason = format!("this node has no storage {name:?}");
            opening.refuse(&reason);
            continue;
        };
        if !copy.progress().borrow().whole {
            opening.refuse("this node's own copy is not whole yet");
            continue;
        }
        let copy = copy.clone();
        match opening.accept(STREAM_OPTIONS) {
            Ok(channel) => {
                streams.spawn(downstream::serve(channel, copy, peer.clone()));
            }
            Err(error) => info!(remote = %peer.node, %error, "a stream did not begin"),
        }
    }
}

/// Follows as the node's file says, until the task is dropped.
pub(super) async fn follow_configured(
    mut file: watch::Receiver<Arc<NodeConfig>>,
    options: FollowOptions,
    identity: Arc<Identity>,
    copies: Copies,
) {
    let of = |config: &NodeConfig| config.upstream.as_ref().map(|upstream| upstream.addresses.clone());
    let (known, mut addresses) = watch::channel(of(&file.borrow_and_update()).unwrap_or_default());
    let follow = async {
        loop {
            let upstreams = addresses.borrow_and_update().clone();
            follow_upstream(&upstreams, options, &identity, &copies, &mut addresses).await;
        }
    };
    let look = async {
        while file.changed().await.is_ok() {
            let read = of(&file.borrow_and_update()).unwrap_or_default();
            known.send_if_modified(|known| {
                *known != read && {
                    *known = read;
                    true
                }
            });
        }
    };
    tokio::join!(follow, look);
}

/// Follows one of the addresses, again and again, until `changed` changes or the task is dropped.
pub(super) async fn follow_upstream<T>(
    addresses: &[String],
    options: FollowOptions,
    identity: &Identity,
    copies: &Copies,
    changed: &mut watch::Receiver<T>,
) {
    let backoff = Backoff::default();
    let mut failures = 0;
    for address in addresses.iter().cycle() {
        let dialed = tokio::select! {
            dialed = dial(address, identity) => dialed,
            _ = changed.changed() => return,
        };
        let came_forward = match dialed {
            Ok(connection) => {
                info!(upstream = %connection.remote().node, %address, "connected");
                match follow_on(&connection, options, copies, changed).await {
                    Some(came_forward) => came_forward,
                    None => return,
                }
            }
            Err(error) => {
                warn!(%address, %error, "the upstream cannot be reached");
                for copy in copies.values() {
                    copy.note_heard(|heard| heard.trouble = Some(format!("{address}: {error}")));
                }
                false
            }
        };
        failures = if came_forward { 0 } else { failures + 1 };
        let random = crate::world::random();
        tokio::select! {
            () = tokio::time::sleep(backoff.wait(failures, random)) => {}
            _ = changed.changed() => return,
        }
    }
}

/// Follows with all storages on one connection, until one of their streams ends. Whether any came forward; `None` when
/// another is to be followed: by then everything that was received is durable.
async fn follow_on<T>(
    connection: &Connection,
    options: FollowOptions,
    copies: &Copies,
    changed: &mut watch::Receiver<T>,
) -> Option<bool> {
    let before: Vec<_> = copies.values().map(|copy| copy.service().storage().last_place()).collect();
    let mut streams = JoinSet::new();
    for copy in copies.values() {
        let (connection, copy) = (connection.clone(), copy.clone());
        streams.spawn(async move {
            let name = format!("{STREAM}{}", copy.name());
            let reason = match connection.open(&name, STREAM_OPTIONS).await {
                Ok(channel) => {
                    copy.note_heard(|heard| {
                        heard.node = Some(connection.remote().node.clone());
                        heard.connected = true;
                    });
                    follow(channel, &copy, options).await.to_string()
                }
                Err(error) => error.to_string(),
            };
            copy.note_heard(|heard| {
                heard.connected = false;
                heard.trouble = Some(reason.clone());
            });
            warn!(storage = copy.name(), upstream = %connection.remote().node, %reason, "a stream ended");
            connection.close("a stream ended");
        });
    }
    let mut goes_on = true;
    loop {
        tokio::select! {
            ended = streams.join_next() => if ended.is_none() { break },
            _ = changed.changed(), if goes_on => {
                goes_on = false;
                connection.close("another is to be followed");
            }
        }
    }
    let after = copies.values().map(|copy| copy.service().storage().last_place());
    goes_on.then(|| before.into_iter().ne(after))
}
