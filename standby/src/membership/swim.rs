//! Who is alive, found out by asking around: `(clock, event) -> actions`. It detects and tells; it decides nothing.
//!
//! The protocol is SWIM (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership
//! Protocol", 2002) with suspicion. Each period every node pings one other, in a random order. One that does not answer is
//! asked through others, then suspected; if it does not contradict in time, it has failed. News rides on pings and their answers.
//! Beyond the paper: nodes that are gone are pinged on, so that the two sides of a partition find each other again; and
//! what is old news is repeated where there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claim::{Claim, State};
use super::datagram::MESSAGE_BYTES_MAX;
use super::message::{Item, Kind, Message, Told};
use super::pace::Pace;
use super::table::{NODES_MAX, Table};
use crate::failover::entry::NodeId;

/// A probe that is not answered goes through so many others; news goes to as many at a time.
const FANOUT: usize = 3;
/// A stranger is told all that is known in so many messages at most.
const WELCOME_MESSAGES_MAX: usize = 32;
/// Pings for others under way.
const RELAYS_MAX: usize = 256;
/// A node that is gone, and does not belong to the cluster, is forgotten after this time.
const FORGET_AFTER: Duration = Duration::from_secs(60);
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
    /// A message came, from somebody who has the cluster's key.
    Heard(Message),
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
    /// Send this to HOST:PORT. It may get lost.
    Send {
        /// Where to.
        to: String,
        /// What.
        message: Message,
    },
    /// A node is held for something else than before, or was started anew.
    Changed(Claim),
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
}

/// One node's part in gossip.
#[derive(Clone, Debug)]
pub struct Swim {
    own: Claim,
    pace: Pace,
    table: Table,
    belong: BTreeSet<NodeId>,
    seeds: BTreeSet<String>,
    /// Nodes that are still to be probed in this round.
    round: Vec<NodeId>,
    probe: Option<Probe>,
    relays: BTreeMap<u32, Relay>,
    number: u32,
    counter: u32,
    next_probe: Duration,
    next_gossip: Duration,
    /// How many absent nodes were called so far.
    called: usize,
    /// It was held for gone, and must be heard.
    speaks_up: bool,
    ticked: Option<Duration>,
    random: u64,
}

/// A ping under way.
#[derive(Clone, Debug)]
struct Probe {
    /// What it was held for.
    claim: Claim,
    number: u32,
    began: Duration,
    through_others: bool,
    answered: bool,
}

/// A ping for somebody else.
#[derive(Clone, Debug)]
struct Relay {
    asker: String,
    number: u32,
    node: NodeId,
    until: Duration,
}

impl Swim {
    /// A node that starts. `start` should be greater than at its last start, and is raised if it was not; `random` is any number.
    pub fn new(node: NodeId, address: String, start: u64, pace: Pace, random: u64) -> Self {
        Self {
            own: Claim { node, start, incarnation: 0, state: State::Alive, address },
            pace,
            table: Table::default(),
            belong: BTreeSet::new(),
            seeds: BTreeSet::new(),
            round: Vec::new(),
            probe: None,
            relays: BTreeMap::new(),
            number: random as u32,
            counter: 0,
            next_probe: Duration::ZERO,
            next_gossip: Duration::ZERO,
            called: 0,
            speaks_up: false,
            ticked: None,
            random,
        }
    }

    /// What to do about an event.
    pub fn handle(&mut self, clock: Clock, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.own.state == State::Left {
            return actions;
        }
        match event {
            Event::Tick => self.tick(clock, &mut actions),
            Event::Heard(message) => self.heard(clock, message, &mut actions),
            Event::Belong { nodes, seeds } => (self.belong, self.seeds) = (nodes, seeds),
            Event::Tell(record) => self.tell(record),
            Event::Leave => self.leave(clock, &mut actions),
        }
        actions
    }

    fn tell(&mut self, record: Vec<u8>) {
        self.counter += 1;
        let (node, start) = (self.own.node, self.own.start);
        self.table.tell_own(Told { node, start, counter: self.counter, record });
    }

    fn leave(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        self.own.state = State::Left;
        // Twice: nobody is there to say it again.
        for to in self.others(|claim| claim.state != State::Left).cycle().take(2 * self.table.len()) {
            self.send(clock, Some(to.node), to.address, Kind::Gossip, 0, actions);
        }
    }

    fn tick(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let now = clock.now;
        let still = now.saturating_sub(self.ticked.replace(now).unwrap_or(now));
        if still > self.pace.probe_every {
            // It is this node that stood still: nobody else is to blame for what it did not hear.
            self.table.shift(still);
            self.probe = None;
        }
        self.relays.retain(|_, relay| relay.until > now);
        self.give_up_suspects(now, actions);
        if now >= self.next_probe {
            self.next_probe = now + self.pace.probe_every;
            self.conclude_probe(clock, actions);
            self.begin_probe(clock, actions);
            self.call_the_absent(clock, actions);
        } else {
            self.probe_through_others(clock, actions);
        }
        if now >= self.next_gossip {
            self.next_gossip = now + self.pace.gossip_every;
            if std::mem::take(&mut self.speaks_up) || self.table.has_news() {
                for to in self.some_others(FANOUT, |claim| claim.state <= State::Suspect) {
                    self.send(clock, Some(to.node), to.address, Kind::Gossip, 0, actions);
                }
            }
        }
    }

    fn give_up_suspects(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let late = |known: &super::table::Known, limit| now.saturating_sub(known.since) >= limit;
        let failed: Vec<Claim> = (self.table.iter())
            .filter(|known| known.claim.state == State::Suspect && late(known, self.pace.suspicion))
            .map(|known| Claim { state: State::Failed, ..known.claim.clone() })
            .collect();
        failed.into_iter().for_each(|claim| self.take(claim, now, actions));
        let belong = &self.belong;
        let is_kept = |known: &super::table::Known| {
            known.claim.state <= State::Suspect
                || belong.contains(&known.claim.node)
                || !late(known, FORGET_AFTER)
        };
        let gone = self.table.iter().filter(|known| !is_kept(known));
        actions.extend(gone.map(|known| Action::Forgotten(known.claim.node)));
        self.table.retain(is_kept);
    }

    /// The node that was probed is suspected, if it has not answered.
    fn conclude_probe(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let Some(probe) = self.probe.take().filter(|probe| !probe.answered) else { return };
        // Whatever was heard of it since counts more.
        let is_unheard = self.table.get(probe.claim.node).is_some_and(|known| known.claim == probe.claim);
        if is_unheard && probe.claim.state == State::Alive {
            let claim = Claim { state: State::Suspect, ..probe.claim };
            let (node, address) = (claim.node, claim.address.clone());
            self.take(claim, clock.now, actions);
            self.send(clock, Some(node), address, Kind::Gossip, 0, actions); // that it may contradict
        }
    }

    fn begin_probe(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let node = loop {
            match self.round.pop() {
                Some(node) if self.is_there(node) => break node,
                Some(_) => {}
                None => {
                    self.round =
                        self.others(|claim| claim.state <= State::Suspect).map(|to| to.node).collect();
                    self.shuffle_round();
                    if self.round.is_empty() {
                        return;
                    }
                }
            }
        };
        let claim = self.table.get(node).expect("it is there").claim.clone();
        let (number, address) = (self.next_number(), claim.address.clone());
        self.probe = Some(Probe { claim, number, began: clock.now, through_others: false, answered: false });
        self.send(clock, Some(node), address, Kind::Ping, number, actions);
    }

    fn is_there(&self, node: NodeId) -> bool {
        self.table.get(node).is_some_and(|known| known.claim.state <= State::Suspect)
    }

    fn probe_through_others(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let Some(probe) = &mut self.probe else { return };
        if probe.answered || probe.through_others || clock.now < probe.began + self.pace.ack_within {
            return;
        }
        probe.through_others = true;
        let (node, number, address) = (probe.claim.node, probe.number, probe.claim.address.clone());
        for through in self.some_others(FANOUT, |claim| claim.state == State::Alive && claim.node != node) {
            let kind = Kind::PingFor { node, address: address.clone() };
            self.send(clock, Some(through.node), through.address, kind, number, actions);
        }
    }

    /// Pings one address where a node may be that is not known to be there, each in its turn.
    fn call_the_absent(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let there: BTreeSet<String> =
            self.others(|claim| claim.state <= State::Suspect).map(|to| to.address).collect();
        let gone = self.others(|claim| claim.state > State::Suspect).map(|to| to.address);
        let mut absent: Vec<String> = self.seeds.iter().cloned().chain(gone).collect();
        absent.sort_unstable();
        absent.dedup();
        absent.retain(|address| !there.contains(address) && *address != self.own.address);
        if absent.is_empty() {
            return;
        }
        self.called = (self.called + 1) % absent.len();
        let address = absent.swap_remove(self.called);
        let node =
            self.table.iter().find(|known| known.claim.address == address).map(|known| known.claim.node);
        let number = self.next_number();
        self.send(clock, node, address, Kind::Ping, number, actions);
    }

    fn heard(&mut self, clock: Clock, message: Message, actions: &mut Vec<Action>) {
        let Message { kind, number, wall_ms, sender, items } = message;
        if sender.node == self.own.node {
            return; // itself, or a former self
        }
        let (from, address) = (sender.node, sender.address.clone());
        let known = self.table.get(from).map(|known| known.claim.clone());
        let is_stranger = known.is_none();
        if let Some(known) = known.filter(|known| known.start > sender.start) {
            // It was restarted with a clock that went back, and must know.
            let message = self.message(clock, Kind::Gossip, 0, vec![Item::Claim(known)]);
            actions.push(Action::Send { to: address.clone(), message });
        }
        self.take(sender, clock.now, actions);
        for item in items {
            match item {
                Item::Claim(claim) => self.take(claim, clock.now, actions),
                Item::Told(told) => {
                    if told.node != self.own.node && self.table.tell(&told) {
                        actions.push(Action::Told(told));
                    }
                }
            }
        }
        match kind {
            Kind::Ping => self.send(clock, Some(from), address.clone(), Kind::Ack, number, actions),
            Kind::PingFor { node, address: at } => {
                if self.relays.len() < RELAYS_MAX && node != self.own.node {
                    let until = clock.now + self.pace.probe_every;
                    let relay = Relay { asker: address.clone(), number, node, until };
                    let number = self.next_number();
                    self.relays.insert(number, relay);
                    self.send(clock, Some(node), at, Kind::Ping, number, actions);
                }
            }
            Kind::Ack => self.answered(clock, from, number, wall_ms, actions),
            Kind::AckFor { node } => {
                if let Some(probe) = &mut self.probe
                    && (probe.claim.node, probe.number) == (node, number)
                {
                    probe.answered = true;
                }
            }
            Kind::Gossip => {}
        }
        if is_stranger && self.is_there(from) {
            self.welcome(clock, from, &address, actions);
        }
    }

    fn answered(&mut self, clock: Clock, from: NodeId, number: u32, wall_ms: u64, actions: &mut Vec<Action>) {
        if let Some(relay) = self.relays.get(&number)
            && relay.node == from
        {
            let Relay { asker, number, node, .. } = relay.clone();
            self.send(clock, None, asker, Kind::AckFor { node }, number, actions);
        }
        if let Some(probe) = &mut self.probe
            && (probe.claim.node, probe.number, probe.answered) == (from, number, false)
        {
            probe.answered = true;
            let took = clock.now.saturating_sub(probe.began);
            if took < COMPARED_WITHIN {
                let theirs = wall_ms.saturating_add(took.as_millis() as u64 / 2);
                let ahead_ms = i128::from(theirs) - i128::from(clock.wall_ms);
                let ahead_ms = ahead_ms.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                actions.push(Action::Compared { node: from, ahead_ms });
            }
        }
    }

    /// Tells a stranger everything.
    fn welcome(&mut self, clock: Clock, node: NodeId, address: &str, actions: &mut Vec<Action>) {
        let room = self.room(&Kind::Gossip);
        let mut told = BTreeSet::new();
        for _ in 0..WELCOME_MESSAGES_MAX {
            let items = self.table.items(Some(node), room, false);
            let about = |item: &Item| match item {
                Item::Claim(claim) => (claim.node, true),
                Item::Told(told) => (told.node, false),
            };
            if items.iter().all(|item| told.contains(&about(item))) {
                return;
            }
            told.extend(items.iter().map(about));
            let message = self.message(clock, Kind::Gossip, 0, items);
            actions.push(Action::Send { to: address.to_owned(), message });
        }
    }

    /// Takes a claim for its own, if it is news.
    fn take(&mut self, claim: Claim, now: Duration, actions: &mut Vec<Action>) {
        if claim.node == self.own.node {
            self.contradict(&claim);
            return;
        }
        let known = self.table.get(claim.node).map(|known| &known.claim);
        let is_news = match known {
            Some(known) => claim.supersedes(known),
            // A node that is gone is remembered only while it belongs to the cluster.
            None => {
                let matters = claim.state <= State::Suspect || self.belong.contains(&claim.node);
                matters && self.table.len() < NODES_MAX
            }
        };
        if !is_news {
            return;
        }
        let before = self.table.claim(claim.clone(), now);
        let seen = |claim: &Claim| (claim.state, claim.start, claim.address.clone());
        if before.as_ref().map(seen) != Some(seen(&claim)) {
            actions.push(Action::Changed(claim));
        }
    }

    /// This node is there, whatever others claim.
    fn contradict(&mut self, claim: &Claim) {
        let own = &mut self.own;
        if claim.start > own.start {
            // Its clock was ahead when it was started before.
            (own.start, own.incarnation) = (claim.start.saturating_add(1), 0);
            if let Some(told) = self.table.own().cloned() {
                self.tell(told.record);
            }
        } else if claim.start == own.start {
            let is_wrong = claim.state != State::Alive && claim.incarnation >= own.incarnation;
            if is_wrong || claim.incarnation > own.incarnation {
                own.incarnation = claim.incarnation.saturating_add(1);
                self.speaks_up = true;
            }
        }
    }

    fn send(
        &mut self,
        clock: Clock,
        node: Option<NodeId>,
        to: String,
        kind: Kind,
        number: u32,
        actions: &mut Vec<Action>,
    ) {
        let room = self.room(&kind);
        let items = self.table.items(node, room, kind == Kind::Gossip);
        let message = self.message(clock, kind, number, items);
        actions.push(Action::Send { to, message });
    }

    fn message(&self, clock: Clock, kind: Kind, number: u32, items: Vec<Item>) -> Message {
        Message { kind, number, wall_ms: clock.wall_ms, sender: self.own.clone(), items }
    }

    /// Bytes that are left for items.
    fn room(&self, kind: &Kind) -> usize {
        let empty =
            Message { kind: kind.clone(), number: 0, wall_ms: 0, sender: self.own.clone(), items: vec![] };
        MESSAGE_BYTES_MAX - empty.encode().len()
    }

    fn others(&self, are: impl Fn(&Claim) -> bool) -> std::vec::IntoIter<Claim> {
        let others: Vec<Claim> =
            self.table.iter().map(|known| &known.claim).filter(|claim| are(claim)).cloned().collect();
        others.into_iter()
    }

    fn some_others(&mut self, count: usize, are: impl Fn(&Claim) -> bool) -> Vec<Claim> {
        let mut others: Vec<Claim> = self.others(are).collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !others.is_empty() {
            chosen.push(others.swap_remove(self.below(others.len())));
        }
        chosen
    }

    fn shuffle_round(&mut self) {
        for place in (1..self.round.len()).rev() {
            let other = self.below(place + 1);
            self.round.swap(place, other);
        }
    }

    /// A random number below a bound (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }
}
