//! A node within somebody else's runtime: for the simulation of whole nodes.

use anyhow::Result;

use crate::config::NodeConfig;
use crate::node;
pub use crate::process::{Asked, Signals};

/// Makes a cluster of this node alone.
///
/// # Errors
/// As `standby init`.
pub async fn create_cluster(config: NodeConfig) -> Result<()> {
    node::create_cluster_within(config).await
}

/// Runs the node until `signals` say that it is to stop.
///
/// # Errors
/// As `standby run`.
pub async fn run(config: NodeConfig, signals: Signals) -> Result<()> {
    node::run_within(config, signals).await
}
