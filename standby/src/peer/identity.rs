//! Who this node is to its peers.

use super::handshake::Protection;
use super::hello::{BadIdentity, Hello};
use super::limits::PeerLimits;
use super::secret::ClusterKey;
use crate::quiet::Quiet;

/// What a node needs to make and to accept peer connections.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) hello: Hello,
    pub(super) key: ClusterKey,
    pub(super) protection: Protection,
    pub(super) limits: PeerLimits,
    pub(super) quiet: Quiet,
}

impl Identity {
    /// The node that says `hello` of itself, in the cluster of this secret; protected by Noise, with default limits. Fails
    /// where the hello is too long to be said.
    pub fn new(hello: Hello, secret: &[u8]) -> Result<Self, BadIdentity> {
        hello.encode()?;
        let key = ClusterKey::derive(secret, &hello.cluster);
        Ok(Self {
            hello,
            key,
            protection: Protection::Noise,
            limits: PeerLimits::default(),
            quiet: Quiet::default(),
        })
    }

    /// A node of this name in a cluster of tests.
    #[cfg(test)]
    pub fn for_tests(node: &str) -> Self {
        let hello =
            Hello { cluster: "test".into(), node: node.into(), group: "here".into(), features: Vec::new() };
        Self::new(hello, b"a secret of tests").expect("short names")
    }

    /// The same with other limits.
    pub fn with_limits(mut self, limits: PeerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, whose connections are neither heard nor answered while this says so.
    pub(crate) fn with_quiet(mut self, quiet: Quiet) -> Self {
        self.quiet = quiet;
        self
    }

    /// The same with other protection. Peers must agree on it.
    pub fn with_protection(mut self, protection: Protection) -> Self {
        self.protection = protection;
        self
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.hello.node
    }
}
