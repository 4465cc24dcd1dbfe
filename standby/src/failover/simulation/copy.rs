//! What becomes of copies: streams, boundaries, commits, and what clients are told.

use std::collections::BTreeMap;
use std::time::Duration;

use zeo_proto::Tid;

use super::Broken;
use super::site::Transaction;
use super::world::{Happening, World};
use crate::failover::entry::NodeId;
use crate::failover::machine::Event;

/// Objects that are written again and again.
const OBJECTS: u64 = 6;

impl World {
    pub(super) fn stream(&mut self, node: usize) {
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

    pub(super) fn begin(&mut self, node: usize, epoch: u64, above: Tid) {
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
    pub(super) fn drain(&mut self, node: usize, to: NodeId, looks: usize) {
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

    pub(super) fn write(&mut self) {
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
    pub(super) fn synced(&mut self, node: usize, transaction: Transaction) {
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
    pub(super) fn publish(&mut self, node: usize) {
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

    pub(super) fn read(&mut self, reader: usize) {
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
