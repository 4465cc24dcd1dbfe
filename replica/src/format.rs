//! The bytes of a FileStorage log. All numbers are big-endian.
//!
//! The file begins with four bytes, `FS30` (`FS21` when a ZODB of Python 2 made it), and goes on with
//! transactions:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | tid |
//! | 8 | length of the transaction without the redundant length at its end |
//! | 1 | status: `' '` committed, `'p'` packed, `'c'` not finished, `'u'` taken back (by a ZODB of long ago) |
//! | 2, 2, 2 | lengths of user, description, extension |
//! | | user, description, extension |
//! | | records |
//! | 8 | the length again |
//!
//! A record:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | oid |
//! | 8 | tid |
//! | 8 | position of the object's previous record, 0 for none |
//! | 8 | position of the transaction |
//! | 2 | 0 |
//! | 8 | length of the data, 0 for a back pointer |
//! | | the data; or 8 bytes, the position of the record that has them, 0 for none (deleted, or never created) |

use crate::{Oid, Tid};

/// What a log made by ZODB on Python 3, or here, begins with.
pub(crate) const MAGIC: &[u8; 4] = b"FS30";
/// What a log made by ZODB on Python 2 begins with.
pub(crate) const OLD_MAGIC: &[u8; 4] = b"FS21";
/// Where the first transaction begins.
pub(crate) const LOG_START: u64 = 4;
/// Length of a transaction's header without user, description and extension.
pub(crate) const TRANSACTION_HEADER: usize = 23;
/// Length of the length that follows a transaction.
pub(crate) const REDUNDANT_LENGTH: u64 = 8;
/// Length of a record's header.
pub(crate) const RECORD_HEADER: usize = 42;
/// Length of a back pointer.
pub(crate) const BACK_POINTER: usize = 8;

/// The fixed part of a transaction's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionHead {
    pub(crate) tid: Tid,
    pub(crate) length: u64,
    pub(crate) status: u8,
    pub(crate) user_length: u16,
    pub(crate) description_length: u16,
    pub(crate) extension_length: u16,
}

impl TransactionHead {
    /// `None` when there are not enough bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..TRANSACTION_HEADER)?;
        Some(Self {
            tid: Tid::new(number(bytes, 0)),
            length: number(bytes, 8),
            status: bytes[16],
            user_length: short(bytes, 17),
            description_length: short(bytes, 19),
            extension_length: short(bytes, 21),
        })
    }

    pub(crate) fn encode(&self) -> [u8; TRANSACTION_HEADER] {
        let mut bytes = [0; TRANSACTION_HEADER];
        bytes[..8].copy_from_slice(&self.tid.to_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_be_bytes());
        bytes[16] = self.status;
        bytes[17..19].copy_from_slice(&self.user_length.to_be_bytes());
        bytes[19..21].copy_from_slice(&self.description_length.to_be_bytes());
        bytes[21..].copy_from_slice(&self.extension_length.to_be_bytes());
        bytes
    }

    /// Length of user, description and extension together.
    pub(crate) fn metadata_length(&self) -> u64 {
        u64::from(self.user_length) + u64::from(self.description_length) + u64::from(self.extension_length)
    }

    /// Length of everything before the first record.
    pub(crate) fn header_length(&self) -> u64 {
        TRANSACTION_HEADER as u64 + self.metadata_length()
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) oid: Oid,
    pub(crate) tid: Tid,
    pub(crate) previous: u64,
    pub(crate) transaction: u64,
    pub(crate) version_length: u16,
    pub(crate) data_length: u64,
}

impl RecordHead {
    /// `None` when there are not enough bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER)?;
        Some(Self {
            oid: Oid::new(number(bytes, 0)),
            tid: Tid::new(number(bytes, 8)),
            previous: number(bytes, 16),
            transaction: number(bytes, 24),
            version_length: short(bytes, 32),
            data_length: number(bytes, 34),
        })
    }

    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[..8].copy_from_slice(&self.oid.to_bytes());
        bytes[8..16].copy_from_slice(&self.tid.to_bytes());
        bytes[16..24].copy_from_slice(&self.previous.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[32..34].copy_from_slice(&self.version_length.to_be_bytes());
        bytes[34..].copy_from_slice(&self.data_length.to_be_bytes());
        bytes
    }

    /// Length of the record, its data or back pointer included. Saturates, for headers that are not ones.
    pub(crate) fn length(&self) -> u64 {
        let body = if self.data_length == 0 { BACK_POINTER as u64 } else { self.data_length };
        body.saturating_add(RECORD_HEADER as u64)
    }
}

/// The eight-byte number at an offset.
pub(crate) fn number(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(eight)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let transaction = TransactionHead {
            tid: Tid::new(0x0102_0304_0506_0708),
            length: 1 << 40,
            status: b'p',
            user_length: 1,
            description_length: 2,
            extension_length: 0xfffe,
        };
        assert_eq!(TransactionHead::decode(&transaction.encode()), Some(transaction));
        let record = RecordHead {
            oid: Oid::new(1 << 63),
            tid: Tid::new(2),
            previous: 3,
            transaction: 4,
            version_length: 5,
            data_length: 6,
        };
        assert_eq!(RecordHead::decode(&record.encode()), Some(record));
        assert_eq!(RecordHead::decode(&record.encode()[..41]), None);
    }
}
