//! Benchmarks: Standby beside the stock server and beside what the machine itself can do, in one run.

mod ceiling;
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

use crate::place;

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
