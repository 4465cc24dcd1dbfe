//! What all connections of a server share.

use std::collections::BTreeMap;

use zeo_proto::Encoding;

use crate::service::Service;
use crate::session::storage_status_json;

/// Bounds on what clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Greatest frame accepted from a registered client, in bytes.
    pub frame_bytes_max: u32,
    /// Connections at one time.
    pub connections_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { frame_bytes_max: 256 << 20, connections_max: 10_000 }
    }
}

/// The storages of a server, by name, and how clients are spoken to.
pub struct Served {
    storages: BTreeMap<String, Service>,
    /// The encoding that the greeting proposes.
    pub encoding: Encoding,
    /// Bounds.
    pub limits: ConnectionLimits,
}

impl Served {
    /// Serves these storages.
    pub fn new(
        storages: impl IntoIterator<Item = Service>,
        encoding: Encoding,
        limits: ConnectionLimits,
    ) -> Self {
        let storages =
            storages.into_iter().map(|service| (service.options().name.clone(), service)).collect();
        Self { storages, encoding, limits }
    }

    /// The storage of this name.
    pub fn storage(&self, name: &str) -> Option<&Service> {
        self.storages.get(name)
    }

    /// All of them.
    pub fn storages(&self) -> impl Iterator<Item = &Service> {
        self.storages.values()
    }

    /// The answer to `ruok`: the status of every storage, as one JSON object.
    pub fn status_json(&self) -> String {
        let storages =
            self.storages.iter().map(|(name, service)| (name.clone(), storage_status_json(service)));
        serde_json::Value::Object(storages.collect()).to_string()
    }
}
