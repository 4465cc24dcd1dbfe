//! Ways in which a run is made dishonest.

use proptest::sample::Index;
use standby_checker::{Entry, History, Kind, Operation, Outcome, Stored, Transaction};
use zodb_types::{Oid, Tid};

use crate::store::Model;

/// A run as it is judged.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) histories: Vec<History>,
    pub(crate) log: Vec<Transaction>,
    pub(crate) lost: Vec<Vec<Transaction>>,
}

/// How a run is tampered with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tampering {
    DropsAnAcknowledged,
    DropsAReportOfAnAcknowledged,
    ChangesAStoredValue,
    StoresMore,
    StoresInPart,
    SwapsTwoOfTheLog,
    ReadsAnotherValue,
    ReadsAnOlderRevision,
    ReadsNothing,
    ReadsWhatIsLostAfterwards,
    AcknowledgesAnother,
    RefusesWhatIsThere,
    BasesOnAnOlderRevision,
    ForgetsAnObjectOfAnInvalidation,
    SwapsTwoInvalidations,
    SkipsAnInvalidation,
    LooksFromNowhere,
    LooksBack,
}

pub(crate) const TAMPERINGS: [(Tampering, &[Kind]); 18] = [
    (Tampering::DropsAnAcknowledged, &[Kind::Missing]),
    (Tampering::DropsAReportOfAnAcknowledged, &[Kind::Missing]),
    (Tampering::ChangesAStoredValue, &[Kind::NobodyWrote]),
    (Tampering::StoresMore, &[Kind::Altered, Kind::NobodyWrote]),
    (Tampering::StoresInPart, &[Kind::Altered]),
    (Tampering::SwapsTwoOfTheLog, &[Kind::LogOrder]),
    (Tampering::ReadsAnotherValue, &[Kind::WrongValue]),
    (Tampering::ReadsAnOlderRevision, &[Kind::NotCurrent]),
    (Tampering::ReadsNothing, &[Kind::NotCurrent]),
    (Tampering::ReadsWhatIsLostAfterwards, &[Kind::Stale]),
    (Tampering::AcknowledgesAnother, &[Kind::IssuedTwice]),
    (Tampering::RefusesWhatIsThere, &[Kind::RefusedYetThere]),
    (Tampering::BasesOnAnOlderRevision, &[Kind::LostUpdate]),
    (Tampering::ForgetsAnObjectOfAnInvalidation, &[Kind::InvalidationIncomplete]),
    (Tampering::SwapsTwoInvalidations, &[Kind::InvalidationOrder]),
    (Tampering::SkipsAnInvalidation, &[Kind::InvalidationSkipped]),
    (Tampering::LooksFromNowhere, &[Kind::UnknownMoment]),
    (Tampering::LooksBack, &[Kind::GoesBack]),
];

impl Run {
    pub(crate) fn of(model: &Model) -> Self {
        Self { histories: model.histories(), log: model.log.clone(), lost: model.lost.clone() }
    }

    /// Every place (client and number of the entry) at which the operation is as wanted.
    fn places(&self, wanted: impl Fn(&[Entry], usize) -> bool) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (client, history) in self.histories.iter().enumerate() {
            for place in 0..history.entries.len() {
                if wanted(&history.entries, place) {
                    places.push((client, place));
                }
            }
        }
        places
    }

    fn acknowledged(&self) -> Vec<Tid> {
        let told = |entry: &Entry| match entry.operation {
            Operation::Outcome(Outcome::Committed(tid)) => Some(tid),
            _ => None,
        };
        self.histories.iter().flat_map(|history| history.entries.iter().filter_map(told)).collect()
    }

    fn operation(&mut self, (client, place): (usize, usize)) -> &mut Operation {
        &mut self.histories[client].entries[place].operation
    }

    /// Changes something, somewhere where it matters. `None` if there is no such place in this run.
    pub(crate) fn tamper(&mut self, tampering: Tampering, index: Index) -> Option<()> {
        let some = |places: Vec<(usize, usize)>| (!places.is_empty()).then(|| *index.get(&places));
        let is_told = |operation: &Operation| matches!(operation, Operation::Invalidated { .. });
        match tampering {
            Tampering::DropsAnAcknowledged | Tampering::DropsAReportOfAnAcknowledged => {
                let acknowledged = self.acknowledged();
                let mut from: Vec<&mut Vec<Transaction>> = match tampering {
                    Tampering::DropsAnAcknowledged => vec![&mut self.log],
                    _ => self.lost.iter_mut().collect(),
                };
                let is_there = |tid: &Tid| from.iter().any(|all| all.iter().any(|one| one.tid == *tid));
                let there: Vec<Tid> = acknowledged.into_iter().filter(is_there).collect();
                let tid = *(!there.is_empty()).then(|| index.get(&there))?;
                from.iter_mut().for_each(|all| all.retain(|one| one.tid != tid));
            }
            Tampering::ChangesAStoredValue | Tampering::StoresMore | Tampering::StoresInPart => {
                let least = if tampering == Tampering::StoresInPart { 2 } else { 1 };
                let mut full: Vec<&mut Transaction> =
                    self.log.iter_mut().filter(|transaction| transaction.writes.len() >= least).collect();
                if full.is_empty() {
                    return None;
                }
                let place = index.index(full.len());
                let writes = &mut full[place].writes;
                match tampering {
                    Tampering::ChangesAStoredValue => writes[0].value = Some("changed".to_owned()),
                    Tampering::StoresMore => {
                        writes.push(Stored { oid: Oid::new(77), value: Some("more".to_owned()) });
                    }
                    _ => drop(writes.pop()),
                }
            }
            Tampering::SwapsTwoOfTheLog => {
                let place = (self.log.len() > 1).then(|| index.index(self.log.len() - 1))?;
                self.log.swap(place, place + 1);
            }
            Tampering::ReadsAnotherValue | Tampering::ReadsNothing => {
                let found = some(self.places(|entries, place| {
                    matches!(entries[place].operation, Operation::Read { serial: Some(_), .. })
                }))?;
                let Operation::Read { serial, value, .. } = self.operation(found) else { return None };
                *value = Some("another".to_owned());
                if tampering == Tampering::ReadsNothing {
                    (*serial, *value) = (None, None);
                }
            }
            Tampering::ReadsAnOlderRevision => {
                let log = self.log.clone();
                let older = |oid: &Oid, than: Tid| {
                    let earlier = log.iter().rev().filter(|transaction| transaction.tid < than);
                    let mut found = earlier.filter_map(|transaction| {
                        let write = transaction.writes.iter().find(|write| write.oid == *oid)?;
                        Some((transaction.tid, write.value.clone()))
                    });
                    found.next()
                };
                let found = some(self.places(|entries, place| match &entries[place].operation {
                    Operation::Read { oid, serial: Some(serial), .. } => older(oid, *serial).is_some(),
                    _ => false,
                }))?;
                let Operation::Read { oid, serial, value } = self.operation(found) else { return None };
                let (tid, stored) = older(oid, (*serial)?)?;
                (*serial, *value) = (Some(tid), stored);
            }
            Tampering::ReadsWhatIsLostAfterwards => {
                let lost = self.lost.iter().flatten().filter(|lost| !lost.writes.is_empty());
                let lost: Vec<Transaction> = lost.cloned().collect();
                let lost = (!lost.is_empty()).then(|| index.get(&lost).clone())?;
                let write = lost.writes[0].clone();
                let after = self.log.iter().map(|transaction| transaction.tid).find(|tid| *tid > lost.tid)?;
                let found = some(self.places(|entries, place| {
                    let looks_from = entries[..place].iter().rev().find_map(|entry| match entry.operation {
                        Operation::Begin { start } => Some(start),
                        _ => None,
                    });
                    matches!(entries[place].operation, Operation::Read { .. })
                        && looks_from.is_some_and(|start| start > after)
                }))?;
                *self.operation(found) =
                    Operation::Read { oid: write.oid, serial: Some(lost.tid), value: write.value };
            }
            Tampering::AcknowledgesAnother => {
                let acknowledged = self.acknowledged();
                let found = some(self.places(|entries, place| {
                    matches!(entries[place].operation, Operation::Outcome(Outcome::Committed(_)))
                }))?;
                let Operation::Outcome(Outcome::Committed(tid)) = self.operation(found) else { return None };
                *tid = acknowledged.into_iter().find(|other| other != tid)?;
            }
            Tampering::RefusesWhatIsThere => {
                let found = some(self.places(|entries, place| {
                    matches!(entries[place].operation, Operation::Outcome(Outcome::Committed(_)))
                }))?;
                *self.operation(found) = Operation::Outcome(Outcome::Refused);
            }
            Tampering::BasesOnAnOlderRevision => {
                let found = some(self.places(|entries, place| {
                    let is_based = match &entries[place].operation {
                        Operation::Commit { writes } => writes[0].base.is_some(),
                        _ => false,
                    };
                    is_based
                        && entries.get(place + 1..).is_some_and(|then| {
                            let outcome =
                                then.iter().find(|entry| matches!(entry.operation, Operation::Outcome(_)));
                            outcome.is_some_and(|entry| {
                                matches!(entry.operation, Operation::Outcome(Outcome::Committed(_)))
                            })
                        })
                }))?;
                let Operation::Commit { writes } = self.operation(found) else { return None };
                writes[0].base = Some(Tid::new(writes[0].base?.get() - 1));
            }
            Tampering::ForgetsAnObjectOfAnInvalidation => {
                let found = some(self.places(|entries, place| is_told(&entries[place].operation)))?;
                let Operation::Invalidated { oids, .. } = self.operation(found) else { return None };
                oids.pop();
            }
            Tampering::SwapsTwoInvalidations => {
                let (client, place) = some(self.places(|entries, place| {
                    is_told(&entries[place].operation)
                        && entries.get(place + 1).is_some_and(|next| is_told(&next.operation))
                }))?;
                self.histories[client].entries.swap(place, place + 1);
            }
            Tampering::SkipsAnInvalidation => {
                let log: Vec<Tid> = self.log.iter().map(|transaction| transaction.tid).collect();
                // Of what is there, followed by another, while connected; and a last one, so that it is known to record them.
                let (client, place) = some(self.places(|entries, place| {
                    let Operation::Invalidated { tid, .. } = entries[place].operation else { return false };
                    log.contains(&tid) && entries.get(place + 1).is_some_and(|next| is_told(&next.operation))
                }))?;
                self.histories[client].entries.remove(place);
            }
            Tampering::LooksFromNowhere => {
                let found =
                    some(self.places(|entries, place| {
                        matches!(entries[place].operation, Operation::Begin { .. })
                    }))?;
                let Operation::Begin { start } = self.operation(found) else { return None };
                *start = Tid::new(start.get() + 1); // no tid is a neighbour of another
            }
            Tampering::LooksBack => {
                let found = some(self.places(|entries, place| {
                    matches!(entries[place].operation, Operation::Begin { start } if start > Tid::new(1))
                }))?;
                *self.operation(found) = Operation::Begin { start: Tid::new(1) };
                // Only if he had seen anything.
                let seen =
                    self.histories[found.0].entries[..found.1].iter().any(|entry| match entry.operation {
                        Operation::Begin { start } => start > Tid::new(1),
                        Operation::Outcome(Outcome::Committed(_)) => true,
                        Operation::Reconnected { tid } => tid > Tid::ZERO,
                        _ => false,
                    });
                return seen.then_some(());
            }
        }
        Some(())
    }
}
