//! The testbed's command line: `standby-testbed bench zeo`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use standby_testbed::bench;

/// Benchmarks and experiments on one machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures; exits with 1 when a target is missed
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// One server for ZEO clients, beside the stock server and the machine's own limits
    Zeo(bench::zeo::Options),
    /// Packs, beside ZODB's own and of a server at work
    Pack(bench::pack::Options),
    /// Replicas: how they catch up, and what they cost the primary
    Replication(bench::replication::Options),
    /// How long a cluster is without a primary when that is killed
    Failover(bench::failover::Options),
    /// How soon a thousand clients commit again after their primary was killed
    Clients(bench::clients::Options),
    /// How long a client cannot commit while primary and replica are exchanged
    Switchover(bench::switchover::Options),
    /// The load alone, on a server that runs already
    Drive(bench::drive::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { command: Command::Bench(bench) } = Arguments::parse();
    match bench {
        Bench::Zeo(options) => {
            let met = bench::zeo::run(&options)?;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Pack(options) => {
            let met = bench::pack::run(&options)?;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Replication(options) => {
            let met = bench::replication::run(&options)?;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Failover(options) => {
            let met = bench::failover::run(&options)?;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Clients(options) => {
            let met = bench::clients::run(&options)?;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Switchover(options) => {
            let met = bench::switchover::run(&options)?;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Drive(options) => bench::drive::run(&options).map(|()| ExitCode::SUCCESS),
    }
}
