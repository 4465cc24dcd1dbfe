//! Benchmarks: Standby beside the stock server and beside what the machine itself can do, in one run.

mod ceiling;
pub mod clients;
pub mod drive;
pub mod failover;
mod memory;
pub mod pack;
pub mod replication;
pub mod switchover;
mod table;
mod throughput;
pub mod zeo;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::place;

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
