//! Which records of the log stay.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::PackError;
use crate::format::LOG_START;
use crate::inner::Generation;
use crate::recent::Mix;
use crate::references::references;
use crate::scan::{Scanned, Scanner};
use crate::{Checksum, Oid, Progress, ReadError, ReadMode, Tid};

type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// What a pack keeps of the transactions before a position; everything behind it stays.
pub(super) struct Plan {
    /// The first transaction after the pack time.
    pub(super) position: u64,
    /// The record of each object that stays.
    current: Map<u64>,
    /// Further records that stay because later ones point back to them.
    pointed_to: HashSet<u64, BuildHasherDefault<Mix>>,
}

impl Plan {
    /// Reads the log. `None`: there is nothing to pack.
    pub(super) fn make(
        log: &Generation,
        until: Tid,
        gc: bool,
        progress: &dyn Progress,
    ) -> Result<Option<Self>, PackError> {
        let end = log.mark().end;
        let Some((position, current)) = current_at(log, until, end, progress)? else { return Ok(None) };
        let mut plan = Self { position, current, pointed_to: HashSet::default() };
        if gc {
            let all = std::mem::take(&mut plan.current);
            let mut reach =
                Reach { log, all: &all, reached: &mut plan.current, buffer: Vec::new(), refs: Vec::new() };
            reach.from(vec![Oid::ROOT])?;
            let mut further = Vec::new();
            for (oid, back) in later_pointers(log, position, end)? {
                match reach.reached.get(&oid.get()) {
                    None => {
                        reach.reached.insert(oid.get(), back);
                    }
                    Some(known) if *known == back => {}
                    Some(_) => {
                        if plan.pointed_to.insert(back) {
                            further.push((oid, back));
                        }
                    }
                }
            }
            for (oid, back) in further {
                reach.refer(oid, back)?;
                let refs = std::mem::take(&mut reach.refs);
                reach.from(refs)?;
            }
        } else {
            for (oid, back) in later_pointers(log, position, end)? {
                if plan.current.get(&oid.get()) != Some(&back) {
                    plan.pointed_to.insert(back);
                }
            }
        }
        Ok(Some(plan))
    }

    /// Whether the object's record at a position before the pack time stays.
    pub(super) fn keeps(&self, oid: Oid, position: u64) -> bool {
        self.current.get(&oid.get()) == Some(&position) || self.pointed_to.contains(&position)
    }

    /// The record of the object that stays, if one does.
    pub(super) fn kept(&self, oid: Oid) -> Option<u64> {
        self.current.get(&oid.get()).copied()
    }
}

/// Where the transactions after the pack time begin, and the record of each object that was there at the pack time.
/// `None`: no transaction before that, or all of them packed already.
fn current_at(
    log: &Generation,
    until: Tid,
    end: u64,
    progress: &dyn Progress,
) -> Result<Option<(u64, Map<u64>)>, PackError> {
    let mut scanner = Scanner::new(Arc::clone(&log.log), end);
    let mut current: Map<u64> = HashMap::default();
    let mut position = LOG_START;
    let mut last = Tid::ZERO;
    let mut unpacked = false;
    let mut told = 0;
    while position < end {
        let found = match scanner.step(position, last, Checksum::ZERO).map_err(ReadError::from)? {
            Scanned::Transaction(found) => found,
            Scanned::End => break,
            Scanned::Bad(bad) => return Err(ReadError::corrupt(position, bad.reason).into()),
        };
        if found.head.tid > until {
            break;
        }
        unpacked |= found.head.status != b'p';
        for record in scanner.records() {
            if record.back == Some(0) {
                current.remove(&record.oid.get());
            } else {
                current.insert(record.oid.get(), record.position);
            }
        }
        last = found.head.tid;
        position = found.end;
        if position - told > 64 << 20 {
            told = position;
            progress.packing(position, end);
        }
    }
    Ok(unpacked.then_some((position, current)))
}

/// The pointers of records behind `position` to records before it.
fn later_pointers(log: &Generation, position: u64, end: u64) -> Result<Vec<(Oid, u64)>, PackError> {
    let mut scanner = Scanner::new(Arc::clone(&log.log), end);
    let mut pointers = Vec::new();
    let mut next = position;
    while next < end {
        next = scanner.transaction(next)?.end;
        let records = scanner.records().iter();
        pointers.extend(records.filter_map(|record| {
            record.back.filter(|back| *back != 0 && *back < position).map(|back| (record.oid, back))
        }));
    }
    Ok(pointers)
}

/// The walk along references, as of the pack time.
struct Reach<'a> {
    log: &'a Generation,
    all: &'a Map<u64>,
    reached: &'a mut Map<u64>,
    buffer: Vec<u8>,
    refs: Vec<Oid>,
}

impl Reach<'_> {
    fn from(&mut self, mut todo: Vec<Oid>) -> Result<(), PackError> {
        while let Some(oid) = todo.pop() {
            if self.reached.contains_key(&oid.get()) {
                continue;
            }
            let Some(&position) = self.all.get(&oid.get()) else {
                if oid == Oid::ROOT && self.all.is_empty() {
                    continue; // a pack to before everything
                }
                return Err(PackError::Missing(oid));
            };
            self.reached.insert(oid.get(), position);
            self.refer(oid, position)?;
            todo.extend(self.refs.iter().filter(|oid| !self.reached.contains_key(&oid.get())));
        }
        Ok(())
    }

    /// Finds what the record at a position refers to.
    fn refer(&mut self, oid: Oid, position: u64) -> Result<(), PackError> {
        self.refs.clear();
        if self.log.log.data_at(oid, position, ReadMode::MayBlock, &mut self.buffer)? {
            references(&self.buffer, &mut self.refs).map_err(|error| PackError::References {
                oid,
                position,
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }
}
