//! Between *durable* and *published*: transactions wait here for the acknowledgements of replicas, where those are asked for,
//! and are published only while the primary's lease holds, where there is one.
//!
//! Until a transaction is published no client sees it, its locks are held, and its own client waits for the reply.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use replica::Committed;
use tracing::{info, warn};
use zeo_proto::Tid;

use super::acks::{AckOptions, AckState, Acks, Notice};
use super::{Exchange, Service};
use crate::failover::lease::LeaseView;
use crate::world::Instant;

/// What is durable and waits to be published.
#[derive(Default)]
pub(super) struct Gate {
    /// `None`: nobody is waited for.
    acks: Option<Acks>,
    hold: Hold,
    held: VecDeque<Committed>,
}

/// Whether what is durable may be published.
#[derive(Clone, Debug, Default)]
pub enum Hold {
    /// It may.
    #[default]
    Free,
    /// While this lease holds.
    Lease(LeaseView),
    /// Not before it is known whether it is lost.
    Held,
    /// It may if it comes from another node. What a client of this one still commits is in nobody's history: it is not
    /// published, its client is told that it failed, and the stream finds that it must be taken back.
    Following,
}

impl Service {
    /// From now on, transactions are published when replicas have them. To be told the time by
    /// [`Service::watch_acknowledgements`].
    pub fn require_acknowledgements(&self, options: AckOptions) {
        let last = self.storage().last_tid();
        self.0.exchange.gate().acks = Some(Acks::new(options, last));
    }

    /// From now on transactions are published when so many replicas have them, and these nodes do not count; with 0, at once. Whether
    /// nobody was waited for until now.
    pub fn change_acknowledgements(&self, options: AckOptions, uncounted: BTreeSet<String>) -> bool {
        let last = self.storage().last_tid();
        let mut gate = self.0.exchange.gate();
        let is_new = gate.acks.is_none();
        if let (true, true) = (is_new, options.needed == 0) {
            return false;
        }
        gate.acks.get_or_insert_with(|| Acks::new(options, last)).change(options, uncounted);
        if options.needed == 0 {
            gate.acks = None;
        }
        self.0.exchange.release(&mut gate);
        is_new
    }

    /// So many replicas have everything that was published; `None`: nobody is waited for.
    pub fn confirmed(&self) -> Option<usize> {
        self.0.exchange.gate().acks.as_ref().map(Acks::confirmed)
    }

    /// What is durable is published under these conditions from now on, and no acknowledgements are asked for.
    pub fn hold(&self, hold: Hold) {
        let mut gate = self.0.exchange.gate();
        gate.acks = None;
        if matches!(hold, Hold::Following) {
            // What waits is part of the history that is followed.
            gate.hold = Hold::Free;
            self.0.exchange.release(&mut gate);
        }
        gate.hold = hold;
        self.0.exchange.release(&mut gate);
    }

    /// This node commits no more. What waits to be published may be lost: it waits until that is known.
    pub fn hold_what_waits(&self) {
        let mut gate = self.0.exchange.gate();
        gate.acks = None;
        // Who follows another publishes nothing of its own clients anyway, and what is on its way from that one ends up in
        // the file: the stream waits until it is published.
        if !matches!(gate.hold, Hold::Following) {
            // Also when nothing waits now: clients leave in their own time, and may commit until then.
            gate.hold = Hold::Held;
        }
    }

    /// A lease goes on: publishes what waited for that.
    pub fn release_held(&self) {
        self.0.exchange.release(&mut self.0.exchange.gate());
    }

    /// A node has everything up to `tid` durably, by what it says in this stream.
    pub fn acknowledged(&self, node: &str, stream: u64, tid: Tid) {
        let now = Instant::now();
        self.0.exchange.change_acks(|acks| acks.acknowledged(now, node, stream, tid));
    }

    /// That stream ended.
    pub fn acknowledges_no_more(&self, node: &str, stream: u64) {
        self.0.exchange.change_acks(|acks| {
            acks.left(node, stream);
            None
        });
    }

    /// How acknowledgements stand; `None` where none are asked for.
    pub fn acknowledgements(&self) -> Option<AckState> {
        self.0.exchange.gate().acks.as_ref().map(Acks::state)
    }

    /// Sees to it that nobody waits for longer than the options say, until the task is dropped.
    pub async fn watch_acknowledgements(self, options: AckOptions) {
        let every = (options.timeout / 4).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.exchange.change_acks(|acks| acks.tick(Instant::now()));
        }
    }
}

impl Hold {
    fn is_open(&self) -> bool {
        match self {
            Self::Free | Self::Following => true,
            Self::Lease(lease) => lease.holds(),
            Self::Held => false,
        }
    }
}

impl Exchange {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are durable: publishes those that need not wait.
    pub(super) fn durable(&self, batch: Vec<Committed>) {
        // Held while publishing: what is published stays in order.
        let mut gate = self.gate();
        if let Some(last) = batch.last() {
            self.tip.send_replace(last.tid);
        }
        if gate.acks.is_none() && gate.held.is_empty() && gate.hold.is_open() {
            self.publish(batch, matches!(gate.hold, Hold::Following));
            return;
        }
        if let Some(acks) = &mut gate.acks {
            let now = Instant::now();
            batch.iter().for_each(|committed| acks.committed(now, committed.tid));
        }
        gate.held.extend(batch);
        self.release(&mut gate);
    }

    fn change_acks(&self, change: impl FnOnce(&mut Acks) -> Option<Notice>) {
        let mut gate = self.gate();
        let Some(acks) = &mut gate.acks else { return };
        let notice = change(acks);
        let AckState { needed, present, waiting, .. } = acks.state();
        self.release(&mut gate);
        drop(gate);
        let storage = &self.storage_name;
        match notice {
            None => {}
            Some(Notice::Waiting) => {
                warn!(%storage, needed, present, waiting, "too few replicas acknowledge: clients wait for their commits");
            }
            Some(Notice::FellBack) => {
                warn!(%storage, needed, present, "too few replicas acknowledge: clients are answered without them, until they do");
            }
            Some(Notice::InStep) => info!(%storage, needed, present, "enough replicas acknowledge again"),
        }
    }

    fn release(&self, gate: &mut Gate) {
        let released = gate.acks.as_ref().map_or(Tid::MAX, Acks::released);
        let count = gate.held.partition_point(|committed| committed.tid <= released);
        if count > 0 && gate.hold.is_open() {
            let following = matches!(gate.hold, Hold::Following);
            self.publish(gate.held.drain(..count).collect(), following);
        }
    }
}
