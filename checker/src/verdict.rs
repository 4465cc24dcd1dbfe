use std::fmt;

/// What the histories show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What no honest storage does; empty if it may have been one.
    pub faults: Vec<Fault>,
    /// How much there was to be judged.
    pub counts: Counts,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions in the surviving log.
    pub transactions: usize,
    /// Transactions that clients were told are committed.
    pub acknowledged: usize,
    /// Of those, the ones that are reported lost.
    pub acknowledged_lost: usize,
    /// Transactions whose clients do not know, and which are there.
    pub unknown_there: usize,
    /// Transactions whose clients do not know, and which are not there.
    pub unknown_gone: usize,
    /// Values that were read.
    pub reads: usize,
    /// Invalidations that clients were told of.
    pub invalidations: usize,
}

/// Something that no honest storage does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which kind.
    pub kind: Kind,
    /// In words.
    pub what: String,
    /// The operations that show it.
    pub places: Vec<Place>,
}

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The client.
    pub client: String,
    /// The number of the entry in its history, from 1: the line of its file.
    pub line: usize,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The records themselves contradict each other: an outcome of nothing, a value written twice. They prove nothing.
    Malformed,
    /// The surviving log is not in the order of tids.
    LogOrder,
    /// One tid stands for two transactions.
    IssuedTwice,
    /// A client was told of a lower tid after a higher one.
    TidsFall,
    /// What began after the answer to another transaction has a lower tid than that.
    TimeOrder,
    /// Acknowledged, and neither there nor reported lost.
    Missing,
    /// There, and not as it was written.
    Altered,
    /// Refused, and yet there.
    RefusedYetThere,
    /// There, and nobody wrote it.
    NobodyWrote,
    /// It is based on a revision that was not the current one.
    LostUpdate,
    /// A client looks from a transaction that is neither there nor reported lost.
    UnknownMoment,
    /// A client looks from an earlier moment than one that it has seen.
    GoesBack,
    /// What was read is not what the moment has.
    NotCurrent,
    /// What was read was lost, and the client had been told of what came instead.
    Stale,
    /// What was read has another value than was written.
    WrongValue,
    /// Invalidations do not come in the order of tids.
    InvalidationOrder,
    /// An invalidation lacks an object that the transaction has written.
    InvalidationIncomplete,
    /// A client was not told of a transaction, and then of a later one, or saw it.
    InvalidationSkipped,
}

impl Verdict {
    /// Whether it may have been an honest storage.
    pub fn is_honest(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether a fault of this kind was found.
    pub fn names(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind)
    }

    pub(crate) fn add(&mut self, kind: Kind, places: impl IntoIterator<Item = Place>, what: String) {
        self.faults.push(Fault { kind, what, places: places.into_iter().collect() });
    }
}

/// Faults that are written out.
const SHOWN: usize = 20;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            transactions, acknowledged, acknowledged_lost, unknown_there, unknown_gone, reads, ..
        } = self.counts;
        let unknown = unknown_there + unknown_gone;
        write!(
            f,
            "{transactions} transactions, {acknowledged} acknowledged, {acknowledged_lost} of them lost, \
             {unknown} unknown, {unknown_there} of them there, {reads} values read, {} invalidations; ",
            self.counts.invalidations
        )?;
        match self.faults.len() {
            0 => write!(f, "no fault"),
            faults => {
                write!(f, "{faults} faults")?;
                self.faults.iter().take(SHOWN).try_for_each(|fault| write!(f, "\n{fault}"))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)?;
        for (number, place) in self.places.iter().enumerate() {
            let before = if number == 0 { " (" } else { ", " };
            write!(f, "{before}{} line {}", place.client, place.line)?;
        }
        if self.places.is_empty() { Ok(()) } else { write!(f, ")") }
    }
}
