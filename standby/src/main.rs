//! The binary `standby`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match standby::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standby: {error:#}");
            ExitCode::FAILURE
        }
    }
}
