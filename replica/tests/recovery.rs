//! What opening does after crashes and other mishaps.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{Site, place};
use replica::{
    IndexComparison, IndexSource, NoProgress, Oid, OpenError, OpenOptions, Progress, ReadError, ReadMode,
    ReserveError, Storage, Tid, verify,
};

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn note(&self, message: &str) {
        self.0.lock().expect("notes").push(message.to_owned());
    }
}

fn open(path: &Path) -> Result<(Storage, replica::OpenReport, Vec<String>), OpenError> {
    let notes = Notes::default();
    let (storage, report) = Storage::open(path, &OpenOptions::default(), &notes)?;
    Ok((storage, report, notes.0.into_inner().expect("notes")))
}

fn index_of(path: &Path) -> std::path::PathBuf {
    path.with_extension("fs.standby").join("index.redb")
}

/// A log of five transactions: its bytes, and each one's tid and end.
fn log_of_five(path: &Path) -> (Vec<u8>, Vec<(Tid, u64)>) {
    let site = Site::open(path);
    let mut ends: Vec<(Tid, u64)> = Vec::new();
    for number in 0..5u8 {
        let tid = if number == 3 {
            site.undo(ends[2].0)
        } else {
            site.store(&[(1, &[number; 9]), (u64::from(number) + 10, b"some data")])
        };
        ends.push((tid, site.storage.size_bytes()));
    }
    site.close();
    (fs::read(path).expect("the log"), ends)
}

#[test]
fn a_log_torn_at_any_byte_loses_the_torn_transaction_only_and_keeps_its_bytes() {
    let (_directory, path) = place();
    let (log, ends) = log_of_five(&path);
    for with_index in [true, false] {
        for length in (ends[2].1 as usize..log.len()).step_by(if with_index { 1 } else { 7 }) {
            let (_directory, path) = place();
            // The index covers the first three transactions, or nothing.
            fs::write(&path, &log[..ends[2].1 as usize]).expect("written");
            if with_index {
                open(&path).expect("whole").0.close().expect("closed");
            }
            fs::write(&path, &log[..length]).expect("written");
            let (tid, end) = *ends.iter().rev().find(|(_, end)| *end <= length as u64).expect("the third");
            let (storage, report, notes) = open(&path).expect("it opens");
            assert_eq!((storage.last_tid(), storage.size_bytes()), (tid, end), "{length}");
            assert_eq!(fs::metadata(&path).expect("the log").len(), end);
            if end == length as u64 {
                assert_eq!(report.cut, None);
                continue;
            }
            let cut = report.cut.expect("something was cut off");
            assert_eq!((cut.position, cut.bytes), (end, length as u64 - end));
            assert!(notes.iter().any(|note| note.contains("cut off")), "{notes:?}");
            let saved = fs::read(cut.saved_to.expect("saved")).expect("the saved bytes");
            assert_eq!(saved, &log[end as usize..length]);
        }
    }
}

#[test]
fn holes_and_zeros_at_the_end_are_cut_off() {
    let (_directory, path) = place();
    let (log, ends) = log_of_five(&path);
    let third = ends[2].1 as usize;
    let fourth = ends[3].1 as usize;
    let mut cases = Vec::new();
    // Only the length of the file arrived.
    let mut zeros = log[..third].to_vec();
    zeros.resize(log.len(), 0);
    cases.push(zeros);
    // The second of two transactions of one append arrived, the first did not, or not all of it.
    let mut hole = log.clone();
    hole[third..fourth].fill(0);
    cases.push(hole);
    let mut hole = log.clone();
    hole[third + 30..fourth - 8].fill(0);
    cases.push(hole);
    // ZODB had voted and not finished.
    let mut voted = log[..fourth].to_vec();
    voted[third + 16] = b'c';
    cases.push(voted);
    for (number, bytes) in cases.into_iter().enumerate() {
        let (_directory, path) = place();
        fs::write(&path, &bytes).expect("written");
        let (storage, report, _) = open(&path).expect("it opens");
        assert_eq!((storage.last_tid(), storage.size_bytes()), ends[2], "case {number}");
        let cut = report.cut.expect("something was cut off");
        assert_eq!(fs::read(cut.saved_to.expect("saved")).expect("the saved bytes"), &bytes[third..]);
    }
}

#[test]
fn damage_to_what_was_committed_is_refused() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let start = Tid::from_time(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000));
    for hour in 0..5u64 {
        let mut transaction = site.begin();
        transaction.set_tid(Tid::new(start.get() + ((hour * 60) << 32)));
        transaction.store(Oid::new(hour), &[1; 100]).expect("collected");
        site.commit(transaction);
    }
    site.close();
    let log = fs::read(&path).expect("the log");
    let length = (log.len() - 4) / 5;
    let refused = |position: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let (_directory, path) = place();
        let mut bytes = log.clone();
        change(&mut bytes);
        fs::write(&path, &bytes).expect("written");
        let error = open(&path).err().expect("it is refused");
        assert!(matches!(error, OpenError::Damaged { position: at, .. } if at == position as u64), "{error}");
        assert_eq!(fs::read(&path).expect("the log"), bytes, "nothing changed");
        let report = verify(&path, &NoProgress).expect("readable");
        assert!(report.problems.iter().any(|problem| problem.position == position as u64), "{report:?}");
    };
    let second = 4 + length;
    // A record's header, the length, the status, the tid.
    refused(second, &|bytes| bytes[second + 23 + 40 - 4] ^= 0x10);
    refused(second, &|bytes| bytes[second + 9] = 0x77);
    refused(second, &|bytes| bytes[second + 16] = b'x');
    let last = 4 + 4 * length;
    refused(last, &|bytes| bytes[last + 16] = b'x');
    refused(last, &|bytes| {
        bytes[last..last + 8].copy_from_slice(&[0; 8]);
        bytes[last + 23 + 8..last + 23 + 16].copy_from_slice(&[0; 8]);
    });
}

#[test]
fn a_lost_a_damaged_and_a_foreign_index_are_made_anew() {
    let (_directory, path) = place();
    let (log, ends) = log_of_five(&path);
    let (_other_directory, other) = place();
    log_of_five(&other);
    let index = index_of(&path);
    let check = |expected: IndexSource, noted: bool| {
        let (storage, report, notes) = open(&path).expect("it opens");
        assert_eq!(report.index, expected);
        assert_eq!(notes.is_empty(), !noted, "{notes:?}");
        assert_eq!(common::load_before(&storage, 1, Tid::MAX).expect("there").1, ends[4].0);
        assert_eq!((storage.last_tid(), storage.object_count()), (ends[4].0, 5));
        storage.close().expect("closed");
        let report = verify(&path, &NoProgress).expect("readable");
        assert_eq!((report.problems, report.index), (vec![], IndexComparison::Compared { up_to: ends[4].0 }));
    };
    check(IndexSource::File, false);
    fs::remove_file(&index).expect("removed");
    check(IndexSource::Built, false);
    fs::write(&index, b"not a database").expect("written");
    check(IndexSource::Rebuilt, true);
    fs::write(&index, b"").expect("written");
    check(IndexSource::Rebuilt, true);
    let length = fs::metadata(&index).expect("there").len();
    fs::File::options().write(true).open(&index).expect("there").set_len(length / 2).expect("cut");
    check(IndexSource::Rebuilt, true);
    fs::copy(index_of(&other), &index).expect("copied");
    check(IndexSource::Rebuilt, true);

    // A backup was restored that ends earlier, and others wrote on.
    fs::write(&path, &log[..ends[1].1 as usize]).expect("written");
    let (storage, report, _) = open(&path).expect("it opens");
    assert_eq!((report.index, storage.last_tid()), (IndexSource::Rebuilt, ends[1].0));
}

#[test]
fn verify_finds_what_is_wrong_with_log_and_index() {
    let (_directory, path) = place();
    let (log, ends) = log_of_five(&path);
    // A byte of data changes: only the running checksum can tell.
    let mut bytes = log.clone();
    let data = ends[1].1 as usize + 23 + 8 + 42 + 2;
    bytes[data] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let report = verify(&path, &NoProgress).expect("readable");
    assert!(report.problems.iter().any(|problem| problem.what.contains("checksum")), "{report:?}");
    assert_eq!((report.transactions, report.last_tid), (5, ends[4].0));
    // A previous pointer leads nowhere.
    let mut bytes = log.clone();
    bytes[ends[1].1 as usize + 23 + 8 + 16..][..8].copy_from_slice(&5u64.to_be_bytes());
    fs::write(&path, &bytes).expect("written");
    let report = verify(&path, &NoProgress).expect("readable");
    assert!(report.problems.iter().any(|problem| problem.what.contains("previous record")), "{report:?}");
    fs::write(&path, &log).expect("written");
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn verify_runs_beside_a_server() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(1, b"one")]);
    let report = verify(&path, &NoProgress).expect("readable");
    assert_eq!((report.problems, report.objects, report.checksum), (vec![], 1, site.storage.checksum()));
    assert!(matches!(report.index, IndexComparison::Skipped { .. }));
}

#[test]
fn other_files_are_not_touched() {
    let (_directory, path) = place();
    fs::write(&path, b"SQLite format 3").expect("written");
    assert!(matches!(open(&path), Err(OpenError::NotFileStorage { .. })));
    let options = OpenOptions { create: false, ..OpenOptions::default() };
    let missing = path.with_extension("other");
    assert!(matches!(Storage::open(&missing, &options, &NoProgress), Err(OpenError::Missing(_))));
    assert!(!path.with_extension("other.lock").exists(), "a lock beside nothing");
    // An old log, and one that nothing has been written to.
    fs::write(&path, b"FS21").expect("written");
    open(&path).expect("it opens").0.close().expect("closed");
    fs::write(&path, b"").expect("written");
    let (storage, _, _) = open(&path).expect("it opens");
    assert_eq!(storage.size_bytes(), 4);
    assert_eq!(fs::read(&path).expect("the log"), b"FS30");
}

/// A small filesystem, which goes away with this. Needs to be root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        println!("not tried: no filesystem can be mounted here ({mounted:?})");
        None
    }

    fn log(&self) -> std::path::PathBuf {
        self.0.path().join("Data.fs")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).expect("made");
        while filler.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a failed test may still have files open.
        let unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        println!("unmounted: {unmounted:?}");
    }
}

fn poll(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_shows_when_space_is_reserved_and_passes() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let site = Site::open(&disk.log());
    let transaction = |bytes: usize| {
        let mut transaction = site.begin();
        transaction.store(Oid::new(1), &vec![1; bytes]).expect("collected");
        transaction
    };
    let first = site.commit(transaction(1000));
    let held = site.storage.reserve(&transaction(4 << 20)).expect("there is space");
    let error = site.storage.reserve(&transaction(8 << 20)).err();
    assert!(matches!(error, Some(ReserveError::NoSpace { .. })), "{error:?}");
    drop(held);
    // What one gave back another can have, even when somebody else takes all the rest.
    let held = site.storage.reserve(&transaction(4 << 20)).expect("there is space");
    disk.fill();
    drop(held);
    let tid = site.commit(transaction(4 << 20));
    assert!(tid > first);
    disk.free();
    site.close();
    let site = Site::open(&disk.log());
    assert_eq!(site.storage.last_tid(), tid);
    assert_eq!(site.load(1), Some(vec![1; 4 << 20]));
    site.close();
}

#[test]
fn an_index_that_met_a_full_disk_recovers_when_there_is_space_again() {
    let Some(disk) = SmallDisk::mount("32m") else { return };
    let site = Site::open(&disk.log());
    site.store(&[(1, b"one")]);
    site.close();
    let options = OpenOptions { recent_entries: 0, index_cache_bytes: 64 << 10, ..OpenOptions::default() };
    let site = Site::open_with(&disk.log(), &options);
    let many = |byte: u8| {
        let mut transaction = site.begin();
        for oid in 10..80_010 {
            transaction.store(Oid::new(oid), &[byte; 20]).expect("collected");
        }
        transaction
    };
    drop(site.storage.reserve(&many(1)).expect("there is space"));
    disk.fill();
    let tid = site.commit(many(1));
    let mut data = Vec::new();
    let mut works =
        |oid| match site.storage.load_before(Oid::new(oid), Tid::MAX, ReadMode::MayBlock, &mut data) {
            Ok(found) => found.is_some(),
            Err(ReadError::Index(_)) => false,
            Err(error) => panic!("{error}"),
        };
    poll("the index meets the full disk", || !works(1));
    assert!(works(10) && works(80_009), "what the index does not have is in memory");
    disk.free();
    poll("the index recovers", || works(1));
    assert_eq!(site.load_before(80_009, Tid::MAX), Some((vec![1; 20], tid, None)));
    site.close();
    let report = verify(&disk.log(), &NoProgress).expect("readable");
    assert_eq!((report.problems, report.index), (vec![], IndexComparison::Compared { up_to: tid }));
}
