//! `standby run`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::config::{self, Mistakes, NodeConfig};

/// `standby run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file of the node; `standby check` explains it
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
}

impl RunArgs {
    /// Reads the file.
    pub fn load(&self) -> Result<NodeConfig> {
        match config::load(&self.config) {
            Err(error) if error.is::<Mistakes>() => bail!("the configuration has mistakes:\n{error}"),
            loaded => loaded,
        }
    }
}
