//! The I/O around [`Swim`]: one UDP socket, and the view for everybody else in this process.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::datagram::{GossipKey, Opener, Refused, Sealer};
use super::members::Members;
use super::pace;
use super::peer::{Peer, State};
use super::record::Record;
use super::swim::{Action, Clock, Event, Swim};
use crate::failover::decided::Decided;
use crate::failover::entry::NodeId;
use crate::failover::lease::since_boot;
use crate::quiet::Quiet;
use crate::refusals::Refusals;
use crate::world::net::UdpSocket;
use crate::world::{self, Instant};

/// One byte more than the longest datagram, and then some: what is longer is seen to be.
const RECEIVE_BYTES: usize = 2048;
/// What a node tells of itself is looked at so often.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Unless it has changed, it is told again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// A name is looked up again after this time.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);
/// Greatest number of names that are remembered.
const NAMES_MAX: usize = 1024;
/// A socket that cannot receive is tried again after this time.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// What a node needs to take part.
pub(crate) struct Setup {
    /// Bound beside the peer listener.
    pub(crate) socket: UdpSocket,
    /// The cluster's.
    pub(crate) key: GossipKey,
    /// The node.
    pub(crate) node: NodeId,
    /// Where others reach it, HOST:PORT.
    pub(crate) address: String,
    /// When it asks and tells.
    pub(crate) pace: foca::Config,
    /// Who belongs to the cluster, and where some of them may be found.
    pub(crate) belong: watch::Receiver<(BTreeSet<NodeId>, BTreeSet<String>)>,
    /// What was decided: what nodes are called.
    pub(crate) decided: watch::Receiver<Arc<Decided>>,
    /// What it tells of itself.
    pub(crate) own: watch::Receiver<Record>,
    /// What it sees.
    pub(crate) members: watch::Sender<Arc<Members>>,
    /// Whether it neither hears nor says anything.
    pub(crate) quiet: Quiet,
}

/// Takes part until `stopped`, and says that it leaves.
pub(crate) async fn gossip(setup: Setup, mut stopped: watch::Receiver<bool>) {
    let Setup { socket, key, node, address, pace, mut belong, decided, mut own, members, quiet } = setup;
    let random = world::random();
    let tick = pace::tick(&pace);
    let mut gossip = Gossip {
        swim: Swim::new(node, address, unix_ms(), pace, random),
        outgoing: Outgoing { socket: Arc::new(socket), names: Arc::default(), quiet: quiet.clone() },
        sealer: Sealer::new(&key),
        opener: Opener::new(key),
        seen: Members::default(),
        decided,
        members,
        refusals: Refusals::default(),
        told: None,
    };
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tell = tokio::time::interval(TELL_EVERY);
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    belong.mark_changed();
    let mut datagram = [0; RECEIVE_BYTES];
    let socket = gossip.outgoing.socket.clone();
    loop {
        tokio::select! {
            received = socket.recv_from(&mut datagram) => match received {
                Ok(_) if quiet.left().is_some() => {}
                Ok((length, from)) => gossip.take(&datagram[..length], from).await,
                Err(error) => {
                    debug!(%error, "no datagram could be received");
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                }
            },
            _ = ticks.tick() => drop(gossip.handle(Event::Tick).await),
            _ = tell.tick() => {
                let record = own.borrow_and_update().clone();
                gossip.tell(record).await;
            }
            Ok(()) = belong.changed() => {
                let (nodes, seeds) = belong.borrow_and_update().clone();
                gossip.handle(Event::Belong { nodes, seeds }).await;
            }
            () = stops(&mut stopped) => {
                gossip.handle(Event::Leave).await;
                return;
            }
        }
    }
}

async fn stops(stopped: &mut watch::Receiver<bool>) {
    // Whoever would say so is gone: it stops, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

struct Gossip {
    swim: Swim,
    outgoing: Outgoing,
    sealer: Sealer,
    opener: Opener,
    seen: Members,
    decided: watch::Receiver<Arc<Decided>>,
    members: watch::Sender<Arc<Members>>,
    refusals: Refusals,
    told: Option<(Instant, Record)>,
}

impl Gossip {
    async fn take(&mut self, datagram: &[u8], from: SocketAddr) {
        let refused = match self.opener.open(datagram) {
            Ok(message) => (!self.handle(Event::Heard(message)).await).then_some(Refused::Malformed),
            Err(refused) => Some(refused),
        };
        let Some(refused) = refused else { return };
        if let Some(count) = self.refusals.add(Instant::now()) {
            warn!(%from, reason = %refused, count, "refused a datagram");
        }
    }

    async fn tell(&mut self, mut record: Record) {
        let is_old_news = |(at, told): &(Instant, Record)| at.elapsed() < TELL_AGAIN && told.says_as(&record);
        if self.told.as_ref().is_some_and(is_old_news) {
            return;
        }
        record.wall_ms = unix_ms();
        self.told = Some((Instant::now(), record.clone()));
        self.handle(Event::Tell(record.encode())).await;
    }

    /// Whether it was understood.
    async fn handle(&mut self, event: Event) -> bool {
        let now = since_boot();
        let (mut is_changed, mut is_understood) = (false, true);
        for action in self.swim.handle(Clock { now, wall_ms: unix_ms() }, event) {
            is_changed |= !matches!(action, Action::Send { .. } | Action::Malformed);
            match action {
                Action::Send { to, message } => self.outgoing.send(to, self.sealer.seal(&message)).await,
                Action::Changed { peer, state } => {
                    let before = self.seen.change(&peer, state, now);
                    self.log_change(&peer, before, state);
                }
                Action::Told(told) => {
                    if let Some(record) = Record::decode(&told.record) {
                        self.seen.tell(told.node, record);
                    }
                }
                Action::Compared { node, ahead_ms } => self.seen.compare(node, ahead_ms, now),
                Action::Forgotten(node) => self.seen.forget(node),
                Action::Malformed => is_understood = false,
            }
        }
        if is_changed {
            self.members.send_replace(Arc::new(self.seen.clone()));
        }
        is_understood
    }

    fn log_change(&self, peer: &Peer, before: Option<State>, state: State) {
        let Peer { node, address, .. } = peer;
        let decided = self.decided.borrow();
        let name = decided.members().get(node).map(|member| &member.name);
        match (before, state) {
            (Some(State::Alive), State::Alive) => info!(name, %node, %address, "a node was started anew"),
            (Some(State::Suspect), State::Alive) => info!(name, %node, %address, "a node answers after all"),
            (_, State::Alive) => info!(name, %node, %address, "a node is there"),
            (_, State::Suspect) => info!(name, %node, %address, "a node does not answer"),
            (_, State::Failed) => warn!(name, %node, %address, "a node has failed"),
            (_, State::Left) => info!(name, %node, %address, "a node has left"),
        }
    }
}

fn unix_ms() -> u64 {
    world::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Sends datagrams to addresses that may be names. What cannot be sent is lost, as on the network.
struct Outgoing {
    socket: Arc<UdpSocket>,
    names: Arc<Mutex<HashMap<String, (Instant, SocketAddr)>>>,
    quiet: Quiet,
}

impl Outgoing {
    async fn send(&self, to: String, datagram: Vec<u8>) {
        if self.quiet.left().is_some() {
            return;
        }
        let known = to.parse().ok().or_else(|| {
            let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.get(&to).filter(|(at, _)| at.elapsed() < LOOK_UP_AGAIN).map(|(_, address)| *address)
        });
        if let Some(address) = known {
            send(&self.socket, &datagram, address).await;
            return;
        }
        // Whoever answers for names may take its time.
        let (socket, names) = (self.socket.clone(), self.names.clone());
        tokio::spawn(async move {
            let is_v4 = socket.local_addr().is_ok_and(|own| own.is_ipv4());
            let found = match world::net::lookup_host(&to).await {
                Ok(mut found) => found.find(|address| address.is_ipv4() == is_v4),
                Err(_) => None,
            };
            let Some(address) = found else {
                debug!(%to, "no such address");
                return;
            };
            {
                let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                if names.len() >= NAMES_MAX {
                    names.clear();
                }
                names.insert(to, (Instant::now(), address));
            }
            send(&socket, &datagram, address).await;
        });
    }
}

async fn send(socket: &UdpSocket, datagram: &[u8], address: SocketAddr) {
    if let Err(error) = socket.send_to(datagram, address).await {
        debug!(%address, %error, "a datagram could not be sent");
    }
}
