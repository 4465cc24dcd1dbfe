//! Whether what clients have read fits together, and is there.

use zodb_types::{Oid, Tid};

use crate::history::{Entry, Operation, Outcome};
use crate::world::{Fate, Revision, World};
use crate::{History, Kind, Place, Verdict};

/// One client, as far as its history was read.
struct Reader<'a> {
    history: &'a History,
    /// From which transaction it looks.
    moment: Option<(Tid, Place)>,
    /// The highest transaction that it has committed or looked from.
    highest: Tid,
    /// The last transaction that a server told it of when it connected.
    confirmed: Tid,
}

pub(crate) fn judge(histories: &[History], world: &World<'_>, verdict: &mut Verdict) {
    for history in histories {
        let (moment, highest, confirmed) = (None, Tid::ZERO, Tid::ZERO);
        let mut reader = Reader { history, moment, highest, confirmed };
        for (entry, line) in history.entries.iter().zip(1..) {
            reader.step(entry, line, world, verdict);
        }
    }
}

impl Reader<'_> {
    fn step(&mut self, entry: &Entry, line: usize, world: &World<'_>, verdict: &mut Verdict) {
        let place = Place { client: self.history.client.clone(), line };
        match &entry.operation {
            Operation::Begin { start } => self.begins(*start, place, world, verdict),
            Operation::Read { oid, serial, value } => {
                verdict.counts.reads += 1;
                let found = serial.map(|serial| Revision { serial, value: value.as_deref() });
                self.reads(*oid, found, place, world, verdict);
            }
            Operation::Reconnected { tid } => self.confirmed = self.confirmed.max(*tid),
            Operation::Outcome(Outcome::Committed(tid)) => self.highest = self.highest.max(*tid),
            Operation::Outcome(_) | Operation::Commit { .. } | Operation::Invalidated { .. } => {}
        }
    }

    fn begins(&mut self, start: Tid, place: Place, world: &World<'_>, verdict: &mut Verdict) {
        let last = Tid::new(start.get().saturating_sub(1));
        if last != Tid::ZERO && world.fate(last) == Fate::Nowhere {
            let what = format!("it looks from {last}, which is neither there nor reported lost");
            verdict.add(Kind::UnknownMoment, [place.clone()], what);
        }
        let seen = self.highest.max(self.confirmed);
        if last < seen {
            let what = format!("it looks from {last}, and knew of {seen}");
            verdict.add(Kind::GoesBack, [place.clone()], what);
        }
        self.highest = self.highest.max(last);
        self.moment = Some((last, place));
    }

    fn reads(
        &self,
        oid: Oid,
        found: Option<Revision<'_>>,
        place: Place,
        world: &World<'_>,
        verdict: &mut Verdict,
    ) {
        let Some((last, began)) = &self.moment else {
            verdict.add(Kind::Malformed, [place], "it reads before it begins".to_owned());
            return;
        };
        let places = [began.clone(), place];
        let is_lost = |serial: Tid| matches!(world.fate(serial), Fate::Lost(_));
        // Who has been told of what came instead must not see it any more.
        let is_over = |serial: Tid| world.between(serial, self.confirmed.max(*last)).next().is_some();
        if let Some(stale) = found.filter(|found| is_lost(found.serial) && is_over(found.serial)) {
            let what = format!(
                "{oid} was read as of {}, which is lost, by one who knew of {}",
                stale.serial,
                self.confirmed.max(*last)
            );
            verdict.add(Kind::Stale, places, what);
            return;
        }
        let expected = world.seen_from(*last, oid);
        if expected == found {
            return;
        }
        let name = |revision: Option<Revision<'_>>| match revision {
            Some(Revision { serial, value }) => format!("{serial} ({})", value.unwrap_or("without a value")),
            None => "nothing".to_owned(),
        };
        let is_current = expected.map(|one| one.serial) == found.map(|one| one.serial);
        let kind = if is_current { Kind::WrongValue } else { Kind::NotCurrent };
        let what = format!("{oid} as of {last} is {}, and {} was read", name(expected), name(found));
        verdict.add(kind, places, what);
    }
}
