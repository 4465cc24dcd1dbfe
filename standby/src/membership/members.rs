//! What this node sees of the others: the view that gossip makes, for whoever wants to know.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::clock;
use super::peer::{Peer, State};
use super::record::Record;
use crate::failover::entry::NodeId;

/// Comings and goings are counted for so long.
const GOINGS_WITHIN: Duration = Duration::from_secs(600);
/// Of one node, so many are counted at most.
const GOINGS_MAX: usize = 100;
/// A node that has gone so often lately is flapping.
const FLAPPING: usize = 3;
/// A clock that was compared goes on to count for so long, wherever its node is by then.
const COMPARED_FOR: Duration = Duration::from_secs(600);

/// A node, as it is seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How it is.
    pub state: State,
    /// Since when, on this node's clock.
    pub since: Duration,
    /// Where other nodes reach it, HOST:PORT.
    pub address: String,
    /// What it told of itself last.
    pub record: Option<Record>,
    start: u64,
    goings: VecDeque<Duration>,
    /// All of them, also those that are not counted any more.
    pub goings_ever: u64,
    /// How far its wall clock is ahead of this node's, in milliseconds, and when that was found.
    compared: Option<(Duration, i64)>,
}

impl Seen {
    /// How often it has gone, or was started anew, in the last 10 minutes.
    pub fn gone(&self, now: Duration) -> usize {
        self.goings.iter().filter(|at| now.saturating_sub(**at) <= GOINGS_WITHIN).count()
    }

    /// It comes and goes.
    pub fn is_flapping(&self, now: Duration) -> bool {
        self.gone(now) >= FLAPPING
    }

    /// How far its wall clock is ahead of this node's, in milliseconds, as far as that was found lately.
    pub fn clock_ahead_ms(&self, now: Duration) -> Option<i64> {
        let (at, ahead) = self.compared?;
        (now.saturating_sub(at) <= COMPARED_FOR).then_some(ahead)
    }
}

/// All nodes that are seen from one, itself excepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    seen: BTreeMap<NodeId, Seen>,
}

impl Members {
    /// How a node is seen; `None`: it never was.
    pub fn get(&self, node: NodeId) -> Option<&Seen> {
        self.seen.get(&node)
    }

    /// All nodes that were seen.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Seen)> {
        self.seen.iter().map(|(node, seen)| (*node, seen))
    }

    /// A node is held for something else. How it was before; `None`: it was not seen yet.
    pub fn change(&mut self, peer: &Peer, state: State, now: Duration) -> Option<State> {
        let Some(seen) = self.seen.get_mut(&peer.node) else {
            let seen = Seen {
                state,
                since: now,
                address: peer.address.clone(),
                record: None,
                start: peer.start,
                goings: VecDeque::new(),
                goings_ever: 0,
                compared: None,
            };
            self.seen.insert(peer.node, seen);
            return None;
        };
        let is_there = |state: State| state <= State::Suspect;
        let is_anew = peer.start != seen.start;
        if is_there(seen.state) && (is_anew || !is_there(state)) {
            seen.goings.push_back(now);
            seen.goings_ever += 1;
            if seen.goings.len() > GOINGS_MAX {
                seen.goings.pop_front();
            }
        }
        if is_anew || state != seen.state {
            seen.since = now;
        }
        seen.start = peer.start;
        seen.address.clone_from(&peer.address);
        Some(std::mem::replace(&mut seen.state, state))
    }

    /// A node tells of itself.
    pub fn tell(&mut self, node: NodeId, record: Record) {
        if let Some(seen) = self.seen.get_mut(&node) {
            seen.record = Some(record);
        }
    }

    /// A node's wall clock was found to be so far ahead of this node's.
    pub fn compare(&mut self, node: NodeId, ahead_ms: i64, now: Duration) {
        if let Some(seen) = self.seen.get_mut(&node) {
            seen.compared = Some((now, ahead_ms));
        }
    }

    /// A node is forgotten.
    pub fn forget(&mut self, node: NodeId) {
        self.seen.remove(&node);
    }

    /// How far this node's wall clock is ahead of the middle of all clocks, in milliseconds.
    pub fn own_clock_ahead_ms(&self, now: Duration) -> Option<i64> {
        clock::ahead_of_the_middle(self.seen.values().filter_map(|seen| seen.clock_ahead_ms(now)))
    }

    /// Whether this node's wall clock is off.
    pub fn is_own_clock_off(&self, now: Duration) -> bool {
        clock::is_off(self.own_clock_ahead_ms(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: u64, start: u64) -> Peer {
        Peer { node: NodeId(node), start, renewal: 0, leaves: false, address: "a:1".to_owned() }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_is_seen_as_it_was_last_and_since_when() {
        let mut members = Members::default();
        assert_eq!(members.get(NodeId(1)), None);
        assert_eq!(members.change(&peer(1, 1), State::Alive, at(1)), None);
        assert_eq!(members.change(&peer(1, 1), State::Suspect, at(5)), Some(State::Alive));
        assert_eq!(members.change(&peer(1, 1), State::Suspect, at(6)), Some(State::Suspect));
        let seen = members.get(NodeId(1)).expect("seen");
        assert_eq!((seen.state, seen.since), (State::Suspect, at(5)));
        members.forget(NodeId(1));
        assert_eq!(members.get(NodeId(1)), None);
    }

    #[test]
    fn a_node_that_comes_and_goes_is_flapping_until_ten_minutes_have_passed() {
        let mut members = Members::default();
        members.change(&peer(1, 1), State::Alive, at(0));
        members.change(&peer(1, 1), State::Suspect, at(1));
        members.change(&peer(1, 1), State::Alive, at(2));
        assert_eq!(members.get(NodeId(1)).expect("seen").gone(at(3)), 0, "it never went");
        members.change(&peer(1, 1), State::Suspect, at(10));
        members.change(&peer(1, 1), State::Failed, at(11));
        members.change(&peer(1, 1), State::Alive, at(20));
        members.change(&peer(1, 2), State::Alive, at(30)); // started anew
        members.change(&peer(1, 2), State::Left, at(40));
        members.change(&peer(1, 3), State::Alive, at(50)); // went already
        let seen = members.get(NodeId(1)).expect("seen");
        assert_eq!((seen.gone(at(60)), seen.is_flapping(at(60))), (3, true));
        assert_eq!((seen.gone(at(620)), seen.is_flapping(at(620))), (2, false));
        assert_eq!(seen.gone(at(2_000)), 0);
    }

    #[test]
    fn what_is_remembered_of_one_that_flaps_for_ever_is_bounded() {
        let mut members = Members::default();
        for start in 0..1_000 {
            members.change(&peer(1, start), State::Alive, at(start));
        }
        assert_eq!(members.get(NodeId(1)).expect("seen").goings.len(), GOINGS_MAX);
    }

    #[test]
    fn a_clock_that_was_found_wrong_stays_so_when_the_others_go() {
        let mut members = Members::default();
        for node in [1, 2] {
            members.change(&peer(node, 1), State::Alive, at(0));
            members.compare(NodeId(node), -60_000, at(1));
        }
        assert_eq!(members.own_clock_ahead_ms(at(2)), Some(60_000));
        members.change(&peer(1, 1), State::Failed, at(3));
        assert!(members.is_own_clock_off(at(4)));
        assert!(!members.is_own_clock_off(at(1_000)), "that was long ago");
        members.compare(NodeId(3), 7, at(4));
        assert_eq!(members.get(NodeId(3)), None, "nobody it knows");
    }
}
