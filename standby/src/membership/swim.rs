//! Who is alive, found out by asking around: `(clock, event) -> actions`. It detects and tells; it decides nothing.
//!
//! The protocol, SWIM with suspicion, is [`foca`]'s. Around it: nodes are called where they may be, so that a node finds the
//! others, and the two sides of a partition each other; who comes later is told what foca does not repeat; a node whose clock went
//! back takes a greater start; wall clocks are compared.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use bytes::BufMut;
use foca::{Codec, Config, Error, Foca, Header, Member, Notification, ProbeNumber, Timer};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::codec::{Wire, nodes_in};
use super::message::{Body, Item, Message, divided};
use super::pace::{FORGET_AFTER, transmissions};
use super::peer::{Peer, State};
use super::timers::Timers;
use super::told::{Tellings, Told};
use crate::failover::entry::NodeId;

/// Greatest number of nodes that are known.
pub const NODES_MAX: usize = 256;
/// Who asks is told all that is known in so many messages at most, and the rest when it asks again.
const KNOWN_MESSAGES_MAX: usize = 32;
/// Clocks are compared by answers that came this fast.
const COMPARED_WITHIN: Duration = Duration::from_millis(500);

/// This node's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Time since some moment of its own, which never goes back.
    pub now: Duration,
    /// Its wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The bytes of a message came, from somebody who has the cluster's key.
    Heard(Vec<u8>),
    /// The nodes that belong to the cluster, and addresses where some may be found.
    Belong {
        /// The nodes.
        nodes: BTreeSet<NodeId>,
        /// Addresses, HOST:PORT.
        seeds: BTreeSet<String>,
    },
    /// This node tells something new of itself: the bytes of a [`Record`](super::record::Record).
    Tell(Vec<u8>),
    /// It is being stopped.
    Leave,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes to HOST:PORT, [`MESSAGE_BYTES_MAX`](super::datagram::MESSAGE_BYTES_MAX) at most. They may get lost.
    Send {
        /// Where to.
        to: String,
        /// What.
        message: Vec<u8>,
    },
    /// A node is held for something else than before, or was started anew.
    Changed {
        /// The node.
        peer: Peer,
        /// How it is now.
        state: State,
    },
    /// A node tells something new of itself.
    Told(Told),
    /// A node's wall clock is ahead of this one's by so many milliseconds.
    Compared {
        /// Which node's.
        node: NodeId,
        /// By how many.
        ahead_ms: i64,
    },
    /// The node is forgotten.
    Forgotten(NodeId),
    /// What was heard says nothing that could be understood.
    Malformed,
}

/// One node's part in gossip.
pub struct Swim {
    foca: Foca<Peer, Wire, SmallRng, Tellings>,
    config: Config,
    timers: Timers<Due>,
    tellings: Tellings,
    belong: BTreeSet<NodeId>,
    seeds: BTreeSet<String>,
    shown: BTreeMap<NodeId, Shown>,
    ping: Option<Ping>,
    /// How many absent nodes were called so far, and items given to those who asked.
    called: usize,
    given: usize,
    has_left: bool,
}

/// What is done when its time has come.
#[derive(Clone, Debug)]
enum Due {
    CallTheAbsent,
    Foca(Timer<Peer>),
}

/// What was said of a node last.
#[derive(Clone, Debug)]
struct Shown {
    peer: Peer,
    state: State,
    told: Option<(u64, u32)>,
}

/// The ping that was sent last.
#[derive(Clone, Copy, Debug)]
struct Ping {
    node: NodeId,
    number: ProbeNumber,
    sent: Duration,
}

/// What foca wants done. What it notifies of is seen in its members, and suspicion there alone.
#[derive(Default)]
struct Wanted {
    packets: Vec<(Peer, Vec<u8>)>,
    timers: Vec<(Timer<Peer>, Duration)>,
}

impl foca::Runtime<Peer> for Wanted {
    fn notify(&mut self, _: Notification<'_, Peer>) {}

    fn send_to(&mut self, to: Peer, data: &[u8]) {
        self.packets.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Peer>, after: Duration) {
        self.timers.push((event, after));
    }
}

impl Swim {
    /// A node that starts. `start` should be greater than at its last start, and is raised if it was not; `random` is any number.
    pub fn new(node: NodeId, address: String, start: u64, config: Config, random: u64) -> Self {
        let own = Peer { node, start, renewal: 0, leaves: false, address };
        let (random, tellings) = (SmallRng::seed_from_u64(random), Tellings::default());
        let mut timers = Timers::new(config.probe_rtt);
        timers.add(Due::CallTheAbsent, Duration::ZERO);
        Self {
            foca: Foca::with_custom_broadcast(own, config.clone(), random, Wire, tellings.clone()),
            config,
            timers,
            tellings,
            belong: BTreeSet::new(),
            seeds: BTreeSet::new(),
            shown: BTreeMap::new(),
            ping: None,
            called: 0,
            given: 0,
            has_left: false,
        }
    }

    /// What to do about an event.
    pub fn handle(&mut self, clock: Clock, event: Event) -> Vec<Action> {
        let (mut wanted, mut actions) = (Wanted::default(), Vec::new());
        if self.has_left {
            return actions;
        }
        self.timers.look(clock.now);
        match event {
            Event::Tick => self.tick(&mut wanted),
            Event::Heard(message) => self.heard(clock, &message, &mut wanted, &mut actions),
            Event::Belong { nodes, seeds } => (self.belong, self.seeds) = (nodes, seeds),
            Event::Tell(record) => self.tell(record),
            Event::Leave => self.leave(&mut wanted),
        }
        self.schedule(&mut wanted);
        for (to, packet) in wanted.packets {
            self.note_ping(clock.now, &to, &packet);
            self.send(clock, &to, Body::Packet(packet), &mut actions);
        }
        self.show(&mut actions);
        actions
    }

    fn own(&self) -> &Peer {
        self.foca.identity()
    }

    fn tell(&mut self, record: Vec<u8>) {
        let Peer { node, start, .. } = *self.own();
        let counter = self.tellings.get(node).map_or(0, |told| told.counter) + 1;
        let told = Told { node, start, counter, record };
        let added = self.foca.add_broadcast(&told.encode());
        debug_assert!(added.is_ok_and(|is_news| is_news), "it is well formed, and newer");
    }

    /// As its former self, or to fewer, it told it too few times.
    fn tell_again(&mut self) {
        if let Some(told) = self.tellings.get(self.own().node) {
            self.tell(told.record);
        }
    }

    /// Says so to everybody, twice: nobody is there to say it again.
    fn leave(&mut self, wanted: &mut Wanted) {
        let everybody = NonZeroUsize::new(self.foca.num_members()).unwrap_or(NonZeroUsize::MIN);
        let config = Config {
            num_indirect_probes: everybody,
            max_transmissions: NonZeroU8::MAX,
            ..self.config.clone()
        };
        let leaving = Peer { leaves: true, ..self.own().clone() };
        ignore(self.foca.set_config(config));
        ignore(self.foca.change_identity(leaving, &mut *wanted));
        ignore(self.foca.leave_cluster(wanted));
        self.has_left = true;
    }

    fn tick(&mut self, wanted: &mut Wanted) {
        while let Some(due) = self.timers.due() {
            match due {
                Due::CallTheAbsent => {
                    self.call_the_absent(wanted);
                    self.timers.add(Due::CallTheAbsent, self.config.probe_period);
                }
                // As long as it belongs to the cluster, it is not forgotten.
                Due::Foca(Timer::RemoveDown(peer)) if self.belong.contains(&peer.node) => {
                    self.timers.add(Due::Foca(Timer::RemoveDown(peer)), FORGET_AFTER);
                }
                Due::Foca(timer) => ignore(self.foca.handle_timer(timer, &mut *wanted)),
            }
            self.schedule(wanted);
        }
    }

    fn schedule(&mut self, wanted: &mut Wanted) {
        wanted.timers.drain(..).for_each(|(timer, after)| self.timers.add(Due::Foca(timer), after));
    }

    /// Calls whoever is at one address where a node may be that is not known to be there, each in its turn.
    fn call_the_absent(&mut self, wanted: &mut Wanted) {
        self.called = self.called.wrapping_add(1);
        let own = self.own().clone();
        let there: BTreeSet<&String> = self.foca.iter_members().map(|member| &member.id().address).collect();
        let known = self.others().map(|member| &member.id().address);
        let absent: BTreeSet<&String> = (self.seeds.iter().chain(known))
            .filter(|address| !there.contains(address) && **address != own.address)
            .collect();
        let next = absent.iter().nth(self.called % absent.len().max(1)).map(|address| (*address).clone());
        if let Some(address) = next {
            ignore(self.foca.announce(Peer::anybody(address), wanted));
        }
    }

    /// All that foca holds for something; its own former lives may be among those.
    fn others(&self) -> impl Iterator<Item = &Member<Peer>> {
        self.foca.iter_membership_state().filter(|member| member.id().node != self.own().node)
    }

    fn start_of(&self, node: NodeId) -> u64 {
        self.others().find(|member| member.id().node == node).map_or(0, |member| member.id().start)
    }

    fn heard(&mut self, clock: Clock, message: &[u8], wanted: &mut Wanted, actions: &mut Vec<Action>) {
        let Some(Message { wall_ms, start, body }) = Message::decode(message) else {
            actions.push(Action::Malformed);
            return;
        };
        self.start_after(start, wanted);
        match body {
            Body::Packet(packet) => self.take_packet(clock, wall_ms, packet, wanted, actions),
            Body::Known(items) => self.take_known(items, wanted),
        }
        // Foca rests after it took another identity, until something changes.
        ignore(self.foca.apply_many(std::iter::empty(), false, wanted));
    }

    /// If its clock was ahead when it was started before, its start is raised: it would be held for its former self.
    fn start_after(&mut self, start: u64, wanted: &mut Wanted) {
        if start <= self.own().start {
            return;
        }
        let own = Peer { start: start.saturating_add(1), renewal: 0, ..self.own().clone() };
        ignore(self.foca.change_identity(own, wanted));
        self.tell_again();
    }

    fn take_packet(
        &mut self,
        clock: Clock,
        wall_ms: u64,
        mut packet: Vec<u8>,
        wanted: &mut Wanted,
        actions: &mut Vec<Action>,
    ) {
        let mut rest = &packet[..];
        let Ok(mut header) = Wire.decode_header(&mut rest) else {
            actions.push(Action::Malformed);
            return;
        };
        if !self.have_room(nodes_in(&header, rest)) {
            return;
        }
        if header.message == foca::Message::Announce && header.dst.is_anybody() {
            header.dst = self.own().clone();
            packet = whole(&header, rest);
        }
        let taken = self.foca.handle_data(&packet, &mut *wanted);
        if taken.is_err_and(|error| is_malformed(&error)) {
            actions.push(Action::Malformed);
        }
        let Header { src, message, .. } = header;
        if !self.foca.iter_members().any(|member| *member.id() == src) {
            return;
        }
        match message {
            foca::Message::Announce => self.give_known(clock, &src, actions),
            foca::Message::Ack(number) => self.compare(clock, wall_ms, src.node, number, actions),
            _ => {}
        }
    }

    /// Whether these could be known besides those that are.
    fn have_room(&self, nodes: Vec<NodeId>) -> bool {
        let known = self.foca.iter_membership_state();
        if known.len() + nodes.len() <= NODES_MAX {
            return true;
        }
        let known: BTreeSet<NodeId> = known.map(|member| member.id().node).collect();
        let new: BTreeSet<NodeId> = nodes.into_iter().filter(|node| !known.contains(node)).collect();
        new.is_empty() || known.len() + new.len() <= NODES_MAX
    }

    /// Tells what foca does not repeat: which nodes of the cluster are gone, and what all tell of themselves.
    fn give_known(&mut self, clock: Clock, to: &Peer, actions: &mut Vec<Action>) {
        let gone = self.others().filter(|member| is_gone(member) && self.belong.contains(&member.id().node));
        let tell = self.others().map(|member| member.id().node).chain([self.own().node]);
        let told = tell.filter(|node| *node != to.node).filter_map(|node| self.tellings.get(node));
        let mut items: Vec<Item> = gone.cloned().map(Item::Member).chain(told.map(Item::Told)).collect();
        let first = self.given % items.len().max(1);
        items.rotate_left(first);
        for items in divided(items).into_iter().take(KNOWN_MESSAGES_MAX) {
            self.given = self.given.wrapping_add(items.len());
            self.send(clock, to, Body::Known(items), actions);
        }
    }

    fn take_known(&mut self, items: Vec<Item>, wanted: &mut Wanted) {
        let mut gone = Vec::new();
        for item in items {
            match item {
                Item::Member(member) if is_gone(&member) && self.belong.contains(&member.id().node) => {
                    gone.push(member);
                }
                Item::Member(_) => {}
                Item::Told(told) if told.node == self.own().node => {}
                Item::Told(told) => {
                    self.tellings.take(told);
                }
            }
        }
        if self.have_room(gone.iter().map(|member| member.id().node).collect()) {
            ignore(self.foca.apply_many(gone.into_iter(), false, wanted));
        }
    }

    fn note_ping(&mut self, now: Duration, to: &Peer, packet: &[u8]) {
        if let Ok(Header { message: foca::Message::Ping(number), .. }) = Wire.decode_header(packet) {
            self.ping = Some(Ping { node: to.node, number, sent: now });
        }
    }

    fn compare(
        &mut self,
        clock: Clock,
        wall_ms: u64,
        from: NodeId,
        answers: ProbeNumber,
        actions: &mut Vec<Action>,
    ) {
        let is_answered = |ping: &mut Ping| (ping.node, ping.number) == (from, answers);
        let Some(ping) = self.ping.take_if(is_answered) else { return };
        let took = clock.now.saturating_sub(ping.sent);
        if took < COMPARED_WITHIN {
            let theirs = wall_ms.saturating_add(took.as_millis() as u64 / 2);
            let ahead_ms = i128::from(theirs) - i128::from(clock.wall_ms);
            let ahead_ms = ahead_ms.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            actions.push(Action::Compared { node: from, ahead_ms });
        }
    }

    fn send(&self, clock: Clock, to: &Peer, body: Body, actions: &mut Vec<Action>) {
        let message = Message { wall_ms: clock.wall_ms, start: self.start_of(to.node), body }.encode();
        actions.push(Action::Send { to: to.address.clone(), message });
    }

    /// Says what is different from what was said last.
    fn show(&mut self, actions: &mut Vec<Action>) {
        let own = self.own().node;
        let mut known = 0;
        let mut unseen: BTreeSet<NodeId> = self.shown.keys().copied().collect();
        for member in self.foca.iter_membership_state().filter(|member| member.id().node != own) {
            let (peer, state) = (member.id(), member.id().state(member.state()));
            known += 1;
            unseen.remove(&peer.node);
            let shown = match self.shown.entry(peer.node) {
                Entry::Occupied(shown) => shown.into_mut(),
                // A node that is gone is news only while it belongs to the cluster.
                Entry::Vacant(_) if state > State::Suspect && !self.belong.contains(&peer.node) => continue,
                Entry::Vacant(new) => {
                    actions.push(Action::Changed { peer: peer.clone(), state });
                    new.insert(Shown { peer: peer.clone(), state, told: None })
                }
            };
            if !shown.is_as(peer, state) {
                actions.push(Action::Changed { peer: peer.clone(), state });
                (shown.peer, shown.state) = (peer.clone(), state);
            }
            if let Some(told) = self.tellings.newer(peer.node, shown.told) {
                shown.told = Some(told.age());
                actions.push(Action::Told(told));
            }
        }
        self.shown.retain(|node, _| !unseen.contains(node));
        if !unseen.is_empty() {
            self.tellings.retain(|node| node == own || self.shown.contains_key(&node));
        }
        actions.extend(unseen.into_iter().map(Action::Forgotten));
        self.suit(known);
    }

    /// The more nodes there are, the more often news is passed on.
    fn suit(&mut self, others: usize) {
        let times = transmissions(others);
        let before = std::mem::replace(&mut self.config.max_transmissions, times);
        if times == before || self.has_left {
            return;
        }
        ignore(self.foca.set_config(self.config.clone()));
        if times > before {
            self.tell_again();
        }
    }
}

impl Shown {
    fn is_as(&self, peer: &Peer, state: State) -> bool {
        (self.state, self.peer.start, &self.peer.address) == (state, peer.start, &peer.address)
    }
}

fn is_gone(member: &Member<Peer>) -> bool {
    member.state() == foca::State::Down
}

/// The packet with this header.
fn whole(header: &Header<Peer>, rest: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    Wire.encode_header(header, &mut packet).expect("a vector has room");
    packet.put_slice(rest);
    packet
}

fn is_malformed(error: &Error) -> bool {
    use Error::{CustomBroadcast, DataTooBig, Decode, MalformedPacket};
    matches!(error, DataTooBig | MalformedPacket | Decode(_) | CustomBroadcast(_))
}

/// Foca's errors leave it as it was, or it goes on with its next round: a message that is not sent is as one that got lost.
fn ignore(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::debug!(%error, "gossip goes on without that");
    }
}
