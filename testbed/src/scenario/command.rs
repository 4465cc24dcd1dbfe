use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;

use super::{Needs, Outcome, Run, Scenario, files, read};
use crate::place;
use crate::seed::Seed;

/// Options of `standby-testbed scenario`.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// The scenarios' files
    #[arg(value_name = "FILE", required_unless_present = "list")]
    files: Vec<PathBuf>,
    /// List the scenarios that come with the testbed, or those of FILE
    #[arg(long)]
    list: bool,
    /// How often to run each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// What is left to chance in the first round, as an earlier run has printed it [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Keep the logs of every run in this folder, and not only of those that fail
    #[arg(long, value_name = "FOLDER")]
    keep_logs: Option<PathBuf>,
    /// Show each step as it is done
    #[arg(long, short)]
    verbose: bool,
}

/// Runs scenarios, all of them in each round. Gives false when one has failed.
///
/// # Errors
/// A file cannot be read, or has a mistake: then nothing is run.
pub fn run(options: &Options) -> Result<bool> {
    let paths = if options.files.is_empty() { files()? } else { options.files.clone() };
    let scenarios = paths.iter().map(|path| Ok((path.as_path(), read(path)?)));
    let scenarios: Vec<(&Path, Scenario)> = scenarios.collect::<Result<_>>()?;
    if options.list {
        for (path, scenario) in &scenarios {
            println!("{}\n    {}\n    needs: {}", path.display(), scenario.about, Needs::of(scenario).told());
        }
        return Ok(true);
    }
    place::standby_binary()?; // built before anything is timed
    let first = options.seed.unwrap_or_else(|| Seed::of_the_clock().pick(0..1 << 32));
    let (mut later, mut failed, mut passed, mut skipped) = (Seed::of(first), 0, 0, 0);
    for round in 1..=options.rounds {
        let seed = if round == 1 { first } else { later.pick(0..1 << 32) };
        for (file, scenario) in &scenarios {
            let keep = options.keep_logs.as_deref();
            let run = Run { file, scenario, seed, is_shown: options.verbose, keep };
            let name = file.display();
            match run.run() {
                Ok(Outcome::Passed(time)) => {
                    passed += 1;
                    println!("passed   {name}, round {round}, seed {seed}, {:.1} s", time.as_secs_f64());
                }
                Ok(Outcome::Skipped(why)) => {
                    skipped += 1;
                    println!("skipped  {name}: {why}");
                }
                Err(error) => {
                    failed += 1;
                    println!("FAILED   {name}, round {round}, seed {seed}\n{error:#}");
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ensure!(passed + failed > 0, "nothing was run");
    Ok(failed == 0)
}
