//! Whole clusters: nodes that lose their power, links that fail, operators who exchange primaries, and clients who write
//! everything down.

use std::time::Duration;

use standby_simulation::cluster::{Broken, run, run_with_failing_disks};
use standby_simulation::rounds::{each_seed, first_noticed};

/// Shows what `RUST_LOG` asks for.
fn log() {
    if std::env::var_os("RUST_LOG").is_none() {
        return;
    }
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .without_time()
        .try_init();
}

#[test]
fn nothing_that_was_promised_is_gone_whatever_happens_to_whole_nodes() {
    log();
    each_seed("whatever_happens_to_whole_nodes", Duration::from_secs(40), |seed| {
        run(seed, Broken::Nothing);
    });
}

#[test]
fn another_takes_the_place_of_a_primary_whose_disk_fails() {
    log();
    for seed in 0..2 {
        run_with_failing_disks(seed);
    }
}

#[test]
fn disks_that_lie_are_noticed() {
    let (seed, said) = first_noticed(10, |seed| drop(run(seed, Broken::Sync))).expect("somebody notices");
    println!("noticed, as it should be, with seed {seed}: {said}");
}

#[test]
fn answers_before_anybody_else_has_it_are_noticed() {
    let (seed, said) = first_noticed(30, |seed| drop(run(seed, Broken::Acks))).expect("somebody notices");
    println!("noticed, as it should be, with seed {seed}: {said}");
}

/// Without the flag, tokio chooses among branches that are ready as it likes.
#[cfg(tokio_unstable)]
#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..SEEDS_AGAIN {
        // In processes of their own, as when a seed is replayed: what is random to each process is then another.
        let [one, other] = [(); 2].map(|()| process(seed)).map(trace);
        assert!(one.len() > 100, "it says what happens: {one:?}");
        assert_eq!(one.iter().zip(&other).find(|(one, other)| one != other), None, "seed {seed}");
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}

/// How many seeds are run again.
#[cfg(tokio_unstable)]
const SEEDS_AGAIN: u64 = 4;

#[cfg(tokio_unstable)]
fn process(seed: u64) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "nothing_that_was_promised_is_gone_whatever_happens_to_whole_nodes", "--nocapture"])
        .env("STANDBY_SIMULATION_SEED", seed.to_string())
        .env("RUST_LOG", "trace=info,standby::peer=debug")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// What the process says has happened.
#[cfg(tokio_unstable)]
fn trace(process: std::process::Child) -> Vec<String> {
    let said = process.wait_with_output().expect("it runs");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}");
    text.lines().filter(|line| line.contains("trace") || line.contains("peer")).map(str::to_owned).collect()
}
