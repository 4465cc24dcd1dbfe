use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crate::beside::Beside;
use crate::format::{LOG_START, REDUNDANT_LENGTH, TRANSACTION_HEADER, number};
use crate::history::{RecordHeads, Transactions};
use crate::log::{LogFile, check_earlier};
use crate::references::{ClassName, class_name};
use crate::scan::{Scanned, ScannedRecord, Scanner};
use crate::window::Window;
use crate::{Checksum, Oid, Progress, ReadError, ReadMode, Tid, TransactionHeader, tail};

/// Progress is told after so many bytes of the log.
const PROGRESS_BYTES: u64 = 16 << 20;
/// How much of the log is read at once while looking for an object's records.
const PIECE_BYTES: usize = 64 << 10;
/// The shortest transaction, with the redundant length behind it.
const SHORTEST: u64 = TRANSACTION_HEADER as u64 + REDUNDANT_LENGTH;

/// Which transactions of a log are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct DumpRange {
    /// None before this one.
    pub from: Option<Tid>,
    /// None after this one.
    pub to: Option<Tid>,
    /// Only those that have a record of this object, and only these records.
    pub oid: Option<Oid>,
    /// Of all these, so many of the last ones.
    pub last: Option<usize>,
}

/// The transactions and records of a log, as they lie in it. Changes nothing, and can run beside a server: it goes as
/// far as the log did when it began. Each transaction is checked before it is handed out, as
/// [`verify`](crate::verify()) does, except for what it says of other transactions.
///
/// Needs memory for the positions of one transaction's records, 40 bytes each.
pub struct Dump<'p> {
    log: Arc<LogFile>,
    size: u64,
    in_use: bool,
    range: DumpRange,
    progress: &'p dyn Progress,
    scanner: Scanner,
    position: u64,
    told: u64,
    last_tid: Tid,
    unfinished_bytes: u64,
}

/// A record, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedRecord {
    /// The object.
    pub oid: Oid,
    /// Where the record begins in the log.
    pub position: u64,
    /// Length of the object's state in bytes, also where the record only points back to it. `None`: a deletion, or the
    /// undoing of the object's creation.
    pub size: Option<u64>,
    /// The object's class as `module.name`. `None`: there is no state, or it does not say its class in a form that ZODB
    /// writes.
    pub class: Option<String>,
    /// The revision that the record points back to.
    pub data_tid: Option<Tid>,
}

impl DumpedRecord {
    /// Whether the object is a blob, by its class as in ZODB: its contents are a file of the blob directory.
    pub fn is_blob(&self) -> bool {
        self.class.as_deref() == Some("ZODB.blob.Blob")
    }
}

impl<'p> Dump<'p> {
    /// Opens a log, and finds where the wanted transactions begin: backwards from its end, where that can be found.
    ///
    /// # Errors
    /// The file is missing, is no FileStorage log, or cannot be read.
    pub fn open(path: &Path, range: DumpRange, progress: &'p dyn Progress) -> Result<Self, ReadError> {
        let Beside { log, size, in_use } = Beside::open(path)?;
        let search = Search { log: &log, size, range, progress };
        let position = search.start()?;
        let scanner = Scanner::new(Arc::clone(&log), size);
        Ok(Self {
            log,
            size,
            in_use,
            range,
            progress,
            scanner,
            position,
            told: position,
            last_tid: Tid::ZERO,
            unfinished_bytes: 0,
        })
    }

    /// The next of the wanted transactions, in the order of the log; [`Dump::records`] are its records.
    ///
    /// # Errors
    /// The log is damaged, or cannot be read: nothing can be said of what follows.
    pub fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, ReadError> {
        loop {
            self.tell();
            let transaction = match self.scanner.step(self.position, self.last_tid, Checksum::ZERO)? {
                Scanned::Transaction(transaction) => transaction,
                Scanned::End => return Ok(None),
                Scanned::Bad(bad) => {
                    let damage = tail::damage(&self.log, self.position, self.size, self.last_tid, &bad)?;
                    if damage.is_some() {
                        return Err(ReadError::corrupt(self.position, bad.reason));
                    }
                    self.unfinished_bytes = self.size - self.position;
                    return Ok(None);
                }
            };
            let tid = transaction.head.tid;
            if self.range.to.is_some_and(|to| tid > to) {
                return Ok(None);
            }
            (self.position, self.last_tid) = (transaction.end, tid);
            let has_object = self.range.oid.is_none() || self.wanted_records().next().is_some();
            if self.range.is_wanted(tid) && has_object {
                return self.log.transaction_header(transaction.position).map(Some);
            }
        }
    }

    /// The wanted records of the transaction that was returned last.
    pub fn records(&self) -> impl Iterator<Item = Result<DumpedRecord, ReadError>> + '_ {
        let mut buffer = Vec::new();
        self.wanted_records().map(move |record| self.record(record, &mut buffer))
    }

    /// What lies behind the last transaction and looks like an unfinished append, in bytes: of a crash, or of a server
    /// that is running. Known when there are no more transactions.
    pub fn unfinished_bytes(&self) -> u64 {
        self.unfinished_bytes
    }

    /// Whether a server had the log open.
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    fn tell(&mut self) {
        if self.position - self.told >= PROGRESS_BYTES {
            self.told = self.position;
            self.progress.indexing(self.position, self.size);
        }
    }

    fn wanted_records(&self) -> impl Iterator<Item = &ScannedRecord> {
        self.scanner.records().iter().filter(|record| self.range.oid.is_none_or(|oid| record.oid == oid))
    }

    fn record(&self, record: &ScannedRecord, buffer: &mut Vec<u8>) -> Result<DumpedRecord, ReadError> {
        let ScannedRecord { oid, position, back, .. } = *record;
        let data_tid = match back {
            None | Some(0) => None,
            Some(back) => Some(self.log.record_head(oid, back, ReadMode::MayBlock)?.tid),
        };
        let (size, class) = self.state(oid, position, buffer)?;
        Ok(DumpedRecord { oid, position, size, class, data_tid })
    }

    /// Size and class of the state to which a record leads.
    fn state(
        &self,
        oid: Oid,
        mut position: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(Option<u64>, Option<String>), ReadError> {
        while position != 0 {
            let head = self.log.record(oid, position, ReadMode::MayBlock, buffer)?;
            if head.data_length == 0 {
                self.log.complete(&head, position, ReadMode::MayBlock, buffer)?;
                let back = number(buffer, 0);
                check_earlier("back pointer", back, position)?;
                position = back;
                continue;
            }
            buffer.truncate(usize::try_from(head.data_length).unwrap_or(usize::MAX));
            let mut class = class_name(buffer);
            if class == ClassName::CutOff && (buffer.len() as u64) < head.data_length {
                self.log.complete(&head, position, ReadMode::MayBlock, buffer)?;
                class = class_name(buffer);
            }
            let class = match class {
                ClassName::Known(name) => Some(name),
                ClassName::Unknown | ClassName::CutOff => None,
            };
            return Ok((Some(head.data_length), class));
        }
        Ok((None, None))
    }
}

impl DumpRange {
    fn is_wanted(&self, tid: Tid) -> bool {
        self.from.is_none_or(|from| tid >= from) && self.to.is_none_or(|to| tid <= to)
    }
}

/// Where the wanted transactions begin.
struct Search<'a> {
    log: &'a Arc<LogFile>,
    size: u64,
    range: DumpRange,
    progress: &'a dyn Progress,
}

impl Search<'_> {
    fn start(&self) -> Result<u64, ReadError> {
        match self.range {
            DumpRange { from: None, last: None, .. } => Ok(LOG_START),
            DumpRange { last: Some(0), .. } => Ok(self.size),
            _ => match self.backwards() {
                // The log ends in an unfinished append, or is damaged there.
                Err(ReadError::Corrupt { .. }) => self.forwards(),
                found => found,
            },
        }
    }

    fn backwards(&self) -> Result<u64, ReadError> {
        let (mut position, mut later, mut found) = (self.size, Tid::MAX, 0);
        let mut told = position;
        while position > LOG_START {
            if position < LOG_START + SHORTEST {
                return Err(ReadError::corrupt(position, "no transaction can end here"));
            }
            let start = self.log.start_of_transaction_before(position)?;
            let header = self.log.transaction_header(start)?;
            if header.length != position - REDUNDANT_LENGTH - start || header.tid >= later {
                return Err(ReadError::corrupt(start, "no transaction begins here"));
            }
            if self.range.from.is_some_and(|from| header.tid < from) {
                break;
            }
            if self.range.is_wanted(header.tid) && self.has_object(&header)? {
                found += 1;
                if self.range.last == Some(found) {
                    return Ok(start);
                }
            }
            (position, later) = (start, header.tid);
            if told - position >= PROGRESS_BYTES {
                told = position;
                self.progress.indexing(self.size - position, self.size);
            }
        }
        Ok(position)
    }

    /// As far as the log makes sense.
    fn forwards(&self) -> Result<u64, ReadError> {
        let transactions = Transactions::new(Arc::clone(self.log), LOG_START, self.size, self.range.to);
        let last = self.range.last.unwrap_or(usize::MAX);
        let mut starts = VecDeque::new();
        let (mut end, mut told) = (LOG_START, LOG_START);
        for header in transactions {
            let header = match header {
                Err(ReadError::Corrupt { .. }) => break,
                header => header?,
            };
            end = header.position + header.length + REDUNDANT_LENGTH;
            if self.range.is_wanted(header.tid) && self.has_object(&header)? {
                if self.range.last.is_none() {
                    return Ok(header.position);
                }
                if starts.len() == last {
                    starts.pop_front();
                }
                starts.push_back(header.position);
            }
            if end - told >= PROGRESS_BYTES {
                told = end;
                self.progress.indexing(end, self.size);
            }
        }
        Ok(starts.front().copied().unwrap_or(end))
    }

    /// Whether the transaction has a record of the wanted object, if there is one.
    fn has_object(&self, header: &TransactionHeader) -> Result<bool, ReadError> {
        let Some(oid) = self.range.oid else { return Ok(true) };
        let end = header.position + header.length;
        let mut window = Window::new(Arc::clone(self.log), PIECE_BYTES, end);
        let mut heads = RecordHeads::new(header);
        while let Some((_, head)) = heads.next(&mut window)? {
            if head.oid == oid {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
