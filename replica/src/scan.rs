use std::io;
use std::sync::Arc;

use crate::checksum::{Chain, Checksum};
use crate::format::{
    BACK_POINTER, LOG_START, RECORD_HEADER, REDUNDANT_LENGTH, RecordHead, TRANSACTION_HEADER,
    TransactionHead, number,
};
use crate::log::LogFile;
use crate::window::Window;
use crate::{Oid, ReadError, ReadMode, Tid};

/// Reads the log transaction by transaction, believes nothing, and computes the running checksum.
pub(crate) struct Scanner {
    window: Window,
    records: Vec<ScannedRecord>,
    metadata: Vec<u8>,
    /// What a back pointer leads to.
    pointed: Vec<u8>,
}

/// What lies at a position of the log.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// Nothing: the log ends here.
    End,
    /// A transaction that is right in itself. Its records are in [`Scanner::records`].
    Transaction(ScannedTransaction),
    /// Something that is not right.
    Bad(Bad),
}

/// A transaction that is right in itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScannedTransaction {
    pub(crate) head: TransactionHead,
    pub(crate) position: u64,
    /// Where the next one begins.
    pub(crate) end: u64,
    pub(crate) checksum: Checksum,
}

/// A record of such a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScannedRecord {
    pub(crate) oid: Oid,
    pub(crate) position: u64,
    pub(crate) previous: u64,
    pub(crate) back: Option<u64>,
}

/// What is wrong with a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Bad {
    pub(crate) reason: String,
    /// All of its lengths fit, so that it is not what a crash leaves of an append.
    pub(crate) whole: bool,
    /// Its header makes sense, and so does everything up to here, which may be the end of the file.
    pub(crate) good_until: u64,
    /// The tid that it claims.
    pub(crate) tid: Tid,
}

impl Scanner {
    /// Reads up to `end`.
    pub(crate) fn new(log: Arc<LogFile>, end: u64) -> Self {
        let window = Window::new(log, 1 << 20, end);
        Self { window, records: Vec::new(), metadata: Vec::new(), pointed: Vec::new() }
    }

    /// The records of the transaction that was scanned last, in the order of the log.
    pub(crate) fn records(&self) -> &[ScannedRecord] {
        &self.records
    }

    /// Looks at what lies at `position`, behind transaction `last` with the running checksum `before`.
    pub(crate) fn step(&mut self, position: u64, last: Tid, before: Checksum) -> io::Result<Scanned> {
        self.records.clear();
        let left = self.window.end().saturating_sub(position);
        if left == 0 {
            return Ok(Scanned::End);
        }
        let torn =
            |reason: String, good_until, tid| Ok(Scanned::Bad(Bad { reason, whole: false, good_until, tid }));
        let Some(head) = TransactionHead::decode(self.window.at(position, TRANSACTION_HEADER)?) else {
            return torn(format!("{left} bytes are too few for a transaction"), position, Tid::ZERO);
        };
        let (tid, length) = (head.tid, head.length);
        if length < head.header_length() {
            return torn(
                format!("a transaction of {length} bytes is shorter than its header"),
                position,
                tid,
            );
        }
        if head.status == b'c' {
            return torn("a transaction that was not finished".into(), position, tid);
        }
        let good_status = matches!(head.status, b' ' | b'p' | b'u');
        let fits = length.checked_add(REDUNDANT_LENGTH).is_some_and(|length| length <= left);
        if !fits && (!good_status || tid <= last) {
            return torn("no transaction begins here".into(), position, tid);
        }
        let data_start = position + head.header_length();
        let data_end = position.saturating_add(length);
        let metadata =
            self.window.at(position + TRANSACTION_HEADER as u64, head.metadata_length() as usize)?;
        if (metadata.len() as u64) < head.metadata_length() {
            return torn("the transaction is cut off in its header".into(), self.window.end(), tid);
        }
        self.metadata.clear();
        self.metadata.extend_from_slice(metadata);
        let (user, rest) = self.metadata.split_at(usize::from(head.user_length));
        let (description, extension) = rest.split_at(usize::from(head.description_length));
        let mut chain = Chain::new(before, tid, user, description, extension);

        let mut at = data_start;
        while head.status != b'u' && at < data_end {
            match self.record(&head, position, at, data_end, &mut chain)? {
                Ok(next) => at = next,
                Err((reason, good_until)) => return torn(reason, good_until, tid),
            }
        }
        if !fits {
            return torn("the transaction is cut off".into(), self.window.end(), tid);
        }
        let redundant = self.window.at(data_end, REDUNDANT_LENGTH as usize)?;
        if number(redundant, 0) != length {
            let reason =
                format!("the length at the transaction's end is {}, not {length}", number(redundant, 0));
            return torn(reason, data_end, tid);
        }
        let end = data_end + REDUNDANT_LENGTH;
        let whole = |reason| Ok(Scanned::Bad(Bad { reason, whole: true, good_until: end, tid }));
        if !good_status {
            return whole(format!("the transaction's status is {:#04x}", head.status));
        }
        if tid <= last {
            return whole(format!("transaction {tid} comes after {last}"));
        }
        Ok(Scanned::Transaction(ScannedTransaction { head, position, end, checksum: chain.finish() }))
    }

    /// The transaction at `position`, which is known to be right. The checksum is not its running one.
    pub(crate) fn transaction(&mut self, position: u64) -> Result<ScannedTransaction, ReadError> {
        match self.step(position, Tid::ZERO, Checksum::ZERO)? {
            Scanned::Transaction(transaction) => Ok(transaction),
            Scanned::Bad(bad) => Err(ReadError::corrupt(position, bad.reason)),
            Scanned::End => {
                Err(ReadError::corrupt(position, "the log ends where a transaction should begin"))
            }
        }
    }

    /// One record at `at`: where the next one begins, or what is wrong and from where on.
    #[allow(clippy::type_complexity)]
    fn record(
        &mut self,
        transaction: &TransactionHead,
        transaction_position: u64,
        at: u64,
        data_end: u64,
        chain: &mut Chain,
    ) -> io::Result<Result<u64, (String, u64)>> {
        let file_end = self.window.end();
        let wrong = |what: &str| Ok(Err((format!("{what} in the record at {at}"), at)));
        let Some(head) = RecordHead::decode(self.window.at(at, RECORD_HEADER)?) else {
            return Ok(Err((format!("the record at {at} is cut off"), file_end)));
        };
        let oid = head.oid;
        if head.tid != transaction.tid {
            return wrong("another transaction's tid");
        }
        if head.transaction != transaction_position {
            return wrong("a wrong position of its transaction");
        }
        if head.version_length != 0 {
            return wrong("a version, which ZODB gave up");
        }
        if head.previous >= at {
            return wrong("a previous record that is not earlier");
        }
        if at.checked_add(head.length()).is_none_or(|end| end > data_end) {
            return wrong("a length that exceeds the transaction's");
        }
        let mut back = None;
        let mut position = at + RECORD_HEADER as u64;
        if head.data_length == 0 {
            let bytes = self.window.at(position, BACK_POINTER)?;
            if bytes.len() < BACK_POINTER {
                return Ok(Err((format!("the record at {at} is cut off"), file_end)));
            }
            let pointer = number(bytes, 0);
            back = Some(pointer);
            if pointer == 0 {
                chain.nothing(oid);
            } else if pointer >= at || pointer < LOG_START {
                return wrong("a back pointer to where no record can be");
            } else {
                match self.window.log().data_at(oid, pointer, ReadMode::MayBlock, &mut self.pointed) {
                    Ok(found) => chain.pointer(oid, found.then_some(&self.pointed)),
                    Err(ReadError::Io(error)) => return Err(error),
                    Err(_) => chain.broken_pointer(oid),
                }
            }
        } else {
            chain.data_follow(oid, head.data_length);
            let end = position + head.data_length;
            while position < end {
                let piece = self.window.some_at(position, end - position)?;
                if piece.is_empty() {
                    return Ok(Err((format!("the record at {at} is cut off"), file_end)));
                }
                chain.data(piece);
                position += piece.len() as u64;
            }
        }
        self.records.push(ScannedRecord { oid, position: at, previous: head.previous, back });
        Ok(Ok(at + head.length()))
    }
}
