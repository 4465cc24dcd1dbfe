//! The configuration file of a node: TOML, and what it means. The reference is `docs/configuration.md`.
//!
//! Reading is pure: text and environment variables in, [`NodeConfig`] or every [`Mistake`] out. The file is read key by
//! key rather than into a derived type, since a derived one stops at the first mistake.

mod admin;
mod check;
mod cluster;
pub mod difference;
mod limits;
mod mistakes;
mod reader;
mod replication;
mod secret;
mod storages;
mod values;
mod warnings;

use std::path::{Path, PathBuf};

pub use self::admin::Admin;
pub use self::cluster::{Cluster, Listen, Node, Role};
pub use self::limits::{Limits, Zeo};
pub use self::mistakes::{Mistake, Mistakes};
use self::reader::Document;
pub use self::replication::{Replication, Upstream};
pub use self::secret::Secret;
use crate::cli::storage_spec::StorageSpec;
use crate::tls::TlsOptions;

/// What begins the names of environment variables that override keys: `STANDBY__NODE__NAME` is `name` in `[node]`.
pub const VARIABLE_PREFIX: &str = "STANDBY__";

/// Everything that a node is told by its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// Which cluster it belongs to.
    pub cluster: Cluster,
    /// What it is.
    pub node: Node,
    /// Where it listens.
    pub listen: Listen,
    /// How an operator is let in over TCP.
    pub admin: Admin,
    /// What it follows, as a replica.
    pub upstream: Option<Upstream>,
    /// How it replicates.
    pub replication: Replication,
    /// How it speaks with ZEO clients.
    pub zeo: Zeo,
    /// TLS with ZEO clients.
    pub tls: Option<TlsOptions>,
    /// Bounds.
    pub limits: Limits,
    /// What is logged, as `--log` says it; `None`: the file does not say.
    pub log: Option<String>,
    /// What it serves.
    pub storages: Vec<StorageSpec>,
}

/// Reads the file, with this process's environment.
///
/// # Errors
/// It cannot be read, or has mistakes: all of them.
pub fn load(path: &Path) -> anyhow::Result<NodeConfig> {
    use anyhow::Context;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let variables: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
    let mut config = parse(&path.display().to_string(), &text, &variables)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    config.cluster.secret.load(folder, "secret")?;
    config.admin.token.refuse_open_file(folder, "token")?;
    config.admin.token.load(folder, "token")?;
    Ok(config)
}

/// What the text says, with these variables over it. `path` is only shown.
///
/// # Errors
/// Every mistake in it.
pub fn parse(path: &str, text: &str, variables: &[(String, String)]) -> Result<NodeConfig, Mistakes> {
    let mut document = Document::parse(path, text, variables);
    let cluster = Cluster::read(&mut document);
    let node = Node::read(&mut document);
    let listen = Listen::read(&mut document);
    let admin = Admin::read(&mut document);
    let upstream = Upstream::read(&mut document);
    let replication = Replication::read(&mut document);
    let zeo = Zeo::read(&mut document);
    let tls = read_tls(&mut document);
    let limits = Limits::read(&mut document);
    let log = document.section("log", |section| section.optional("filter", values::log_filter)).flatten();
    let storages = storages::read(&mut document);
    let config =
        NodeConfig { cluster, node, listen, admin, upstream, replication, zeo, tls, limits, log, storages };
    check::check(&config, &mut document);
    document.finish(config)
}

fn read_tls(document: &mut Document<'_>) -> Option<TlsOptions> {
    document.section("tls", |section| {
        let certificate: PathBuf = section.required("certificate", values::path)?;
        let key = section.optional("key", values::path);
        let client_ca = section.optional("client_ca", values::path);
        Some(TlsOptions { certificate, key, client_ca })
    })?
}

#[cfg(test)]
mod config_test;
