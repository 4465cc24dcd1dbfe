//! What nodes claim of each other.

use crate::failover::entry::NodeId;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It answers.
    Alive,
    /// It did not answer somebody, and has some time to speak up.
    Suspect,
    /// It did not.
    Failed,
    /// It was stopped, and said so.
    Left,
}

/// What is claimed of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: NodeId,
    /// Which start of it: a later one is greater, whatever its clock says.
    pub start: u64,
    /// Raised by the node itself, and nobody else, to contradict a claim.
    pub incarnation: u32,
    /// How it is.
    pub state: State,
    /// Where it is reached, HOST:PORT.
    pub address: String,
}

impl Claim {
    /// Whether this is newer than what the other says of the same node. Of the same age, the worse counts: only the node itself
    /// can contradict, with a higher incarnation.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |claim: &Self| (claim.start, claim.incarnation, claim.state);
        rank(self) > rank(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(start: u64, incarnation: u32, state: State) -> Claim {
        Claim { node: NodeId(1), start, incarnation, state, address: String::new() }
    }

    #[test]
    fn a_later_start_supersedes_then_a_higher_incarnation_then_the_worse_state() {
        let ordered = [
            claim(1, 0, State::Alive),
            claim(1, 0, State::Suspect),
            claim(1, 0, State::Failed),
            claim(1, 1, State::Alive),
            claim(1, 1, State::Left),
            claim(2, 0, State::Alive),
        ];
        for (older, newer) in ordered.iter().zip(&ordered[1..]) {
            assert!(newer.supersedes(older) && !older.supersedes(newer), "{newer:?} after {older:?}");
            assert!(!newer.supersedes(newer));
        }
    }
}
