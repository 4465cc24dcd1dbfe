//! Packs of a log that is in use, and what crashes leave of them. That a pack keeps what ZODB's keeps is held against
//! ZODB itself in `testbed/tests/pack.rs`.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use common::Site;
use replica::{IndexSource, NoProgress, Oid, OpenOptions, PackError, PackOptions, Progress, ReadMode, Tid};

/// A record that refers to these objects and holds this number.
fn record(references: &[u64], number: u64) -> Vec<u8> {
    let mut data = b"\x80\x03capp\nThing\n.\x80\x03(".to_vec();
    for oid in references {
        data.extend_from_slice(b"C\x08");
        data.extend_from_slice(&oid.to_be_bytes());
        data.push(b'Q');
    }
    data.extend_from_slice(b"C\x08");
    data.extend_from_slice(&number.to_be_bytes());
    data.extend_from_slice(b"t.");
    data
}

/// A record of so many bytes that refers to nothing.
fn record_of(bytes: usize) -> Vec<u8> {
    let mut data = b"\x80\x03capp\nThing\n.\x80\x03B".to_vec();
    data.extend_from_slice(&(bytes as u32).to_le_bytes());
    data.resize(data.len() + bytes, b'x');
    data.push(b'.');
    data
}

fn number(data: &[u8]) -> u64 {
    let at = data.len() - 10;
    u64::from_be_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}

fn commit(site: &Site, records: &[(u64, Vec<u8>)]) -> Tid {
    let mut transaction = site.begin();
    for (oid, data) in records {
        transaction.store(Oid::new(*oid), data).expect("stored");
    }
    let tag = site.queue(transaction);
    site.answers.wait_for(tag).expect("committed").tid
}

fn load(site: &Site, oid: u64) -> Option<u64> {
    let mut data = Vec::new();
    let loaded = site.storage.load_before(Oid::new(oid), Tid::MAX, ReadMode::MayBlock, &mut data);
    loaded.ok().flatten().map(|_| number(&data))
}

fn now() -> Tid {
    Tid::from_time(SystemTime::now())
}

/// A root that refers to objects 1 to `count`, and the objects, each written twice.
fn populate(site: &Site, count: u64) {
    let all: Vec<u64> = (1..=count).collect();
    commit(site, &[(0, record(&all, 0))]);
    for round in 1..=2 {
        for chunk in all.chunks(50) {
            commit(
                site,
                &chunk.iter().map(|oid| (*oid, record(&[], round * 1000 + oid))).collect::<Vec<_>>(),
            );
        }
    }
}

#[test]
fn a_pack_removes_garbage_and_old_revisions_and_the_log_is_whole_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("Data.fs");
    let site = Site::open(&path);
    populate(&site, 100);
    commit(&site, &[(500, record(&[], 5))]);
    let report = site.storage.pack(now(), PackOptions::default(), &NoProgress).expect("packed");
    assert_eq!((report.records_removed, report.redundant), (101, false));
    assert_eq!(site.storage.size_bytes(), report.bytes_after);
    assert_eq!((load(&site, 7), load(&site, 500)), (Some(2007), None));
    assert!(site.storage.pack(now(), PackOptions::default(), &NoProgress).expect("packed").redundant);

    let tid = commit(&site, &[(7, record(&[], 9)), (600, record(&[], 6))]);
    site.storage.clone().close().expect("closed");
    drop(site);
    let verified = replica::verify(&path, &NoProgress).expect("readable");
    assert_eq!(verified.problems, []);
    let site = Site::open(&path);
    assert_eq!(site.report.index, IndexSource::File);
    assert_eq!((site.storage.last_tid(), load(&site, 7), load(&site, 8)), (tid, Some(9), Some(2008)));
    assert!(folder.path().join("Data.fs.old").exists());
}

#[test]
fn reads_and_commits_go_on_while_a_log_is_packed_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("Data.fs");
    let site = Site::open(&path);
    populate(&site, 200);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u64)
            .map(|writer| {
                let (site, stop) = (&site, &stop);
                scope.spawn(move || {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        last += 1;
                        let own = 1 + writer * 60;
                        commit(
                            site,
                            &(own..own + 60).map(|oid| (oid, record(&[], last))).collect::<Vec<_>>(),
                        );
                        assert!((own..own + 60).all(|oid| load(site, oid) == Some(last)), "writer {writer}");
                    }
                    last
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for oid in 190..=200 {
                    assert_eq!(load(&site, oid), Some(2000 + oid));
                }
            }
        });
        for _ in 0..15 {
            site.storage.pack(now(), PackOptions::default(), &NoProgress).expect("packed");
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("every read was right");
        for (writer, last) in writers.into_iter().enumerate() {
            let last = last.join().expect("every commit was there");
            assert_eq!(load(&site, 1 + writer as u64 * 60), Some(last));
        }
    });
    site.storage.clone().close().expect("closed");
    drop(site);
    assert_eq!(replica::verify(&path, &NoProgress).expect("readable").problems, []);
}

/// Commits more in each round of catching up than the round copies.
struct Outrun<'a> {
    site: &'a Site,
    rounds: AtomicU64,
}

impl Progress for Outrun<'_> {
    fn packing(&self, done_bytes: u64, total_bytes: u64) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        let more = (total_bytes - done_bytes).clamp(2 << 20, 16 << 20) * 3 / 2;
        let until = self.site.storage.size_bytes() + more;
        while self.site.storage.size_bytes() < until {
            self.site.store(&[(1, &record_of(1 << 20))]);
        }
    }
}

/// Commits that are as fast as the copying kept a pack busy for 20 rounds, each longer than the one before.
#[test]
fn a_pack_ends_though_commits_come_faster_than_it_copies() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("Data.fs");
    let site = Site::open(&path);
    populate(&site, 100);
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
                        transaction.store(Oid::new(3), &record_of(100_000)).expect("stored");
                        queued.push(site.queue(transaction));
                    }
                    for tag in queued {
                        site.answers.wait_for(tag).expect("committed");
                    }
                }
            });
        }
        let report = site.storage.pack(now(), PackOptions::default(), &outrun);
        stop.store(true, Ordering::Relaxed);
        report.expect("packed")
    });
    let rounds = outrun.rounds.into_inner();
    assert!((1..=4).contains(&rounds), "{rounds} rounds were lost before commits had to take turns");
    assert!(report.bytes_after < 512 << 20, "{report:?}");
    assert_eq!(load(&site, 2), Some(2002));
}

#[test]
fn an_undo_that_has_voted_finds_what_it_points_to_after_a_pack() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::open(&folder.path().join("Data.fs"));
    commit(&site, &[(0, record(&[1], 0)), (1, record(&[], 1))]);
    let second = commit(&site, &[(1, record(&[], 2))]);
    let mut undo = site.begin();
    site.storage.undo(second, &mut undo).expect("can be undone");
    let reservation = site.storage.reserve(&undo).expect("space");
    std::thread::scope(|scope| {
        let pack = scope.spawn(|| site.storage.pack(now(), PackOptions::default(), &NoProgress));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !folder.path().join("Data.fs.standby/index.redb.pack").exists() {
            assert!(std::time::Instant::now() < deadline, "the pack does not begin");
            std::thread::yield_now();
        }
        site.committer.commit(77, undo, reservation);
        site.answers.wait_for(77).expect("the undo is committed");
        pack.join().expect("no panic").expect("packed");
    });
    assert_eq!(load(&site, 1), Some(1));
}

#[test]
fn an_undo_to_what_a_pack_has_removed_fails_its_vote() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::open(&folder.path().join("Data.fs"));
    commit(&site, &[(0, record(&[1], 0)), (1, record(&[], 1))]);
    let second = commit(&site, &[(1, record(&[], 2))]);
    let mut undo = site.begin();
    site.storage.undo(second, &mut undo).expect("can be undone");
    site.storage.pack(now(), PackOptions::default(), &NoProgress).expect("packed");
    assert!(matches!(site.storage.reserve(&undo), Err(replica::ReserveError::NothingToPointTo { .. })));
    assert_eq!(load(&site, 1), Some(2));
}

#[test]
fn what_a_crash_leaves_of_a_pack_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("Data.fs");
    let index = folder.path().join("Data.fs.standby/index.redb");
    let site = Site::open(&path);
    populate(&site, 50);
    site.storage.clone().close().expect("closed");
    drop(site);
    let old_index = std::fs::read(&index).expect("an index");

    // Killed while it wrote: half a packed log, half an index.
    std::fs::write(folder.path().join("Data.fs.pack"), b"FS30 and half a transaction").expect("written");
    std::fs::write(index.with_extension("redb.pack"), b"half an index").expect("written");
    let site = Site::open(&path);
    assert_eq!(load(&site, 50), Some(2050));
    assert!(!folder.path().join("Data.fs.pack").exists() && !index.with_extension("redb.pack").exists());
    site.storage.pack(now(), PackOptions::default(), &NoProgress).expect("packed");
    site.storage.clone().close().expect("closed");
    drop(site);

    // Killed between the two renames: the packed log with the index of the old one.
    std::fs::write(&index, old_index).expect("written");
    let site = Site::open(&path);
    assert_eq!(site.report.index, IndexSource::Rebuilt);
    assert!((1..=50).all(|oid| load(&site, oid) == Some(2000 + oid)));
}

#[test]
fn a_record_that_is_no_pickle_and_a_missing_object_stop_a_pack_that_collects_garbage() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::open_with(&folder.path().join("Data.fs"), &OpenOptions::default());
    commit(&site, &[(0, record(&[1], 0))]);
    let collect = || site.storage.pack(now(), PackOptions::default(), &NoProgress);
    assert!(matches!(collect(), Err(PackError::Missing(oid)) if oid == Oid::new(1)));
    commit(&site, &[(1, b"no pickle".to_vec())]);
    assert!(matches!(collect(), Err(PackError::References { oid, .. }) if oid == Oid::new(1)));
    assert!(!folder.path().join("Data.fs.pack").exists());
    let keep_all = PackOptions { gc: false, ..PackOptions::default() };
    assert!(!site.storage.pack(now(), keep_all, &NoProgress).expect("packed").redundant);
}
