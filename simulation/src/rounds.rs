//! Running a simulation with many seeds, and with one again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::panics;

/// A number in the surroundings.
///
/// # Panics
/// When it is none.
pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs the seed that `STANDBY_SIMULATION_SEED` names; else as many as `STANDBY_SIMULATION_ROUNDS` says; else as many as
/// there is time for. Says which seed failed, and how to run it again.
pub fn each_seed(test: &str, time: Duration, run: impl Fn(u64)) {
    if let Some(seed) = variable("STANDBY_SIMULATION_SEED") {
        return run(seed);
    }
    let rounds = variable("STANDBY_SIMULATION_ROUNDS");
    let first = variable("STANDBY_SIMULATION_FIRST").unwrap_or(0);
    let started = Instant::now();
    let mut done = 0;
    while rounds.map_or_else(|| done == 0 || started.elapsed() < time, |rounds| done < rounds) {
        let seed = first + done;
        if let Err(said) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!(
                "replay with STANDBY_SIMULATION_SEED={seed} cargo test --manifest-path simulation/Cargo.toml {test}"
            );
            resume_unwind(said);
        }
        done += 1;
    }
    println!("{done} rounds in {:.1} s", started.elapsed().as_secs_f64());
}

/// What is said first against something that is broken on purpose, within so many seeds, and with which of them.
pub fn first_noticed(seeds: u64, run: impl Fn(u64)) -> Option<(u64, String)> {
    panics::expected(|| {
        (0..seeds).find_map(|seed| {
            let said = catch_unwind(AssertUnwindSafe(|| run(seed))).err()?;
            let said = match said.downcast::<String>() {
                Ok(said) => *said,
                Err(said) => said.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
            };
            Some((seed, said))
        })
    })
}
