//! `standby check`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::config::{self, Mistakes, NodeConfig, Role};

/// `standby check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file of a node
    #[arg(value_name = "CONFIG")]
    config: PathBuf,

    /// Print the result as JSON: {"ok": true, "node": .., "warnings": [..]} or {"ok": false, "mistakes": [{"place", "text"}, ..]}
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    /// Says what the file means, or everything that is wrong with it.
    pub fn run(&self) -> Result<ExitCode> {
        match config::load(&self.config) {
            Ok(config) => {
                if self.json {
                    let node =
                        json!({"name": config.node.name, "group": config.node.group, "role": role(&config)});
                    println!("{}", json!({"ok": true, "node": node, "warnings": config.warnings()}));
                } else {
                    println!("{}", summary(&config));
                    for warning in config.warnings() {
                        println!("warning: {warning}");
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => match error.downcast::<Mistakes>() {
                Ok(Mistakes(mistakes)) => {
                    if self.json {
                        let all: Vec<_> = mistakes
                            .iter()
                            .map(|mistake| json!({"place": mistake.place, "text": mistake.text}))
                            .collect();
                        println!("{}", json!({"ok": false, "mistakes": all}));
                    } else {
                        let count = mistakes.len();
                        println!("{}", Mistakes(mistakes));
                        println!("{count} mistake(s)");
                    }
                    Ok(ExitCode::FAILURE)
                }
                Err(error) => Err(error),
            },
        }
    }
}

fn role(config: &NodeConfig) -> &'static str {
    match config.node.role {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Auto => "what the cluster decides",
        Role::Witness => "witness",
    }
}

/// What the node will do, in a few lines.
fn summary(config: &NodeConfig) -> String {
    let NodeConfig { cluster, node, listen, upstream, storages, replication, .. } = config;
    let mut lines = vec![format!("node {} of group {}: {}", node.name, node.group, role(config))];
    if !cluster.name.is_empty() {
        lines.push(format!("cluster {}", cluster.name));
    }
    let listeners = [
        ("zeo", &listen.zeo, "read-write clients"),
        ("zeo_ro", &listen.zeo_ro, "read-only clients"),
        ("peer", &listen.peer, "other nodes"),
    ];
    for (key, address, whom) in listeners {
        if let Some(address) = address {
            lines.push(format!("listens on {address} for {whom} ({key})"));
        }
    }
    for address in &listen.admin {
        lines.push(format!("listens on {address} for the operator (admin)"));
    }
    if let Some(upstream) = upstream {
        lines.push(format!("follows {}", upstream.addresses.join(" or ")));
    }
    if replication.acks.needed > 0 {
        let needed = replication.acks.needed;
        lines.push(format!("answers a client when {needed} replica(s) have its transaction"));
    }
    for storage in storages {
        let blobs =
            storage.blob_dir.as_ref().map_or(String::new(), |path| format!(", blobs in {}", path.display()));
        lines.push(format!("storage {:?}: {}{blobs}", storage.name, storage.path.display()));
    }
    lines.join("\n")
}
