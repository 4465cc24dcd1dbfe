//! Clusters of whole nodes: what runs is the service itself, on a simulated network and on disks that forget.

mod clients;
mod clocks;
mod faults;
mod judge;
mod node;
mod trace;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use simulated_world::{Chance, Random, chance};
use turmoil::Sim;

use self::clients::Clients;
use self::clocks::Clocks;
use self::node::Node;
pub use self::trace::Trace;
use crate::panics;

/// How long a step of the simulation is.
const TICK: Duration = Duration::from_millis(5);
/// How long clients work while things go wrong.
const TROUBLE: Duration = Duration::from_secs(25);
/// How soon all is well after that.
const PATIENCE: Duration = Duration::from_secs(120);

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    /// None.
    #[default]
    Nothing,
    /// Disks keep nothing of what was synced.
    Sync,
    /// Clients are answered before a replica has what they wrote.
    Acks,
}

/// A cluster, its clients, and what happens to them.
pub struct Cluster {
    sim: Sim<'static>,
    chance: Chance,
    nodes: Vec<Node>,
    clients: Clients,
    trace: Trace,
    /// How many nodes vote.
    voters: usize,
}

/// Runs a cluster with this seed until its end. What has happened.
///
/// # Panics
/// With what is not as it should be.
pub fn run(seed: u64, broken: Broken) -> Trace {
    let mut cluster = Cluster::start(seed, broken);
    cluster.settle_in();
    cluster.suffer();
    cluster.heal();
    cluster.judge();
    cluster.trace
}

/// Runs a cluster with this seed to which nothing happens but that one disk after the other fails. What has happened.
///
/// # Panics
/// With what is not as it should be.
pub fn run_with_failing_disks(seed: u64) -> Trace {
    let mut cluster = Cluster::start(seed, Broken::Nothing);
    cluster.settle_in();
    cluster.fail_disk_after_disk();
    cluster.heal();
    cluster.judge();
    cluster.trace
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::new(192, 168, 7, number as u8 + 1).into()
}

impl Cluster {
    fn start(seed: u64, broken: Broken) -> Self {
        let mut chance = Chance::new(seed);
        chance::seed(chance.any());
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(chance.any())
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(1 + chance.below(30)))
            .tcp_capacity(4096)
            .udp_capacity(4096)
            .enable_random_order();
        panics::watch();
        let mut sim = builder.build();
        let trace = Trace::default();
        let clocks = Clocks::install();
        let voters = 3 + chance.below(2) as usize;
        let acks = usize::from(broken != Broken::Acks);
        let nodes: Vec<Node> = (0..=voters)
            .map(|number| {
                let skew = chance.millis(0, 1_000);
                Node::start(&mut sim, number, (voters, acks), &clocks, skew, &trace)
            })
            .collect();
        if broken == Broken::Sync {
            nodes.iter().for_each(|node| node.disk.lie(true));
        }
        let clients = Clients::start(&mut sim, nodes.len(), voters, chance.any(), &clocks, &trace);
        Self { sim, chance, nodes, clients, trace, voters }
    }

    /// Lets so much time pass.
    fn pass(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.step();
        }
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            panic!("at {:?}: {error}", self.sim.elapsed());
        }
        if let Some(panic) = panics::panicked() {
            panic!("at {:?}: a task panicked: {panic}", self.sim.elapsed());
        }
    }

    /// Waits until the cluster has come together and everybody has written.
    fn settle_in(&mut self) {
        self.until("the cluster to come together", |cluster| cluster.clients.all_have_committed());
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = self.sim.elapsed() + PATIENCE;
        while !done(self) {
            assert!(self.sim.elapsed() < deadline, "waited in vain for {what}");
            self.pass(TICK * 20);
        }
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.trace.note(self.sim.elapsed(), what);
    }
}
