//! The running checksum of a history.
//!
//! Every transaction has one, made with XXH3 (128 bits, seed 0) from its predecessor's (16 zero bytes at the
//! start of the log) and its own content. Where in the log a transaction lies and its status do not count, so that a copy at
//! other positions, and one whose transactions are marked as packed, have the same. Neither does it count whether a
//! record has its data itself or points back to them, so that a copy that lacks what is pointed to can have the data
//! instead. What is hashed, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the checksum of the transaction before |
//! | 8 | tid |
//! | 2 + n | user, after its length |
//! | 2 + n | description, after its length |
//! | 2 + n | extension, after its length |
//! | | for each record, in the order of the log: |
//! | 8 | oid |
//! | 1 | 0: no data; 1: data; 2: a back pointer that leads to no record, which is damage |
//! | 8 + n | tag 1 only: the data, after their length, also where the record points back to them |
//! | | after the records: |
//! | 8 | the number of records |
//!
//! A transaction of status `'u'` counts as one without records, which is how ZODB reads it.

use std::fmt;

use twox_hash::xxhash3_128::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

use crate::{Oid, Tid};

/// The running checksum at a transaction: two copies that agree on it have the same history up to there.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum(u128);

impl Checksum {
    /// The checksum before the first transaction.
    pub const ZERO: Self = Self(0);

    /// The sixteen bytes, big-endian.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The checksum with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(crate) const fn number(self) -> u128 {
        self.0
    }

    pub(crate) const fn new(number: u128) -> Self {
        Self(number)
    }
}

/// Thirty-two hexadecimal digits.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:032x})", self.0)
    }
}

/// Takes in a transaction piece by piece, in the order of the table above.
pub(crate) struct Chain {
    hasher: RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>,
    records: u64,
}

impl Chain {
    /// Begins a transaction. Each part of the metadata is at most 65,535 bytes long.
    pub(crate) fn new(before: Checksum, tid: Tid, user: &[u8], description: &[u8], extension: &[u8]) -> Self {
        let mut hasher = RawHasher::new(SecretBuffer::default());
        hasher.write(&before.to_bytes());
        hasher.write(&tid.to_bytes());
        for part in [user, description, extension] {
            let length = u16::try_from(part.len()).expect("metadata of at most 65,535 bytes");
            hasher.write(&length.to_be_bytes());
            hasher.write(part);
        }
        Self { hasher, records: 0 }
    }

    /// A record without data.
    pub(crate) fn nothing(&mut self, oid: Oid) {
        self.begin(oid, 0);
    }

    /// A record with data of this length, which follow in any number of [`Chain::data`].
    pub(crate) fn data_follow(&mut self, oid: Oid, length: u64) {
        self.begin(oid, 1);
        self.hasher.write(&length.to_be_bytes());
    }

    pub(crate) fn data(&mut self, data: &[u8]) {
        self.hasher.write(data);
    }

    /// A back pointer that leads to these data, or to none.
    pub(crate) fn pointer(&mut self, oid: Oid, data: Option<&[u8]>) {
        match data {
            None => self.nothing(oid),
            Some(data) => {
                self.data_follow(oid, data.len() as u64);
                self.data(data);
            }
        }
    }

    /// A back pointer that leads to no record.
    pub(crate) fn broken_pointer(&mut self, oid: Oid) {
        self.begin(oid, 2);
    }

    pub(crate) fn finish(mut self) -> Checksum {
        self.hasher.write(&self.records.to_be_bytes());
        Checksum(self.hasher.finish_128())
    }

    fn begin(&mut self, oid: Oid, tag: u8) {
        self.records += 1;
        let mut bytes = [tag; 9];
        bytes[..8].copy_from_slice(&oid.to_bytes());
        self.hasher.write(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_documented_bytes() {
        let mut chain = Chain::new(Checksum::new(7), Tid::new(9), b"me", b"", b"ext");
        chain.data_follow(Oid::new(1), 4);
        chain.data(b"da");
        chain.data(b"ta");
        chain.pointer(Oid::new(2), Some(b"back"));
        chain.nothing(Oid::new(3));
        chain.pointer(Oid::new(4), None);
        chain.broken_pointer(Oid::new(5));

        let mut bytes = 7u128.to_be_bytes().to_vec();
        bytes.extend(9u64.to_be_bytes());
        bytes.extend(b"\0\x02me\0\0\0\x03ext");
        bytes.extend(b"\0\0\0\0\0\0\0\x01\x01\0\0\0\0\0\0\0\x04data");
        bytes.extend(b"\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\0\x04back");
        bytes.extend(b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\x04\0");
        bytes.extend(b"\0\0\0\0\0\0\0\x05\x02");
        bytes.extend(5u64.to_be_bytes());
        assert_eq!(chain.finish(), Checksum(twox_hash::XxHash3_128::oneshot(&bytes)));
    }
}
