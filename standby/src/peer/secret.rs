//! The key that proves membership, made of the cluster's secret.

use std::fmt;

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;
/// Sets this use of the secret apart from others (HKDF's salt).
const PURPOSE: &[u8] = b"standby peer key 1";

/// What the nodes of one cluster share, and no others: 32 bytes by HKDF-SHA-256 (RFC 5869) of the secret, with the
/// cluster's name as the context. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_BYTES]);

impl ClusterKey {
    /// The key of the cluster of this name and secret. The secret must be hard to guess (what the configuration demands of
    /// it); this does not slow down a guesser.
    pub fn derive(secret: &[u8], cluster: &str) -> Self {
        let mut key = [0; KEY_BYTES];
        Salt::new(HKDF_SHA256, PURPOSE)
            .extract(secret)
            .expand(&[cluster.as_bytes()], Length)
            .and_then(|material| material.fill(&mut key))
            .expect("32 bytes are not too many for SHA-256");
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_the_secret_and_on_the_name() {
        let key = ClusterKey::derive(b"secret", "plone");
        assert_eq!(key, ClusterKey::derive(b"secret", "plone"));
        assert_ne!(key, ClusterKey::derive(b"secret!", "plone"));
        assert_ne!(key, ClusterKey::derive(b"secret", "plone2"));
        assert_eq!(format!("{key:?}"), "ClusterKey(..)");
    }

    /// So that a later build still speaks with this one. Computed with Python's hmac and hashlib.
    #[test]
    fn the_key_stays_what_it_was() {
        let hex: String =
            ClusterKey::derive(b"secret", "plone").0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "3b50625781cf0cd49fb6dddbc23ef96d507fc8d5d1c5fdff66169fea7b727ec0");
    }
}
