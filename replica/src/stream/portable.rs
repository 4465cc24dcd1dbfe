//! A transaction without positions, so that it means the same in every copy. Numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | tid |
//! | 1 | status: ` `, `p` or `u` |
//! | 2 + n | user, after its length |
//! | 2 + n | description, after its length |
//! | 2 + n | extension, after its length |
//! | 4 | number of records |
//! | | each record, in the order of the log: |
//! | 8 | oid |
//! | 1 | 0: no data; 1: data; 2: back pointer |
//! | 8 | tag 2 only: the tid of the record that is pointed to |
//! | 8 + n | tags 1 and 2: the data, or those that the back pointer leads to, after their length; tag 2 only: 0 where it leads to none |
//!
//! A copy may lack what a back pointer leads to, when that was packed or it never had it. It has the data instead then.

use crate::{Oid, Tid};

const NOTHING: u8 = 0;
const DATA: u8 = 1;
const POINTER: u8 = 2;

/// Bytes of a record without data.
const RECORD_BYTES_MIN: usize = 9;
/// Bytes before the metadata.
const HEAD: usize = 9;

/// Writes a transaction.
pub(super) struct PortableWriter<'a> {
    out: &'a mut Vec<u8>,
    count_at: usize,
    count: u32,
}

impl<'a> PortableWriter<'a> {
    /// Appends the transaction to `out`. The parts of the metadata are as long as the log can hold.
    pub(super) fn new(out: &'a mut Vec<u8>, tid: Tid, status: u8, metadata: [&[u8]; 3]) -> Self {
        out.extend_from_slice(&tid.to_bytes());
        out.push(status);
        for part in metadata {
            let length = u16::try_from(part.len()).expect("the log holds no more");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(part);
        }
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        Self { out, count_at, count: 0 }
    }

    fn record(&mut self, oid: Oid, tag: u8) -> &mut Vec<u8> {
        self.count += 1;
        self.out.extend_from_slice(&oid.to_bytes());
        self.out.push(tag);
        self.out
    }

    pub(super) fn nothing(&mut self, oid: Oid) {
        self.record(oid, NOTHING);
    }

    /// A back pointer to the object's record in transaction `data_tid`, and the data that it leads to, if any.
    pub(super) fn pointer(&mut self, oid: Oid, data_tid: Tid, data: &[u8]) {
        let out = self.record(oid, POINTER);
        out.extend_from_slice(&data_tid.to_bytes());
        out.extend_from_slice(&(data.len() as u64).to_be_bytes());
        out.extend_from_slice(data);
    }

    /// So many bytes of data follow, all of which must be put into the buffer that this returns.
    pub(super) fn data(&mut self, oid: Oid, length: u64) -> &mut Vec<u8> {
        let out = self.record(oid, DATA);
        out.extend_from_slice(&length.to_be_bytes());
        out
    }

    /// How many records it has.
    pub(super) fn finish(self) -> u32 {
        self.out[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_be_bytes());
        self.count
    }
}

/// What follows is not a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction: {0}")]
pub struct NotPortable(pub(super) &'static str);

/// Reads a transaction. Nothing in it is believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PortableReader<'a> {
    pub(super) tid: Tid,
    pub(super) status: u8,
    /// User, description, extension.
    pub(super) metadata: [&'a [u8]; 3],
    rest: &'a [u8],
    left: u32,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortableRecord<'a> {
    Nothing,
    Data(&'a [u8]),
    /// The transaction of the record that is pointed to, and the data that it leads to: none are empty.
    Pointer(Tid, &'a [u8]),
}

impl<'a> PortableReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, NotPortable> {
        let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(NotPortable("it is too short"))?;
        let tid = read_tid(&mut &head[..8])?;
        let status = head[8];
        if !matches!(status, b' ' | b'p' | b'u') {
            return Err(NotPortable("no such status"));
        }
        let mut metadata = [&[][..]; 3];
        for part in &mut metadata {
            let length = u16::from_be_bytes(take(&mut rest, 2)?.try_into().expect("two bytes"));
            *part = take(&mut rest, u64::from(length))?;
        }
        let left = u32::from_be_bytes(take(&mut rest, 4)?.try_into().expect("four bytes"));
        Ok(Self { tid, status, metadata, rest, left })
    }

    /// How many records are not read yet, if it is what it says; never more than its bytes can hold.
    pub(super) fn records_at_most(&self) -> usize {
        (self.left as usize).min(self.rest.len() / RECORD_BYTES_MIN)
    }

    /// How many bytes are not read yet.
    pub(super) fn left_bytes(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn next(&mut self) -> Result<Option<(Oid, PortableRecord<'a>)>, NotPortable> {
        if self.left == 0 {
            return if self.rest.is_empty() { Ok(None) } else { Err(NotPortable("it is too long")) };
        }
        self.left -= 1;
        let rest = &mut self.rest;
        let oid = Oid::new(read_number(rest)?);
        let record = match take(rest, 1)?[0] {
            NOTHING => PortableRecord::Nothing,
            DATA => {
                let length = read_number(rest)?;
                if length == 0 {
                    return Err(NotPortable("data of no length"));
                }
                PortableRecord::Data(take(rest, length)?)
            }
            POINTER => {
                let data_tid = read_tid(rest)?;
                let length = read_number(rest)?;
                PortableRecord::Pointer(data_tid, take(rest, length)?)
            }
            _ => return Err(NotPortable("no such kind of record")),
        };
        Ok(Some((oid, record)))
    }
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], NotPortable> {
    let taken = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (taken, left) = taken.ok_or(NotPortable("it is too short"))?;
    *rest = left;
    Ok(taken)
}

fn read_number(rest: &mut &[u8]) -> Result<u64, NotPortable> {
    Ok(u64::from_be_bytes(take(rest, 8)?.try_into().expect("eight bytes")))
}

fn read_tid(rest: &mut &[u8]) -> Result<Tid, NotPortable> {
    match Tid::new(read_number(rest)?) {
        tid if tid > Tid::ZERO && tid <= Tid::MAX => Ok(tid),
        _ => Err(NotPortable("no such tid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<(Oid, PortableRecord<'_>)>, NotPortable> {
        let mut reader = PortableReader::new(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        Ok(records)
    }

    fn transaction() -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = PortableWriter::new(&mut out, Tid::new(7), b' ', [b"jim", b"", b"\x80."]);
        writer.data(Oid::new(1), 3).extend_from_slice(b"abc");
        writer.pointer(Oid::new(2), Tid::new(5), b"back");
        writer.nothing(Oid::new(3));
        assert_eq!(writer.finish(), 3);
        out
    }

    #[test]
    fn a_transaction_reads_as_it_was_written() {
        let bytes = transaction();
        let reader = PortableReader::new(&bytes).expect("right");
        assert_eq!((reader.tid, reader.status), (Tid::new(7), b' '));
        assert_eq!(reader.metadata, [&b"jim"[..], b"", b"\x80."]);
        let expected = vec![
            (Oid::new(1), PortableRecord::Data(b"abc")),
            (Oid::new(2), PortableRecord::Pointer(Tid::new(5), b"back")),
            (Oid::new(3), PortableRecord::Nothing),
        ];
        assert_eq!(read(&bytes), Ok(expected));
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused() {
        let bytes = transaction();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err());
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read_without_harm(
            nonsense in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let _ = read(&nonsense);
            let mut changed = transaction();
            let at = at.index(changed.len());
            changed[at] = byte;
            let _ = read(&changed);
        }
    }
}
