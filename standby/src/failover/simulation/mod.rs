//! Whole clusters of the pure machine against a model of the decided log, of storages, streams and clients: random crashes,
//! stalls, partitions, lost messages, clocks that disagree and drift.
//!
//! A failing seed is printed; `STANDBY_SIMULATION_SEED=N` replays it alone and prints what happens, `STANDBY_SIMULATION_ROUNDS=N` runs more.

mod check;
mod clients;
mod copy;
mod faults;
mod node;
mod operator;
mod random;
mod site;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::world::World;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Broken {
    #[default]
    Nothing,
    /// A promotion takes effect whatever lease it follows.
    CompareAndSet,
    /// A new primary begins where its clock is, and not above what others may have used.
    Ceiling,
    /// A client is answered without a look at the lease.
    Lease,
    /// A client whose last transaction is lost is told what has changed since.
    LostTid,
    /// A lease counts from when it is decided.
    ProposalTime,
    /// A promotion is proposed without having heard enough replicas.
    Heard,
    /// A primary commits on after it has proposed another.
    HandOver,
    /// A lease that is shorter than the last ends before it.
    ShorterLease,
    /// What a replica is known to lack does not matter.
    Lag,
}

const ROUNDS: u64 = 2_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn run(seed: u64, broken: Broken) {
    World::new(seed, broken).run();
}

/// Switchovers, of eight tries in each of so many runs, that nothing but slow disks and impatient operators is in the way of.
const SWITCHOVERS: (u64, usize) = (100, 500);

#[test]
fn nothing_that_was_promised_is_gone_whatever_happens_to_nodes_links_and_clocks() {
    if let Some(seed) = variable("STANDBY_SIMULATION_SEED") {
        let mut world = World::new(seed, Broken::Nothing);
        world.traces = true;
        world.run();
        return;
    }
    for seed in 0..variable("STANDBY_SIMULATION_ROUNDS").unwrap_or(ROUNDS) {
        if catch_unwind(AssertUnwindSafe(|| run(seed, Broken::Nothing))).is_err() {
            panic!(
                "replay with STANDBY_SIMULATION_SEED={seed} cargo nextest run -p standby whatever_happens_to_nodes"
            );
        }
    }
}

#[test]
fn a_switchover_loses_nothing_and_happens_within_a_moment() {
    let (runs, least) = SWITCHOVERS;
    let done: usize = (0..runs)
        .map(|seed| {
            let done = catch_unwind(AssertUnwindSafe(|| World::with_switchovers_only(seed).run()));
            // The first of them is how it begins.
            done.unwrap_or_else(|_| panic!("seed {seed}")) - 1
        })
        .sum();
    assert!(done > least, "most have worked: {done}");
}

/// What the simulation says first against a broken rule, within so many seeds.
fn said_against(broken: Broken, seeds: u64) -> Option<String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let said =
        (0..seeds).find_map(|seed| Some((seed, catch_unwind(AssertUnwindSafe(|| run(seed, broken))).err()?)));
    std::panic::set_hook(hook);
    said.map(|(seed, said)| match said.downcast::<String>() {
        Ok(text) => format!("seed {seed}: {text}"),
        Err(said) => format!("seed {seed}: {}", said.downcast::<&str>().expect("a text")),
    })
}

#[test]
fn every_rule_is_missed_when_it_is_broken() {
    let rules = [
        (Broken::ShorterLease, &["two nodes hold leases"][..]),
        (Broken::Lag, &["is known to lack"][..]),
        (Broken::CompareAndSet, &["two nodes hold leases"][..]),
        (Broken::Ceiling, &["given out twice"][..]),
        (Broken::Lease, &["while another holds the lease"][..]),
        (Broken::LostTid, &["a value of oid"][..]),
        (Broken::ProposalTime, &["two nodes hold leases"][..]),
        (Broken::Heard, &["is gone"][..]),
        // What it commits meanwhile is lost, and clients that have read it are not told.
        (Broken::HandOver, &["two nodes hold leases", "a client keeps a value of oid"][..]),
    ];
    for (broken, expected) in rules {
        let said = said_against(broken, 3_000);
        let said = said.unwrap_or_else(|| panic!("nobody noticed that {broken:?} was broken"));
        println!("{broken:?}: {said}");
        assert!(expected.iter().any(|expected| said.contains(expected)), "{broken:?}: {said}");
    }
}
