//! Benchmarks: Standby beside the stock server and beside what the machine itself can do, in one run.

mod ceiling;
pub mod clients;
pub mod drive;
pub mod failover;
mod large;
pub mod memory;
pub mod pack;
pub mod recovery;
pub mod replication;
pub mod startup;
pub mod switchover;
mod table;
mod throughput;
mod versus;
pub mod zeo;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::place;

/// The benchmarks.
#[derive(Subcommand, Debug, Clone)]
pub enum Bench {
    /// One server for ZEO clients, beside the stock server and the machine's own limits
    Zeo(zeo::Options),
    /// How soon a server serves a large database, beside the stock server
    Startup(large::LargeOptions),
    /// How soon a server serves again after kill -9, beside the stock server
    Recovery(recovery::Options),
    /// What a large database and many clients cost in memory, beside the stock server
    Memory(memory::Options),
    /// Packs, beside ZODB's own and of a server at work
    Pack(pack::Options),
    /// Replicas: how they catch up, and what they cost the primary
    Replication(replication::Options),
    /// How long a cluster is without a primary when that is killed
    Failover(failover::Options),
    /// How soon a thousand clients commit again after their primary was killed
    Clients(clients::Options),
    /// How long a client cannot commit while primary and replica are exchanged
    Switchover(switchover::Options),
    /// The load alone, on a server that runs already
    Drive(drive::Options),
}

impl Bench {
    /// Measures and prints. Gives false when a target was missed.
    ///
    /// # Errors
    /// What is measured does not start, or does not do what it should.
    pub fn run(&self) -> Result<bool> {
        match self {
            Self::Zeo(options) => zeo::run(options),
            Self::Startup(options) => startup::run(options),
            Self::Recovery(options) => recovery::run(options),
            Self::Memory(options) => memory::run(options),
            Self::Pack(options) => pack::run(options),
            Self::Replication(options) => replication::run(options),
            Self::Failover(options) => failover::run(options),
            Self::Clients(options) => clients::run(options),
            Self::Switchover(options) => switchover::run(options),
            Self::Drive(options) => drive::run(options).map(|()| true),
        }
    }
}

/// What every benchmark of our own is told.
#[derive(Args, Debug, Clone)]
pub struct RunOptions {
    /// The binary to measure [default: the one beside this one, else target/release/standby]
    #[arg(long, value_name = "PATH")]
    standby: Option<PathBuf>,
    /// Folder on the disk to measure [default: target/bench]; what is put there is removed afterwards
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
    /// Also writes every round's figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl RunOptions {
    fn standby(&self) -> Result<PathBuf> {
        standby_binary(self.standby.as_deref())
    }

    /// Writes the figures to the file that was asked for.
    fn record(&self, figures: &serde_json::Value) -> Result<()> {
        match &self.json {
            Some(path) => Ok(std::fs::write(path, format!("{figures:#}\n"))?),
            None => Ok(()),
        }
    }

    /// The folder, made where it is missing.
    fn folder(&self) -> Result<PathBuf> {
        let folder =
            self.folder.clone().map_or_else(|| place::target_folder().map(|t| t.join("bench")), Ok)?;
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// The binary to measure: the one that is named, else one beside this program or in `target/release`.
fn standby_binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("standby");
    let release = place::target_folder()?.join("release/standby");
    match [beside, release].into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => {
            bail!("no standby binary: cargo build --release -p standby makes one, --standby PATH names one")
        }
    }
}
