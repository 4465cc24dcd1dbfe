use std::collections::{BTreeMap, HashMap};

use zodb_types::{Oid, Tid};

use crate::{Kind, Stored, Transaction, Verdict};

/// What there is in the end, and what there was: the surviving log, and the ends of other copies that are reported lost.
pub(crate) struct World<'a> {
    there: Branch<'a>,
    lost: Vec<Branch<'a>>,
    /// In which of those a lost transaction is. Where it is in several, they are the same up to it.
    branch_of: HashMap<Tid, usize>,
}

/// Transactions by tid, and their revisions by object.
#[derive(Default)]
struct Branch<'a> {
    /// What its first transaction follows.
    parent: Option<Tid>,
    transactions: BTreeMap<Tid, &'a [Stored]>,
    revisions: HashMap<Oid, BTreeMap<Tid, Option<&'a str>>>,
}

/// A revision of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revision<'a> {
    pub(crate) serial: Tid,
    pub(crate) value: Option<&'a str>,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    There(&'a [Stored]),
    Lost(&'a [Stored]),
    Nowhere,
}

impl<'a> Branch<'a> {
    fn add(&mut self, transaction: &'a Transaction) {
        self.transactions.insert(transaction.tid, &transaction.writes);
        for write in &transaction.writes {
            let revisions = self.revisions.entry(write.oid).or_default();
            revisions.insert(transaction.tid, write.value.as_deref());
        }
    }

    fn last_before(&self, oid: Oid, before: Tid) -> Option<Revision<'a>> {
        let (serial, value) = self.revisions.get(&oid)?.range(..before).next_back()?;
        Some(Revision { serial: *serial, value: *value })
    }
}

impl<'a> World<'a> {
    /// Takes note of all, and of what is wrong with them in themselves. A transaction may be reported lost by several
    /// nodes.
    pub(crate) fn new(log: &'a [Transaction], lost: &'a [Vec<Transaction>], verdict: &mut Verdict) -> Self {
        let mut world = Self { there: Branch::default(), lost: Vec::new(), branch_of: HashMap::new() };
        let mut last: Option<Tid> = None;
        for transaction in log {
            let tid = transaction.tid;
            if let Some(last) = last.filter(|last| *last >= tid) {
                verdict.add(Kind::LogOrder, [], format!("{tid} follows {last} in the log"));
            }
            last = Some(tid);
            world.there.add(transaction);
        }
        for (number, lost) in lost.iter().enumerate() {
            let mut branch = Branch::default();
            for transaction in lost {
                let tid = transaction.tid;
                if world.there.transactions.contains_key(&tid) {
                    verdict.add(Kind::IssuedTwice, [], format!("{tid} is reported lost, and is there"));
                    continue;
                }
                match world.fate(tid) {
                    Fate::Lost(writes) if *writes != *transaction.writes => {
                        verdict.add(
                            Kind::IssuedTwice,
                            [],
                            format!("{tid} is reported lost with two contents"),
                        );
                    }
                    Fate::Lost(_) => branch.add(transaction),
                    _ => {
                        branch.add(transaction);
                        world.branch_of.insert(tid, number);
                    }
                }
            }
            world.lost.push(branch);
        }
        let all: Vec<&Transaction> = log.iter().chain(lost.iter().flatten()).collect();
        for number in 0..world.lost.len() {
            let first = world.lost[number].transactions.keys().next().copied();
            world.lost[number].parent = first.and_then(|first| world.parent(first, &all));
        }
        world
    }

    /// What the first transaction of a lost branch follows: what it says itself; else where the primary forked off that
    /// took its place; else what there is before it in the log.
    fn parent(&self, first: Tid, all: &[&Transaction]) -> Option<Tid> {
        let own = all.iter().find(|one| one.tid == first && one.follows.is_some());
        let instead = || {
            let displaces = |one: &&&Transaction| one.tid > first && one.follows.is_some_and(|it| it < first);
            all.iter().filter(displaces).min_by_key(|one| one.tid)
        };
        let told = own.or_else(instead).and_then(|one| one.follows).filter(|parent| *parent < first);
        told.or_else(|| self.there.transactions.range(..first).next_back().map(|(tid, _)| *tid))
    }

    pub(crate) fn fate(&self, tid: Tid) -> Fate<'a> {
        if let Some(writes) = self.there.transactions.get(&tid) {
            return Fate::There(writes);
        }
        // The branch that is being read in is not among them yet.
        let lost = self.branch(tid).and_then(|branch| branch.transactions.get(&tid));
        lost.map_or(Fate::Nowhere, |writes| Fate::Lost(writes))
    }

    fn branch(&self, lost: Tid) -> Option<&Branch<'a>> {
        self.lost.get(*self.branch_of.get(&lost)?)
    }

    /// The transactions of the log after one and up to another.
    pub(crate) fn between(&self, after: Tid, up_to: Tid) -> impl Iterator<Item = (Tid, &'a [Stored])> {
        let range = if after < up_to { after.next()..up_to.next() } else { Tid::ZERO..Tid::ZERO };
        self.there.transactions.range(range).map(|(tid, writes)| (*tid, *writes))
    }

    /// Every transaction that is there or was.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Tid, &'a [Stored])> {
        let lost = self.branch_of.keys().filter_map(|tid| match self.fate(*tid) {
            Fate::Lost(writes) => Some((*tid, writes)),
            _ => None,
        });
        self.there.transactions.iter().map(|(tid, writes)| (*tid, *writes)).chain(lost)
    }

    /// Which transaction has written this value to an object.
    pub(crate) fn writer(&self, oid: Oid, value: &str) -> Option<Tid> {
        let of = |branch: &Branch<'a>| {
            let mut revisions = branch.revisions.get(&oid)?.iter();
            revisions.find(|(_, written)| **written == Some(value)).map(|(tid, _)| *tid)
        };
        of(&self.there).or_else(|| self.lost.iter().find_map(of))
    }

    /// The revision of an object that is seen by one who has seen this transaction last.
    pub(crate) fn seen_from(&self, last: Tid, oid: Oid) -> Option<Revision<'a>> {
        self.before_in_the_history_of(last, last.next(), oid)
    }

    /// The revision that a transaction had before it.
    pub(crate) fn before(&self, tid: Tid, oid: Oid) -> Option<Revision<'a>> {
        self.before_in_the_history_of(tid, tid, oid)
    }

    /// For a lost transaction its history is its branch, and the history of what that follows.
    fn before_in_the_history_of(&self, tid: Tid, before: Tid, oid: Oid) -> Option<Revision<'a>> {
        let (mut tid, mut before) = (tid, before);
        loop {
            let is_there = self.there.transactions.contains_key(&tid);
            let Some(branch) = self.branch(tid).filter(|_| !is_there) else {
                return self.there.last_before(oid, before);
            };
            if let Some(found) = branch.last_before(oid, before) {
                return Some(found);
            }
            tid = branch.parent?; // lower than all in the branch: this comes to an end
            before = tid.next();
        }
    }
}
