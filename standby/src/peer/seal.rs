//! What protects the records of a connection.
//!
//! With the cluster's secret: Noise transport messages (AES-256-GCM, whose tag authenticates every record and its place in
//! the sequence). Within something that protects already, or within a test: XXH3 over the record, against accidents.

use std::sync::{Arc, PoisonError, RwLock};

use snow::StatelessTransportState;
use twox_hash::XxHash3_64;

use super::frame::{PROTECTION_BYTES_MAX, RECORD_FRAMES_BYTES_MAX};

/// Bytes of the checksum (XXH3-64, seed: the record's number; big-endian, behind the record).
const CHECKSUM_BYTES: usize = 8;
/// Records under one key: 64 GiB of the longest. AES-GCM may go to 2^24.5 records of 16 KiB, 362 GiB (RFC 8446, 5.5).
const RECORDS_PER_KEY: u64 = 1 << 20;

/// A record that is not what its sender sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {0} was changed on its way")]
pub struct Tampered(pub u64);

/// The keys of both directions; locked for writing only when one of them changes.
type Keys = Arc<RwLock<StatelessTransportState>>;

enum Method {
    Noise(Keys),
    Checksum,
}

/// Protects records that are sent.
pub struct Sealer {
    method: Method,
    records: u64,
}

/// Checks and opens records that are received.
pub struct Opener {
    method: Method,
    records: u64,
}

/// The two directions under the keys of a handshake.
pub fn noise(keys: StatelessTransportState) -> (Sealer, Opener) {
    let keys = Arc::new(RwLock::new(keys));
    let sealer = Sealer { method: Method::Noise(keys.clone()), records: 0 };
    (sealer, Opener { method: Method::Noise(keys), records: 0 })
}

/// The two directions without secrecy.
pub fn checksum() -> (Sealer, Opener) {
    (Sealer { method: Method::Checksum, records: 0 }, Opener { method: Method::Checksum, records: 0 })
}

impl Sealer {
    /// Writes the protected form of `plain` to `out` and returns its length: at most [`PROTECTION_BYTES_MAX`] more.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> usize {
        assert!(plain.len() <= RECORD_FRAMES_BYTES_MAX, "a record fits");
        let number = self.records;
        self.records += 1;
        match &self.method {
            Method::Noise(keys) => {
                if number > 0 && number.is_multiple_of(RECORDS_PER_KEY) {
                    keys.write().unwrap_or_else(PoisonError::into_inner).rekey_outgoing();
                }
                let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
                keys.write_message(number, plain, out).expect("a record fits, and its number is small")
            }
            Method::Checksum => {
                out[..plain.len()].copy_from_slice(plain);
                let checksum = XxHash3_64::oneshot_with_seed(number, plain);
                out[plain.len()..][..CHECKSUM_BYTES].copy_from_slice(&checksum.to_be_bytes());
                plain.len() + CHECKSUM_BYTES
            }
        }
    }
}

impl Opener {
    /// Writes what `sealed` protects to `out`, which is no shorter, and returns its length.
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, Tampered> {
        let number = self.records;
        self.records += 1;
        match &self.method {
            Method::Noise(keys) => {
                if number > 0 && number.is_multiple_of(RECORDS_PER_KEY) {
                    keys.write().unwrap_or_else(PoisonError::into_inner).rekey_incoming();
                }
                let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
                keys.read_message(number, sealed, out).map_err(|_| Tampered(number))
            }
            Method::Checksum => {
                let (plain, checksum) =
                    sealed.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Tampered(number))?;
                if XxHash3_64::oneshot_with_seed(number, plain) != u64::from_be_bytes(*checksum) {
                    return Err(Tampered(number));
                }
                out[..plain.len()].copy_from_slice(plain);
                Ok(plain.len())
            }
        }
    }
}

const _: () = assert!(CHECKSUM_BYTES <= PROTECTION_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn noise_pair() -> [(Sealer, Opener); 2] {
        crate::peer::handshake::noise_pair_for_tests().map(noise)
    }

    fn passes(sealer: &mut Sealer, opener: &mut Opener, plain: &[u8]) {
        let (mut sealed, mut opened) = ([0; 256], [0; 256]);
        let sealed_bytes = sealer.seal(plain, &mut sealed);
        assert!(sealed_bytes <= plain.len() + PROTECTION_BYTES_MAX);
        let opened_bytes = opener.open(&sealed[..sealed_bytes], &mut opened).unwrap();
        assert_eq!(&opened[..opened_bytes], plain);
    }

    #[test]
    fn records_pass_over_a_change_of_keys() {
        let [(mut sealer, _), (_, mut opener)] = noise_pair();
        for change in 1..4 {
            for number in change * RECORDS_PER_KEY - 2..change * RECORDS_PER_KEY + 2 {
                (sealer.records, opener.records) = (number, number);
                passes(&mut sealer, &mut opener, &number.to_be_bytes());
            }
        }
    }

    #[test]
    fn what_is_sealed_under_a_new_key_does_not_open_under_the_old() {
        let [(mut sealer, _), (_, mut opener)] = noise_pair();
        let mut sealed = [0; 64];
        sealer.records = RECORDS_PER_KEY;
        sealer.seal(b"changes the key", &mut sealed);
        sealer.records = 5;
        let bytes = sealer.seal(b"under the new key", &mut sealed);
        opener.records = 5;
        assert_eq!(opener.open(&sealed[..bytes], &mut [0; 64]), Err(Tampered(5)));
        opener.records = RECORDS_PER_KEY;
        assert!(opener.open(&[0; 64], &mut [0; 64]).is_err(), "changes the key here too");
        opener.records = 5;
        assert_eq!(opener.open(&sealed[..bytes], &mut [0; 64]), Ok(b"under the new key".len()));
    }

    #[test]
    fn a_changed_repeated_or_missing_record_is_found() {
        let noise_pair = noise_pair();
        for [(mut sealer, _), (_, mut opener)] in [noise_pair, [checksum(), checksum()]] {
            let mut out = [0; 64];
            let mut sealed = [[0; 64]; 3];
            let lengths = sealed.each_mut().map(|record| sealer.seal(b"a transaction", record));
            for position in 0..lengths[0] {
                let mut changed = sealed[0];
                changed[position] ^= 1;
                assert_eq!(opener.open(&changed[..lengths[0]], &mut out), Err(Tampered(0)));
                opener.records = 0;
            }
            assert!(opener.open(&sealed[0][..lengths[0]], &mut out).is_ok());
            assert_eq!(opener.open(&sealed[0][..lengths[0]], &mut out), Err(Tampered(1)));
            assert_eq!(opener.open(&sealed[1][..lengths[1]], &mut out), Err(Tampered(2)));
            assert_eq!(opener.open(&[], &mut out), Err(Tampered(3)));
        }
    }
}
