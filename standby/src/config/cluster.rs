//! `[cluster]`, `[node]` and `[listen]`: what belongs together, what this node is, and where it listens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::Document;
use super::secret::Secret;
use super::values;
use crate::failover::settings::LEASES;
use crate::failover::timing::Timing;
use crate::listener::ListenAddress;

/// Which cluster a node belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name: nodes of other clusters are refused.
    pub name: String,
    /// What its nodes prove to each other.
    pub secret: Secret,
    /// How long a primary's lease is: how soon others take its place.
    pub lease: Duration,
    /// Where nodes of it may be found, HOST:PORT of their peer listeners.
    pub join: Vec<String>,
}

impl Default for Cluster {
    fn default() -> Self {
        let lease = Timing::default().lease;
        Self { name: String::new(), secret: Secret::None, lease, join: Vec::new() }
    }
}

fn lease(value: &DeValue<'_>) -> Result<Duration, String> {
    match values::duration(value)? {
        lease if LEASES.contains(&lease) => Ok(lease),
        _ => Err("expected a time from \"200ms\" to \"60s\"".to_owned()),
    }
}

impl Cluster {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        let cluster = document.section("cluster", |section| {
            let name = section.required("name", values::name).unwrap_or_default();
            let lease = section.or("lease", lease, Timing::default().lease);
            let join = section.or("join", values::addresses, Vec::new());
            let secret = Secret::read(section, "secret", "secret_file");
            Self { name, secret, lease, join }
        });
        cluster.unwrap_or_default()
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It commits.
    Primary,
    /// It follows.
    Replica,
    /// What the cluster decides.
    Auto,
    /// It has no data, and takes part in decisions.
    Witness,
}

impl Role {
    /// The cluster decides: nobody else says who is the primary.
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Auto | Self::Witness)
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, unique in its cluster.
    pub name: String,
    /// Its site.
    pub group: String,
    /// What it does.
    pub role: Role,
    /// Where other nodes reach its peer listener, HOST:PORT; `None`: where that listens.
    pub address: Option<String>,
    /// It may become the primary.
    pub electable: bool,
    /// It takes part in decisions.
    pub voter: bool,
    /// Of several that could become the primary, the one with the highest does.
    pub priority: u64,
    /// Where it keeps what it must remember of decisions; `None`: beside its first storage.
    pub control: Option<PathBuf>,
    /// Whatever else is worth knowing of it.
    pub tags: BTreeMap<String, String>,
}

impl Node {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        let node = document.section("node", |section| {
            let role = section.required("role", |value| match values::text(value)?.as_str() {
                "primary" => Ok(Role::Primary),
                "replica" => Ok(Role::Replica),
                "auto" => Ok(Role::Auto),
                "witness" => Ok(Role::Witness),
                other => {
                    Err(format!("expected \"primary\", \"replica\", \"auto\" or \"witness\", not {other:?}"))
                }
            });
            let is_witness = role == Some(Role::Witness);
            let electable = section.or("electable", values::flag, !is_witness);
            Self {
                name: section.required("name", values::name).unwrap_or_default(),
                group: section.or("group", values::name, "local".to_owned()),
                role: role.unwrap_or(Role::Primary),
                address: section.optional("address", values::text),
                electable,
                voter: section.or("voter", values::flag, electable || is_witness),
                control: section.optional("control", values::path),
                priority: section.or("priority", values::count, 0),
                tags: BTreeMap::new(),
            }
        });
        let tags = document.section("tags", |section| section.rest(values::text));
        let Some(mut node) = node else {
            document.wrong("node", "a node needs a section [node], with its `name` and `role`");
            return Self {
                name: String::new(),
                group: String::new(),
                role: Role::Primary,
                address: None,
                electable: true,
                voter: true,
                priority: 0,
                control: None,
                tags: BTreeMap::new(),
            };
        };
        node.tags = tags.unwrap_or_default().into_iter().collect();
        node
    }
}

/// Where a node listens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listen {
    /// Read-write clients.
    pub zeo: Option<ListenAddress>,
    /// Read-only clients.
    pub zeo_ro: Option<ListenAddress>,
    /// Other nodes.
    pub peer: Option<ListenAddress>,
    /// The operator.
    pub admin: Vec<ListenAddress>,
}

impl Listen {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        document.section_or_empty("listen", |section| Self {
            zeo: section.optional("zeo", values::listen),
            zeo_ro: section.optional("zeo_ro", values::listen),
            peer: section.optional("peer", values::listen_tcp),
            admin: section.or("admin", values::listens, Vec::new()),
        })
    }
}
