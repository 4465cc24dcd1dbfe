//! `standby init`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::config::{self, Mistakes};
use crate::node;

/// `standby init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The configuration file of the first node, with `role = "auto"`
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
}

impl InitArgs {
    /// Makes the cluster.
    pub fn run(&self) -> Result<()> {
        let config = match config::load(&self.config) {
            Err(error) if error.is::<Mistakes>() => bail!("the configuration has mistakes:\n{error}"),
            loaded => loaded?,
        };
        let (cluster, name) = (config.cluster.name.clone(), config.node.name.clone());
        node::create_cluster(config)?;
        println!("cluster {cluster} is made, with node {name} as its primary; `standby run` starts it");
        Ok(())
    }
}
