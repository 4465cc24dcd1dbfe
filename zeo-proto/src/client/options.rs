use std::time::Duration;

use super::{Access, Address, Backoff};
use crate::Encoding;

/// What a [`Client`](super::Client) is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where servers of the storage are, one or more; further ones are learned from those of a cluster. For a read-only
    /// client: the addresses for read-only clients (`zeo_ro`).
    pub addresses: Vec<Address>,
    /// Which storage of the server. Default: `1`.
    pub storage: String,
    /// Whether it writes. Default: [`Access::ReadWrite`].
    pub access: Access,
    /// How much the cache may hold, in bytes; 0: nothing. Default: 20 MB, as stock clients.
    pub cache_bytes: usize,
    /// The encoding. Default: the one that the server offers.
    pub encoding: Option<Encoding>,
    /// How long a call waits for a connection. Default: 30 s, as stock clients.
    pub wait: Duration,
    /// How soon an address that failed is dialled again.
    pub backoff: Backoff,
    /// A server from which nothing comes for so long, not even the answer to a ping, is left. Default: 20 s.
    pub silence: Duration,
    /// For so long servers that lack what the client has seen are taken for ones that lag behind; after that the client
    /// drops its cache and takes their history for the true one. Default: 10 s.
    pub behind: Duration,
}

impl Options {
    /// A read-write client of these servers.
    pub fn new(addresses: impl IntoIterator<Item = impl Into<Address>>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            storage: "1".to_owned(),
            access: Access::ReadWrite,
            cache_bytes: 20_000_000,
            encoding: None,
            wait: Duration::from_secs(30),
            backoff: Backoff::default(),
            silence: Duration::from_secs(20),
            behind: Duration::from_secs(10),
        }
    }

    /// The same, read-only.
    pub fn read_only(addresses: impl IntoIterator<Item = impl Into<Address>>) -> Self {
        Self { access: Access::ReadOnly, ..Self::new(addresses) }
    }
}
