//! What is proposed to the decided log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeo_proto::{Oid, Tid};

use super::loss::Loss;
use super::settings::Change;

/// A node, unlike any other that ever was: one that lost its disk comes back as another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What the cluster knows of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name. There is one node of a name.
    pub name: String,
    /// Its group (site).
    pub group: String,
    /// It has a copy, and may become the primary.
    pub electable: bool,
    /// It takes part in decisions.
    pub voter: bool,
    /// Of two that have the same history, the one with the higher is promoted.
    pub priority: u64,
}

/// A lease: which epoch's, and which of that epoch's. Later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseMark {
    /// The epoch.
    pub epoch: u64,
    /// 0 is the promotion, which gives no lease yet.
    pub seq: u64,
}

/// What a primary may use at most while its lease holds: whoever comes after it begins above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Ceilings {
    /// The greatest tid.
    pub tid: Tid,
    /// The greatest oid.
    pub oid: Oid,
}

impl From<(u64, u64)> for Ceilings {
    fn from((tid, oid): (u64, u64)) -> Self {
        Self { tid: Tid::new(tid), oid: Oid::new(oid) }
    }
}

impl From<Ceilings> for (u64, u64) {
    fn from(ceilings: Ceilings) -> Self {
        (ceilings.tid.get(), ceilings.oid.get())
    }
}

/// What a primary says of acknowledgements with a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// While this lease is the last one that it knows, it answers a client when so many replicas have its transaction.
    pub needed: usize,
    /// Everything that was ever answered is on so many by now, of the nodes that counted in this
    /// [roll](super::decided::Decided::roll).
    pub everywhere: Option<u64>,
}

/// Why a node is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The primary did not renew its lease.
    Failover,
    /// An operator wants it.
    Operator,
    /// The primary itself hands over: it has stopped committing.
    Switchover,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A node joins, or changes. It takes the place of the one with its name.
    Join {
        /// The node.
        node: NodeId,
        /// What it is.
        member: Member,
    },
    /// A node leaves for good.
    Leave {
        /// The node.
        node: NodeId,
    },
    /// A cluster is made of storages that have these many epochs behind them: its own begin after.
    Create {
        /// The number of the last one.
        epoch: u64,
        /// What was used in them at most.
        ceilings: Ceilings,
    },
    /// A node becomes the primary, if the last lease is still this one.
    Promote {
        /// The node.
        node: NodeId,
        /// The lease that it follows.
        after: LeaseMark,
        /// Why.
        cause: Cause,
        /// At a switchover, what the old primary has used: it commits no more.
        used: Option<Ceilings>,
    },
    /// The primary's lease goes on, from when it proposed this on its own clock.
    Renew {
        /// Which lease.
        mark: LeaseMark,
        /// Which start of the node proposed it, as a random number: only that knows when.
        start: u64,
        /// For how long.
        lease: Duration,
        /// What it may use.
        ceilings: Ceilings,
        /// How many replicas have what it answers.
        acks: Acknowledged,
    },
    /// The primary has begun the epoch: its boundary transaction is durable.
    Began {
        /// The epoch.
        epoch: u64,
    },
    /// The primary has stopped committing: nobody need wait for this lease to end.
    Release {
        /// The lease.
        mark: LeaseMark,
        /// Which start of the node says so: one that was started anew may hold a lease of the same number.
        start: u64,
    },
    /// Whether automatic failover is off.
    Pause {
        /// It is.
        paused: bool,
    },
    /// Whether a node is kept from being promoted.
    Ban {
        /// The node.
        node: NodeId,
        /// It is.
        banned: bool,
    },
    /// A node comes and goes: for a while it is promoted only where no other can be.
    Suspend {
        /// The node.
        node: NodeId,
        /// So often it has gone.
        times: u64,
    },
    /// That while has passed.
    Lift {
        /// The node.
        node: NodeId,
        /// Which of its bans.
        ban: u64,
    },
    /// Whether a node counts for nothing, such as while it is worked on: it is neither promoted nor waited for.
    Disable {
        /// The node.
        node: NodeId,
        /// It does not count.
        disabled: bool,
    },
    /// Settings change, all of these together.
    Set {
        /// Which, and their values.
        changes: Vec<Change>,
    },
    /// A node had transactions that the cluster does not have: it saved them and took them back.
    Lost {
        /// The node.
        node: NodeId,
        /// The storage.
        storage: String,
        /// How many.
        transactions: u64,
        /// Where it saved them.
        file: String,
        /// Which, and what they wrote; `None`: too much to say.
        #[serde(default)]
        loss: Option<Arc<Loss>>,
    },
}
