//! One storage on a disk that forgets: what was published is there after any crash, and nothing else that was not asked for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use replica::{
    CommitError, Committed, Committer, Lineage, LineageError, NoProgress, Oid, OpenOptions, Publish, Storage,
    Tid, Transaction,
};
use simulated_world::{Chance, Disk, Random, clock, later};
use standby_simulation::rounds::{each_seed, first_noticed, variable};

const LOG: &str = "/disk/Data.fs";
const OIDS: u64 = 6;

type Records = Vec<(u64, Option<Vec<u8>>)>;

/// A transaction, as it was asked for.
#[derive(Clone, Debug)]
struct Asked {
    description: Vec<u8>,
    records: Records,
    /// Known once it is published.
    tid: Option<Tid>,
}

#[derive(Default)]
struct Answers(Mutex<Vec<Result<Committed, CommitError>>>);

impl Publish for Answers {
    fn published(&self, batch: Vec<Committed>) {
        self.0.lock().expect("answers").extend(batch.into_iter().map(Ok));
    }

    fn failed(&self, _tag: u64, error: &CommitError) {
        self.0.lock().expect("answers").push(Err(error.clone()));
    }
}

type Queue = Rc<RefCell<VecDeque<later::Work>>>;

struct Site {
    storage: Storage,
    committer: Committer,
    answers: Arc<Answers>,
}

struct World {
    chance: Chance,
    disk: Disk,
    works: Queue,
    time: Rc<RefCell<Duration>>,
    /// What was published, in this order.
    history: Vec<Asked>,
    /// What was asked for since, in this order.
    asked: VecDeque<Asked>,
    /// If the storage is being taken back: how many transactions stay.
    rewinding_to: Option<usize>,
    number: u64,
    /// How many were there though nobody was told so.
    adopted: u64,
    /// How many of these lacked something that the format of `Data.fs` does not let anybody miss.
    torn: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let works = Queue::default();
        let time = Rc::new(RefCell::new(Duration::from_secs(1_700_000_000)));
        later::set({
            let works = Rc::clone(&works);
            move |_, work| works.borrow_mut().push_back(work)
        });
        clock::set({
            let time = Rc::clone(&time);
            move || UNIX_EPOCH + *time.borrow()
        });
        Self {
            chance: Chance::new(seed),
            disk: Disk::at("/disk"),
            works,
            time,
            history: Vec::new(),
            asked: VecDeque::new(),
            rewinding_to: None,
            number: 0,
            adopted: 0,
            torn: 0,
        }
    }

    /// Opens the storage, and compares it with what must be there. `None`: the power failed meanwhile.
    fn open(&mut self) -> Option<Site> {
        let opened = Storage::open(Path::new(LOG), &OpenOptions::default(), &NoProgress);
        let storage = match opened {
            Ok((storage, _)) => storage,
            Err(_) if self.disk.is_off() => return None,
            Err(error) => panic!("the storage does not open: {error}"),
        };
        let found = contents(&storage);
        if let Some(left) = self.rewinding_to.take()
            && found.len() == left
        {
            self.history.truncate(left);
        }
        assert!(
            found.len() >= self.history.len(),
            "{} were published, {} are there",
            self.history.len(),
            found.len()
        );
        let (kept, more) = found.split_at(self.history.len());
        for (published, (tid, asked)) in self.history.iter().zip(kept) {
            assert_eq!(published.tid, Some(*tid));
            assert_eq!(
                (&published.description, &published.records),
                (&asked.description, &asked.records),
                "{tid}"
            );
        }
        // What was not published yet may be there or not, but not without what was asked for before it.
        for (tid, found) in more {
            let asked = self.asked.pop_front().unwrap_or_else(|| panic!("nobody asked for {tid}: {found:?}"));
            if asked.records == found.records && asked.description == found.description {
                self.adopted += 1;
            } else {
                assert!(has_lost_sectors(&asked, found), "{tid}: {asked:?}\n{found:?}");
                self.torn += 1;
            }
            self.history.push(Asked { tid: Some(*tid), ..found.clone() });
        }
        self.asked.clear();
        assert_eq!(storage.last_tid(), self.last_tid());
        let answers = Arc::new(Answers::default());
        let committer = storage.start_committer(answers.clone());
        Some(Site { storage, committer, answers })
    }

    fn last_tid(&self) -> Tid {
        self.history.last().and_then(|last| last.tid).unwrap_or(Tid::ZERO)
    }

    /// The objects as they are after what was published and asked for.
    fn state(&self) -> BTreeMap<u64, Option<Vec<u8>>> {
        self.history.iter().chain(&self.asked).flat_map(|asked| asked.records.iter().cloned()).collect()
    }

    /// Stores and deletes at random.
    fn write(&mut self, site: &Site) {
        let mut records = BTreeMap::new();
        let state = self.state();
        for _ in 0..=self.chance.below(3) {
            let oid = self.chance.below(OIDS);
            let length = if self.chance.one_in(8) { 5_000 } else { 30 };
            let fill = self.chance.any() as u8;
            let data = vec![fill; 1 + self.chance.below(length) as usize];
            let gone = self.chance.one_in(8) && state.get(&oid).is_some_and(Option::is_some);
            records.insert(oid, (!gone).then_some(data));
        }
        let mut transaction = site.storage.begin();
        for (oid, data) in &records {
            match data {
                Some(data) => transaction.store(Oid::new(*oid), data).expect("it is collected"),
                None => transaction.delete(Oid::new(*oid)).expect("it is collected"),
            }
        }
        self.ask(site, transaction, records.into_iter().collect());
    }

    /// Undoes the last transaction, when nothing else is under way.
    fn undo(&mut self, site: &Site) {
        let Some(last) = self.history.last().cloned() else { return };
        let before: BTreeMap<_, _> = self.history[..self.history.len() - 1]
            .iter()
            .flat_map(|asked| asked.records.iter().cloned())
            .collect();
        // Of what was made by it there is nothing to go back to.
        if !self.asked.is_empty()
            || !last.records.iter().all(|(oid, _)| before.get(oid).is_some_and(Option::is_some))
        {
            return;
        }
        let mut transaction = site.storage.begin();
        match site.storage.undo(self.last_tid(), &mut transaction) {
            Ok(_) => {}
            Err(_) if self.disk.is_off() => return,
            Err(error) => panic!("the last transaction can be undone: {error}"),
        }
        let records = last.records.iter().map(|(oid, _)| (*oid, before[oid].clone())).collect();
        self.ask(site, transaction, records);
    }

    fn ask(&mut self, site: &Site, mut transaction: Transaction, records: Records) {
        self.number += 1;
        let description = self.number.to_string().into_bytes();
        transaction.set_metadata(b"", &description, b"").expect("short");
        let reservation = match site.storage.reserve(&transaction) {
            Ok(reservation) => reservation,
            Err(_) if self.disk.is_off() || site.storage.failure().is_some() => return,
            Err(error) => panic!("there is space: {error}"),
        };
        self.asked.push_back(Asked { description, records, tid: None });
        if self.chance.one_in(3) {
            site.committer.commit_here(self.number, transaction, reservation);
        } else {
            site.committer.commit(self.number, transaction, reservation);
        }
        self.hear(site);
    }

    /// Notes what was published.
    fn hear(&mut self, site: &Site) {
        for answer in std::mem::take(&mut *site.answers.0.lock().expect("answers")) {
            match answer {
                Ok(committed) => {
                    let asked = self.asked.pop_front().expect("it was asked for");
                    assert_eq!(asked.description, committed.tag.to_string().into_bytes());
                    assert!(committed.tid > self.last_tid(), "tids grow");
                    self.history.push(Asked { tid: Some(committed.tid), ..asked });
                }
                Err(error) => assert!(self.disk.is_off(), "{error}"),
            }
        }
    }

    /// Does something that the storage's threads would.
    fn work(&mut self, site: &Site) {
        let length = self.works.borrow().len();
        if length > 0 {
            let which = self.chance.below(length as u64) as usize;
            let work = self.works.borrow_mut().remove(which).expect("it is there");
            work();
            self.hear(site);
        }
    }

    /// Takes some transactions back, as a replica of a new primary does.
    fn rewind(&mut self, site: &Site) {
        if !self.asked.is_empty() || self.history.is_empty() {
            return;
        }
        let left = self.history.len() - 1 - self.chance.below(self.history.len().min(4) as u64) as usize;
        let fork = left.checked_sub(1).and_then(|last| self.history[last].tid).unwrap_or(Tid::ZERO);
        self.rewinding_to = Some(left);
        match site.storage.rewind(fork, &site.storage.lost_folder(), &NoProgress) {
            Ok(_) => {
                self.rewinding_to = None;
                self.history.truncate(left);
            }
            Err(_) if self.disk.is_off() => {}
            Err(error) => panic!("the storage does not rewind to {fork}: {error}"),
        }
    }

    fn run(&mut self, lives: u64) {
        for _ in 0..lives {
            // In the midst of something, or between two things, or not at all.
            if self.chance.one_in(2) {
                let changes = self.chance.below(200);
                self.disk.fail_after(changes);
            }
            if let Some(site) = self.open() {
                self.live(&site);
                self.die(site);
            }
            self.works.borrow_mut().clear();
            self.disk.start();
        }
        let site = self.open().expect("the power is on");
        site.storage.close().expect("it closes");
    }

    fn live(&mut self, site: &Site) {
        for _ in 0..self.chance.below(40) {
            let step = self.chance.millis(0, 4_000);
            *self.time.borrow_mut() += step;
            match self.chance.below(16) {
                0..8 => self.write(site),
                8 => self.undo(site),
                9 => self.rewind(site),
                _ => self.work(site),
            }
            if self.disk.is_off() {
                return;
            }
        }
    }

    fn die(&mut self, site: Site) {
        match self.chance.below(4) {
            0 if !self.disk.is_off() => {
                let closed = site.storage.close();
                assert!(closed.is_ok() || self.disk.is_off(), "{closed:?}");
                for answer in
                    std::mem::take(&mut *site.answers.0.lock().expect("answers")).into_iter().flatten()
                {
                    let asked = self.asked.pop_front().expect("it was asked for");
                    self.history.push(Asked { tid: Some(answer.tid), ..asked });
                }
                if self.disk.is_off() {
                    self.disk.crash(&mut self.chance);
                }
            }
            1 => self.disk.kill(),
            _ => self.disk.crash(&mut self.chance),
        }
    }
}

/// Whether these differ only in zeros, where sectors with nothing but data were not written before the power failed.
fn has_lost_sectors(asked: &Asked, found: &Asked) -> bool {
    let is_torn = |asked: &[u8], found: &[u8]| {
        asked.len() == found.len()
            && asked.iter().zip(found).all(|(asked, found)| asked == found || *found == 0)
    };
    let mut records = asked.records.iter().zip(&found.records);
    asked.description == found.description
        && asked.records.len() == found.records.len()
        && records.all(|((oid, asked), (found_oid, found))| match (asked, found) {
            (Some(asked), Some(found)) => oid == found_oid && is_torn(asked, found),
            _ => oid == found_oid && asked == found,
        })
}

fn contents(storage: &Storage) -> Vec<(Tid, Asked)> {
    let transactions = storage.transactions(None, None).expect("readable");
    transactions
        .map(|header| {
            let header = header.expect("readable");
            let records = storage.records(&header).map(|record| record.expect("readable"));
            let records = records.map(|record| (record.oid.get(), record.data)).collect();
            (header.tid, Asked { description: header.description, records, tid: None })
        })
        .collect()
}

#[test]
fn what_was_published_is_there_after_any_crash_and_nothing_that_nobody_asked_for() {
    let (adopted, torn) = (Cell::new(0), Cell::new(0));
    each_seed("what_was_published", Duration::from_secs(15), |seed| {
        let mut world = World::new(seed);
        world.run(12);
        adopted.set(adopted.get() + world.adopted);
        torn.set(torn.get() + world.torn);
    });
    assert!(adopted.get() > 0 || variable("STANDBY_SIMULATION_SEED").is_some(), "too tame");
    println!(
        "{} transactions were there though nobody had been told so, {} with sectors of zeros",
        adopted.get(),
        torn.get()
    );
}

#[test]
fn a_disk_that_lies_is_noticed() {
    let noticed = first_noticed(200, |seed| {
        let mut world = World::new(seed);
        world.disk.lie(true);
        world.run(12);
    });
    let (seed, said) = noticed.expect("what was published and not kept is missed");
    println!("noticed, as it should be, with seed {seed}: {said}");
}

#[test]
fn while_nobody_knows_what_is_on_the_disk_nothing_is_committed_and_the_lineage_stays() {
    let mut world = World::new(0);
    let site = world.open().expect("the power is on");
    site.storage.set_lineage(&Lineage::default()).expect("all is well");
    Disk::fail_syncs(LOG, true).expect("it is there");
    let mut transaction = site.storage.begin();
    transaction.store(Oid::new(1), b"not durable").expect("it is collected");
    let reservation = site.storage.reserve(&transaction).expect("there is space");
    site.committer.commit_here(1, transaction, reservation);
    let answers = std::mem::take(&mut *site.answers.0.lock().expect("answers"));
    assert!(matches!(answers[..], [Err(CommitError::Failed(_))]), "{answers:?}");
    assert!(site.storage.failure().is_some_and(|why| why.contains("the disk has failed")));
    assert_eq!(site.storage.last_tid(), Tid::ZERO, "nobody is shown it");

    let other = Lineage { unfinished: true, ..Lineage::default() };
    let refused = site.storage.set_lineage(&other).expect_err("it may be there when it is opened anew");
    assert!(matches!(refused, LineageError::Failed(_)), "{refused}");
    Disk::fail_syncs(LOG, false).expect("it is there");
    site.storage.set_lineage(&other).expect_err("that is not known any better now");
    drop(site);
    let (storage, _) = Storage::open(Path::new(LOG), &OpenOptions::default(), &NoProgress).expect("it opens");
    assert_eq!(storage.lineage().expect("readable"), Lineage::default());
    storage.set_lineage(&other).expect("all is well");
}
