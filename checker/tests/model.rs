//! Histories of clients of a model store are believed; and none of them is after it was tampered with.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use standby_checker::{Entry, History, Kind, Operation, Outcome, Stored, Transaction, Write, check};
use zodb_types::{Oid, Tid};

const CLIENTS: usize = 3;
const OBJECTS: u64 = 4;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A client begins anew.
    Begin(usize),
    /// It reads an object.
    Read(usize, u64),
    /// It writes objects that it has read, and is answered, refused, or cut off before or after its commit.
    Commit(usize, Vec<u64>, Ending),
    /// It takes what it was told.
    Hear(usize),
    /// The server is lost with its last transactions; another one takes its place.
    Failover(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Answered,
    CutOffBefore,
    CutOffAfter,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let ending = prop_oneof![
        6 => Just(Ending::Answered), 1 => Just(Ending::CutOffBefore), 1 => Just(Ending::CutOffAfter)
    ];
    let step = prop_oneof![
        3 => client().prop_map(Step::Begin),
        6 => (client(), 1..=OBJECTS).prop_map(|(client, oid)| Step::Read(client, oid)),
        6 => (client(), prop::collection::btree_set(1..=OBJECTS, 1..3), ending)
            .prop_map(|(client, oids, ending)| Step::Commit(client, oids.into_iter().collect(), ending)),
        4 => client().prop_map(Step::Hear),
        1 => (0usize..4).prop_map(Step::Failover),
    ];
    prop::collection::vec(step, 20..120)
}

#[derive(Clone, Default)]
struct Client {
    entries: Vec<Entry>,
    /// The last transaction that it knows of, and those of others that it has not taken note of.
    known: u64,
    waiting: Vec<(u64, Vec<u64>)>,
    start: Option<u64>,
    commits: u64,
    is_cut_off: bool,
}

/// A store that keeps its promises, and its clients.
#[derive(Clone, Default)]
struct Model {
    clients: Vec<Client>,
    log: Vec<Transaction>,
    lost: Vec<Vec<Transaction>>,
    /// All of both, by branch: what one who knows a transaction has seen.
    worlds: BTreeMap<u64, Vec<Transaction>>,
    tid: u64,
    time: u64,
}

impl Model {
    fn after(steps: &[Step]) -> Self {
        let mut model = Self { clients: vec![Client::default(); CLIENTS], ..Self::default() };
        model.worlds.insert(0, Vec::new());
        for client in 0..CLIENTS {
            model.connect(client);
        }
        steps.iter().for_each(|step| model.step(step));
        // So that nothing is left which nobody can know about.
        for client in 0..CLIENTS {
            model.hear(client);
            model.begin(client);
            (1..=OBJECTS).for_each(|oid| model.read(client, oid));
        }
        model
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Begin(client) => self.begin(*client),
            Step::Read(client, oid) => self.read(*client, *oid),
            Step::Commit(client, oids, ending) => self.commit(*client, oids, *ending),
            Step::Hear(client) => self.hear(*client),
            Step::Failover(count) => self.fail_over(*count),
        }
    }

    fn note(&mut self, client: usize, operation: Operation) {
        self.time += 1;
        self.clients[client].entries.push(Entry { at: Some(self.time), operation });
    }

    fn last(&self) -> u64 {
        self.log.last().map_or(0, |transaction| transaction.tid.get())
    }

    fn connect(&mut self, client: usize) {
        let last = self.last();
        let state = &mut self.clients[client];
        (state.known, state.is_cut_off, state.start) = (last, false, None);
        state.waiting.clear();
        self.note(client, Operation::Reconnected { tid: Tid::new(last) });
    }

    fn begin(&mut self, client: usize) {
        if self.clients[client].is_cut_off {
            self.connect(client);
        }
        let start = self.clients[client].known + 1;
        self.clients[client].start = Some(start);
        self.note(client, Operation::Begin { start: Tid::new(start) });
    }

    fn found(&self, last: u64, oid: u64) -> Option<(u64, String)> {
        let world = &self.worlds[&last];
        world.iter().rev().find_map(|transaction| {
            let write = transaction.writes.iter().find(|write| write.oid.get() == oid)?;
            Some((transaction.tid.get(), write.value.clone().unwrap_or_default()))
        })
    }

    fn read(&mut self, client: usize, oid: u64) {
        let Some(start) = self.clients[client].start else { return };
        let found = self.found(start - 1, oid);
        let serial = found.as_ref().map(|(serial, _)| Tid::new(*serial));
        self.note(
            client,
            Operation::Read { oid: Oid::new(oid), serial, value: found.map(|(_, value)| value) },
        );
    }

    fn commit(&mut self, client: usize, oids: &[u64], ending: Ending) {
        if self.clients[client].is_cut_off {
            return;
        }
        let Some(start) = self.clients[client].start else { return };
        self.clients[client].commits += 1;
        let number = self.clients[client].commits;
        let based: Vec<_> =
            oids.iter().map(|oid| (*oid, self.found(start - 1, *oid).map(|(serial, _)| serial))).collect();
        let writes = based.iter().map(|(oid, base)| Write {
            oid: Oid::new(*oid),
            base: base.map(Tid::new),
            value: format!("{client} {number}"),
        });
        let writes: Vec<Write> = writes.collect();
        self.note(client, Operation::Commit { writes: writes.clone() });
        let is_current =
            based.iter().all(|(oid, base)| self.found(self.last(), *oid).map(|(serial, _)| serial) == *base);
        if !is_current {
            self.note(client, Operation::Outcome(Outcome::Refused));
            return;
        }
        if ending == Ending::CutOffBefore {
            self.clients[client].is_cut_off = true;
            self.note(client, Operation::Outcome(Outcome::Unknown));
            return;
        }
        let stored = writes.into_iter().map(|write| Stored { oid: write.oid, value: Some(write.value) });
        let tid = self.append(stored.collect());
        for (other, state) in self.clients.iter_mut().enumerate() {
            if other != client && !state.is_cut_off {
                state.waiting.push((tid, oids.to_vec()));
            }
        }
        if ending == Ending::CutOffAfter {
            self.clients[client].is_cut_off = true;
            self.note(client, Operation::Outcome(Outcome::Unknown));
            return;
        }
        self.hear(client);
        self.clients[client].known = tid;
        self.note(client, Operation::Outcome(Outcome::Committed(Tid::new(tid))));
    }

    fn append(&mut self, writes: Vec<Stored>) -> u64 {
        self.tid += 3;
        let follows = writes.is_empty().then(|| Tid::new(self.last()));
        self.log.push(Transaction { tid: Tid::new(self.tid), writes, follows });
        self.worlds.insert(self.tid, self.log.clone());
        self.tid
    }

    fn hear(&mut self, client: usize) {
        for (tid, oids) in std::mem::take(&mut self.clients[client].waiting) {
            self.clients[client].known = tid;
            let oids = oids.into_iter().map(Oid::new).collect();
            self.note(client, Operation::Invalidated { tid: Tid::new(tid), oids });
        }
    }

    fn fail_over(&mut self, count: usize) {
        let kept = self.log.len().saturating_sub(count);
        let lost = self.log.split_off(kept);
        self.lost.push(lost);
        self.append(Vec::new()); // the boundary
        for client in 0..CLIENTS {
            self.connect(client);
        }
    }

    fn histories(&self) -> Vec<History> {
        let history = |(number, client): (usize, &Client)| History {
            client: format!("client {number}"),
            entries: client.entries.clone(),
        };
        self.clients.iter().enumerate().map(history).collect()
    }
}

/// A run as it is judged.
#[derive(Clone)]
struct Run {
    histories: Vec<History>,
    log: Vec<Transaction>,
    lost: Vec<Vec<Transaction>>,
}

/// How a run is tampered with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tampering {
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

const TAMPERINGS: [(Tampering, &[Kind]); 18] = [
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
    fn of(model: &Model) -> Self {
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
    fn tamper(&mut self, tampering: Tampering, index: Index) -> Option<()> {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_store_is_believed_and_none_that_was_tampered_with(steps in steps(), index: Index) {
        let model = Model::after(&steps);
        let run = Run::of(&model);
        let verdict = check(&run.histories, &run.log, &run.lost);
        prop_assert!(verdict.is_honest(), "{}", verdict);
        for (tampering, kinds) in TAMPERINGS {
            let mut tampered = run.clone();
            if tampered.tamper(tampering, index).is_some() {
                let verdict = check(&tampered.histories, &tampered.log, &tampered.lost);
                prop_assert!(kinds.iter().all(|kind| verdict.names(*kind)), "{:?}: {}", tampering, verdict);
            }
        }
    }
}

/// None of the ways to tamper is without an occasion.
#[test]
fn every_way_to_tamper_has_an_occasion() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut occasions = [0; TAMPERINGS.len()];
    for _ in 0..50 {
        let steps = steps().new_tree(&mut runner).expect("steps").current();
        let index = any::<Index>().new_tree(&mut runner).expect("an index").current();
        let run = Run::of(&Model::after(&steps));
        for ((tampering, _), occasions) in TAMPERINGS.iter().zip(&mut occasions) {
            *occasions += usize::from(run.clone().tamper(*tampering, index).is_some());
        }
    }
    for ((tampering, _), occasions) in TAMPERINGS.iter().zip(occasions) {
        assert!(occasions >= 5, "{tampering:?} had {occasions} occasions");
    }
}
