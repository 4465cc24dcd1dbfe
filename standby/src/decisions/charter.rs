//! Which decided log a node takes part in.
//!
//! A cluster begins with generation 0 of its log. Without a majority of its voters nothing is decided any more; an operator
//! may then go on with a node, which begins the log anew as the next generation. Nodes of earlier ones hear of that, drop
//! their logs, and join.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// The cluster: a random number.
    pub cluster: u64,
    /// How often its log was begun anew.
    pub generation: u64,
}

impl fmt::Display for Charter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {:016x}, generation {}", self.cluster, self.generation)
    }
}

/// What a node is to another that writes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Both take part in the same log.
    Same,
    /// The other belongs to no cluster yet.
    Newcomer,
    /// This node belongs to none yet, and the other to this one.
    Host(Charter),
    /// The other belongs to another cluster.
    Foreign,
    /// The other has not heard yet that the log was begun anew.
    Behind,
    /// The log was begun anew, and this node has not heard of it.
    Ahead(Charter),
}

/// What one node is to another.
pub fn relation(mine: Option<Charter>, theirs: Option<Charter>) -> Relation {
    match (mine, theirs) {
        (_, None) => Relation::Newcomer,
        (None, Some(theirs)) => Relation::Host(theirs),
        (Some(mine), Some(theirs)) if mine.cluster != theirs.cluster => Relation::Foreign,
        (Some(mine), Some(theirs)) => match theirs.generation.cmp(&mine.generation) {
            std::cmp::Ordering::Less => Relation::Behind,
            std::cmp::Ordering::Equal => Relation::Same,
            std::cmp::Ordering::Greater => Relation::Ahead(theirs),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_own_by_cluster_and_generation() {
        let charter = |cluster, generation| Some(Charter { cluster, generation });
        let newer = Charter { cluster: 1, generation: 3 };
        assert_eq!(relation(charter(1, 2), charter(1, 2)), Relation::Same);
        assert_eq!(relation(charter(1, 2), charter(2, 2)), Relation::Foreign);
        assert_eq!(relation(charter(1, 2), charter(1, 1)), Relation::Behind);
        assert_eq!(relation(charter(1, 2), Some(newer)), Relation::Ahead(newer));
        assert_eq!(relation(charter(1, 2), None), Relation::Newcomer);
        assert_eq!(relation(None, Some(newer)), Relation::Host(newer));
    }
}
