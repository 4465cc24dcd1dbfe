//! What two nodes tell each other first, once the connection is protected.

use bytes::{Buf, BufMut};

use super::handshake::Refusal;

/// Versions of the protocol that this build speaks.
pub const VERSION_MIN: u16 = 1;
pub const VERSION_MAX: u16 = 1;
/// The longest hello, in bytes.
pub const HELLO_BYTES_MAX: usize = 4096;

const KIND_HELLO: u8 = 1;
const KIND_REFUSAL: u8 = 2;

/// A node's description of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name, unique in its cluster.
    pub node: String,
    /// The node's group (site).
    pub group: String,
    /// What it can do beyond the version, by name.
    pub features: Vec<String>,
}

/// A description that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadIdentity {
    /// A name is empty or too long.
    #[error("names of clusters, nodes, groups and features have 1 to 255 bytes")]
    Name,
    /// All together is too long.
    #[error("a node's names and features take more than {HELLO_BYTES_MAX} bytes")]
    TooLong,
}

/// What came in place of a hello, or with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HelloError {
    /// The peer does not want to speak.
    #[error("peer refused: {0}")]
    Refused(Refusal),
    /// Bytes that are no hello.
    #[error("the peer's hello is malformed")]
    Malformed,
}

impl Hello {
    /// Its bytes, with this build's versions.
    pub fn encode(&self) -> Result<Vec<u8>, BadIdentity> {
        let mut bytes = vec![KIND_HELLO];
        bytes.put_u16(VERSION_MIN);
        bytes.put_u16(VERSION_MAX);
        for name in [&self.cluster, &self.node, &self.group] {
            put_name(&mut bytes, name)?;
        }
        bytes.put_u8(u8::try_from(self.features.len()).map_err(|_| BadIdentity::TooLong)?);
        for feature in &self.features {
            put_name(&mut bytes, feature)?;
        }
        if bytes.len() > HELLO_BYTES_MAX { Err(BadIdentity::TooLong) } else { Ok(bytes) }
    }

    /// Reads a peer's hello, and the range of versions that it speaks. What a later version may have put behind it is ignored.
    pub fn decode(mut bytes: &[u8]) -> Result<(Self, (u16, u16)), HelloError> {
        match bytes {
            [KIND_HELLO, rest @ ..] => bytes = rest,
            [KIND_REFUSAL, code, ..] => return Err(HelloError::Refused(Refusal::from_code(*code))),
            _ => return Err(HelloError::Malformed),
        }
        if bytes.len() < 4 {
            return Err(HelloError::Malformed);
        }
        let versions = (bytes.get_u16(), bytes.get_u16());
        let mut name = || take_name(&mut bytes);
        let (cluster, node, group) = (name()?, name()?, name()?);
        let count = bytes.try_get_u8().map_err(|_| HelloError::Malformed)?;
        let features = (0..count).map(|_| take_name(&mut bytes)).collect::<Result<_, _>>()?;
        Ok((Self { cluster, node, group, features }, versions))
    }

    /// Whether a node of this description speaks with one that says `theirs`, and in which version.
    pub fn agree(&self, theirs: &Self, (their_min, their_max): (u16, u16)) -> Result<u16, Refusal> {
        if self.cluster != theirs.cluster {
            return Err(Refusal::WrongCluster);
        }
        if self.node == theirs.node {
            return Err(Refusal::SameNode);
        }
        let version = VERSION_MAX.min(their_max);
        if version < VERSION_MIN.max(their_min) { Err(Refusal::NoCommonVersion) } else { Ok(version) }
    }
}

/// The bytes that are sent instead of a hello.
pub fn encode_refusal(refusal: Refusal) -> [u8; 2] {
    [KIND_REFUSAL, refusal.code()]
}

fn put_name(bytes: &mut Vec<u8>, name: &str) -> Result<(), BadIdentity> {
    let length = u8::try_from(name.len()).ok().filter(|length| *length > 0).ok_or(BadIdentity::Name)?;
    bytes.put_u8(length);
    bytes.put_slice(name.as_bytes());
    Ok(())
}

fn take_name(bytes: &mut &[u8]) -> Result<String, HelloError> {
    let length = usize::from(bytes.try_get_u8().map_err(|_| HelloError::Malformed)?);
    let (name, rest) = bytes.split_at_checked(length).filter(|_| length > 0).ok_or(HelloError::Malformed)?;
    *bytes = rest;
    std::str::from_utf8(name).map(str::to_owned).map_err(|_| HelloError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: &str) -> Hello {
        Hello {
            cluster: "plone".to_owned(),
            node: node.to_owned(),
            group: "berlin".to_owned(),
            features: vec!["zstd".to_owned(), "blobs".to_owned()],
        }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written() {
        let bytes = hello("a").encode().unwrap();
        assert_eq!(Hello::decode(&bytes), Ok((hello("a"), (VERSION_MIN, VERSION_MAX))));
        let later = [bytes.as_slice(), b"of a later version"].concat();
        assert_eq!(Hello::decode(&later), Ok((hello("a"), (VERSION_MIN, VERSION_MAX))));
    }

    #[test]
    fn a_hello_that_is_cut_off_anywhere_is_malformed() {
        let bytes = hello("a").encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..length]), Err(HelloError::Malformed), "{length}");
        }
    }

    #[test]
    fn a_hello_that_is_too_long_is_not_said() {
        assert_eq!(hello("").encode(), Err(BadIdentity::Name));
        assert_eq!(hello(&"n".repeat(256)).encode(), Err(BadIdentity::Name));
        let features = vec!["f".repeat(255); 17];
        assert_eq!(Hello { features, ..hello("a") }.encode(), Err(BadIdentity::TooLong));
        let features = vec!["f".to_owned(); 256];
        assert_eq!(Hello { features, ..hello("a") }.encode(), Err(BadIdentity::TooLong));
    }

    #[test]
    fn a_node_speaks_with_others_of_its_cluster_in_the_newest_common_version() {
        assert_eq!(hello("a").agree(&hello("b"), (1, 7)), Ok(VERSION_MAX));
        assert_eq!(hello("a").agree(&hello("b"), (VERSION_MAX + 1, 7)), Err(Refusal::NoCommonVersion));
        assert_eq!(hello("a").agree(&hello("b"), (0, 0)), Err(Refusal::NoCommonVersion));
        assert_eq!(hello("a").agree(&hello("a"), (1, 1)), Err(Refusal::SameNode));
        let foreign = Hello { cluster: "zope".to_owned(), ..hello("b") };
        assert_eq!(hello("a").agree(&foreign, (1, 1)), Err(Refusal::WrongCluster));
    }
}
