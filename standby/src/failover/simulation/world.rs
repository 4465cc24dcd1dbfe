//! The model: time, messages, the decided log, and what nodes do as their machines say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use zeo_proto::Tid;

use super::Broken;
use super::clients::Reader;
use super::random::Random;
use super::site::{Disk, Memory, Site, Transaction};
use crate::failover::choice::Standing;
use crate::failover::decided::Decided;
use crate::failover::entry::{Cause, Entry, LeaseMark, Member, NodeId};
use crate::failover::machine::{Action, Event, Failover, OwnSettings};
use crate::failover::timing::Timing;
use crate::span;

const TROUBLE: Duration = Duration::from_secs(10);
const WRITING: Duration = Duration::from_secs(14);
const END: Duration = Duration::from_secs(20);
/// Objects that are written again and again.
/// So often a primary that hands over looks whether the other has everything, before it gives up.
const DRAIN_LOOKS: usize = 200;
const OBJECTS: u64 = 6;
const READERS: usize = 3;

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Duration,
    pub(super) sites: Vec<Site>,
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) loses_messages: bool,
    pub(super) readers: Vec<Reader>,
    /// What clients were told, with the number of replicas that had it by then.
    pub(super) promised: BTreeMap<Tid, (BTreeMap<u64, u64>, usize)>,
    pub(super) acks: usize,
    /// An operator changes settings, and takes nodes out.
    pub(super) changes: bool,
    /// Disks fail, and nodes know.
    pub(super) disks_fail: bool,
    /// What the whole log amounts to.
    pub(super) decided: Decided,
    pub(super) may_lose_disk: bool,
    pub(super) disk_lost: bool,
    /// Nothing else happens: nothing may be lost.
    pub(super) only_switchovers: bool,
    pub(super) switchovers: Vec<(Duration, usize)>,
    pub(super) broken: Broken,
    /// Nodes sometimes hear of many entries at once.
    pub(super) catches_up: bool,
    /// What happens is printed.
    pub(super) traces: bool,
    own: OwnSettings,
    pub(super) log: Vec<Entry>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    happenings: BTreeMap<usize, Happening>,
    count: usize,
    values: u64,
    ids: u64,
    oids: BTreeSet<u64>,
    tids: BTreeMap<Tid, BTreeMap<u64, u64>>,
    ended: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Happening {
    Disturb,
    Start {
        node: usize,
    },
    Tick {
        node: usize,
        starts: u64,
    },
    /// A node takes in decided entries.
    Apply {
        node: usize,
        starts: u64,
    },
    /// A node hears from the one that it follows.
    Stream {
        node: usize,
        starts: u64,
    },
    Proposed {
        from: usize,
        entry: Entry,
    },
    Asked {
        from: usize,
        by: usize,
        starts: u64,
        round: u64,
    },
    Told {
        to: usize,
        starts: u64,
        event: Event,
    },
    Begin {
        node: usize,
        starts: u64,
        epoch: u64,
        above: Tid,
    },
    /// A primary that hands over looks whether the other has everything.
    Drain {
        node: usize,
        starts: u64,
        to: NodeId,
        /// How often it is looked at again.
        looks: usize,
    },
    Acknowledged {
        to: usize,
        starts: u64,
        by: NodeId,
        tid: Tid,
    },
    Write,
    Synced {
        node: usize,
        starts: u64,
        transaction: Transaction,
    },
    Read {
        reader: usize,
    },
}

impl World {
    pub(super) fn new(seed: u64, broken: Broken) -> Self {
        let mut random = Random(seed);
        let local = 2 + random.pick(3);
        let remote = random.pick(2);
        let witness = local == 2 || random.one_in(3);
        let acks = random.pick(2.min(local));
        let mut timing = Timing::of_lease(random.millis(400, 1500));
        timing.oid_block = 40;
        let max_lag = (random.one_in(4) || broken == Broken::Lag).then(|| random.millis(100, 2000));
        let own = OwnSettings { timing, acks };
        let mut decided = Decided::default();
        decided.broken = broken;
        let mut world = Self {
            may_lose_disk: acks == 0 && max_lag.is_none() && random.one_in(2),
            changes: match broken {
                Broken::Nothing => random.one_in(2),
                broken => broken == Broken::ShorterLease, // the others are noticed sooner without
            },
            disks_fail: broken == Broken::Nothing && random.one_in(2),
            decided,
            random,
            now: Duration::from_secs(1),
            sites: Vec::new(),
            cut: BTreeSet::new(),
            loses_messages: true,
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            promised: BTreeMap::new(),
            acks,
            disk_lost: false,
            only_switchovers: false,
            switchovers: Vec::new(),
            broken,
            catches_up: seed % 4 == 3,
            traces: false,
            own,
            log: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            count: 0,
            values: 0,
            ids: 0,
            oids: BTreeSet::new(),
            tids: BTreeMap::new(),
            ended: false,
        };
        let names = (0..local).map(|n| (format!("here{n}"), true));
        let names = names.chain((0..remote).map(|n| (format!("there{n}"), true)));
        let names: Vec<_> = names.chain(witness.then(|| ("witness".to_owned(), false))).collect();
        for (name, has_copy) in names {
            world.add_site(name, has_copy);
        }
        let flap_limit = world.random.below(4);
        let flap_ban = world.random.millis(1000, 3000);
        world.set(&[("flap_limit", flap_limit.to_string()), ("flap_ban", span::shown(flap_ban))]);
        world.set(&[("flap_window", "4s".to_owned())]);
        if let Some(max_lag) = max_lag {
            world.set(&[("max_lag_on_failover", span::shown(max_lag))]);
        }
        let (node, after) = (world.sites[0].id, LeaseMark::default());
        world.decide(Entry::Promote { node, after, cause: Cause::Operator, used: None });
        world.sites[0].disk.whole = true;
        for node in 0..world.sites.len() {
            world.later(Duration::ZERO, Happening::Start { node });
        }
        world.later(Duration::from_secs(2), Happening::Disturb);
        world.later(Duration::ZERO, Happening::Write);
        for reader in 0..READERS {
            world.later(Duration::ZERO, Happening::Read { reader });
        }
        world
    }

    /// A cluster to which nothing happens, but that its primary is exchanged again and again.
    pub(super) fn with_switchovers_only(seed: u64) -> Self {
        let mut world = Self::new(seed, Broken::Nothing);
        (world.only_switchovers, world.loses_messages) = (true, false);
        world
    }

    fn add_site(&mut self, name: String, has_copy: bool) {
        let drift = 1.0 + (self.random.below(1001) as f64 - 500.0) / 100_000.0;
        let skew_micros = self.random.below(1_000_000) as i64 - 500_000;
        self.ids += 1;
        let id = NodeId(self.ids);
        self.decide(Entry::Join { node: id, member: member(&name, has_copy) });
        self.sites.push(Site {
            id,
            name,
            has_copy,
            up: false,
            paused_until: Duration::ZERO,
            disk: self.new_disk(),
            drift,
            skew_micros,
            memory: None,
            starts: 0,
        });
    }

    fn new_disk(&self) -> Disk {
        let mut decided = Decided::default();
        decided.broken = self.broken;
        Disk { decided, ..Disk::default() }
    }

    pub(super) fn later(&mut self, after: Duration, happening: Happening) {
        self.count += 1;
        self.queue.push(Reverse((self.now + after, self.random.next(), self.count)));
        self.happenings.insert(self.count, happening);
    }

    pub(super) fn run(mut self) {
        while let Some(Reverse((at, _, number))) = self.queue.pop() {
            self.now = self.now.max(at);
            let happening = self.happenings.remove(&number).expect("it is to happen");
            if self.now > TROUBLE && !self.ended {
                self.ended = true;
                self.end_of_trouble();
            }
            if self.now > END {
                break;
            }
            self.happen(happening);
            self.check_now();
        }
        self.check_end();
    }

    /// Prints what happens, where one seed is replayed.
    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            println!("{:>9.6} {}", self.now.as_secs_f64(), what());
        }
    }

    pub(super) fn state(&self) -> String {
        let of_site = |site: &Site| {
            let machine = site.memory.as_ref().map(|memory| &memory.machine);
            format!("\n{} {:?} up {} {machine:?}", site.name, site.id, site.up)
        };
        self.sites.iter().map(of_site).collect()
    }

    /// Whoever stands still does everything later.
    fn stalled(&self, happening: &Happening) -> Option<Duration> {
        let node = match happening {
            Happening::Tick { node, .. }
            | Happening::Apply { node, .. }
            | Happening::Stream { node, .. }
            | Happening::Begin { node, .. }
            | Happening::Drain { node, .. }
            | Happening::Synced { node, .. } => *node,
            Happening::Asked { from, .. } => *from,
            Happening::Told { to, .. } | Happening::Acknowledged { to, .. } => *to,
            _ => return None,
        };
        let until = self.sites[node].paused_until;
        (until > self.now).then(|| until - self.now)
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(stalled) = self.stalled(&happening) {
            return self.later(stalled, happening);
        }
        match happening {
            Happening::Disturb => {
                if self.only_switchovers && !self.ended {
                    let may = |site: &Site| site.has_copy && site.is_local() && !site.may_commit(self.now);
                    let replicas = (0..self.sites.len()).filter(|at| may(&self.sites[*at]));
                    let replicas: Vec<usize> = replicas.collect();
                    let node = replicas[self.random.pick(replicas.len())];
                    self.operate(node);
                    self.later(Duration::from_secs(1), Happening::Disturb);
                } else if !self.ended {
                    self.disturb();
                }
            }
            Happening::Start { node } => self.start(node),
            Happening::Tick { node, starts } => {
                if self.is_same(node, starts) {
                    let site = &self.sites[node];
                    let (id, used, confirmed) = (site.id, site.used(), site.confirmed());
                    if site.disk.applied > 0 && !site.disk.decided.members().contains_key(&id) {
                        let entry = Entry::Join { node: id, member: member(&site.name, site.has_copy) };
                        self.act(node, vec![Action::Propose(entry)]);
                    }
                    if self.sites[node].has_failed() {
                        self.tell(node, Event::DiskFailed);
                    }
                    self.tell(node, Event::Tick { used, confirmed });
                    let next = self.random.millis(10, 50);
                    self.later(next, Happening::Tick { node, starts });
                }
            }
            Happening::Apply { node, starts } => {
                if self.is_same(node, starts) {
                    self.apply(node);
                    let next = self.random.millis(1, 30);
                    self.later(next, Happening::Apply { node, starts });
                }
            }
            Happening::Stream { node, starts } => {
                if self.is_same(node, starts) {
                    self.stream(node);
                    let next = self.random.millis(1, 60);
                    self.later(next, Happening::Stream { node, starts });
                }
            }
            Happening::Proposed { from, entry } => {
                if self.has_majority(from) {
                    self.decide(entry);
                }
            }
            Happening::Asked { from, by, starts, round } => {
                if self.sites[from].up && !self.cut.contains(&(from, by)) {
                    let (node, standing) = (self.sites[from].id, self.sites[from].stand());
                    self.answer(by, starts, round, node, standing);
                }
            }
            Happening::Told { to, starts, event } => {
                if self.is_same(to, starts) {
                    self.tell(to, event);
                }
            }
            Happening::Begin { node, starts, epoch, above } => {
                if self.is_same(node, starts) {
                    self.begin(node, epoch, above);
                }
            }
            Happening::Drain { node, starts, to, looks } => {
                if self.is_same(node, starts) {
                    self.drain(node, to, looks);
                }
            }
            Happening::Acknowledged { to, starts, by, tid } => {
                if self.is_same(to, starts)
                    && let Some(memory) = &mut self.sites[to].memory
                {
                    let known = memory.acknowledged.entry(by).or_default();
                    *known = tid.max(*known);
                    self.publish(to);
                }
            }
            Happening::Write => {
                if self.now < WRITING {
                    self.write();
                    let next = self.random.millis(1, 60);
                    self.later(next, Happening::Write);
                }
            }
            Happening::Synced { node, starts, transaction } => {
                if self.is_same(node, starts) {
                    self.synced(node, transaction);
                }
            }
            Happening::Read { reader } => {
                self.read(reader);
                let next = self.random.millis(1, 200);
                self.later(next, Happening::Read { reader });
            }
        }
    }

    fn is_same(&self, node: usize, starts: u64) -> bool {
        self.sites[node].up && self.sites[node].starts == starts
    }

    fn start(&mut self, node: usize) {
        if self.sites[node].up {
            return;
        }
        let random = self.random.next();
        self.find_unsynced(node);
        let site = &mut self.sites[node];
        site.up = true;
        site.starts += 1;
        let starts = site.starts;
        let clock = site.clock(self.now);
        let (machine, actions) = Failover::new(site.id, random, self.own, site.disk.decided.clone(), clock);
        let drift = site.drift;
        let traced = format!("{} {} starts: {random}, drift {drift}", site.name, site.id);
        site.memory = Some(Memory {
            machine,
            follows: None,
            open: false,
            next_oid: site.disk.max_oid() + 1,
            busy: false,
            hidden_from: None,
            draining: None,
            heard: Tid::ZERO,
            lacked: Vec::new(),
            acknowledged: BTreeMap::new(),
            disk_failed: false,
        });
        self.trace(|| traced);
        self.act(node, actions);
        self.later(Duration::ZERO, Happening::Tick { node, starts });
        self.later(Duration::ZERO, Happening::Apply { node, starts });
        if self.sites[node].has_copy {
            self.later(Duration::ZERO, Happening::Stream { node, starts });
        }
    }

    /// What was written when the disk failed may be there.
    fn find_unsynced(&mut self, node: usize) {
        let site = &mut self.sites[node];
        let written = site.disk.unsynced.take().filter(|written| written.tid > site.disk.last());
        if let Some(transaction) = written.filter(|_| self.random.one_in(2)) {
            self.tids.insert(transaction.tid, transaction.records.clone());
            site.disk.log.push(transaction);
        }
    }

    pub(super) fn go_down(&mut self, node: usize, loses_disk: bool) {
        self.trace(|| format!("{} goes down, disk lost: {loses_disk}", self.sites[node].name));
        self.sites[node].up = false;
        self.sites[node].memory = None;
        self.tell_of_gone(node);
        self.readers.iter_mut().for_each(|reader| reader.disconnect(node));
        if loses_disk {
            self.disk_lost = true;
            self.ids += 1;
            self.sites[node].id = NodeId(self.ids);
            self.sites[node].disk = self.new_disk();
            let site = &self.sites[node];
            let (id, member) = (site.id, member(&site.name, site.has_copy));
            self.later(
                Duration::ZERO,
                Happening::Proposed { from: node, entry: Entry::Join { node: id, member } },
            );
        }
    }

    pub(super) fn tell(&mut self, node: usize, event: Event) {
        let site = &mut self.sites[node];
        let clock = site.clock(self.now);
        let Some(memory) = &mut site.memory else { return };
        let actions = memory.machine.handle(clock, event);
        self.act(node, actions);
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        let starts = self.sites[node].starts;
        for action in actions {
            self.trace(|| {
                let until = self.sites[node].memory.as_ref().and_then(|memory| memory.machine.lease_until());
                format!("{} does {action:?}; lease until {until:?}", self.sites[node].name)
            });
            match action {
                Action::Propose(entry) => {
                    let lost = self.loses_messages && self.random.one_in(8);
                    if !lost {
                        let delay = self.delay();
                        self.later(delay, Happening::Proposed { from: node, entry });
                    }
                }
                Action::Ask { round } => self.ask(node, round),
                Action::Follow { primary, .. } => {
                    let memory = self.sites[node].memory.as_mut().expect("it is up");
                    (memory.follows, memory.open, memory.draining) = (Some(primary), false, None);
                }
                Action::Drain { to, .. } => {
                    self.sites[node].memory.as_mut().expect("it is up").draining = Some(to);
                    self.later(Duration::ZERO, Happening::Drain { node, starts, to, looks: DRAIN_LOOKS });
                }
                Action::Resume => self.sites[node].memory.as_mut().expect("it is up").draining = None,
                Action::Prepare { epoch } => {
                    self.sites[node].memory.as_mut().expect("it is up").follows = None;
                    let delay = self.random.millis(0, 30);
                    self.later(delay, Happening::Told { to: node, starts, event: Event::Prepared { epoch } });
                }
                Action::Begin { epoch, above } => {
                    let delay = self.random.millis(0, 30);
                    self.later(delay, Happening::Begin { node, starts, epoch, above: above.tid });
                }
                Action::Open { above } => {
                    let max_oid = self.sites[node].disk.max_oid();
                    let above = if self.broken == Broken::Ceiling { 0 } else { above.get() };
                    let memory = self.sites[node].memory.as_mut().expect("it is up");
                    memory.open = true;
                    self.switchovers.push((self.now, node));
                    memory.next_oid = memory.next_oid.max(above + 1).max(max_oid + 1);
                }
                Action::Close => self.sites[node].memory.as_mut().expect("it is up").open = false,
            }
        }
    }

    /// A message takes so long.
    fn delay(&mut self) -> Duration {
        if self.loses_messages && self.random.one_in(30) {
            self.random.millis(0, 3000)
        } else {
            self.random.millis(0, 20)
        }
    }

    fn ask(&mut self, by: usize, round: u64) {
        let starts = self.sites[by].starts;
        let (me, mine) = (self.sites[by].id, self.sites[by].stand());
        self.later(
            Duration::ZERO,
            Happening::Told { to: by, starts, event: Event::Answered { round, node: me, standing: mine } },
        );
        for from in 0..self.sites.len() {
            if from != by && !self.cut.contains(&(by, from)) {
                let delay = self.delay();
                self.later(delay, Happening::Asked { from, by, starts, round });
            }
        }
    }

    fn answer(&mut self, to: usize, starts: u64, round: u64, node: NodeId, standing: Standing) {
        let delay = self.delay();
        self.later(delay, Happening::Told { to, starts, event: Event::Answered { round, node, standing } });
    }

    /// Whether this node and others that reach each other are most of the voters.
    fn has_majority(&self, node: usize) -> bool {
        let linked = |a: usize, b: usize| !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        let with = (0..self.sites.len())
            .filter(|other| *other == node || (self.sites[*other].up && linked(node, *other)));
        self.sites[node].up && with.count() * 2 > self.sites.len()
    }

    fn apply(&mut self, node: usize) {
        if !self.has_majority(node) {
            return;
        }
        if self.catches_up && self.random.one_in(40) {
            return self.catch_up(node);
        }
        for _ in 0..=self.random.pick(4) {
            let site = &mut self.sites[node];
            let Some(entry) = self.log.get(site.disk.applied).cloned() else { return };
            site.disk.applied += 1;
            site.disk.decided.apply(&entry);
            self.trace(|| format!("{} applies {}", self.sites[node].name, self.sites[node].disk.applied - 1));
            self.tell(node, Event::Decided(entry));
        }
    }

    /// A node hears at once what many entries amount to, as from a snapshot.
    fn catch_up(&mut self, node: usize) {
        let far = self.random.pick(self.log.len() - self.sites[node].disk.applied + 1);
        let site = &mut self.sites[node];
        let entries = &self.log[site.disk.applied..site.disk.applied + far];
        for entry in entries {
            site.disk.decided.apply(entry);
        }
        site.disk.applied += far;
        let caught = Box::new(site.disk.decided.clone());
        self.trace(|| format!("{} catches up by {far} entries", self.sites[node].name));
        self.tell(node, Event::Caught(caught));
    }

    fn stream(&mut self, node: usize) {
        let Some(follows) = self.sites[node].memory.as_ref().and_then(|memory| memory.follows) else {
            return;
        };
        let Some(source) = self.sites.iter().position(|site| site.id == follows) else { return };
        let cut = self.cut.contains(&(source, node)) || self.cut.contains(&(node, source));
        if cut
            || self.sites[node].has_failed()
            || !self.sites[source].up
            || self.sites[source].paused_until > self.now
        {
            return;
        }
        let most = self.random.pick(8);
        let [site, from] = self.sites.get_disjoint_mut([node, source]).expect("nobody follows itself");
        let taken_back = site.disk.follow(&from.disk, most);
        let (tid, common, heard) = (site.disk.last(), site.disk.common(&from.disk), from.disk.last());
        if taken_back {
            self.readers.iter_mut().for_each(|reader| reader.disconnect(node));
        }
        let memory = self.sites[node].memory.as_mut().expect("it is up");
        memory.hidden_from = None;
        memory.heard = heard;
        if common == tid && self.sites[node].name.starts_with("here") {
            let (by, starts, delay) = (self.sites[node].id, self.sites[source].starts, self.delay());
            self.later(delay, Happening::Acknowledged { to: source, starts, by, tid });
        }
    }

    fn begin(&mut self, node: usize, epoch: u64, above: Tid) {
        let broken = self.broken;
        let clock = self.sites[node].clock(self.now);
        if !self.sites[node].may_commit(self.now) {
            return self.later(
                Duration::from_millis(20),
                Happening::Begin { node, starts: self.sites[node].starts, epoch, above },
            );
        }
        if self.sites[node].has_failed() {
            return self.tell(node, Event::CannotBegin { epoch });
        }
        let site = &mut self.sites[node];
        site.disk.begin(epoch, &site.name, above, clock.wall, broken);
        self.tell(node, Event::Begun { epoch });
    }

    /// Whether the one to whom a primary hands over has everything.
    fn drain(&mut self, node: usize, to: NodeId, looks: usize) {
        let linked = |a: usize, b: usize| !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        let Some(other) = self.sites.iter().position(|site| site.id == to) else { return };
        let (site, target) = (&self.sites[node], &self.sites[other]);
        let Some(memory) = site.memory.as_ref().filter(|memory| memory.draining == Some(to)) else { return };
        let has_all = linked(node, other) && target.up && target.disk.common(&site.disk) == site.disk.last();
        if memory.busy || memory.hidden_from.is_some_and(|hidden| hidden < site.disk.log.len()) || !has_all {
            let starts = site.starts;
            if looks == 0 {
                return self.tell(node, Event::NotDrained { to });
            }
            let looks = looks - 1;
            return self.later(Duration::from_millis(5), Happening::Drain { node, starts, to, looks });
        }
        let used = site.used();
        // That nothing is committed from now on must not depend on this.
        self.sites[node].memory.as_mut().expect("it is up").draining = None;
        self.tell(node, Event::Drained { to, used });
    }

    fn write(&mut self) {
        let node = self.random.pick(self.sites.len());
        let makes_new = self.random.one_in(4);
        let object = 1 + self.random.below(OBJECTS);
        let sync =
            if self.random.one_in(20) { self.random.millis(0, 2500) } else { self.random.millis(0, 10) };
        self.values += 1;
        let value = self.values;
        let site = &mut self.sites[node];
        let clock = site.clock(self.now);
        let (last, starts) = (site.disk.last(), site.starts);
        let Some(memory) = site.memory.as_mut().filter(|memory| memory.open && !memory.busy) else { return };
        if memory.draining.is_some() || memory.disk_failed {
            return;
        }
        let ceilings = memory.machine.ceilings();
        let tid = clock.wall.max(last.next());
        let next_oid = memory.next_oid.max(OBJECTS + 1);
        if tid > ceilings.tid || next_oid > ceilings.oid.get() || !memory.machine.may_commit(clock.now) {
            return;
        }
        let oid = if makes_new {
            memory.next_oid = next_oid + 1;
            assert!(self.oids.insert(next_oid), "oid {next_oid} was given out twice");
            next_oid
        } else {
            object
        };
        memory.busy = true;
        let transaction = Transaction { tid, records: BTreeMap::from([(oid, value)]) };
        self.later(sync, Happening::Synced { node, starts, transaction });
    }

    /// It is on the disk.
    fn synced(&mut self, node: usize, transaction: Transaction) {
        let site = &mut self.sites[node];
        let memory = site.memory.as_mut().expect("it is up");
        memory.busy = false;
        if transaction.tid <= site.disk.last() || memory.follows.is_some() {
            return; // it follows another by now
        }
        if memory.disk_failed {
            site.disk.unsynced = Some(transaction);
            return;
        }
        let known = self.tids.insert(transaction.tid, transaction.records.clone());
        assert!(known.is_none_or(|known| known == transaction.records), "{} was used twice", transaction.tid);
        memory.hidden_from.get_or_insert(site.disk.log.len());
        site.disk.log.push(transaction);
        self.publish(node);
    }

    /// Publishes what may be, and answers its clients.
    fn publish(&mut self, node: usize) {
        let other = (0..self.sites.len()).find(|at| *at != node && self.sites[*at].may_commit(self.now));
        let site = &mut self.sites[node];
        let clock = site.clock(self.now);
        let Some(memory) = &mut site.memory else { return };
        let may = memory.machine.may_commit(clock.now) || self.broken == Broken::Lease;
        while let Some(hidden) = memory.hidden_from.filter(|_| may) {
            let Some(transaction) = site.disk.log.get(hidden) else {
                memory.hidden_from = None;
                break;
            };
            let needed = memory.machine.acks();
            if site.disk.replicas_with(site.id, &memory.acknowledged, transaction.tid) < needed {
                break;
            }
            assert_eq!(
                other, None,
                "{} is answered by {} while another holds the lease",
                transaction.tid, site.name
            );
            self.promised.insert(transaction.tid, (transaction.records.clone(), needed));
            memory.hidden_from = Some(hidden + 1);
        }
    }

    fn read(&mut self, reader: usize) {
        let node = self.random.pick(self.sites.len());
        let oid = 1 + self.random.below(OBJECTS);
        let site = &self.sites[node];
        if site.up && site.has_copy && site.disk.whole && site.paused_until <= self.now {
            self.readers[reader].connect(node, site, self.broken);
        }
        self.readers[reader].read(&self.sites, oid);
        if self.random.one_in(10) {
            self.readers[reader].disconnect(node);
        }
    }
}

fn member(name: &str, has_copy: bool) -> Member {
    let group = if name.starts_with("there") { "there" } else { "here" }.to_owned();
    Member { name: name.to_owned(), group, electable: has_copy, voter: true, priority: 0 }
}
