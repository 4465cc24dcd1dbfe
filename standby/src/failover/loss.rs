//! What was lost, as far as it matters to those who have seen it.

use serde::{Deserialize, Serialize};
use zeo_proto::{Oid, Tid};

/// Of a loss of more transactions, or of more objects, these are not told: whoever has seen it is better off with an empty
/// cache than the decided log with so much of it.
pub const TOLD_MAX: usize = 1_000;

/// Transactions that are not in the cluster's history, and the objects that they wrote. A client that has seen the history
/// up to one of these must drop these objects, and what was committed after the fork; the rest of its cache is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, Vec<u64>, Vec<u64>)", into = "(u64, Vec<u64>, Vec<u64>)")]
pub struct Loss {
    /// The last transaction before them that is not lost.
    pub fork: Tid,
    /// All of the node that had them, in order.
    pub tids: Vec<Tid>,
    /// What any of them wrote, in order.
    pub oids: Vec<Oid>,
}

impl Loss {
    /// Whether this was one of them. Then whoever has seen it has seen no other history behind the fork: the same node, or one
    /// that followed it, had all up to there.
    pub fn has(&self, tid: Tid) -> bool {
        self.tids.binary_search(&tid).is_ok()
    }
}

impl From<(u64, Vec<u64>, Vec<u64>)> for Loss {
    fn from((fork, tids, oids): (u64, Vec<u64>, Vec<u64>)) -> Self {
        let tids = tids.into_iter().map(Tid::new).collect();
        Self { fork: Tid::new(fork), tids, oids: oids.into_iter().map(Oid::new).collect() }
    }
}

impl From<Loss> for (u64, Vec<u64>, Vec<u64>) {
    fn from(loss: Loss) -> Self {
        let tids = loss.tids.iter().map(|tid| tid.get()).collect();
        (loss.fork.get(), tids, loss.oids.iter().map(|oid| oid.get()).collect())
    }
}
