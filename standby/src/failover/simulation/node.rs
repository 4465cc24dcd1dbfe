//! What nodes do: they start and go down, hear of decided entries, and act as their machines say.

use std::collections::BTreeMap;
use std::time::Duration;

use zeo_proto::Tid;

use super::Broken;
use super::site::Memory;
use super::world::{Happening, World, member};
use crate::failover::choice::Standing;
use crate::failover::entry::{Entry, NodeId};
use crate::failover::machine::{Action, Event, Failover};

/// So often a primary that hands over looks whether the other has everything, before it gives up.
const DRAIN_LOOKS: usize = 200;

impl World {
    pub(super) fn start(&mut self, node: usize) {
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
    pub(super) fn find_unsynced(&mut self, node: usize) {
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

    pub(super) fn act(&mut self, node: usize, actions: Vec<Action>) {
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
    pub(super) fn delay(&mut self) -> Duration {
        if self.loses_messages && self.random.one_in(30) {
            self.random.millis(0, 3000)
        } else {
            self.random.millis(0, 20)
        }
    }

    pub(super) fn ask(&mut self, by: usize, round: u64) {
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

    pub(super) fn answer(&mut self, to: usize, starts: u64, round: u64, node: NodeId, standing: Standing) {
        let delay = self.delay();
        self.later(delay, Happening::Told { to, starts, event: Event::Answered { round, node, standing } });
    }

    /// Whether this node and others that reach each other are most of the voters.
    pub(super) fn has_majority(&self, node: usize) -> bool {
        let linked = |a: usize, b: usize| !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        let with = (0..self.sites.len())
            .filter(|other| *other == node || (self.sites[*other].up && linked(node, *other)));
        self.sites[node].up && with.count() * 2 > self.sites.len()
    }

    pub(super) fn apply(&mut self, node: usize) {
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
    pub(super) fn catch_up(&mut self, node: usize) {
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
}
