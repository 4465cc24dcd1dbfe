use std::collections::BTreeMap;
use std::sync::Arc;

use super::LostTransaction;
use crate::index::Mark;
use crate::log::LogFile;
use crate::scan::{Scanned, Scanner};
use crate::{ReadError, Tid};

/// What lies behind the fork.
pub(super) struct Survey {
    pub(super) transactions: Vec<LostTransaction>,
    /// For each object that was written: the position of its current record at the fork, 0 for none.
    pub(super) previous: BTreeMap<u64, u64>,
    /// A transaction that was packed, whose records need not say what was before them.
    pub(super) packed: Option<Tid>,
}

/// Looks at everything from `fork` on up to `end`, believing nothing.
pub(super) fn survey(log: &Arc<LogFile>, fork: Mark, end: u64) -> Result<Survey, ReadError> {
    let mut scanner = Scanner::new(Arc::clone(log), end);
    let mut survey = Survey { transactions: Vec::new(), previous: BTreeMap::new(), packed: None };
    let (mut position, mut last, mut checksum) = (fork.end, fork.last_tid, fork.checksum);
    loop {
        let found = match scanner.step(position, last, checksum)? {
            Scanned::End => return Ok(survey),
            Scanned::Bad(bad) => return Err(ReadError::corrupt(position, bad.reason)),
            Scanned::Transaction(found) => found,
        };
        let tid = found.head.tid;
        if found.head.status == b'p' {
            survey.packed.get_or_insert(tid);
        }
        for record in scanner.records() {
            let first = !survey.previous.contains_key(&record.oid.get());
            if first && record.previous >= fork.end {
                let reason = format!("the record's previous one, at {}, is not known", record.previous);
                return Err(ReadError::corrupt(record.position, reason));
            }
            survey.previous.entry(record.oid.get()).or_insert(record.previous);
        }
        let mut oids: Vec<_> = scanner.records().iter().map(|record| record.oid).collect();
        oids.sort_unstable();
        oids.dedup();
        let header = log.transaction_header(position)?;
        let (user, description) = (header.user, header.description);
        survey.transactions.push(LostTransaction { tid, user, description, oids });
        (position, last, checksum) = (found.end, tid, found.checksum);
    }
}
