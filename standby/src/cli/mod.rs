//! The command line.
//!
//! Exit codes: 0 when all went well, 1 when it did not, 2 for a wrong command line, 3 where a file was looked at and is not
//! whole.

pub mod check;
pub mod dump;
pub mod init;
mod log_file;
pub mod logging;
mod moment;
mod output;
pub mod pack;
mod pid_file;
pub mod run;
pub mod serve;
pub mod storage_spec;
pub mod terminal;
pub mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A highly available storage server for ZODB. Speaks the ZEO 5 protocol to unmodified clients and keeps the data
/// in the FileStorage files that ZODB's own tools read.
#[derive(Debug, Parser)]
#[command(name = "standby", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Logging.
    #[command(flatten)]
    pub log: logging::LogArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve one or more Data.fs files to ZEO clients
    Serve(Box<serve::ServeArgs>),
    /// Make a cluster of one node, which others join
    Init(init::InitArgs),
    /// Run a node of a cluster, as its configuration file says
    Run(run::RunArgs),
    /// Run a witness: a node without data that takes part in decisions, so that two others may lose one of them
    Witness(run::RunArgs),
    /// Say what the configuration file of a node means, or everything that is wrong with it
    Check(check::CheckArgs),
    /// Check a Data.fs: every length, pointer and checksum
    Verify(verify::VerifyArgs),
    /// List the transactions of a Data.fs and their records
    Dump(dump::DumpArgs),
    /// Remove old revisions and unreachable objects from a Data.fs that no server has open
    Pack(pack::PackArgs),
    /// Completions and manual pages
    #[command(flatten)]
    Manual(standby_manual::Manual),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(args) => {
                let config = args.load_data_node()?;
                self.log.start_node(config.log.as_deref())?;
                crate::node::run(config, args.path(), logging::refilter, log_file::reopen)?;
            }
            Command::Witness(args) => {
                let config = args.load_witness()?;
                self.log.start_node(config.log.as_deref())?;
                crate::node::run(config, args.path(), logging::refilter, log_file::reopen)?;
            }
            Command::Check(args) => return args.run(),
            Command::Manual(manual) => manual.make(<Self as clap::CommandFactory>::command())?,
            Command::Serve(args) => {
                let plan = args.plan()?;
                self.log.start(plan.event_log.as_ref())?;
                plan.run()?;
            }
            Command::Init(args) => {
                self.log.start(None)?;
                args.run()?;
            }
            Command::Verify(args) => {
                self.log.start(None)?;
                return args.run();
            }
            Command::Dump(args) => return args.run(),
            Command::Pack(args) => {
                self.log.start(None)?;
                args.run()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An error with its causes, each of them once: some say their cause themselves.
pub fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text {
        text if text.is_empty() => cause,
        text if text.ends_with(&cause) => text,
        text => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn an_error_is_told_with_each_of_its_causes_once() {
        let error = anyhow!("no such file").context("opening x: no such file").context("cannot check x");
        assert_eq!(super::told(&error), "cannot check x: opening x: no such file");
        assert_eq!(super::told(&anyhow!("cause").context("what")), "what: cause");
    }
}
