//! A node, as it is known to the others.

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

/// One life of a node: its identity, in foca's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Which start of it: a later one is greater, whatever its clock says.
    pub start: u64,
    /// So often since its start it was held for failed, and came back: what is down never rises, so it comes back as another.
    pub renewal: u32,
    /// It is being stopped: the last that it says.
    pub leaves: bool,
    /// Where it is reached, HOST:PORT.
    pub address: String,
}

impl Peer {
    /// Whoever is at an address.
    pub fn anybody(address: String) -> Self {
        Self { node: NodeId(0), start: 0, renewal: 0, leaves: false, address }
    }

    /// Whether this stands for whoever is there. No node has this number.
    pub fn is_anybody(&self) -> bool {
        self.node == NodeId(0)
    }

    /// How it is, by what foca holds it for.
    pub fn state(&self, held_for: foca::State) -> State {
        match held_for {
            _ if self.leaves => State::Left,
            foca::State::Alive => State::Alive,
            foca::State::Suspect => State::Suspect,
            foca::State::Down => State::Failed,
        }
    }
}

impl foca::Identity for Peer {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        let renewal = self.renewal.checked_add(1)?;
        (!self.leaves).then(|| Self { renewal, ..self.clone() })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        let age = |peer: &Self| (peer.start, peer.renewal, peer.leaves);
        age(self) > age(other)
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity;

    use super::*;

    fn peer(start: u64, renewal: u32, leaves: bool) -> Peer {
        Peer { node: NodeId(1), start, renewal, leaves, address: String::new() }
    }

    #[test]
    fn a_later_start_supersedes_then_a_renewal_then_a_farewell() {
        let ordered =
            [peer(1, 0, false), peer(1, 0, true), peer(1, 1, false), peer(2, 0, false), peer(2, 0, true)];
        for (older, newer) in ordered.iter().zip(&ordered[1..]) {
            assert!(newer.win_addr_conflict(older) && !older.win_addr_conflict(newer), "{newer:?}");
            assert!(!newer.win_addr_conflict(newer));
        }
    }

    #[test]
    fn a_node_that_was_held_for_failed_comes_back_and_one_that_left_does_not() {
        assert_eq!(peer(1, 0, false).renew(), Some(peer(1, 1, false)));
        assert_eq!(peer(1, 0, true).renew(), None);
        assert_eq!(peer(1, u32::MAX, false).renew(), None);
    }
}
