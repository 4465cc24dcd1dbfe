//! Whether enough replicas have a transaction durably for its client to be answered, as a pure state machine.
//!
//! Transactions are durable here, wait for the acknowledgements of others, and are released in order. When that takes
//! too long, the options say whether clients wait on, or are answered all the same until the replicas are in step again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use zeo_proto::Tid;

use crate::world::Instant;

/// What a primary does when too few replicas acknowledge in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAckTimeout {
    /// Waits on: the client is not answered.
    Wait,
    /// Answers the client all the same, and says so in the log and in the status.
    Continue,
}

/// What is asked of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckOptions {
    /// So many must have a transaction.
    pub needed: usize,
    /// How long that may take.
    pub timeout: Duration,
    /// What happens then.
    pub on_timeout: OnAckTimeout,
}

impl Default for AckOptions {
    fn default() -> Self {
        Self { needed: 0, timeout: Duration::from_secs(5), on_timeout: OnAckTimeout::Wait }
    }
}

/// Something that the operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Clients wait for longer than they should.
    Waiting,
    /// Clients are not kept waiting any more.
    FellBack,
    /// Enough replicas acknowledge in time again.
    InStep,
}

/// How acknowledgements stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckState {
    /// So many replicas must have a transaction.
    pub needed: usize,
    /// So many are there to acknowledge.
    pub present: usize,
    /// Transactions whose clients wait.
    pub waiting: usize,
    /// Since when the one that waits longest does.
    pub since: Option<Instant>,
    /// Clients are answered without acknowledgements.
    pub fell_back: bool,
}

/// The acknowledgements of one storage.
#[derive(Debug)]
pub struct Acks {
    options: AckOptions,
    /// By the names of the nodes: the stream, and what they have.
    replicas: BTreeMap<String, (u64, Tid)>,
    /// Nodes that do not count, whatever they acknowledge.
    uncounted: BTreeSet<String>,
    waiting: VecDeque<(Tid, Instant)>,
    /// The last transaction that is durable here.
    durable: Tid,
    released: Tid,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    InStep,
    /// In step, but too late; that was told.
    Late,
    /// Nobody waits. In step again when the replicas have what was durable then, sooner than the timeout.
    FellBack {
        goal: Tid,
        since: Instant,
    },
}

impl Acks {
    /// Of a storage that ends with `last`, which was released.
    pub fn new(options: AckOptions, last: Tid) -> Self {
        Self {
            options,
            replicas: BTreeMap::new(),
            uncounted: BTreeSet::new(),
            waiting: VecDeque::new(),
            durable: last,
            released: last,
            mode: Mode::InStep,
        }
    }

    /// From now on these options count, and these nodes do not.
    pub fn change(&mut self, options: AckOptions, uncounted: BTreeSet<String>) {
        (self.options, self.uncounted) = (options, uncounted);
        if let (Mode::FellBack { .. }, OnAckTimeout::Wait) = (self.mode, options.on_timeout) {
            self.mode = Mode::InStep;
        }
        self.release();
    }

    /// So many nodes have everything that was released.
    pub fn confirmed(&self) -> usize {
        self.counted().filter(|tid| *tid >= self.released).count()
    }

    fn counted(&self) -> impl Iterator<Item = Tid> {
        let counts = |(node, _): &(&String, &(u64, Tid))| !self.uncounted.contains(*node);
        self.replicas.iter().filter(counts).map(|(_, (_, tid))| *tid)
    }

    /// Up to here transactions may be published and their clients answered.
    pub fn released(&self) -> Tid {
        self.released
    }

    /// A transaction is durable here.
    pub fn committed(&mut self, now: Instant, tid: Tid) {
        assert!(tid > self.durable, "transactions are committed in order");
        self.durable = tid;
        match self.mode {
            Mode::FellBack { .. } => self.released = tid,
            Mode::InStep | Mode::Late => {
                self.waiting.push_back((tid, now));
                self.release();
            }
        }
    }

    /// A replica has everything up to here durably. Of two streams of one node, the later counts.
    pub fn acknowledged(&mut self, now: Instant, node: &str, stream: u64, tid: Tid) -> Option<Notice> {
        match self.replicas.get_mut(node) {
            Some((known, _)) if *known > stream => return None,
            Some(entry) => *entry = (stream, tid),
            None => {
                self.replicas.insert(node.to_owned(), (stream, tid));
            }
        }
        self.release();
        match self.mode {
            Mode::Late if self.waiting.is_empty() => self.go_on_in_step(),
            Mode::FellBack { goal, since } if self.acknowledged_by_enough() >= goal => {
                if now.saturating_duration_since(since) <= self.options.timeout {
                    return self.go_on_in_step();
                }
                self.mode = Mode::FellBack { goal: self.durable, since: now };
                None
            }
            _ => None,
        }
    }

    fn go_on_in_step(&mut self) -> Option<Notice> {
        self.mode = Mode::InStep;
        Some(Notice::InStep)
    }

    /// A stream ended.
    pub fn left(&mut self, node: &str, stream: u64) {
        if self.replicas.get(node).is_some_and(|(known, _)| *known == stream) {
            self.replicas.remove(node);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Option<Notice> {
        let late = |since: Instant| now.saturating_duration_since(since) > self.options.timeout;
        match self.mode {
            Mode::InStep | Mode::Late if self.waiting.front().is_some_and(|(_, since)| late(*since)) => {
                match self.options.on_timeout {
                    OnAckTimeout::Continue => {
                        self.waiting.clear();
                        self.released = self.durable;
                        self.mode = Mode::FellBack { goal: self.durable, since: now };
                        Some(Notice::FellBack)
                    }
                    OnAckTimeout::Wait if self.mode == Mode::InStep => {
                        self.mode = Mode::Late;
                        Some(Notice::Waiting)
                    }
                    OnAckTimeout::Wait => None,
                }
            }
            // The replicas are given a new goal when they have not reached the old one in time.
            Mode::FellBack { since, .. } if late(since) => {
                self.mode = Mode::FellBack { goal: self.durable, since: now };
                None
            }
            _ => None,
        }
    }

    /// How it stands.
    pub fn state(&self) -> AckState {
        AckState {
            needed: self.options.needed,
            present: self.counted().count(),
            waiting: self.waiting.len(),
            since: self.waiting.front().map(|(_, since)| *since),
            fell_back: matches!(self.mode, Mode::FellBack { .. }),
        }
    }

    /// Up to here enough replicas have everything.
    fn acknowledged_by_enough(&self) -> Tid {
        let mut tids: Vec<Tid> = self.counted().collect();
        tids.sort_unstable_by(|a, b| b.cmp(a));
        match self.options.needed {
            0 => Tid::MAX,
            needed => tids.get(needed - 1).copied().unwrap_or(Tid::ZERO),
        }
    }

    fn release(&mut self) {
        let enough = self.acknowledged_by_enough();
        while let Some((tid, _)) = self.waiting.front().filter(|(tid, _)| *tid <= enough) {
            self.released = *tid;
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn acks(needed: usize, on_timeout: OnAckTimeout) -> (Acks, Instant) {
        (Acks::new(AckOptions { needed, timeout: TIMEOUT, on_timeout }, Tid::new(10)), Instant::now())
    }

    fn tid(tid: u64) -> Tid {
        Tid::new(tid)
    }

    #[test]
    fn a_transaction_is_released_when_enough_replicas_have_it() {
        let (mut acks, now) = acks(2, OnAckTimeout::Wait);
        acks.committed(now, tid(11));
        acks.committed(now, tid(12));
        acks.acknowledged(now, "b", 1, tid(12));
        assert_eq!(acks.released(), tid(10), "one is not enough");
        acks.acknowledged(now, "c", 2, tid(11));
        assert_eq!(acks.released(), tid(11), "both have this one");
        acks.acknowledged(now, "c", 2, tid(12));
        assert_eq!(acks.released(), tid(12));
        assert_eq!(acks.state().waiting, 0);
    }

    #[test]
    fn a_node_counts_once_and_with_its_later_stream() {
        let (mut acks, now) = acks(2, OnAckTimeout::Wait);
        acks.committed(now, tid(11));
        acks.acknowledged(now, "b", 1, tid(11));
        acks.acknowledged(now, "b", 2, tid(11));
        assert_eq!(acks.released(), tid(10));
        acks.left("b", 1);
        assert_eq!(acks.state().present, 1, "the later stream goes on");
        acks.acknowledged(now, "b", 1, tid(99));
        acks.left("b", 2);
        acks.acknowledged(now, "c", 3, tid(11));
        assert_eq!(acks.released(), tid(10), "who left may have lost it");
    }

    #[test]
    fn options_change_while_clients_wait() {
        let (mut acks, now) = acks(2, OnAckTimeout::Wait);
        let options = |needed| AckOptions { needed, timeout: TIMEOUT, on_timeout: OnAckTimeout::Wait };
        acks.committed(now, tid(11));
        acks.acknowledged(now, "b", 1, tid(11));
        assert_eq!((acks.released(), acks.confirmed()), (tid(10), 1));
        acks.change(options(1), BTreeSet::from(["b".to_owned()]));
        assert_eq!(
            (acks.released(), acks.confirmed(), acks.state().present),
            (tid(10), 0, 0),
            "it does not count"
        );
        acks.change(options(1), BTreeSet::new());
        assert_eq!((acks.released(), acks.confirmed()), (tid(11), 1));
        acks.change(options(2), BTreeSet::new());
        acks.acknowledged(now, "c", 2, tid(10));
        assert_eq!(acks.confirmed(), 1, "the other has not what was released with less");
        acks.acknowledged(now, "c", 2, tid(11));
        assert_eq!(acks.confirmed(), 2);
        acks.committed(now, tid(12));
        acks.change(options(0), BTreeSet::new());
        assert_eq!(acks.released(), tid(12));
    }

    #[test]
    fn what_was_released_stays_released_when_replicas_leave() {
        let (mut acks, now) = acks(1, OnAckTimeout::Wait);
        acks.committed(now, tid(11));
        acks.acknowledged(now, "b", 1, tid(11));
        acks.left("b", 1);
        assert_eq!(acks.released(), tid(11));
        acks.committed(now, tid(12));
        assert_eq!(acks.released(), tid(11));
    }

    #[test]
    fn clients_wait_on_where_that_is_the_setting_and_it_is_told_once() {
        let (mut acks, now) = acks(1, OnAckTimeout::Wait);
        acks.committed(now, tid(11));
        assert_eq!(acks.tick(now + TIMEOUT), None);
        let late = now + TIMEOUT + Duration::from_millis(1);
        assert_eq!(acks.tick(late), Some(Notice::Waiting));
        assert_eq!(acks.tick(late + TIMEOUT * 100), None);
        assert_eq!(acks.released(), tid(10));
        assert_eq!(acks.acknowledged(late, "b", 1, tid(11)), Some(Notice::InStep));
        assert_eq!(acks.released(), tid(11));
    }

    #[test]
    fn clients_are_answered_where_that_is_the_setting_until_replicas_are_in_step_again() {
        let (mut acks, now) = acks(1, OnAckTimeout::Continue);
        acks.committed(now, tid(11));
        let late = now + TIMEOUT + Duration::from_millis(1);
        assert_eq!(acks.tick(late), Some(Notice::FellBack));
        assert_eq!(acks.released(), tid(11));
        acks.committed(late, tid(12));
        assert_eq!(acks.released(), tid(12), "nobody waits now");
        // One that catches up too slowly is not in step.
        let slow = late + TIMEOUT * 2;
        assert_eq!(acks.acknowledged(slow, "b", 1, tid(11)), None);
        acks.committed(slow, tid(13));
        assert_eq!(acks.released(), tid(13));
        // This one has what was durable a moment ago.
        assert_eq!(acks.acknowledged(slow + TIMEOUT / 2, "b", 1, tid(12)), Some(Notice::InStep));
        acks.committed(slow + TIMEOUT, tid(14));
        assert_eq!(acks.released(), tid(13), "clients wait again");
        acks.acknowledged(slow + TIMEOUT, "b", 1, tid(14));
        assert_eq!(acks.released(), tid(14));
    }
}
