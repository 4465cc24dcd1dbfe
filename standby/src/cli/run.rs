//! `standby run` and `standby witness`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::config::{self, Mistakes, NodeConfig, Role};

/// `standby run` and `standby witness`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file of the node; `standby check` explains it
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
}

impl RunArgs {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.config
    }

    /// Reads the file of a node that has data.
    pub fn load_data_node(&self) -> Result<NodeConfig> {
        let config = self.load()?;
        if config.node.role == Role::Witness {
            bail!("{} is the configuration of a witness: `standby witness` runs it", self.config.display());
        }
        Ok(config)
    }

    /// Reads the file of a witness.
    pub fn load_witness(&self) -> Result<NodeConfig> {
        let config = self.load()?;
        if config.node.role != Role::Witness {
            bail!(
                "{} is not the configuration of a witness: that has `role = \"witness\"` in [node]",
                self.config.display()
            );
        }
        Ok(config)
    }

    fn load(&self) -> Result<NodeConfig> {
        match config::load(&self.config) {
            Err(error) if error.is::<Mistakes>() => bail!("the configuration has mistakes:\n{error}"),
            loaded => loaded,
        }
    }
}
