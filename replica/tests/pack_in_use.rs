//! Packs of a log that is read and written meanwhile.

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::packing::{At, objects, pack, record};
use common::{Site, load_before, place};
use replica::{NoProgress, Oid, PackOptions, PackStage, Progress, Tid, UndoError, verify};

#[test]
fn what_is_referred_to_again_while_it_is_dropped_stays() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[1], "root")), (1, &record(&[2], "one")), (2, &record(&[], "two"))]);
    let cut = site.store(&[(0, &record(&[], "root"))]);
    let once = AtomicBool::new(false);
    let progress = At(|stage| {
        if stage == PackStage::CatchingUp && !once.swap(true, Ordering::SeqCst) {
            site.store(&[(0, &record(&[1], "root with one again"))]);
        }
    });
    // Of an unpacked history, so that the root's older revision is dropped all the same.
    let report = site.storage.pack(cut, PackOptions::default(), &progress).expect("packed");
    assert_eq!(report.packed.expect("something").records_dropped, 1);
    assert_eq!(site.load(1), Some(record(&[2], "one")));
    assert_eq!(site.load(2), Some(record(&[], "two")));
    site.close();
}

#[test]
fn transactions_that_voted_before_a_pack_are_committed_after_it() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let first = site.store(&[(0, &record(&[1], "root")), (1, &record(&[], "first"))]);
    let second = site.store(&[(1, &record(&[], "second"))]);
    site.store(&[(0, &record(&[1], "root again"))]);
    // Points back to what nothing else keeps.
    let mut undo = site.begin();
    site.storage.undo(second, &mut undo).expect("it can be undone");
    let reservation = site.storage.reserve(&undo).expect("space");
    let during = Mutex::new(None);
    let progress = At(|stage| {
        if stage == PackStage::CatchingUp {
            // And this one, that comes too late, takes the data instead.
            let mut late = site.begin();
            late.store_as(Oid::new(1), first).expect("collected");
            assert_eq!(late.back_pointer(Oid::new(1)), Some(first));
            let reservation = site.storage.reserve(&late).expect("space");
            during.lock().expect("one").get_or_insert((late, reservation));
        }
    });
    let until = site.storage.last_tid();
    let report = site.storage.pack(until, PackOptions::default(), &progress).expect("packed");
    assert_eq!(report.packed.expect("something").records_dropped, 1, "the root's older record alone");
    site.committer.commit(1000, undo, reservation);
    let undone = site.answers.wait_for(1000).expect("committed").tid;
    assert_eq!(site.load(1), Some(record(&[], "first")));
    let (late, reservation) = during.into_inner().expect("one").expect("the stage was passed");
    site.committer.commit(1001, late, reservation);
    site.answers.wait_for(1001).expect("committed");
    assert_eq!(site.load(1), Some(record(&[], "first")));
    // The back pointer stands, into the packed part.
    let mut transactions = site.storage.transactions(Some(undone), Some(undone)).expect("readable");
    let header = transactions.next().expect("one").expect("readable");
    let back = transactions.records(&header).next().expect("one").expect("readable");
    assert_eq!(back.data_tid, Some(first));
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn iterators_go_on_reading_the_log_of_before() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let tids: Vec<_> = (0..50u32).map(|n| site.store(&[(0, &record(&[], &n.to_string()))])).collect();
    let mut transactions = site.storage.transactions(None, None).expect("readable");
    assert_eq!(transactions.next().expect("one").expect("good").tid, tids[0]);
    let packed = pack(&site, Tid::MAX);
    assert_eq!(packed.records_dropped, 49);
    for (number, tid) in tids.iter().enumerate().skip(1) {
        let header = transactions.next().expect("more").expect("good");
        assert_eq!((header.tid, header.status), (*tid, b' '));
        let found = transactions.records(&header).next().expect("one").expect("good");
        assert_eq!(found.data, Some(record(&[], &number.to_string())));
    }
    assert!(transactions.next().is_none());
    let left: Vec<_> = site.storage.transactions(None, None).expect("readable").collect();
    assert_eq!(left.len(), 1);
    site.close();
}

#[test]
fn reads_and_commits_go_on_during_packs() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    const OBJECTS: u64 = 300;
    let all: Vec<u64> = (1..=OBJECTS).collect();
    site.store(&[(0, &record(&all, "root"))]);
    for oid in 1..=OBJECTS {
        site.store(&[(oid, &record(&[], &format!("{oid}:0:")))]);
    }
    let stop = AtomicBool::new(false);
    let committed: Vec<AtomicU64> = (0..=OBJECTS).map(|_| AtomicU64::new(0)).collect();
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let oid = number * 7919 % OBJECTS + 1;
                site.store(&[(oid, &record(&[], &format!("{oid}:{number}:{}", "x".repeat(300))))]);
                committed[oid as usize].store(number, Ordering::SeqCst);
            }
        });
        for reader in 0..2u64 {
            let (stop, committed, reads, storage) = (&stop, &committed, &reads, &site.storage);
            scope.spawn(move || {
                let mut n = reader;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let oid = n * 31 % OBJECTS + 1;
                    let least = committed[oid as usize].load(Ordering::SeqCst);
                    let (data, _, end) = load_before(storage, oid, Tid::MAX).expect("it is there");
                    let text = String::from_utf8_lossy(&data);
                    let found = &text[text.find(&format!("{oid}:")).expect("its data")..];
                    let number: u64 = found.split(':').nth(1).expect("a number").parse().expect("a number");
                    assert!(number >= least && end.is_none(), "{oid}: {number} < {least}");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        /// Also when a pack fails, the others end.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        let mut packed = 0;
        for round in 0..15 {
            let until = site.storage.last_tid();
            let report = site
                .storage
                .pack(until, PackOptions { gc: true, keep_old: round % 2 == 0 }, &NoProgress)
                .expect("packed");
            packed += u32::from(report.packed.is_some());
            site.store(&[(0, &record(&all, "root"))]);
        }
        assert!(packed > 5, "{packed}");
    });
    assert!(reads.load(Ordering::Relaxed) > 1000);
    let (checksum, count) = (site.storage.checksum(), site.storage.object_count());
    assert_eq!(count, OBJECTS + 1);
    site.close();
    let found = verify(&path, &NoProgress).expect("readable");
    assert_eq!((found.problems, found.checksum), (vec![], checksum));
}

#[test]
fn one_pack_runs_at_a_time() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[], "root"))]);
    site.store(&[(0, &record(&[], "root again"))]);
    let second = Mutex::new(None);
    let progress = At(|_| {
        std::thread::scope(|scope| {
            let other =
                scope.spawn(|| site.storage.pack(Tid::MAX, PackOptions::default(), &NoProgress)).join();
            *second.lock().expect("one") = Some(other.expect("no panic"));
        });
    });
    site.storage.pack(Tid::MAX, PackOptions::default(), &progress).expect("packed");
    let second = second.into_inner().expect("one").expect("it was tried");
    assert_eq!(second.expect_err("refused").to_string(), "Already packing");
    assert_eq!(site.load(0), Some(record(&[], "root again")));
    site.close();
}

#[test]
fn objects_that_are_made_during_a_pack_are_counted_and_found_after_it() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[1], "root")), (1, &record(&[], "one"))]);
    site.store(&[(0, &record(&[1], "root again")), (9, &record(&[], "garbage"))]);
    let made = AtomicU64::new(1);
    let progress = At(|stage| {
        if matches!(stage, PackStage::References | PackStage::Indexing | PackStage::CatchingUp) {
            let oid = made.fetch_add(1, Ordering::SeqCst) + 9;
            site.store(&[(oid, &record(&[1], "made")), (1, &record(&[], "changed"))]);
        }
    });
    let until = site.storage.last_tid();
    let report = site.storage.pack(until, PackOptions::default(), &progress).expect("packed");
    let made = made.into_inner() - 1;
    assert!(made >= 3, "{made}");
    assert_eq!(report.packed.expect("something").objects_after, 2 + made);
    assert_eq!(objects(&site.storage).len() as u64, 2 + made);
    assert_eq!((site.load(9), site.load(10)), (None, Some(record(&[1], "made"))));
    let count = site.storage.object_count();
    site.close();
    let found = verify(&path, &NoProgress).expect("readable");
    assert_eq!((found.problems, found.objects), (vec![], count));
}

/// An undo that begins while a pack drops what it brings back: a pack that went on would leave references to nothing.
#[test]
fn an_undo_that_begins_during_a_pack_keeps_what_it_links_again() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[1], "root")), (1, &record(&[2], "one")), (2, &record(&[], "two"))]);
    let unlinked = site.store(&[(0, &record(&[], "root without one"))]);
    let undo = Mutex::new(None);
    let progress = At(|stage| {
        if stage == PackStage::CatchingUp {
            undo.lock().expect("one").get_or_insert_with(|| {
                let mut transaction = site.begin();
                site.storage.undo(unlinked, &mut transaction).expect("it can be undone");
                let reservation = site.storage.reserve(&transaction).expect("space");
                (transaction, reservation)
            });
        }
    });
    site.storage.pack(site.storage.last_tid(), PackOptions::default(), &progress).expect("packed");
    let (undo, reservation) = undo.into_inner().expect("one").expect("the stage was passed");
    site.committer.commit(1000, undo, reservation);
    site.answers.wait_for(1000).expect("committed");
    assert_eq!(site.load(0), Some(record(&[1], "root")));
    assert_eq!(site.load(1), Some(record(&[2], "one")));
    assert_eq!(site.load(2), Some(record(&[], "two")));
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn what_was_packed_cannot_be_undone_any_more() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[], "root"))]);
    let second = site.store(&[(0, &record(&[], "root again"))]);
    pack(&site, Tid::MAX);
    let error = site.storage.undo(second, &mut site.begin()).expect_err("packed");
    assert!(matches!(error, UndoError::NotUndoable | UndoError::InvalidTransaction), "{error}");
    site.close();
}

/// Commits more in each round of catching up than the round copies.
struct Outrun<'a> {
    site: &'a Site,
    rounds: AtomicU64,
}

impl Progress for Outrun<'_> {
    fn packing(&self, stage: PackStage, done_bytes: u64, total_bytes: u64) {
        let before_rounds = stage == PackStage::References;
        if before_rounds || stage == PackStage::CatchingUp {
            self.rounds.fetch_add(u64::from(!before_rounds), Ordering::SeqCst);
            let more = (total_bytes - done_bytes).clamp(2 << 20, 16 << 20) * 3 / 2;
            let until = self.site.storage.size_bytes() + more;
            while self.site.storage.size_bytes() < until {
                self.site.store(&[(1, &record(&[], &"x".repeat(1 << 20)))]);
            }
        }
    }
}

/// Commits that are as fast as the copying kept a pack busy for 20 rounds, each longer than the one before.
#[test]
fn a_pack_ends_though_commits_come_faster_than_it_copies() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[1, 2, 3], "root")), (1, &record(&[], "one")), (2, &record(&[], "two"))]);
    site.store(&[(2, &record(&[], "two again")), (3, &record(&[], "three"))]);
    let outrun = Outrun { site: &site, rounds: AtomicU64::new(0) };
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        // And in the turns, too, somebody always wants to commit.
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut queued = Vec::new();
                    for _ in 0..4 {
                        let mut transaction = site.begin();
                        transaction
                            .store(Oid::new(3), &record(&[], &"x".repeat(100_000)))
                            .expect("collected");
                        queued.push(site.queue(transaction));
                    }
                    for tag in queued {
                        site.answers.wait_for(tag).expect("committed");
                    }
                }
            });
        }
        let report = site.storage.pack(site.storage.last_tid(), PackOptions::default(), &outrun);
        stop.store(true, Ordering::Relaxed);
        report.expect("packed")
    });
    let rounds = outrun.rounds.into_inner();
    assert!((1..=4).contains(&rounds), "{rounds} rounds were lost before commits had to take turns");
    let packed = report.packed.expect("something");
    assert!(packed.bytes_after < 512 << 20, "{packed:?}");
    assert_eq!(site.load(2), Some(record(&[], "two again")));
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}
