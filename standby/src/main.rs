//! The binary `standby`.

use std::process::ExitCode;

use clap::Parser;
use standby::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = cli.log.start().and_then(|()| match cli.command {
        Command::Serve(args) => args.options().and_then(|options| standby::serve::run(&options)),
        Command::Verify(args) => args.run(),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standby: {error:#}");
            ExitCode::FAILURE
        }
    }
}
