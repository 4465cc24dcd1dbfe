//! A primary's own view of its leases.

use std::collections::BTreeMap;
use std::time::Duration;

use zeo_proto::Oid;

use super::entry::{Ceilings, NodeId};
use super::machine::{Action, Clock};
use super::timing::Timing;

/// A primary, with or without a lease.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub(super) epoch: u64,
    /// The copy follows nobody any more.
    pub(super) prepared: bool,
    /// [`Action::Begin`] was asked for, and is done.
    pub(super) beginning: bool,
    pub(super) begun: bool,
    pub(super) open: bool,
    /// What earlier primaries, or this one before it was restarted, may have used.
    pub(super) above: Ceilings,
    pub(super) lease_until: Option<Duration>,
    pub(super) ceilings: Ceilings,
    /// The leases that were proposed.
    pub(super) proposed: BTreeMap<u64, ProposedLease>,
    pub(super) next_seq: u64,
    /// So many of the replicas that count have everything that was answered.
    pub(super) confirmed: Option<usize>,
    pub(super) used: Ceilings,
    pub(super) handing: Option<HandOver>,
    /// A switchover was given up, and its promotion may be decided yet: until a later lease is.
    pub(super) in_doubt: bool,
    /// Another's promotion after this lease was proposed: nothing is committed before a later one is decided.
    pub(super) stopped_after: Option<u64>,
}

/// A lease that may be decided yet, or was.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProposedLease {
    pub(super) at: Duration,
    pub(super) length: Duration,
    pub(super) acks: usize,
}

/// A primary is to hand over.
#[derive(Clone, Debug)]
pub(super) struct HandOver {
    pub(super) to: NodeId,
    /// When it is given up.
    pub(super) until: Duration,
    /// What was used: nothing is being committed any more.
    pub(super) drained: Option<Ceilings>,
}

impl Leader {
    /// Its lease runs; it may still have stopped.
    fn holds(&self, now: Duration) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// A lease of this node was decided. It began when it was proposed; if that was before a restart, nobody knows when.
    pub(super) fn renewed(&mut self, seq: u64, mine: bool, lease: Duration, ceilings: Ceilings) {
        self.next_seq = self.next_seq.max(seq + 1);
        match self.proposed.get(&seq).filter(|_| mine) {
            Some(proposed) => {
                self.lease_until = self.lease_until.max(Some(proposed.at + lease));
                self.ceilings = ceilings;
                self.proposed = self.proposed.split_off(&seq);
            }
            None => {
                self.above.tid = self.above.tid.max(ceilings.tid);
                self.above.oid = self.above.oid.max(ceilings.oid);
            }
        }
    }

    /// How long the next lease is to be, so that none that was proposed before ends later: whoever has applied it waits for its
    /// end alone.
    pub(super) fn next_length(&self, clock: Clock, lease: Duration) -> Duration {
        let ends = self.proposed.values().map(|proposed| proposed.at + proposed.length);
        let last = ends.chain(self.lease_until).max().unwrap_or_default();
        lease.max(last.saturating_sub(clock.now))
    }

    /// Everything that was answered is on so many replicas, and what is answered from now on will be.
    pub(super) fn has_everywhere(&self, needed: usize) -> bool {
        needed > 0
            && self.confirmed.is_some_and(|confirmed| confirmed >= needed)
            && !self.proposed.is_empty()
            && self.proposed.values().all(|proposed| proposed.acks == needed)
    }

    /// Hands over no more. Whether that is so, where the promotion was proposed, the log says.
    pub(super) fn give_up(&mut self, actions: &mut Vec<Action>) {
        self.handing = None;
        self.in_doubt = self.stopped_after.is_some();
        if !self.in_doubt {
            actions.push(Action::Resume);
        }
    }

    pub(super) fn open_or_close(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match (self.holds(now), self.open) {
            (true, false) if self.begun => {
                self.open = true;
                actions.push(Action::Open { above: self.above.oid });
            }
            (true, false) if !self.beginning => {
                self.beginning = true;
                actions.push(Action::Begin { epoch: self.epoch, above: self.above });
            }
            (false, true) => {
                self.open = false;
                actions.push(Action::Close);
            }
            _ => {}
        }
    }

    /// Less than half is left of what the last lease allows.
    pub(super) fn is_short_of_room(&self, clock: Clock, timing: &Timing) -> bool {
        let proposed_lately =
            |(_, last): (&u64, &ProposedLease)| clock.now.saturating_sub(last.at) < timing.renew_every / 8;
        self.holds(clock.now)
            && self.used.oid.get() + timing.oid_block / 2 > self.ceilings.oid.get()
            && !self.proposed.last_key_value().is_some_and(proposed_lately)
    }

    pub(super) fn next_ceilings(&self, clock: Clock, timing: &Timing) -> Ceilings {
        let tid = clock.wall.max(self.used.tid).max(self.above.tid);
        let oid = self.used.oid.max(self.above.oid);
        Ceilings {
            tid: tid.later_by(timing.tid_horizon).max(self.ceilings.tid),
            oid: Oid::new(oid.get() + timing.oid_block).max(self.ceilings.oid),
        }
    }
}

#[cfg(test)]
mod tests {
    use zeo_proto::Tid;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn clock(seconds: u64) -> Clock {
        Clock { now: at(seconds), wall: Tid::ZERO }
    }

    fn leader(proposed: &[(u64, u64, usize)]) -> Leader {
        let proposed = proposed.iter().zip(1..).map(|(&(began, length, acks), seq)| {
            (seq, ProposedLease { at: at(began), length: at(length), acks })
        });
        Leader {
            epoch: 1,
            prepared: true,
            beginning: true,
            begun: true,
            open: true,
            above: Ceilings::default(),
            lease_until: None,
            ceilings: Ceilings::default(),
            proposed: proposed.collect(),
            next_seq: 9,
            confirmed: Some(1),
            used: Ceilings::default(),
            handing: None,
            in_doubt: false,
            stopped_after: None,
        }
    }

    #[test]
    fn no_lease_ends_before_one_that_was_proposed_before_it() {
        let mut leader = leader(&[(0, 10, 0), (2, 10, 0)]);
        assert_eq!(leader.next_length(clock(4), at(1)), at(8), "one until 12 may be decided yet");
        assert_eq!(leader.next_length(clock(4), at(20)), at(20), "a longer one is what it is");
        leader.renewed(2, true, at(10), Ceilings::default());
        leader.proposed.clear();
        assert_eq!(leader.next_length(clock(9), at(1)), at(3), "it is held until 12");
        assert_eq!(leader.next_length(clock(12), at(1)), at(1));
    }

    #[test]
    fn everything_is_on_so_many_when_no_lease_with_fewer_can_be_decided_any_more() {
        assert!(leader(&[(0, 1, 1)]).has_everywhere(1));
        assert!(!leader(&[(0, 1, 1)]).has_everywhere(2), "only one has confirmed it");
        assert!(!leader(&[(0, 1, 0), (1, 1, 1)]).has_everywhere(1));
        assert!(!leader(&[]).has_everywhere(1), "it was just started");
        let unknown = Leader { confirmed: None, ..leader(&[(0, 1, 1)]) };
        assert!(!unknown.has_everywhere(1));
    }
}
