//! The testbed's command line: `standby-testbed demo`, `standby-testbed scenario FILE`, `standby-testbed bench zeo`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use standby_testbed::bench::Bench;
use standby_testbed::demo::{self, Ending};
use standby_testbed::{scenario, transcript};

/// The status after Ctrl-C.
const GIVEN_UP: u8 = 130;

/// A demonstration, benchmarks and experiments on one machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows a cluster at two sites at work, kills its primary, and judges what clients saw; exits with 1 when anything that it claims did not happen
    Demo(demo::Options),
    /// Measures; exits with 1 when a target is missed
    #[command(subcommand)]
    Bench(Bench),
    /// Lets happen to a cluster what text files say; exits with 1 when something does not hold
    Scenario(scenario::Options),
    /// Tries what an operator does in docs/transcript.md; exits with 1 when something else is printed
    Transcript {
        /// Write what is printed now where that has another shape
        #[arg(long)]
        write: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    Ok(match Arguments::parse().command {
        Command::Demo(options) => match demo::run(&options)? {
            Ending::AsClaimed => ExitCode::SUCCESS,
            Ending::NotAsClaimed => ExitCode::FAILURE,
            Ending::GivenUp => ExitCode::from(GIVEN_UP),
        },
        Command::Scenario(options) => status(scenario::run(&options)?),
        Command::Transcript { write } => {
            transcript::run(write)?;
            ExitCode::SUCCESS
        }
        Command::Bench(bench) => status(bench.run()?),
    })
}

fn status(held: bool) -> ExitCode {
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
