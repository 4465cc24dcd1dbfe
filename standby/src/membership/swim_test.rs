//! Gossip among nodes whose network loses messages, falls apart, and whose clocks are virtual.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::datagram::MESSAGE_BYTES_MAX;
use super::pace;
use super::peer::State;
use super::record::RECORD_BYTES_MAX;
use super::swim::{Action, Clock, Event, NODES_MAX, Swim};
use crate::failover::entry::NodeId;

const STEP: Duration = Duration::from_millis(10);

struct Host {
    swim: Swim,
    /// What it holds others for, and what they tell.
    seen: BTreeMap<NodeId, State>,
    told: BTreeMap<NodeId, Vec<u8>>,
    starts: BTreeMap<NodeId, BTreeSet<u64>>,
    ahead_ms: BTreeMap<NodeId, i64>,
    wall_ahead_ms: u64,
    /// So often somebody failed, or was suspected, in this one's eyes.
    failures: usize,
    suspicions: usize,
}

struct World {
    now: Duration,
    hosts: BTreeMap<NodeId, Host>,
    wire: Vec<(Duration, NodeId, String, Vec<u8>)>,
    loss_percent: u64,
    /// Nodes of different sides do not hear each other.
    sides: BTreeMap<NodeId, u8>,
    /// Pairs that do not hear each other.
    cut: BTreeSet<[NodeId; 2]>,
    still: BTreeSet<NodeId>,
    random: u64,
    pace: foca::Config,
}

fn address(node: NodeId) -> String {
    format!("10.0.0.{}:8200", node.0)
}

impl World {
    fn new(nodes: u64) -> Self {
        let mut world = Self {
            now: Duration::from_secs(1),
            hosts: BTreeMap::new(),
            wire: Vec::new(),
            loss_percent: 0,
            sides: BTreeMap::new(),
            cut: BTreeSet::new(),
            still: BTreeSet::new(),
            random: 42,
            pace: pace::of_lease(Duration::from_millis(1500)),
        };
        for node in 1..=nodes {
            world.start(NodeId(node), 1, nodes);
        }
        world
    }

    /// Starts a node that knows of the first only.
    fn start(&mut self, node: NodeId, start: u64, nodes: u64) {
        let mut swim = Swim::new(node, address(node), start, self.pace.clone(), self.random ^ node.0 ^ start);
        let clock = Clock { now: self.now, wall_ms: 0 };
        let belong = (1..=nodes).map(NodeId).collect();
        swim.handle(clock, Event::Belong { nodes: belong, seeds: [address(NodeId(1))].into() });
        swim.handle(clock, Event::Tell(vec![node.0 as u8; RECORD_BYTES_MAX]));
        let host = Host {
            swim,
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
            starts: BTreeMap::new(),
            ahead_ms: BTreeMap::new(),
            wall_ahead_ms: 0,
            failures: 0,
            suspicions: 0,
        };
        self.hosts.insert(node, host);
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn handle(&mut self, node: NodeId, event: Event) {
        let host = self.hosts.get_mut(&node).expect("it runs");
        let wall_ms = self.now.as_millis() as u64 + host.wall_ahead_ms;
        for action in host.swim.handle(Clock { now: self.now, wall_ms }, event) {
            let host = self.hosts.get_mut(&node).expect("it runs");
            match action {
                Action::Send { to, message } => {
                    assert!(message.len() <= MESSAGE_BYTES_MAX, "{} bytes", message.len());
                    if self.below(100) >= self.loss_percent {
                        let late = Duration::from_millis(1 + self.below(20));
                        self.wire.push((self.now + late, node, to, message));
                    }
                }
                Action::Changed { peer, state } => {
                    match state {
                        State::Suspect => host.suspicions += 1,
                        State::Failed => host.failures += 1,
                        State::Alive | State::Left => {}
                    }
                    host.seen.insert(peer.node, state);
                    host.starts.entry(peer.node).or_default().insert(peer.start);
                }
                Action::Told(told) => {
                    host.told.insert(told.node, told.record);
                }
                Action::Compared { node, ahead_ms } => {
                    host.ahead_ms.insert(node, ahead_ms);
                }
                Action::Forgotten(node) => {
                    host.seen.remove(&node);
                }
                Action::Malformed => panic!("{node} heard what it does not understand"),
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let (due, later) = std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= self.now);
        self.wire = later;
        let due: Vec<(Duration, NodeId, String, Vec<u8>)> = due;
        for (at, from, to, bytes) in due {
            let Some(to) = self.hosts.keys().copied().find(|node| address(*node) == to) else { continue };
            if self.still.contains(&to) {
                self.wire.push((at, from, address(to), bytes)); // it stays in the socket
                continue;
            }
            let side = |node| self.sides.get(&node).copied().unwrap_or(0);
            let is_cut = self.cut.contains(&[from, to]) || self.cut.contains(&[to, from]);
            if side(from) == side(to) && !is_cut {
                self.handle(to, Event::Heard(bytes));
            }
        }
        for node in self.hosts.keys().copied().collect::<Vec<_>>() {
            if !self.still.contains(&node) {
                self.handle(node, Event::Tick);
            }
        }
    }

    fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.step();
        }
    }

    /// How long it takes until all hold each other for this.
    #[track_caller]
    fn until(&mut self, seconds: f64, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        while !holds(self) {
            assert!((self.now - began).as_secs_f64() < seconds, "{what} not within {seconds} s");
            self.step();
        }
        self.now - began
    }

    /// All that run hold this node for that.
    fn all_see(&self, node: u64, state: State) -> bool {
        let node = NodeId(node);
        self.hosts.iter().all(|(host, seen)| *host == node || seen.seen.get(&node) == Some(&state))
    }

    fn is_complete(&self) -> bool {
        let knows = |host: &Host| host.told.len() + 1 == self.hosts.len();
        self.hosts.keys().all(|node| self.all_see(node.0, State::Alive)) && self.hosts.values().all(knows)
    }

    fn failures(&self) -> usize {
        self.hosts.values().map(|host| host.failures).sum()
    }
}

#[test]
fn nodes_that_know_one_of_them_find_all_others_and_what_they_tell() {
    for nodes in [2, 3, 7, 30] {
        let mut world = World::new(nodes);
        world.until(10.0, "everybody known", World::is_complete);
        world.pass(30.0);
        assert_eq!(world.failures(), 0, "of {nodes}");
    }
}

#[test]
fn a_node_that_is_gone_has_failed_for_all_others_in_a_few_seconds() {
    let mut world = World::new(5);
    world.until(10.0, "everybody known", World::is_complete);
    world.hosts.remove(&NodeId(4));
    let took = world.until(6.0, "node 4 failed", |world| world.all_see(4, State::Failed));
    assert!(took > world.pace.suspect_to_down_after, "it had its time");
    world.pass(20.0);
    assert!(world.all_see(4, State::Failed) && world.failures() == 4, "only that one");
}

#[test]
fn a_node_that_leaves_is_told_apart_from_one_that_failed() {
    let mut world = World::new(4);
    world.until(10.0, "everybody known", World::is_complete);
    world.handle(NodeId(3), Event::Leave);
    world.hosts.remove(&NodeId(3));
    world.until(1.0, "node 3 left", |world| world.all_see(3, State::Left));
    world.pass(20.0);
    assert!(world.all_see(3, State::Left) && world.failures() == 0);
}

#[test]
fn a_restarted_node_supersedes_its_former_self_even_when_its_clock_went_back() {
    let mut world = World::new(4);
    world.until(10.0, "everybody known", World::is_complete);
    for start in [1_000, 500] {
        world.hosts.remove(&NodeId(3));
        world.start(NodeId(3), start, 4);
        let started_anew = move |world: &World| {
            let starts = |host: &Host| host.starts[&NodeId(3)].last().copied();
            let others = world.hosts.iter().filter(|(node, _)| **node != NodeId(3));
            others.map(|(_, host)| starts(host)).all(|last| last >= Some(1_000 + u64::from(start == 500)))
        };
        world.until(5.0, "the new start", started_anew);
        world.until(5.0, "everybody known", World::is_complete);
        let record = vec![start as u8; 10];
        world.handle(NodeId(3), Event::Tell(record.clone()));
        let news = move |world: &World| {
            let others = world.hosts.iter().filter(|(node, _)| **node != NodeId(3));
            others.map(|(_, host)| &host.told[&NodeId(3)]).all(|told| *told == record)
        };
        world.until(5.0, "what it tells", news);
    }
    assert_eq!(world.failures(), 0);
}

#[test]
fn a_node_that_failed_and_was_restarted_is_alive_again() {
    let mut world = World::new(3);
    world.until(10.0, "everybody known", World::is_complete);
    world.hosts.remove(&NodeId(1));
    world.until(6.0, "node 1 failed", |world| world.all_see(1, State::Failed));
    world.start(NodeId(1), 2, 3);
    world.until(10.0, "everybody known, though node 1 knows of nobody", World::is_complete);
}

#[test]
fn what_a_node_tells_reaches_all_within_a_second() {
    let mut world = World::new(10);
    world.until(10.0, "everybody known", World::is_complete);
    world.handle(NodeId(7), Event::Tell(vec![9; 50]));
    world.until(1.0, "the news", |world| {
        let others = world.hosts.iter().filter(|(node, _)| **node != NodeId(7));
        others.map(|(_, host)| &host.told[&NodeId(7)]).all(|told| *told == [9; 50])
    });
}

#[test]
fn the_sides_of_a_partition_hold_each_other_for_failed_and_find_together_again() {
    let mut world = World::new(5);
    world.until(10.0, "everybody known", World::is_complete);
    world.sides = [(NodeId(4), 1), (NodeId(5), 1)].into();
    let here_and_there = |world: &World| {
        let sees = |host: u64, node: u64| world.hosts[&NodeId(host)].seen[&NodeId(node)];
        let (here, there) = ([1, 2, 3], [4, 5]);
        let apart = here.iter().all(|&host| there.iter().all(|&node| sees(host, node) == State::Failed))
            && there.iter().all(|&host| here.iter().all(|&node| sees(host, node) == State::Failed));
        apart && sees(4, 5) == State::Alive && sees(1, 2) == State::Alive
    };
    world.until(10.0, "two sides", here_and_there);
    world.pass(300.0);
    world.sides.clear();
    world.until(10.0, "together again", World::is_complete);
}

#[test]
fn a_lossy_network_makes_nobody_fail() {
    let mut world = World::new(6);
    world.loss_percent = 20;
    world.until(20.0, "everybody known", World::is_complete);
    world.pass(600.0);
    assert_eq!(world.failures(), 0);
}

#[test]
fn a_node_that_stands_still_for_a_moment_does_not_fail_and_blames_nobody() {
    let mut world = World::new(4);
    world.until(10.0, "everybody known", World::is_complete);
    for _ in 0..10 {
        world.still = [NodeId(2)].into();
        world.pass(2.0);
        world.still.clear();
        world.pass(5.0);
    }
    assert!(world.is_complete());
    assert_eq!(world.failures(), 0);
    world.still = [NodeId(2)].into();
    world.pass(60.0);
    world.still.clear();
    world.until(10.0, "the node back", World::is_complete);
    let blamed = world.hosts[&NodeId(2)].failures;
    assert_eq!(blamed, 0, "it stood still itself");
}

#[test]
fn two_nodes_that_do_not_hear_each_other_are_asked_through_others() {
    let mut world = World::new(4);
    world.until(10.0, "everybody known", World::is_complete);
    world.cut = [[NodeId(2), NodeId(3)]].into();
    world.pass(120.0);
    let suspicions: usize = world.hosts.values().map(|host| host.suspicions).sum();
    assert_eq!((suspicions, world.failures()), (0, 0));
}

#[test]
fn a_suspect_has_its_time_from_when_this_node_goes_on() {
    let mut world = World::new(2);
    world.until(10.0, "everybody known", World::is_complete);
    world.hosts.remove(&NodeId(2));
    world.until(3.0, "node 2 suspected", |world| world.all_see(2, State::Suspect));
    world.still = [NodeId(1)].into();
    world.pass(60.0);
    world.still.clear();
    let took = world.until(6.0, "node 2 failed", |world| world.all_see(2, State::Failed));
    assert!(took + world.pace.probe_rtt + STEP >= world.pace.suspect_to_down_after, "{took:?}");
}

#[test]
fn clocks_are_compared() {
    let mut world = World::new(3);
    world.hosts.get_mut(&NodeId(2)).expect("it runs").wall_ahead_ms = 60_000;
    world.until(10.0, "everybody known", World::is_complete);
    world.pass(10.0);
    let ahead = |host: u64, node: u64| world.hosts[&NodeId(host)].ahead_ms[&NodeId(node)];
    assert!((ahead(1, 2) - 60_000).abs() < 50 && (ahead(2, 1) + 60_000).abs() < 50 && ahead(1, 3).abs() < 50);
}

#[test]
fn a_node_that_is_gone_and_does_not_belong_any_more_is_forgotten() {
    let mut world = World::new(4);
    world.until(10.0, "everybody known", World::is_complete);
    world.hosts.remove(&NodeId(4));
    world.until(6.0, "node 4 failed", |world| world.all_see(4, State::Failed));
    for node in 1..=3 {
        let seeds = [address(NodeId(1))].into();
        world.handle(NodeId(node), Event::Belong { nodes: (1..=3).map(NodeId).collect(), seeds });
    }
    world.until(70.0, "node 4 forgotten", |world| {
        world.hosts.values().all(|host| !host.seen.contains_key(&NodeId(4)))
    });
    world.pass(120.0);
    assert!(world.hosts.values().all(|host| !host.seen.contains_key(&NodeId(4))), "for good");
}

#[test]
fn a_node_that_comes_later_hears_who_has_failed_and_who_left() {
    let mut world = World::new(4);
    world.until(10.0, "everybody known", World::is_complete);
    world.handle(NodeId(3), Event::Leave);
    world.hosts.remove(&NodeId(3));
    world.hosts.remove(&NodeId(4));
    let are_gone = |world: &World| world.all_see(3, State::Left) && world.all_see(4, State::Failed);
    world.until(6.0, "both gone", are_gone);
    world.pass(60.0);
    world.hosts.remove(&NodeId(2));
    world.start(NodeId(2), 2, 4);
    world.until(10.0, "both gone, to who was not there", are_gone);
}

#[test]
fn two_nodes_alone_find_together_again_and_the_one_that_was_cut_off_is_not_taken_for_started_anew() {
    let mut world = World::new(2);
    world.until(10.0, "everybody known", World::is_complete);
    world.cut = [[NodeId(1), NodeId(2)]].into();
    let apart = |world: &World| world.all_see(1, State::Failed) && world.all_see(2, State::Failed);
    world.until(10.0, "both alone", apart);
    world.pass(100.0);
    world.cut.clear();
    world.until(5.0, "together again", World::is_complete);
    assert!(world.hosts.values().flat_map(|host| host.starts.values()).all(|starts| starts.len() == 1));
}

#[test]
fn no_more_nodes_are_known_than_the_limit_and_those_that_are_stay() {
    let mut world = World::new(1);
    let clock = Clock { now: world.now, wall_ms: 0 };
    let hear_from = |world: &mut World, node: u64, start: u64| {
        let mut other = Swim::new(NodeId(node), address(NodeId(node)), start, world.pace.clone(), node);
        other.handle(clock, Event::Belong { nodes: BTreeSet::new(), seeds: [address(NodeId(1))].into() });
        let [Action::Send { message, .. }] = &other.handle(clock, Event::Tick)[..] else {
            panic!("it calls")
        };
        world.handle(NodeId(1), Event::Heard(message.clone()));
    };
    for node in 2..=400 {
        hear_from(&mut world, node, 1);
    }
    assert_eq!(world.hosts[&NodeId(1)].seen.len(), NODES_MAX);
    hear_from(&mut world, 2, 2);
    assert!(world.hosts[&NodeId(1)].starts[&NodeId(2)].contains(&2), "one that is known was started anew");
}

#[test]
fn what_says_nothing_is_refused_and_changes_nothing() {
    let pace = pace::of_lease(Duration::from_millis(1500));
    let mut swim = Swim::new(NodeId(1), address(NodeId(1)), 1, pace, 0);
    let clock = Clock { now: Duration::from_secs(1), wall_ms: 0 };
    let head = |kind: u8| [&[kind][..], &[0; 16]].concat();
    for message in
        [vec![], vec![9; 40], head(3), head(1), [head(1), vec![7; 100]].concat(), [head(2), vec![1]].concat()]
    {
        assert_eq!(swim.handle(clock, Event::Heard(message)), [Action::Malformed]);
    }
}
