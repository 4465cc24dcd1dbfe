//! The first records of a connection: both sides prove the cluster's secret, then say hello.
//!
//! Noise `NNpsk0` with X25519, AES-256-GCM and SHA-256. No node has a key of its own: whoever has the secret is a member, and
//! which member, it says in the hello. The dialer's first message proves nothing to the listener yet, since it may be a
//! recorded one; its hello, which is under the keys of this handshake, does.

use std::io;

use snow::{Builder, HandshakeState, StatelessTransportState};

use super::error::ConnectError;
use super::hello::{HELLO_BYTES_MAX, Hello, HelloError, encode_refusal};
use super::identity::Identity;
use super::mux::Side;
use super::seal::{self, Opener, Sealer};
use super::secret::ClusterKey;
use super::transport::{RecordSink, RecordSource};

/// What the first record of either side begins with.
const MAGIC: &[u8; 4] = b"SBYP";
/// The version of the handshake, and of how records are protected.
const FORMAT: u8 = 1;
/// Bytes before the Noise message: magic, format, and protection (dialer) or refusal (listener).
const PREAMBLE_BYTES: usize = MAGIC.len() + 2;
/// The longest first record, in bytes.
const FIRST_BYTES_MAX: usize = 256;
/// The longest record with a hello, in bytes.
const SEALED_HELLO_BYTES_MAX: usize = HELLO_BYTES_MAX + super::frame::PROTECTION_BYTES_MAX;
const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";

/// How a connection is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Only against accidents, by a checksum: for tests, or within something that proves and encrypts by itself.
    Checksum,
    /// By a Noise handshake with the cluster's secret, and encryption.
    Noise,
}

/// Why a node does not speak with another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The secret or the cluster's name was not proven.
    #[error("wrong cluster secret or name")]
    WrongSecret,
    /// A format of the handshake that the refusing side does not have.
    #[error("no common format of the handshake")]
    UnknownFormat,
    /// Another protection than the refusing side wants.
    #[error("the two sides want different protection")]
    OtherProtection,
    /// Another cluster's name, where the secret is right or not asked for.
    #[error("another cluster's name")]
    WrongCluster,
    /// The node's name is the refusing side's own: a loop, or two nodes of one name.
    #[error("both have the same name: they are one node, or two of one name")]
    SameNode,
    /// No version of the protocol that both speak.
    #[error("no common version of the protocol")]
    NoCommonVersion,
    /// Something that a later version knows.
    #[error("a reason that this version does not know")]
    Other,
}

impl Refusal {
    const CODES: [(Self, u8); 6] = [
        (Self::WrongSecret, 1),
        (Self::UnknownFormat, 2),
        (Self::OtherProtection, 3),
        (Self::WrongCluster, 4),
        (Self::SameNode, 5),
        (Self::NoCommonVersion, 6),
    ];

    pub(super) fn code(self) -> u8 {
        Self::CODES.iter().find(|(refusal, _)| *refusal == self).map_or(u8::MAX, |(_, code)| *code)
    }

    pub(super) fn from_code(code: u8) -> Self {
        Self::CODES.iter().find(|(_, known)| *known == code).map_or(Self::Other, |(refusal, _)| *refusal)
    }
}

/// What a handshake comes to.
pub struct Established {
    pub sealer: Sealer,
    pub opener: Opener,
    pub remote: Hello,
    pub version: u16,
}

/// Greets as the side that this is. Reads nothing beyond the handshake.
pub async fn greet<O: RecordSink, I: RecordSource>(
    side: Side,
    identity: &Identity,
    sink: &mut O,
    source: &mut I,
) -> Result<Established, ConnectError> {
    let (mut sealer, mut opener) = match side {
        Side::Dialer => ask(identity, sink, source).await?,
        Side::Listener => answer(identity, sink, source).await?,
    };
    let own = identity.hello.encode().expect("checked when the identity was made");
    if side == Side::Dialer {
        send_sealed(sink, &mut sealer, &own).await?;
    }
    let sealed = next(source, SEALED_HELLO_BYTES_MAX).await?;
    let mut plain = vec![0; sealed.len()];
    let plain_bytes =
        opener.open(sealed, &mut plain).map_err(|_| ConnectError::Refuses(Refusal::WrongSecret))?;
    let (remote, versions) = Hello::decode(&plain[..plain_bytes]).map_err(|error| match error {
        HelloError::Refused(refusal) => ConnectError::Refused(refusal),
        HelloError::Malformed => ConnectError::NotAPeer,
    })?;
    let agreed = identity.hello.agree(&remote, versions);
    if side == Side::Listener {
        match agreed {
            Ok(_) => send_sealed(sink, &mut sealer, &own).await?,
            Err(refusal) => {
                send_sealed(sink, &mut sealer, &encode_refusal(refusal)).await?;
                sink.finish().await?;
            }
        }
    }
    let version = agreed.map_err(ConnectError::Refuses)?;
    Ok(Established { sealer, opener, remote, version })
}

/// The dialer's part.
async fn ask<O: RecordSink, I: RecordSource>(
    identity: &Identity,
    sink: &mut O,
    source: &mut I,
) -> Result<(Sealer, Opener), ConnectError> {
    let mut noise = state(Side::Dialer, identity);
    let mut record = preamble(identity.protection as u8);
    if let Some(noise) = &mut noise {
        record.extend_from_slice(&message_of(noise));
    }
    send(sink, &record).await?;

    let answer = next(source, FIRST_BYTES_MAX).await?;
    let (format, status, message) = split_preamble(answer)?;
    if status != 0 {
        return Err(ConnectError::Refused(Refusal::from_code(status)));
    }
    if format != FORMAT {
        return Err(ConnectError::Refuses(Refusal::UnknownFormat));
    }
    let Some(mut noise) = noise else { return Ok(seal::checksum()) };
    noise
        .read_message(message, &mut [0; FIRST_BYTES_MAX])
        .map_err(|_| ConnectError::Refuses(Refusal::WrongSecret))?;
    Ok(seal::noise(transport_of(noise)))
}

/// The listener's part.
async fn answer<O: RecordSink, I: RecordSource>(
    identity: &Identity,
    sink: &mut O,
    source: &mut I,
) -> Result<(Sealer, Opener), ConnectError> {
    let question = next(source, FIRST_BYTES_MAX).await?;
    let (format, protection, message) = split_preamble(question)?;
    let mut noise = state(Side::Listener, identity);
    let refusal = if format != FORMAT {
        Some(Refusal::UnknownFormat)
    } else if protection != identity.protection as u8 {
        Some(Refusal::OtherProtection)
    } else {
        let proves =
            |noise: &mut HandshakeState| noise.read_message(message, &mut [0; FIRST_BYTES_MAX]).is_ok();
        (!noise.as_mut().is_none_or(proves)).then_some(Refusal::WrongSecret)
    };
    if let Some(refusal) = refusal {
        send(sink, &preamble(refusal.code())).await?;
        sink.finish().await?;
        return Err(ConnectError::Refuses(refusal));
    }
    let mut record = preamble(0);
    if let Some(noise) = &mut noise {
        record.extend_from_slice(&message_of(noise));
    }
    send(sink, &record).await?;
    Ok(noise.map_or_else(seal::checksum, |noise| seal::noise(transport_of(noise))))
}

fn state(side: Side, identity: &Identity) -> Option<HandshakeState> {
    match identity.protection {
        Protection::Checksum => None,
        Protection::Noise => Some(noise(side, &identity.key, &identity.hello.cluster)),
    }
}

fn noise(side: Side, key: &ClusterKey, cluster: &str) -> HandshakeState {
    let prologue = [&preamble(Protection::Noise as u8), cluster.as_bytes()].concat();
    let build = || {
        let builder = Builder::new(PATTERN.parse()?).prologue(&prologue)?.psk(0, key.bytes())?;
        match side {
            Side::Dialer => builder.build_initiator(),
            Side::Listener => builder.build_responder(),
        }
    };
    build().expect("the pattern needs nothing but its key")
}

fn message_of(noise: &mut HandshakeState) -> Vec<u8> {
    let mut message = vec![0; FIRST_BYTES_MAX - PREAMBLE_BYTES];
    let bytes = noise.write_message(&[], &mut message).expect("a handshake message is short");
    message.truncate(bytes);
    message
}

fn transport_of(noise: HandshakeState) -> StatelessTransportState {
    noise.into_stateless_transport_mode().expect("the handshake is complete")
}

fn preamble(last: u8) -> Vec<u8> {
    [MAGIC, &[FORMAT, last][..]].concat()
}

fn split_preamble(record: &[u8]) -> Result<(u8, u8, &[u8]), ConnectError> {
    match record.strip_prefix(MAGIC) {
        Some([format, last, message @ ..]) => Ok((*format, *last, message)),
        _ => Err(ConnectError::NotAPeer),
    }
}

async fn next<I: RecordSource>(source: &mut I, bytes_max: usize) -> Result<&[u8], ConnectError> {
    match source.next(bytes_max).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(ConnectError::HungUp),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ConnectError::NotAPeer),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ConnectError::HungUp),
        Err(error) => Err(error.into()),
    }
}

async fn send<O: RecordSink>(sink: &mut O, record: &[u8]) -> io::Result<()> {
    sink.push(record.len(), |out| {
        out.copy_from_slice(record);
        record.len()
    });
    sink.flush().await
}

async fn send_sealed<O: RecordSink>(sink: &mut O, sealer: &mut Sealer, plain: &[u8]) -> io::Result<()> {
    sink.push(SEALED_HELLO_BYTES_MAX, |out| sealer.seal(plain, out));
    sink.flush().await
}

/// The transport states of two sides that have shaken hands.
#[cfg(test)]
pub fn noise_pair_for_tests() -> [StatelessTransportState; 2] {
    let key = ClusterKey::derive(b"secret", "plone");
    let [mut dialer, mut listener] = [Side::Dialer, Side::Listener].map(|side| noise(side, &key, "plone"));
    listener.read_message(&message_of(&mut dialer), &mut [0; FIRST_BYTES_MAX]).unwrap();
    dialer.read_message(&message_of(&mut listener), &mut [0; FIRST_BYTES_MAX]).unwrap();
    [transport_of(dialer), transport_of(listener)]
}
