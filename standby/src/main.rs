//! The binary `standby`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match standby::cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("standby: {}", standby::cli::told(&error));
            ExitCode::FAILURE
        }
    }
}
