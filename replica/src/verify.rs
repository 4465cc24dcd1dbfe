use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::path::Path;
use std::sync::Arc;

use crate::anchor::Anchor;
use crate::beside::Beside;
use crate::format::{LOG_START, REDUNDANT_LENGTH, TRANSACTION_HEADER, TransactionHead};
use crate::index::{IndexView, Mark};
use crate::log::LogFile;
use crate::recent::Mix;
use crate::scan::{Bad, Scanned, ScannedRecord, ScannedTransaction, Scanner};
use crate::world;
use crate::{Checksum, Progress, ReadError, ReadMode, Tid, tail};

/// Progress is told after so many bytes of the log.
const PROGRESS_BYTES: u64 = 64 << 20;
/// More problems than this are not listed.
const PROBLEMS_MAX: usize = 10_000;

/// What [`verify`] found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// How many transactions there are.
    pub transactions: u64,
    /// How many records.
    pub records: u64,
    /// How many different oids.
    pub objects: u64,
    /// The last transaction.
    pub last_tid: Tid,
    /// The running checksum at it, computed from the log. Of no meaning when there is damage.
    pub checksum: Checksum,
    /// How much of the log was read and understood, in bytes.
    pub verified_bytes: u64,
    /// What lies behind that and looks like an unfinished append: of a crash, or of a server that is running.
    pub unfinished_bytes: u64,
    /// How the index compares.
    pub index: IndexComparison,
    /// Everything that is wrong; the first 10,000.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the log; for the index, the position that it names.
    pub position: u64,
    /// What.
    pub what: String,
}

/// How the index compares with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexComparison {
    /// Every entry was compared, up to this transaction. What differs is among the problems.
    Compared {
        /// The last transaction that the index covers.
        up_to: Tid,
    },
    /// It was not looked at: there is none, a running server has it, or a crash left it to be repaired.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// Reads the whole log, believing nothing, and checks every length and pointer in it; then compares the index with
/// it. Changes nothing, and can run beside a server: it goes as far as the log did when it began.
///
/// Needs about 40 bytes of memory for each object.
pub fn verify(path: &Path, progress: &dyn Progress) -> Result<VerifyReport, ReadError> {
    let Beside { log, size, in_use } = Beside::open(path)?;
    let index = crate::open::index_path(path);
    let (view, skipped) = match IndexView::open(&index) {
        Err(_) if !world::exists(&index) => (None, "there is none".to_owned()),
        Ok(view) => (Some(view), String::new()),
        Err(error) => (None, error.to_string()),
    };
    let anchor = Anchor::read(&crate::open::anchor_path(path))?;
    let mut verifier = Verifier {
        anchor,
        log,
        size,
        view,
        covered: None,
        positions: HashMap::default(),
        report: VerifyReport {
            transactions: 0,
            records: 0,
            objects: 0,
            last_tid: Tid::ZERO,
            checksum: Mark::start(anchor.as_ref()).checksum,
            verified_bytes: size.min(LOG_START),
            unfinished_bytes: 0,
            index: IndexComparison::Skipped { reason: skipped },
            problems: Vec::new(),
        },
    };
    verifier.begin_index()?;
    verifier.run(progress, in_use)?;
    Ok(verifier.report)
}

struct Verifier {
    anchor: Option<Anchor>,
    log: Arc<LogFile>,
    size: u64,
    view: Option<IndexView>,
    /// What the index covers and has not been compared yet.
    covered: Option<Mark>,
    /// The latest record of each object.
    positions: HashMap<u64, u64, BuildHasherDefault<Mix>>,
    report: VerifyReport,
}

impl Verifier {
    fn run(&mut self, progress: &dyn Progress, in_use: bool) -> Result<(), ReadError> {
        let mut scanner = Scanner::new(Arc::clone(&self.log), self.size);
        let mut position = LOG_START;
        let mut told = 0;
        self.compare_index_at(position)?;
        loop {
            let (last, before) = (self.report.last_tid, self.report.checksum);
            match scanner.step(position, last, before)? {
                Scanned::End => break,
                Scanned::Transaction(transaction) => {
                    self.transaction(&transaction, scanner.records())?;
                    position = transaction.end;
                }
                Scanned::Bad(bad) => match self.bad(position, &bad, in_use)? {
                    Some(next) => position = next,
                    None => break,
                },
            }
            self.report.verified_bytes = position;
            self.compare_index_at(position)?;
            if position - told >= PROGRESS_BYTES {
                told = position;
                progress.indexing(position, self.size);
            }
        }
        self.report.objects = self.positions.len() as u64;
        if let Some(mark) = self.covered.take() {
            let reason = format!("no transaction ends at {}, where the index does", mark.end);
            self.problem(mark.end, reason);
        }
        progress.indexing(self.size, self.size);
        Ok(())
    }

    fn problem(&mut self, position: u64, what: String) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem { position, what });
        }
    }

    /// Notes damage. Returns where to go on, if that can be told.
    fn bad(&mut self, position: u64, bad: &Bad, in_use: bool) -> Result<Option<u64>, ReadError> {
        if tail::damage(&self.log, position, self.size, self.report.last_tid, bad)?.is_none() {
            self.report.unfinished_bytes = self.size - position;
            if !in_use {
                self.problem(position, format!("an unfinished append: {}", bad.reason));
            }
            return Ok(None);
        }
        self.problem(position, bad.reason.clone());
        // Its lengths may be right, whatever else is not.
        let mut bytes = [0; TRANSACTION_HEADER];
        self.log.read_fully(&mut bytes, position)?;
        let head = TransactionHead::decode(&bytes).expect("a whole header");
        let end = position.checked_add(head.length).and_then(|end| end.checked_add(REDUNDANT_LENGTH));
        match end.filter(|end| *end <= self.size) {
            Some(end) if self.log.start_of_transaction_before(end).is_ok_and(|start| start == position) => {
                self.report.last_tid = self.report.last_tid.max(head.tid);
                Ok(Some(end))
            }
            _ => {
                self.problem(position, format!("the last {} bytes were not looked at", self.size - position));
                Ok(None)
            }
        }
    }

    fn transaction(
        &mut self,
        transaction: &ScannedTransaction,
        records: &[ScannedRecord],
    ) -> Result<(), ReadError> {
        let tid = transaction.head.tid;
        for record in records {
            // A pack by ZODB does not link the older revisions that it keeps.
            let unlinked = record.previous == 0 && transaction.head.status == b'p';
            let known = self.positions.get(&record.oid.get()).copied().unwrap_or(0);
            if record.previous != known && !unlinked {
                let what = format!(
                    "{}'s previous record is said to be at {}, and is at {known}",
                    record.oid, record.previous
                );
                self.problem(record.position, what);
            }
            if let Some(back) = record.back.filter(|back| *back != 0) {
                self.back_pointer(record, back, tid)?;
            }
        }
        for record in records {
            self.positions.insert(record.oid.get(), record.position);
        }
        self.report.transactions += 1;
        self.report.records += records.len() as u64;
        self.report.last_tid = tid;
        self.report.checksum = Anchor::settle(self.anchor.as_ref(), transaction.end, transaction.checksum);
        if self.covered.is_none_or(|mark| transaction.end > mark.end) {
            return Ok(());
        }
        let Some(view) = &self.view else { return Ok(()) };
        let entry = view.transaction(tid)?;
        if entry.is_none_or(|entry| entry.position != transaction.position) {
            self.problem(
                transaction.position,
                format!("the index has transaction {tid} elsewhere or not at all"),
            );
        } else if entry.is_some_and(|entry| entry.checksum != self.report.checksum) {
            self.problem(
                transaction.position,
                format!("the running checksum at transaction {tid} is not the index's"),
            );
        }
        Ok(())
    }

    fn back_pointer(&mut self, record: &ScannedRecord, back: u64, tid: Tid) -> Result<(), ReadError> {
        let leads_to = match self.log.record_head(record.oid, back, ReadMode::MayBlock) {
            Ok(head) if head.tid < tid => self.log.transaction_head(head.transaction).map(|of| (head, of)),
            Ok(_) => Err(ReadError::corrupt(back, "it is not of an earlier transaction")),
            Err(error) => Err(error),
        };
        match leads_to {
            Ok((head, of)) if head.tid == of.tid => Ok(()),
            Ok(_) => {
                self.problem(record.position, format!("the back pointer to {back} leads to no record"));
                Ok(())
            }
            Err(ReadError::Corrupt { reason, .. }) => {
                self.problem(record.position, format!("the back pointer to {back} is wrong: {reason}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn begin_index(&mut self) -> Result<(), ReadError> {
        let Some(view) = &self.view else { return Ok(()) };
        let covered = view.mark()?;
        let skipped = match covered {
            None => Some("it is empty or of another format".to_owned()),
            Some(mark) if mark.end > self.size => {
                let what = format!("the index covers {} bytes, the log has {}", mark.end, self.size);
                self.problem(self.size, what.clone());
                Some(what)
            }
            Some(_) => None,
        };
        match skipped {
            Some(reason) => {
                self.view = None;
                self.report.index = IndexComparison::Skipped { reason };
            }
            None => self.covered = covered,
        }
        Ok(())
    }

    /// Compares the positions, when this is where the index ends.
    fn compare_index_at(&mut self, position: u64) -> Result<(), ReadError> {
        let Some(mark) = self.covered.filter(|mark| mark.end == position) else { return Ok(()) };
        let Some(view) = self.view.take() else { return Ok(()) };
        self.covered = None;
        let mut wrong: Vec<Problem> = Vec::new();
        let mut found = 0;
        view.each_object(|oid, at| match self.positions.get(&oid.get()) {
            Some(known) if *known == at => found += 1,
            known => {
                found += u64::from(known.is_some());
                let what = match known {
                    Some(known) => format!("the index has {oid} at {at}, and it is at {known}"),
                    None => format!("the index has {oid} at {at}, and the log does not have it"),
                };
                wrong.push(Problem { position: at, what });
            }
        })?;
        for problem in wrong {
            self.problem(problem.position, problem.what);
        }
        let objects = self.positions.len() as u64;
        if found != objects {
            self.problem(position, format!("the index lacks {} of {objects} objects", objects - found));
        }
        let transactions = view.transactions()?;
        if transactions != self.report.transactions {
            let what =
                format!("the index has {transactions} transactions, the log {}", self.report.transactions);
            self.problem(position, what);
        }
        if (mark.last_tid, mark.checksum) != (self.report.last_tid, self.report.checksum) {
            let what = format!("the index ends with {} and checksum {}", mark.last_tid, mark.checksum);
            self.problem(position, what);
        }
        self.report.index = IndexComparison::Compared { up_to: mark.last_tid };
        Ok(())
    }
}
