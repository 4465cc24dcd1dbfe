//! What protects a datagram: nobody without the cluster's secret can read it, write one, or send one again.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `SbG1` |
//! | 16 | the sender's session: random, another one at each start |
//! | 8 | number of the datagram in its session, from 1 |
//! | … | the [message](super::message), encrypted |
//! | 16 | tag |
//!
//! ChaCha20-Poly1305 (RFC 8439), with the first 28 bytes as associated data and the number as nonce. The key is the
//! session's own: 32 bytes by HKDF-SHA-256 (RFC 5869) with the salt `standby gossip key 1`, the cluster's secret as input, and the
//! session and the cluster's name as the context. So no nonce is ever used twice under one key, and datagrams of another cluster, or
//! of another secret, do not open.

use std::collections::VecDeque;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// The longest datagram, in bytes: fits into one packet wherever IPv6's minimum and some tunnel headers do.
pub const DATAGRAM_BYTES_MAX: usize = 1232;
const MAGIC: &[u8; 4] = b"SbG1";
const SESSION_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + SESSION_BYTES + 8;
const TAG_BYTES: usize = 16;
/// The longest message that fits into one, in bytes.
pub const MESSAGE_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES;
/// Sets this use of the secret apart from others.
const PURPOSE: &[u8] = b"standby gossip key 1";
/// Sessions whose numbers are remembered; of more, those that were silent for longest are forgotten.
const SESSIONS_MAX: usize = 512;

type Session = [u8; SESSION_BYTES];

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too short, too long, or not begun as ours are.
    #[error("this is no datagram of Standby's")]
    Foreign,
    /// It does not open.
    #[error("it was not made with this cluster's secret and name, or was changed on its way")]
    NotAuthentic,
    /// It came before.
    #[error("it was received before")]
    Repeated,
    /// It opens, and says nothing.
    #[error("its contents are malformed")]
    Malformed,
}

/// What all nodes of a cluster share.
#[derive(Clone)]
pub struct GossipKey {
    secret: Prk,
    cluster: String,
}

impl GossipKey {
    /// The key of the cluster of this name and secret.
    pub fn derive(secret: &[u8], cluster: &str) -> Self {
        let secret = Salt::new(HKDF_SHA256, PURPOSE).extract(secret);
        Self { secret, cluster: cluster.to_owned() }
    }

    fn of_session(&self, session: &Session) -> LessSafeKey {
        let context = [&session[..], self.cluster.as_bytes()];
        let key = self.secret.expand(&context, &CHACHA20_POLY1305).map(UnboundKey::from);
        LessSafeKey::new(key.expect("32 bytes are not too many for SHA-256"))
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Seals what a node sends.
pub struct Sealer {
    key: LessSafeKey,
    session: Session,
    number: u64,
}

impl Sealer {
    /// Begins a session.
    pub fn new(key: &GossipKey) -> Self {
        let mut session = [0; SESSION_BYTES];
        SystemRandom::new().fill(&mut session).expect("the system has random numbers");
        Self { key: key.of_session(&session), session, number: 0 }
    }

    /// The datagram that carries these bytes, [`MESSAGE_BYTES_MAX`] at most.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        assert!(message.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes fits", message.len());
        self.number += 1;
        let header = [&MAGIC[..], &self.session, &self.number.to_be_bytes()].concat();
        let mut sealed = message.to_vec();
        let aad = Aad::from(&header[..]);
        let done = self.key.seal_in_place_append_tag(nonce(self.number), aad, &mut sealed);
        done.expect("a message is short");
        [header, sealed].concat()
    }
}

/// Opens what a node receives.
pub struct Opener {
    key: GossipKey,
    /// The sessions that were heard of, the latest last.
    sessions: VecDeque<(Session, Window)>,
}

impl Opener {
    /// Has opened nothing yet.
    pub fn new(key: GossipKey) -> Self {
        Self { key, sessions: VecDeque::new() }
    }

    /// What a datagram carries.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
        let fits = (HEADER_BYTES + TAG_BYTES..=DATAGRAM_BYTES_MAX).contains(&datagram.len());
        if !fits || !datagram.starts_with(MAGIC) {
            return Err(Refused::Foreign);
        }
        let (header, sealed) = datagram.split_at(HEADER_BYTES);
        let (session, number) = header[MAGIC.len()..].split_at(SESSION_BYTES);
        let session: Session = session.try_into().expect("split there");
        let number = u64::from_be_bytes(number.try_into().expect("the rest of the header"));
        let mut message = sealed.to_vec();
        let key = self.key.of_session(&session);
        let opened = key.open_in_place(nonce(number), Aad::from(header), &mut message);
        let length = opened.map_err(|_| Refused::NotAuthentic)?.len();
        message.truncate(length);
        self.take(session, number)?;
        Ok(message)
    }

    /// Remembers an authentic datagram.
    fn take(&mut self, session: Session, number: u64) -> Result<(), Refused> {
        let known = self.sessions.iter().position(|(known, _)| *known == session);
        let mut window = match known {
            Some(at) => self.sessions.remove(at).expect("it is there").1,
            None => Window::default(),
        };
        let is_new = window.take(number);
        self.sessions.push_back((session, window));
        if self.sessions.len() > SESSIONS_MAX {
            self.sessions.pop_front();
        }
        if is_new { Ok(()) } else { Err(Refused::Repeated) }
    }
}

/// Which of the latest numbers of a session came. Those that are older than all of these count as repeated.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    newest: u64,
    /// Bit n: `newest - n` came.
    came: u128,
}

impl Window {
    fn take(&mut self, number: u64) -> bool {
        if number > self.newest {
            let by = u32::try_from(number - self.newest).unwrap_or(u32::MAX);
            self.came = self.came.checked_shl(by).unwrap_or(0) | 1;
            self.newest = number;
            return true;
        }
        let back = self.newest - number;
        let is_new = back < u64::from(u128::BITS) && self.came & (1 << back) == 0;
        if is_new {
            self.came |= 1 << back;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> GossipKey {
        GossipKey::derive(b"a secret of the tests", "plone")
    }

    #[test]
    fn a_datagram_opens_once() {
        let (mut sealer, mut opener) = (Sealer::new(&key()), Opener::new(key()));
        let datagram = sealer.seal(b"hello");
        assert_eq!(opener.open(&datagram), Ok(b"hello".to_vec()));
        assert_eq!(opener.open(&datagram), Err(Refused::Repeated));
        assert_eq!(opener.open(&sealer.seal(b"hello")), Ok(b"hello".to_vec()));
        let largest = sealer.seal(&[0; MESSAGE_BYTES_MAX]);
        assert_eq!(largest.len(), DATAGRAM_BYTES_MAX);
        assert!(opener.open(&largest).is_ok());
    }

    #[test]
    fn datagrams_that_overtake_each_other_open() {
        let (mut sealer, mut opener) = (Sealer::new(&key()), Opener::new(key()));
        let datagrams: Vec<_> = (0_u8..100).map(|number| sealer.seal(&[number])).collect();
        for (number, datagram) in datagrams.iter().enumerate().rev() {
            assert_eq!(opener.open(datagram), Ok(vec![number as u8]));
        }
        for datagram in &datagrams {
            assert_eq!(opener.open(datagram), Err(Refused::Repeated));
        }
    }

    #[test]
    fn what_is_too_old_to_be_remembered_counts_as_repeated() {
        let (mut sealer, mut opener) = (Sealer::new(&key()), Opener::new(key()));
        let old = sealer.seal(b"old");
        for _ in 0..200 {
            opener.open(&sealer.seal(b"new")).expect("new");
        }
        assert_eq!(opener.open(&old), Err(Refused::Repeated));
    }

    #[test]
    fn another_secret_or_another_cluster_does_not_open() {
        let mut opener = Opener::new(key());
        for other in [
            GossipKey::derive(b"another secret of the tests", "plone"),
            GossipKey::derive(b"a secret of the tests", "plone2"),
        ] {
            let datagram = Sealer::new(&other).seal(b"hello");
            assert_eq!(opener.open(&datagram), Err(Refused::NotAuthentic));
        }
        assert!(opener.sessions.is_empty(), "they leave nothing behind");
    }

    #[test]
    fn the_sessions_that_are_remembered_are_bounded() {
        let mut opener = Opener::new(key());
        for _ in 0..SESSIONS_MAX + 10 {
            opener.open(&Sealer::new(&key()).seal(b"hello")).expect("authentic");
        }
        assert_eq!(opener.sessions.len(), SESSIONS_MAX);
    }

    proptest! {
        #[test]
        fn a_datagram_that_was_changed_or_cut_anywhere_is_refused(at in any::<usize>(), bit in 0_u8..8, cut in any::<usize>()) {
            let mut opener = Opener::new(key());
            let datagram = Sealer::new(&key()).seal(b"some message of a node");
            let mut changed = datagram.clone();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            prop_assert!(opener.open(&changed).is_err());
            prop_assert!(opener.open(&datagram[..cut % datagram.len()]).is_err());
            prop_assert!(opener.open(&[&datagram[..], b"x"].concat()).is_err());
            prop_assert!(opener.open(&datagram).is_ok(), "none of these is taken for it");
        }

        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), ours in any::<bool>()) {
            let bytes = if ours { [&MAGIC[..], &bytes].concat() } else { bytes };
            prop_assert!(Opener::new(key()).open(&bytes).is_err());
        }
    }
}
