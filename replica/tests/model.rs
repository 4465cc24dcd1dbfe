//! Random work on a storage, beside a model that keeps everything in memory.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Site, place};
use proptest::prelude::*;
use replica::{CommitError, Oid, OpenOptions, ReadError, ReadMode, Tid, UndoError, verify};

const OIDS: u64 = 8;

#[derive(Clone, Debug)]
enum Step {
    /// Stores and deletions (`None`) in one transaction.
    Write(Vec<(u64, Option<u8>)>),
    /// Several such transactions, queued at once.
    Group(Vec<Vec<(u64, Option<u8>)>>),
    /// Undoes the transaction that is so many back, and so many before it.
    Undo(usize, usize),
    /// Restores an object's state of so many transactions ago with a back pointer.
    Restore(u64, usize),
    /// Stops and starts again; with `true`, as in a crash.
    Reopen(bool),
    /// Crashes, and so many bytes are lost at the end.
    Tear(u64),
    /// Crashes, and the index is lost.
    LoseIndex,
}

fn write() -> impl Strategy<Value = Vec<(u64, Option<u8>)>> {
    prop::collection::vec((0..OIDS, prop::option::weighted(0.85, 1..4u8)), 0..5)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => write().prop_map(Step::Write),
        3 => prop::collection::vec(write(), 1..6).prop_map(Step::Group),
        6 => (0..6usize, 0..3usize).prop_map(|(back, more)| Step::Undo(back, more)),
        3 => (0..OIDS, 0..6usize).prop_map(|(oid, back)| Step::Restore(oid, back)),
        2 => any::<bool>().prop_map(Step::Reopen),
        1 => (1..400u64).prop_map(Step::Tear),
        1 => Just(Step::LoseIndex),
    ]
}

/// What a transaction wrote: data, or deletions.
type Objects = BTreeMap<u64, Option<Vec<u8>>>;

/// What the storage must hold: each transaction's objects, and the end of the log after it.
#[derive(Default)]
struct Model {
    transactions: Vec<(Tid, Objects, u64)>,
    /// The records that only point back, and to which transaction: what undo takes for the same state even where
    /// that is a deletion.
    pointers: BTreeMap<(Tid, u64), Tid>,
}

impl Model {
    /// The object's state before a transaction, with its tid and the next one's.
    #[allow(clippy::type_complexity)]
    fn before(&self, oid: u64, tid: Tid) -> Option<(Option<Vec<u8>>, Tid, Option<Tid>)> {
        let mut revisions =
            self.transactions.iter().filter_map(|(tid, objects, _)| Some((*tid, objects.get(&oid)?)));
        let mut found = None;
        let end = revisions.find_map(|(at, data)| {
            if at >= tid {
                return Some(at);
            }
            found = Some((data.clone(), at));
            None
        });
        found.map(|(data, at)| (data, at, end))
    }

    fn knows(&self, oid: u64) -> bool {
        self.transactions.iter().any(|(_, objects, _)| objects.contains_key(&oid))
    }

    /// What undoing these transactions, newest first, writes, and what that points to; `None` when it conflicts.
    fn undo(&self, tids: &[Tid]) -> Option<(Objects, BTreeMap<u64, Tid>)> {
        let mut written = Objects::new();
        let mut source: BTreeMap<u64, Tid> = BTreeMap::new();
        for tid in tids {
            let (_, objects, _) = self.transactions.iter().find(|(at, _, _)| at == tid)?;
            let mut step = Vec::new();
            for (oid, undone) in objects {
                let (current, serial, _) = self.before(*oid, Tid::MAX)?;
                let same_record = match source.get(oid) {
                    Some(at) => at == tid,
                    None if written.contains_key(oid) => false,
                    None => serial == *tid || self.pointers.get(&(serial, *oid)) == Some(tid),
                };
                let current = written.get(oid).cloned().unwrap_or(current);
                if !same_record && (undone.is_none() || current.is_none() || current != *undone) {
                    return None;
                }
                step.push((*oid, self.before(*oid, *tid)));
            }
            for (oid, before) in step {
                source.remove(&oid);
                if let Some((_, at, _)) = before {
                    source.insert(oid, at);
                }
                written.insert(oid, before.and_then(|(data, _, _)| data));
            }
        }
        Some((written, source))
    }
}

fn data(byte: u8) -> Vec<u8> {
    vec![byte; usize::from(byte) * 3]
}

fn check(site: &Site, model: &Model) {
    let last = model.transactions.last();
    assert_eq!(site.storage.last_tid(), last.map_or(Tid::ZERO, |(tid, _, _)| *tid));
    assert_eq!(site.storage.size_bytes(), last.map_or(4, |(_, _, end)| *end));
    let count = (0..OIDS).filter(|oid| model.knows(*oid)).count() as u64;
    assert_eq!(site.storage.object_count(), count);
    let mut buffer = Vec::new();
    for oid in 0..OIDS {
        for tid in model.transactions.iter().map(|(tid, _, _)| *tid).chain([Tid::MAX]) {
            let found = site.storage.load_before(Oid::new(oid), tid, ReadMode::MayBlock, &mut buffer);
            match (model.before(oid, tid), found) {
                (Some((Some(data), serial, end)), Ok(Some(revision))) => {
                    assert_eq!((data, serial, end), (buffer.clone(), revision.serial, revision.end));
                }
                (Some((None, _, _)), Err(ReadError::NotFound(_))) => {}
                (None, Ok(None)) => assert!(model.knows(oid)),
                (None, Err(ReadError::NotFound(_))) => assert!(!model.knows(oid)),
                (expected, found) => panic!("{oid} before {tid}: {found:?} instead of {expected:?}"),
            }
        }
    }
    let headers = site.storage.transactions(None, None).expect("readable");
    for (header, (tid, objects, _)) in headers.zip(&model.transactions) {
        let header = header.expect("readable");
        assert_eq!(header.tid, *tid);
        let records: BTreeMap<_, _> = site
            .storage
            .records(&header)
            .map(|record| record.expect("readable"))
            .map(|record| (record.oid.get(), record.data))
            .collect();
        assert_eq!(records, *objects);
    }
}

fn collect(site: &Site, objects: &[(u64, Option<u8>)]) -> replica::Transaction {
    let mut transaction = site.begin();
    transaction.set_metadata(b"someone", b"", b"").expect("short");
    for (oid, byte) in objects {
        match byte {
            Some(byte) => transaction.store(Oid::new(*oid), &data(*byte)),
            None => transaction.delete(Oid::new(*oid)),
        }
        .expect("collected");
    }
    transaction
}

fn contents(objects: &[(u64, Option<u8>)]) -> BTreeMap<u64, Option<Vec<u8>>> {
    objects.iter().map(|(oid, byte)| (*oid, byte.map(data))).collect()
}

fn run(steps: Vec<Step>) {
    let (_directory, path) = place();
    let options = OpenOptions { recent_entries: 2, ..OpenOptions::default() };
    let mut site = Site::open_with(&path, &options);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write(objects) => {
                let tid = site.commit(collect(&site, &objects));
                model.transactions.push((tid, contents(&objects), site.storage.size_bytes()));
            }
            Step::Group(group) => {
                let tags: Vec<_> = group.iter().map(|objects| site.queue(collect(&site, objects))).collect();
                for (tag, objects) in tags.into_iter().zip(&group) {
                    let committed = site.answers.wait_for(tag).expect("committed");
                    model.transactions.push((committed.tid, contents(objects), committed.size_bytes));
                }
            }
            Step::Undo(back, more) => {
                let tids: Vec<Tid> = model
                    .transactions
                    .iter()
                    .rev()
                    .skip(back)
                    .take(more + 1)
                    .map(|(tid, _, _)| *tid)
                    .collect();
                let mut transaction = site.begin();
                let result =
                    tids.iter().try_for_each(|tid| site.storage.undo(*tid, &mut transaction).map(|_| ()));
                match (result, model.undo(&tids)) {
                    (Ok(()), Some((objects, pointers))) => {
                        let tid = site.commit(transaction);
                        model.pointers.extend(pointers.into_iter().map(|(oid, to)| ((tid, oid), to)));
                        model.transactions.push((tid, objects, site.storage.size_bytes()));
                    }
                    (Err(UndoError::Conflicts(_)), None) => {}
                    (result, expected) => panic!("{result:?} instead of {expected:?}"),
                }
            }
            Step::Restore(oid, back) => {
                let source = model.transactions.iter().rev().nth(back);
                let Some((data_tid, objects, _)) = source.cloned() else { continue };
                let mut transaction = site.begin();
                transaction.store_as(Oid::new(oid), data_tid).expect("collected");
                match (site.try_commit(transaction), objects.get(&oid).cloned()) {
                    (Ok(committed), Some(data)) => {
                        let objects = BTreeMap::from([(oid, data)]);
                        model.pointers.insert((committed.tid, oid), data_tid);
                        model.transactions.push((committed.tid, objects, committed.size_bytes));
                    }
                    (Err(CommitError::BackPointer { .. }), None) => {}
                    (result, expected) => panic!("{result:?} instead of {expected:?}"),
                }
            }
            Step::Reopen(crash) => {
                if crash {
                    drop(site);
                } else {
                    site.close();
                }
                site = Site::open_with(&path, &options);
            }
            Step::Tear(bytes) => {
                let covered_until = model.transactions.len().saturating_sub(1);
                drop(site);
                let size = fs::metadata(&path).expect("the log").len();
                // At most the last transaction: no more can be torn by one append.
                let floor = covered_until.checked_sub(1).map_or(4, |before| model.transactions[before].2);
                let length = size.saturating_sub(bytes).max(floor);
                fs::File::options().write(true).open(&path).expect("the log").set_len(length).expect("torn");
                model.transactions.retain(|(_, _, end)| *end <= length);
                site = Site::open_with(&path, &options);
            }
            Step::LoseIndex => {
                drop(site);
                fs::remove_dir_all(path.with_extension("fs.standby")).expect("removed");
                site = Site::open_with(&path, &options);
            }
        }
        check(&site, &model);
    }
    let (last_tid, checksum) = (site.storage.last_tid(), site.storage.checksum());
    site.close();
    let report = verify(&path, &replica::NoProgress).expect("readable");
    assert_eq!(report.problems, []);
    assert_eq!((report.last_tid, report.checksum), (last_tid, checksum));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_storage_does_what_a_model_in_memory_does(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}
