//! What a node tells of itself to all others.

use zeo_proto::Tid;

use super::bytes::{Reader, put_text};
use crate::node::Part;

/// Format of a record: what a later version puts behind it is ignored.
const VERSION: u8 = 1;
/// The longest version of a program that is told, in bytes.
const VERSION_BYTES_MAX: usize = 32;
/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 600;

/// The state of a node, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it does.
    pub part: Part,
    /// It can be promoted, or could if it were in the right group: its copies are whole.
    pub whole: bool,
    /// Its clock is off.
    pub clock_off: bool,
    /// Its disk has failed: it takes nothing any more.
    pub disk_failed: bool,
    /// The epoch that wrote its end.
    pub epoch: u64,
    /// The greatest of the last tids of its storages.
    pub last_tid: Tid,
    /// So much of its upstream's history is known to be missing, in milliseconds; 0 on a primary.
    pub lag_ms: u32,
    /// Its wall clock when it said this, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The version of its program.
    pub version: String,
    /// Where read-write clients reach it, HOST:PORT; empty: nowhere.
    pub zeo: String,
    /// Where read-only clients reach it, HOST:PORT; empty: nowhere.
    pub zeo_ro: String,
}

const WHOLE: u8 = 1;
const CLOCK_OFF: u8 = 2;
const DISK_FAILED: u8 = 4;

impl Record {
    /// Its bytes, [`RECORD_BYTES_MAX`] at most. Addresses that are too long to be told are left out.
    pub fn encode(&self) -> Vec<u8> {
        let part = match self.part {
            Part::Undecided => 0,
            Part::Replica => 1,
            Part::Primary => 2,
            Part::Witness => 3,
        };
        let flags = [(self.whole, WHOLE), (self.clock_off, CLOCK_OFF), (self.disk_failed, DISK_FAILED)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, bit)| flags | bit);
        let mut bytes = vec![VERSION, part, flags];
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.last_tid.to_bytes());
        bytes.extend_from_slice(&self.lag_ms.to_be_bytes());
        bytes.extend_from_slice(&self.wall_ms.to_be_bytes());
        let version: String = self.version.chars().filter(char::is_ascii).take(VERSION_BYTES_MAX).collect();
        for text in [&version, &self.zeo, &self.zeo_ro] {
            put_text(&mut bytes, text);
        }
        debug_assert!(bytes.len() <= RECORD_BYTES_MAX);
        bytes
    }

    /// Reads a record; `None` where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        let part = match reader.u8()? {
            0 => Part::Undecided,
            1 => Part::Replica,
            2 => Part::Primary,
            3 => Part::Witness,
            _ => return None,
        };
        let flags = reader.u8()?;
        Some(Self {
            part,
            whole: flags & WHOLE != 0,
            clock_off: flags & CLOCK_OFF != 0,
            disk_failed: flags & DISK_FAILED != 0,
            epoch: reader.u64()?,
            last_tid: Tid::new(reader.u64()?),
            lag_ms: reader.u32()?,
            wall_ms: reader.u64()?,
            version: reader.text()?,
            zeo: reader.text()?,
            zeo_ro: reader.text()?,
        })
    }

    /// What a node tells that knows nothing yet.
    pub fn unsaid() -> Self {
        Self {
            part: Part::Undecided,
            whole: false,
            clock_off: false,
            disk_failed: false,
            epoch: 0,
            last_tid: Tid::ZERO,
            lag_ms: 0,
            wall_ms: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            zeo: String::new(),
            zeo_ro: String::new(),
        }
    }

    /// Whether it says the same as another, but for what changes all the time by itself.
    pub fn says_as(&self, other: &Self) -> bool {
        let still = |record: &Self| Self { wall_ms: 0, ..record.clone() };
        still(self) == still(other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            part: Part::Replica,
            whole: true,
            clock_off: false,
            disk_failed: false,
            epoch: 3,
            last_tid: Tid::new(0x040d_29aa_5046_06a5),
            lag_ms: 1_500,
            wall_ms: 1_700_000_000_000,
            version: "0.1.0".to_owned(),
            zeo: "10.0.0.1:8100".to_owned(),
            zeo_ro: String::new(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_what_follows_is_ignored() {
        let bytes = record().encode();
        assert_eq!(Record::decode(&bytes), Some(record()));
        assert_eq!(Record::decode(&[&bytes[..], b"later"].concat()), Some(record()));
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]), None, "cut off at {length}");
        }
    }

    #[test]
    fn a_record_is_never_too_long() {
        let long = "x".repeat(400);
        let record = Record { version: long.clone(), zeo: long.clone(), zeo_ro: "y".repeat(255), ..record() };
        let bytes = record.encode();
        assert!(bytes.len() <= RECORD_BYTES_MAX);
        let told = Record::decode(&bytes).expect("a record");
        assert_eq!((told.zeo.len(), told.zeo_ro.len(), told.version.len()), (0, 255, VERSION_BYTES_MAX));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            if let Some(record) = Record::decode(&bytes) {
                prop_assert!(record.encode().len() <= RECORD_BYTES_MAX);
            }
        }

        #[test]
        fn a_damaged_record_is_another_one_or_none(at in 0_usize..60, bit in 0_u8..8) {
            let mut bytes = record().encode();
            let at = at % bytes.len();
            prop_assume!(at != 2 || bit < 2); // flags of a later version mean nothing here
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Record::decode(&bytes), Some(record()));
        }
    }
}
