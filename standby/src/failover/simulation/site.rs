//! A node of the model: its disk, its clocks, and what it forgets in a crash.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use replica::{Epoch, Epochs};
use zeo_proto::{Oid, Tid};

use super::super::choice::{Standing, lacks};
use super::super::decided::Decided;
use super::super::entry::{Ceilings, NodeId};
use super::super::machine::{Clock, Failover};
use super::Broken;

/// The moment at which every simulation begins.
const BEGINNING: Duration = Duration::from_secs(1_700_000_000);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) tid: Tid,
    pub(super) records: BTreeMap<u64, u64>,
}

pub(super) struct Site {
    pub(super) id: NodeId,
    pub(super) name: String,
    pub(super) has_copy: bool,
    pub(super) up: bool,
    pub(super) paused_until: Duration,
    pub(super) disk: Disk,
    pub(super) drift: f64,
    pub(super) skew_micros: i64,
    /// What a crash forgets.
    pub(super) memory: Option<Memory>,
    /// How often it was started: news for an earlier self are dropped.
    pub(super) starts: u64,
}

#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) log: Vec<Transaction>,
    pub(super) epochs: Epochs,
    pub(super) saved: Vec<Transaction>,
    pub(super) decided: Decided,
    pub(super) applied: usize,
    /// It had everything of its upstream once.
    pub(super) whole: bool,
    /// Written when the disk failed: who starts it anew may find it, or not.
    pub(super) unsynced: Option<Transaction>,
}

pub(super) struct Memory {
    pub(super) machine: Failover,
    pub(super) follows: Option<NodeId>,
    pub(super) open: bool,
    pub(super) next_oid: u64,
    pub(super) busy: bool,
    /// Durable, and not yet published: from here on in the log.
    pub(super) hidden_from: Option<usize>,
    /// To whom it hands over: nothing new is committed.
    pub(super) draining: Option<NodeId>,
    /// The last transaction that the one it follows has said to have.
    pub(super) heard: Tid,
    /// What it lacked, as it said when it was asked.
    pub(super) lacked: Vec<Duration>,
    /// What the replicas have.
    pub(super) acknowledged: BTreeMap<NodeId, Tid>,
    /// Its disk has failed: until it is started anew, nothing is written any more.
    pub(super) disk_failed: bool,
}

impl Site {
    pub(super) fn clock(&self, now: Duration) -> Clock {
        let own = now.mul_f64(self.drift);
        let wall = (BEGINNING + own).as_micros() as i64 + self.skew_micros;
        let wall: SystemTime = UNIX_EPOCH + Duration::from_micros(wall as u64);
        Clock { now: own, wall: Tid::from_time(wall) }
    }

    pub(super) fn is_local(&self) -> bool {
        self.name.starts_with("here")
    }

    pub(super) fn may_commit(&self, now: Duration) -> bool {
        let clock = self.clock(now);
        self.up && self.memory.as_ref().is_some_and(|memory| memory.machine.may_commit(clock.now))
    }

    pub(super) fn used(&self) -> Ceilings {
        let oid = self.memory.as_ref().map_or(0, |memory| memory.next_oid);
        Ceilings { tid: self.disk.last(), oid: Oid::new(oid) }
    }

    pub(super) fn standing(&self) -> Standing {
        let last = self.disk.last();
        Standing {
            ready: self.has_copy && self.disk.whole,
            clock_off: false,
            disk_failed: self.has_failed(),
            epoch: self.disk.epochs.up_to(last).newest(),
            lasts: vec![last],
            known: vec![self.heard()],
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.disk_failed)
    }

    /// The same, as it says it when it is asked; what it lacked then is remembered.
    pub(super) fn stand(&mut self) -> Standing {
        let standing = self.standing();
        if let Some(memory) = &mut self.memory {
            memory.lacked.push(lacks(&standing, &standing));
            if memory.lacked.len() > 6 {
                memory.lacked.remove(0);
            }
        }
        standing
    }

    /// So many replicas have everything that its clients were told.
    pub(super) fn confirmed(&self) -> Option<usize> {
        let answered = self.disk.log[..self.published()].last()?.tid;
        let memory = self.memory.as_ref()?;
        Some(self.disk.replicas_with(self.id, &memory.acknowledged, answered))
    }

    /// The last transaction that it knows of.
    fn heard(&self) -> Tid {
        self.memory.as_ref().map_or(Tid::ZERO, |memory| memory.heard)
    }

    /// What clients of this node see: so much of its log.
    pub(super) fn published(&self) -> usize {
        let hidden = self.memory.as_ref().and_then(|memory| memory.hidden_from);
        hidden.unwrap_or(self.disk.log.len()).min(self.disk.log.len())
    }
}

impl Disk {
    pub(super) fn last(&self) -> Tid {
        self.log.last().map_or(Tid::ZERO, |transaction| transaction.tid)
    }

    /// So many replicas that count have this, by what they have acknowledged to that node.
    pub(super) fn replicas_with(&self, me: NodeId, acknowledged: &BTreeMap<NodeId, Tid>, tid: Tid) -> usize {
        let replicas = self.decided.locals().map(|(node, _)| node).filter(|node| *node != me);
        replicas.filter(|node| acknowledged.get(node).is_some_and(|has| *has >= tid)).count()
    }

    pub(super) fn max_oid(&self) -> u64 {
        self.log.iter().flat_map(|transaction| transaction.records.keys()).max().copied().unwrap_or(0)
    }

    /// Writes the boundary of an epoch, unless it is there.
    pub(super) fn begin(&mut self, epoch: u64, node: &str, above: Tid, wall: Tid, broken: Broken) {
        if self.epochs.newest() >= epoch {
            return;
        }
        let fork = self.last();
        let above = if broken == Broken::Ceiling { Tid::ZERO } else { above };
        let boundary = wall.max(fork.next()).max(above.next());
        self.log.push(Transaction { tid: boundary, records: BTreeMap::new() });
        let mut epochs = self.epochs.up_to(fork).as_slice().to_vec();
        epochs.push(Epoch { epoch, boundary, fork, node: node.to_owned() });
        self.epochs = Epochs::new(epochs).expect("the newest is above all");
        self.whole = true;
    }

    /// Follows another: at most `most` transactions more. Whether anything was taken back.
    pub(super) fn follow(&mut self, source: &Self, most: usize) -> bool {
        let common = self.common(source);
        let taken_back = self.last() > common;
        if taken_back {
            if source.epochs.newest() < self.epochs.up_to(self.last()).newest() {
                return false; // the source has yet to hear of what this one knows
            }
            let keep = self.log.partition_point(|transaction| transaction.tid <= common);
            self.saved.extend(self.log.drain(keep..));
            self.epochs = self.epochs.up_to(common);
        }
        let same = source.log.partition_point(|transaction| transaction.tid <= self.last());
        let seen = if taken_back { 0 } else { same.saturating_sub(10) };
        assert_eq!(self.log[seen..], source.log[seen..same], "the common history is common");
        self.log.extend(source.log[same..].iter().take(most).cloned());
        self.epochs = source.epochs.clone();
        self.whole |= self.log.len() == source.log.len();
        taken_back
    }

    /// Up to here two have the same history.
    pub(super) fn common(&self, other: &Self) -> Tid {
        Epochs::common(&self.epochs, self.last(), &other.epochs, other.last())
    }

    /// What a client that ends with `tid` must drop; `None`: all.
    pub(super) fn invalidations(&self, tid: Tid, published: usize, broken: Broken) -> Option<Vec<u64>> {
        if broken != Broken::LostTid && !self.epochs.survives(tid) {
            return None;
        }
        let after = self.log[..published].iter().filter(|transaction| transaction.tid > tid);
        Some(after.flat_map(|transaction| transaction.records.keys().copied()).collect())
    }

    /// The current value of an object among the first transactions.
    pub(super) fn value(&self, oid: u64, published: usize) -> Option<u64> {
        self.log[..published].iter().rev().find_map(|transaction| transaction.records.get(&oid).copied())
    }
}
