//! Sources and sinks against a model: random commits, packs, failovers, cuts and crashes, between any two steps.
//!
//! A failing seed is printed; `STANDBY_SIMULATION_SEED=N` replays it alone, `STANDBY_SIMULATION_ROUNDS=N` runs more.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use replica::{Checksum, Epoch, Epochs, Place};
use zeo_proto::Tid;

use super::message::{Flow, FromSink, FromSource, Have, Recovery};
use super::route::Route;
use super::run::Compression;
use super::sink::{self, End, Sink};
use super::source::{self, Source, Standing};

const NODES: usize = 3;
const OBJECTS: u64 = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Transaction {
    place: Place,
    records: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug)]
struct Copy {
    history: Vec<Transaction>,
    epochs: Epochs,
    first: Place,
    recovering: Option<Tid>,
    recovery: Recovery,
    /// What was saved when it was rewound or set aside, and what a pack knowingly removed.
    saved: Vec<Transaction>,
}

struct Link {
    source_node: usize,
    source: Source,
    sink: Sink,
    to_source: VecDeque<Bytes>,
    to_sink: VecDeque<Bytes>,
    /// What the source is to do: it reads from here.
    reads: bool,
    flow: Option<(Flow, Place)>,
    events: VecDeque<source::Event>,
    /// The source has yet to say that what comes is whole.
    announces: bool,
    /// Received and not yet applied by the sink.
    applying: VecDeque<Applying>,
}

enum Applying {
    Transaction(Transaction, Option<Checksum>),
    Anchor(Place),
}

struct World {
    random: Random,
    clock: Instant,
    tid: u64,
    primary: usize,
    copies: Vec<Copy>,
    links: Vec<Option<Link>>,
    /// What each node follows.
    routes: Vec<Route>,
    /// Nodes crash between any two actions.
    faults: bool,
    /// All that a primary ever committed.
    committed: Vec<Transaction>,
    log: Vec<String>,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn chain(before: Checksum, tid: Tid, records: &BTreeMap<u64, u64>) -> Checksum {
    let mut random = Random(tid.get());
    let mut sum = u128::from_be_bytes(before.to_bytes()) ^ u128::from(random.next());
    for (oid, value) in records {
        let mut mixed = Random((sum as u64) ^ (oid << 48) ^ value);
        sum = sum.rotate_left(37) ^ (u128::from(mixed.next()) << 64 | u128::from(mixed.next()));
    }
    Checksum::from_bytes(sum.to_be_bytes())
}

impl Copy {
    fn new(recovery: Recovery) -> Self {
        Self {
            history: Vec::new(),
            epochs: Epochs::default(),
            first: Place::START,
            recovering: None,
            recovery,
            saved: Vec::new(),
        }
    }

    /// Its end: of what was packed, the anchor.
    fn last(&self) -> Place {
        let last = self.history.last().map(|last| last.place);
        last.filter(|last| last.tid > self.first.tid || self.recovering.is_some()).unwrap_or(self.first)
    }

    fn have(&self) -> Have {
        Have { epochs: self.epochs.clone(), first: self.first, last: self.last() }
    }

    /// The value of each object, and who wrote it.
    fn current(&self) -> BTreeMap<u64, (u64, Tid)> {
        self.current_at(Tid::MAX)
    }

    fn current_at(&self, last: Tid) -> BTreeMap<u64, (u64, Tid)> {
        let mut current = BTreeMap::new();
        for transaction in self.history.iter().filter(|transaction| transaction.place.tid <= last) {
            for (oid, value) in &transaction.records {
                current.insert(*oid, (*value, transaction.place.tid));
            }
        }
        current
    }

    fn commit(&mut self, tid: Tid, records: BTreeMap<u64, u64>) -> Transaction {
        let checksum = chain(self.last().checksum, tid, &records);
        let transaction = Transaction { place: Place { tid, checksum }, records };
        self.history.push(transaction.clone());
        transaction
    }

    fn place_before(&self, tid: Tid) -> Option<Place> {
        let found = self.history.iter().rev().find(|transaction| transaction.place.tid <= tid);
        let whole = found.map(|found| found.place).filter(|place| place.tid > self.first.tid);
        whole.or((tid >= self.first.tid).then_some(self.first))
    }

    fn pack(&mut self, until: Tid) {
        let Some(place) = self.place_before(until).filter(|place| place.tid > self.first.tid) else { return };
        let mut packed = self.clone();
        packed.history.retain(|transaction| transaction.place.tid <= place.tid);
        let current = packed.current();
        for transaction in &mut self.history {
            let tid = transaction.place.tid;
            if tid <= place.tid {
                transaction.records.retain(|oid, _| current[oid].1 == tid);
            }
        }
        let (kept, emptied) = std::mem::take(&mut self.history)
            .into_iter()
            .partition(|known| !known.records.is_empty() || known.place.tid > place.tid);
        self.history = kept;
        self.saved.extend::<Vec<_>>(emptied);
        self.first = place;
    }

    /// The last transaction stands for everything up to the anchor.
    fn take_anchor(&mut self, anchor: Place) {
        assert!(self.history.last().is_none_or(|last| last.place.tid <= anchor.tid));
        self.first = anchor;
    }

    fn rewind(&mut self, fork: Tid) {
        let kept = self.history.iter().filter(|transaction| transaction.place.tid <= fork).count();
        assert!(fork >= self.first.tid, "a rewind into what is packed");
        self.saved.extend(self.history.drain(kept..));
        self.epochs = self.epochs.up_to(fork);
    }

    fn set_aside(&mut self) {
        self.saved.append(&mut self.history);
        (self.epochs, self.first, self.recovering) = (Epochs::default(), Place::START, None);
    }

    /// The next transaction that a stream carries.
    fn next(&self, what: Flow, after: Tid, anchor: Tid) -> Option<Transaction> {
        let current = self.current_at(anchor);
        let mut later = self.history.iter().filter(|transaction| transaction.place.tid > after);
        let mut transaction = loop {
            let transaction = later.next()?.clone();
            let tid = transaction.place.tid;
            let is_current = |oid| current.get(oid).is_some_and(|(_, by)| *by == tid);
            if what == Flow::All || tid >= anchor || transaction.records.keys().any(is_current) {
                break transaction;
            }
        };
        if what == Flow::Current && transaction.place.tid <= anchor {
            transaction.records.retain(|oid, _| current[oid].1 == transaction.place.tid);
        }
        Some(transaction)
    }
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn portable(transaction: &Transaction) -> Bytes {
    let mut out = Vec::new();
    for (oid, value) in &transaction.records {
        out.extend_from_slice(&oid.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
    out.into()
}

fn records(portable: &[u8]) -> BTreeMap<u64, u64> {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    portable.chunks(16).map(|chunk| (number(&chunk[..8]), number(&chunk[8..]))).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let kinds = [Recovery::Full, Recovery::Fast];
        let copies = (0..NODES).map(|_| Copy::new(kinds[random.below(2)])).collect();
        let links = (0..NODES).map(|_| None).collect();
        let mut world = Self {
            random,
            clock: Instant::now(),
            tid: 1000,
            primary: 0,
            copies,
            links,
            routes: vec![Route::default(); NODES],
            faults: false,
            committed: Vec::new(),
            log: Vec::new(),
        };
        world.reign(0);
        world
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    fn reign(&mut self, node: usize) {
        self.primary = node;
        self.hang_up(node);
        self.cut_from(node);
        self.tid += 10;
        let copy = &mut self.copies[node];
        let epoch = copy.epochs.newest() + 1;
        // The cluster's decision; in this model the copies know of all of them.
        let epoch = epoch.max(self.committed.len() as u64 + 1);
        let (boundary, fork) = (Tid::new(self.tid), copy.last().tid);
        // It may know of reigns from which it has nothing.
        let mut epochs = copy.epochs.up_to(fork).as_slice().to_vec();
        epochs.push(Epoch { epoch, boundary, fork, node: name(node) });
        copy.epochs = Epochs::new(epochs).expect("in order");
        let committed = copy.commit(boundary, BTreeMap::new());
        self.committed.push(committed);
        self.note(format!("n{node} reigns from {boundary} after {fork}"));
    }

    fn commit(&mut self) {
        self.tid += 1;
        let count = self.random.below(3);
        let records =
            (0..=count).map(|_| (self.random.next() % OBJECTS, self.random.next() % 1000)).collect();
        let committed = self.copies[self.primary].commit(Tid::new(self.tid), records);
        self.committed.push(committed);
        let primary = self.primary;
        self.published(primary);
    }

    fn standing(copy: &Copy) -> Standing {
        Standing { last: copy.last().tid, log_bytes: 0, unix_micros: 0, distance: 0 }
    }

    /// Those who follow this node hear of its news.
    fn published(&mut self, node: usize) {
        let standing = Self::standing(&self.copies[node]);
        for link in self.links.iter_mut().flatten().filter(|link| link.source_node == node) {
            link.events.push_back(source::Event::Published(standing));
        }
    }

    fn cut_from(&mut self, source_node: usize) {
        for node in 0..NODES {
            if self.links[node].as_ref().is_some_and(|link| link.source_node == source_node) {
                self.hang_up(node);
            }
        }
    }

    fn hang_up(&mut self, node: usize) {
        self.links[node] = None;
        self.set_route(node, Route::default());
    }

    /// What those follow who follow this node.
    fn below(&self, node: usize) -> Route {
        self.routes[node].below(&name(node))
    }

    /// A node follows others than before.
    fn set_route(&mut self, node: usize, route: Route) {
        if self.routes[node] == route {
            return;
        }
        self.routes[node] = route;
        let below = self.below(node);
        for link in self.links.iter_mut().flatten().filter(|link| link.source_node == node) {
            link.events.push_back(source::Event::Route(below.clone()));
        }
    }

    /// A node that serves half a copy has no followers.
    fn connect(&mut self, node: usize, to: usize) {
        if node == to || node == self.primary || self.copies[to].recovering.is_some() {
            return;
        }
        let route = self.below(to);
        let (copy, own) = (&self.copies[node], &self.copies[to]);
        let mut link = Link {
            source_node: to,
            source: Source::new(own.have(), Self::standing(own), route),
            sink: Sink::new(&name(node), copy.recovery, Compression::None),
            to_source: VecDeque::new(),
            to_sink: VecDeque::new(),
            reads: false,
            flow: None,
            events: VecDeque::new(),
            announces: false,
            applying: VecDeque::new(),
        };
        let ready = sink::Event::Ready { have: copy.have(), recovering: copy.recovering };
        let actions = link.sink.handle(ready);
        self.links[node] = Some(link);
        self.note(format!("n{node} dials n{to}"));
        self.act_as_sink(node, actions);
    }

    fn with_link<T>(&mut self, node: usize, work: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.links[node].as_mut().map(work)
    }

    fn act_as_sink(&mut self, node: usize, actions: Vec<sink::Action>) {
        for action in actions {
            if self.faults && self.random.below(150) == 0 {
                self.note(format!("n{node} crashes before {action:?}"));
                return self.crash(node);
            }
            let Some(link) = &mut self.links[node] else { return };
            match action {
                sink::Action::Send(message) => link.to_source.push_back(message.encode()),
                sink::Action::Look(tid) => {
                    let found = self.copies[node].place_before(tid).filter(|found| found.tid == tid);
                    let event = sink::Event::Looked(found.map(|found| found.checksum));
                    let more = link.sink.handle(event);
                    self.act_as_sink(node, more);
                }
                sink::Action::TakeEpochs(epochs) if epochs != self.copies[node].epochs => {
                    self.copies[node].epochs = epochs;
                    self.cut_from(node);
                }
                sink::Action::TakeEpochs(_) => {}
                sink::Action::BeginRecovery(until) => {
                    self.copies[node].recovering = Some(until);
                    self.cut_from(node);
                }
                sink::Action::EndRecovery => self.copies[node].recovering = None,
                sink::Action::Apply { tid, checksum, portable } => {
                    let place = Place { tid, checksum: Checksum::ZERO };
                    let transaction = Transaction { place, records: records(&portable) };
                    link.applying.push_back(Applying::Transaction(transaction, checksum));
                }
                sink::Action::TakeAnchor(anchor) => link.applying.push_back(Applying::Anchor(anchor)),
                sink::Action::Rewind(fork) => {
                    assert!(link.applying.is_empty(), "nothing is applied before the plan");
                    self.note(format!("n{node} rewinds to {fork}"));
                    self.copies[node].rewind(fork);
                    self.again(node);
                }
                sink::Action::SetAside => {
                    self.note(format!("n{node} begins anew"));
                    self.copies[node].set_aside();
                    self.again(node);
                }
                sink::Action::Close(end) => {
                    assert!(matches!(end, End::Wait(_) | End::Route(_)) || self.may_refuse(&end), "{end}");
                    self.note(format!("n{node} ends its stream: {end}"));
                    self.hang_up(node);
                }
                sink::Action::Pack(until) => {
                    self.settle(node);
                    self.copies[node].pack(until);
                    self.packed(node, until);
                }
                sink::Action::Route(route) => self.set_route(node, route),
                sink::Action::Upstream { .. } | sink::Action::Blob { .. } => {}
            }
        }
    }

    /// A stream may end because its source packed or rewound; histories never differ.
    fn may_refuse(&self, end: &End) -> bool {
        matches!(end, End::Refused(reason) if reason.contains("meanwhile"))
    }

    fn again(&mut self, node: usize) {
        self.cut_from(node);
        let copy = &self.copies[node];
        let event = sink::Event::Ready { have: copy.have(), recovering: copy.recovering };
        // As a real node does, with a new stream on the same connection.
        if let Some(actions) = self.with_link(node, |link| link.sink.handle(event)) {
            self.act_as_sink(node, actions);
        }
    }

    fn act_as_source(&mut self, node: usize, actions: Vec<source::Action>) {
        for action in actions {
            let Some(link) = &mut self.links[node] else { return };
            match action {
                source::Action::Send(message) => {
                    if let FromSource::Stream { anchor, .. } = &message {
                        link.announces = anchor.is_some();
                    }
                    link.to_sink.push_back(message.encode());
                }
                source::Action::Look(tid) => {
                    let place = self.copies[link.source_node].place_before(tid);
                    link.events.push_back(source::Event::Looked(place));
                }
                source::Action::Export { what, .. } => {
                    let own = &self.copies[link.source_node];
                    let anchor = if what == Flow::All { own.first } else { own.last() };
                    link.flow = Some((what, anchor));
                    let more = link.source.handle(self.clock, source::Event::Exporting(anchor));
                    self.act_as_source(node, more);
                }
                source::Action::ReadNext => link.reads = true,
                source::Action::Close(_) => {} // the sink hears of it
            }
        }
    }

    fn read(&mut self, node: usize) {
        let count = 1 + self.random.below(3);
        let Some(link) = &mut self.links[node] else { return };
        if !std::mem::take(&mut link.reads) {
            return;
        }
        let own = &self.copies[link.source_node];
        let (what, anchor) = link.flow.expect("the flow has begun");
        let mut sent = link.source.sent();
        let whole_from = if what == Flow::Current { sent.max(anchor.tid) } else { sent };
        if whole_from < own.first.tid && anchor != own.first {
            link.events.push_back(source::Event::Gone);
            return;
        }
        let (before, mut at_end) = (sent, false);
        for _ in 0..count {
            let next = own.next(what, sent, anchor.tid);
            if link.announces && next.as_ref().is_none_or(|next| next.place.tid > anchor.tid) {
                link.announces = false;
                link.to_sink.push_back(FromSource::Whole.encode());
            }
            let Some(next) = next else {
                at_end = true;
                break;
            };
            let Place { tid, checksum } = next.place;
            sent = tid;
            let message = FromSource::Transaction { tid, checksum, portable: portable(&next) };
            link.to_sink.push_back(message.encode());
        }
        let event = match sent > before {
            true => source::Event::Sent { last: sent, at_end },
            false => source::Event::AtEnd,
        };
        let actions = link.source.handle(self.clock, event);
        self.act_as_source(node, actions);
    }

    fn deliver_to_source(&mut self, node: usize) {
        let now = self.clock;
        let actions = self.with_link(node, |link| {
            let event = match link.to_source.pop_front() {
                Some(message) => source::Event::Received(FromSink::decode(message).expect("well made")),
                None => source::Event::Tick,
            };
            link.source.handle(now, event)
        });
        self.act_as_source(node, actions.unwrap_or_default());
    }

    fn deliver_event(&mut self, node: usize) {
        let now = self.clock;
        let actions = self.with_link(node, |link| match link.events.pop_front() {
            Some(event) => link.source.handle(now, event),
            None => Vec::new(),
        });
        self.act_as_source(node, actions.unwrap_or_default());
    }

    fn deliver_to_sink(&mut self, node: usize) {
        let actions = self.with_link(node, |link| match link.to_sink.pop_front() {
            Some(message) => {
                let message = FromSource::decode(message).expect("well made");
                link.sink.handle(sink::Event::Received(message))
            }
            None => Vec::new(),
        });
        self.act_as_sink(node, actions.unwrap_or_default());
    }

    fn apply(&mut self, node: usize) {
        let Some(next) = self.with_link(node, |link| link.applying.pop_front()).flatten() else { return };
        let copy = &mut self.copies[node];
        let event = match next {
            Applying::Transaction(transaction, expected) => {
                let tid = transaction.place.tid;
                assert!(tid > copy.last().tid);
                let checksum = chain(copy.last().checksum, tid, &transaction.records);
                if let Some(expected) = expected {
                    assert_eq!(expected, checksum, "n{node} at {tid}");
                }
                copy.history.push(Transaction { place: Place { tid, checksum }, ..transaction });
                sink::Event::Applied(tid)
            }
            Applying::Anchor(anchor) => {
                copy.take_anchor(anchor);
                sink::Event::Anchored
            }
        };
        let actions = self.with_link(node, |link| link.sink.handle(event));
        self.act_as_sink(node, actions.unwrap_or_default());
        if self.copies[node].recovering.is_none() {
            self.published(node);
        }
    }

    /// Applies what was received.
    fn settle(&mut self, node: usize) {
        while self.links[node].as_ref().is_some_and(|link| !link.applying.is_empty()) {
            self.apply(node);
        }
    }

    fn packed(&mut self, node: usize, until: Tid) {
        for link in self.links.iter_mut().flatten().filter(|link| link.source_node == node) {
            link.events.push_back(source::Event::Packed(until));
        }
    }

    /// What was not applied is gone, and so are the links.
    fn crash(&mut self, node: usize) {
        self.hang_up(node);
        self.cut_from(node);
    }

    /// What a node has of a stream that flows is the beginning of what its source has.
    fn check_prefixes(&self) {
        for (node, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            let (copy, source) = (&self.copies[node], &self.copies[link.source_node]);
            let last = copy.last();
            if link.source.is_flowing() && copy.recovering.is_none() && last.tid > source.first.tid {
                assert_eq!(source.place_before(last.tid), Some(last), "n{node} of n{}", link.source_node);
                let since = copy.first.tid.max(source.first.tid);
                let of = |copy: &Copy| {
                    let between =
                        |known: &&Transaction| known.place.tid > since && known.place.tid <= last.tid;
                    copy.history.iter().filter(between).cloned().collect::<Vec<_>>()
                };
                assert_eq!(of(copy), of(source), "n{node} of n{}", link.source_node);
            }
        }
    }

    fn step(&mut self) {
        let node = self.random.below(NODES);
        match self.random.below(100) {
            0..20 => self.commit(),
            20..35 => self.deliver_to_source(node),
            35..50 => self.deliver_to_sink(node),
            50..60 => self.deliver_event(node),
            60..70 => self.read(node),
            70..85 => self.apply(node),
            85..93 => {
                let to = if self.random.below(3) == 0 { self.random.below(NODES) } else { self.primary };
                if self.links[node].is_none() {
                    self.connect(node, to);
                }
            }
            93..96 => self.hang_up(node),
            96 => {
                self.crash(node);
            }
            97 => {
                let until = Tid::new(self.tid - self.random.next() % 40);
                let primary = self.primary;
                self.copies[primary].pack(until);
                self.packed(primary, until);
                self.note(format!("n{primary} packs to {until}"));
            }
            98 => {
                let copy = &self.copies[node];
                if node != self.primary && copy.recovering.is_none() && !copy.history.is_empty() {
                    self.reign(node);
                }
            }
            _ => {
                let kind = [Recovery::Full, Recovery::Fast][self.random.below(2)];
                self.copies[node].recovery = kind;
            }
        }
    }

    /// Whether a node follows the primary, directly or through others.
    fn descends(&self, mut node: usize) -> bool {
        for _ in 0..NODES {
            match &self.links[node] {
                Some(link) => node = link.source_node,
                None => return node == self.primary,
            }
        }
        false // a loop
    }

    /// No more faults: everyone follows the primary until they have it all.
    fn converge(&mut self) {
        let primary = self.primary;
        self.faults = false;
        for _ in 0..20_000 {
            let all = |copy: &Copy| copy.last() == self.copies[primary].last() && copy.recovering.is_none();
            if self.copies.iter().all(all) && (0..NODES).all(|node| self.descends(node)) {
                return;
            }
            for node in 0..NODES {
                if self.links[node].is_none() {
                    self.connect(node, primary);
                }
                self.deliver_to_source(node);
                self.deliver_event(node);
                self.read(node);
                self.deliver_to_sink(node);
                self.apply(node);
                self.clock += Duration::from_millis(10);
            }
        }
        panic!("the copies do not converge");
    }

    fn check(&self) {
        let primary = &self.copies[self.primary];
        for (node, copy) in self.copies.iter().enumerate() {
            assert_eq!(copy.current(), primary.current(), "n{node}");
            assert_eq!(copy.epochs, primary.epochs, "n{node}");
            let whole = copy.first.tid.max(primary.first.tid);
            let after = |copy: &Copy| {
                copy.history.iter().filter(|known| known.place.tid > whole).cloned().collect::<Vec<_>>()
            };
            assert_eq!(after(copy), after(primary), "n{node}");
        }
        for committed in &self.committed {
            let place = committed.place;
            let survives = |copy: &Copy| {
                copy.history.iter().chain(&copy.saved).any(|known| known.place.tid == place.tid)
            };
            assert!(self.copies.iter().any(survives), "{} is gone without a trace", place.tid);
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let steps = 200 + world.random.below(1500);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.faults = true;
        for _ in 0..steps {
            world.step();
            world.check_prefixes();
        }
        world.converge();
        world.check();
    }));
    if let Err(panic) = outcome {
        let first = world.log.len().saturating_sub(30);
        eprintln!("{}\nreplay: STANDBY_SIMULATION_SEED={seed}", world.log[first..].join("\n"));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn every_copy_converges_whatever_happens_between_any_two_steps() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("STANDBY_SIMULATION_SEED") {
        return run(seed);
    }
    for seed in 0..number("STANDBY_SIMULATION_ROUNDS").unwrap_or(2000) {
        run(seed);
    }
}

#[test]
fn nodes_that_come_to_follow_each_other_notice_it_and_follow_the_primary_again() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..5 {
            world.commit();
        }
        world.converge();
        for node in [1, 2] {
            world.hang_up(node);
        }
        world.connect(1, 2);
        world.connect(2, 1);
        for _ in 0..world.random.below(50) {
            let node = 1 + world.random.below(2);
            world.deliver_to_source(node);
            world.deliver_to_sink(node);
            world.deliver_event(node);
        }
        world.commit();
        world.converge();
        world.check();
    }
}
