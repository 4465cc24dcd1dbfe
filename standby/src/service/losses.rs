//! What this storage's clients may have seen of transactions that were lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use zeo_proto::Tid;

use crate::failover::loss::Loss;

/// Of more losses the oldest are forgotten: whoever has seen those and nothing since has an old cache.
const KEPT: usize = 16;

/// The last losses that are known.
#[derive(Debug, Default)]
pub(super) struct Losses(Mutex<VecDeque<Arc<Loss>>>);

impl Losses {
    /// Remembers it, if it is not known yet.
    pub(super) fn note(&self, loss: Arc<Loss>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&loss) {
            return;
        }
        known.push_back(loss);
        if known.len() > KEPT {
            known.pop_front();
        }
    }

    /// Of those that have this transaction, the one that a client which has seen it knows most of: the one that forks
    /// first.
    pub(super) fn with(&self, tid: Tid) -> Option<Arc<Loss>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|loss| loss.has(tid)).min_by_key(|loss| loss.fork).cloned()
    }
}

#[cfg(test)]
mod tests {
    use zeo_proto::Oid;

    use super::*;

    fn loss(fork: u64, tids: &[u64], oids: &[u64]) -> Arc<Loss> {
        let tids = tids.iter().map(|tid| Tid::new(*tid)).collect();
        let oids = oids.iter().map(|oid| Oid::new(*oid)).collect();
        Arc::new(Loss { fork: Tid::new(fork), tids, oids })
    }

    #[test]
    fn a_loss_is_found_by_each_of_its_transactions_and_by_no_other() {
        let losses = Losses::default();
        losses.note(loss(10, &[12, 15], &[1]));
        losses.note(loss(20, &[21], &[2]));
        for (tid, fork) in
            [(12, Some(10)), (15, Some(10)), (21, Some(20)), (10, None), (13, None), (22, None)]
        {
            assert_eq!(losses.with(Tid::new(tid)).map(|loss| loss.fork.get()), fork, "{tid}");
        }
    }

    #[test]
    fn of_two_nodes_that_lost_it_the_one_that_lost_more_before_it_counts() {
        let losses = Losses::default();
        losses.note(loss(14, &[15], &[2]));
        losses.note(loss(10, &[12, 14, 15], &[1, 2]));
        assert_eq!(losses.with(Tid::new(15)).map(|loss| loss.fork.get()), Some(10));
    }

    #[test]
    fn what_is_told_again_takes_no_room_and_the_oldest_are_forgotten() {
        let losses = Losses::default();
        for turn in 0..KEPT as u64 + 1 {
            losses.note(loss(turn * 10, &[turn * 10 + 1], &[]));
            losses.note(loss(turn * 10, &[turn * 10 + 1], &[]));
        }
        assert!(losses.with(Tid::new(1)).is_none());
        assert!(losses.with(Tid::new(11)).is_some());
    }
}
