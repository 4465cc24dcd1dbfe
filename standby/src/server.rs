//! What all connections of a server share.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use zeo_proto::Encoding;

use crate::busy_poll::LastActive;
use crate::quiet::Quiet;
use crate::service::Service;
use crate::session::storage_status_json;

/// Bounds on what clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Greatest frame accepted from a registered client, in bytes.
    pub frame_bytes_max: u32,
    /// Connections at one time, on each listener: those that wait at one do not keep others out.
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
    limits: Mutex<ConnectionLimits>,
    /// Whether clients are neither heard nor answered for a while.
    pub(crate) quiet: Quiet,
    /// Which connection received something last.
    pub(crate) last_active: Arc<LastActive>,
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
        Self {
            storages,
            encoding,
            limits: Mutex::new(limits),
            quiet: Quiet::default(),
            last_active: Arc::default(),
        }
    }

    /// Bounds, for clients that come now.
    pub fn limits(&self) -> ConnectionLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other bounds, for clients that come from now on.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
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
        python_json(&serde_json::Value::Object(storages.collect()))
    }
}

/// JSON as Python writes it, with a space after `:` and `,`: what monitoring scripts of a stock server may look for.
fn python_json(value: &serde_json::Value) -> String {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }

        fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
            writer.write_all(b": ")
        }
    }
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    serde::Serialize::serialize(value, &mut serializer).expect("memory takes everything");
    String::from_utf8(text).expect("JSON is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_written_as_python_writes_json() {
        let value = serde_json::json!({"1": {"loads": 1, "lock_time": null}, "2": {}});
        assert_eq!(python_json(&value), r#"{"1": {"loads": 1, "lock_time": null}, "2": {}}"#);
    }
}
