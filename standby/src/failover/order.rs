//! What an operator asks of one node of the cluster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entry::NodeId;

/// An order. The node does it, or says why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// To the primary: hand over.
    HandOver {
        /// To whom; `None`: to the best.
        to: Option<NodeId>,
        /// How long the other may take to have everything.
        within: Duration,
        /// Only find out what is in the way.
        dry_run: bool,
        /// Who wants it.
        by: String,
    },
    /// To any node: see to it that this one is promoted when no lease holds.
    Promote {
        /// Who.
        node: NodeId,
        /// How long to wait for the end of the lease.
        within: Duration,
        /// Who wants it.
        by: String,
    },
    /// To the primary: pack.
    Pack {
        /// The storage; `None`: all.
        storage: Option<String>,
        /// Up to this moment, as a tid.
        until: u64,
        /// Who wants it.
        by: String,
    },
    /// To the primary: say how the packs are, as JSON.
    Packs,
    /// To a node that has a copy: begin the log anew, as its primary, without the others.
    Refound {
        /// Who wants it.
        by: String,
    },
}

/// What became of it: what was done, or why not.
pub type Outcome = Result<String, String>;
