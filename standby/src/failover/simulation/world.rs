//! The model: time, and what happens when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use zeo_proto::Tid;

use super::Broken;
use super::clients::Reader;
use super::random::Random;
use super::site::{Disk, Site, Transaction};
use crate::failover::decided::Decided;
use crate::failover::entry::{Cause, Entry, LeaseMark, Member, NodeId};
use crate::failover::machine::{Action, Event, OwnSettings};
use crate::failover::timing::Timing;
use crate::span;

const TROUBLE: Duration = Duration::from_secs(10);
const WRITING: Duration = Duration::from_secs(14);
const END: Duration = Duration::from_secs(20);
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
    pub(super) own: OwnSettings,
    pub(super) log: Vec<Entry>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    happenings: BTreeMap<usize, Happening>,
    count: usize,
    pub(super) values: u64,
    pub(super) ids: u64,
    pub(super) oids: BTreeSet<u64>,
    pub(super) tids: BTreeMap<Tid, BTreeMap<u64, u64>>,
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

    pub(super) fn new_disk(&self) -> Disk {
        let mut decided = Decided::default();
        decided.broken = self.broken;
        Disk { decided, ..Disk::default() }
    }

    pub(super) fn later(&mut self, after: Duration, happening: Happening) {
        self.count += 1;
        self.queue.push(Reverse((self.now + after, self.random.next(), self.count)));
        self.happenings.insert(self.count, happening);
    }

    /// How often somebody became the primary.
    pub(super) fn run(mut self) -> usize {
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
        self.switchovers.len()
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

    pub(super) fn is_same(&self, node: usize, starts: u64) -> bool {
        self.sites[node].up && self.sites[node].starts == starts
    }
}

pub(super) fn member(name: &str, has_copy: bool) -> Member {
    let group = if name.starts_with("there") { "there" } else { "here" }.to_owned();
    Member { name: name.to_owned(), group, electable: has_copy, voter: true, priority: 0 }
}
