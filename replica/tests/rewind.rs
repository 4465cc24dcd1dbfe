//! Taking lost transactions back: what is left is as if they had never been, and nothing of them is gone.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::packing::{objects, record};
use common::{Site, place};
use replica::{
    Export, IndexSource, NoProgress, Oid, OpenOptions, PackOptions, Progress, ReadError, ReadMode, Record,
    RewindError, RewindReport, RewindStage, SavedChanges, Storage, Tid, verify,
};

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("copied");
        }
    }
}

fn rewind(site: &Site, fork: Tid) -> RewindReport {
    site.storage.rewind(fork, &site.storage.lost_folder(), &NoProgress).expect("rewound")
}

/// All transactions after one, as they mean, wherever they lie.
type Transaction = (Tid, u8, Vec<u8>, Vec<u8>, Vec<u8>, Vec<(Oid, Option<Vec<u8>>)>);

fn history(storage: &Storage, after: Tid) -> Vec<Transaction> {
    let from = Some(Tid::new(after.get() + 1));
    let transactions = storage.transactions(from, None).expect("readable");
    transactions
        .map(|header| {
            let header = header.expect("readable");
            let records = storage.records(&header).map(|record| {
                let Record { oid, serial, data, .. } = record.expect("readable");
                assert_eq!(serial, header.tid);
                (oid, data)
            });
            let records = records.collect();
            (header.tid, header.status, header.user, header.description, header.extension, records)
        })
        .collect()
}

/// Some history with everything in it: changes, undos, deletions, an empty transaction.
fn write_some(site: &Site, rounds: u64) {
    for round in 0..rounds {
        let text = format!("round {round}");
        let changed = site.store(&[(0, &record(&[1, 2, 3], &text)), (1 + round % 7, &record(&[], &text))]);
        if round % 5 == 1 {
            site.undo(changed);
        }
        if round % 5 == 2 {
            let mut transaction = site.begin();
            transaction.set_metadata("jürgen".as_bytes(), b"deletes", b"\x80\x03}.").expect("short");
            transaction.delete(Oid::new(1 + round % 7)).expect("collected");
            transaction.store(Oid::new(20 + round), &record(&[], &text)).expect("collected");
            site.commit(transaction);
        }
        if round % 11 == 3 {
            site.commit(site.begin());
        }
    }
}

/// The storage is the same as one that never had more.
fn check_same(site: Site, never: Site, max_oid: Oid) {
    assert_eq!(site.storage.last_place(), never.storage.last_place());
    assert_eq!(site.storage.object_count(), never.storage.object_count());
    assert_eq!(site.storage.size_bytes(), never.storage.size_bytes());
    assert_eq!(site.storage.max_oid(), max_oid, "no oid is issued again");
    assert_eq!(history(&site.storage, Tid::ZERO), history(&never.storage, Tid::ZERO));
    assert_eq!(objects(&site.storage), objects(&never.storage));
    for oid in 0..100 {
        assert_eq!(site.load(oid), never.load(oid), "object {oid}");
        let current =
            |site: &Site| site.storage.current(Oid::new(oid), ReadMode::MayBlock).expect("readable");
        assert_eq!(current(&site), current(&never), "object {oid}");
    }
    let path = site.storage.path().to_owned();
    let never_path = never.storage.path().to_owned();
    site.close();
    never.close();
    assert_eq!(std::fs::read(&path).expect("a log"), std::fs::read(&never_path).expect("a log"));
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
    let site = Site::open(&path);
    assert_eq!((site.report.index, site.report.scanned_bytes), (IndexSource::File, 0), "no rebuild");
    assert_eq!(site.storage.max_oid(), max_oid);
    site.close();
    // The oids are remembered without an index, too.
    std::fs::remove_file(path.with_file_name("Data.fs.standby").join("index.redb")).expect("an index");
    let site = Site::open(&path);
    assert_eq!(site.storage.max_oid(), max_oid);
    site.close();
}

fn saved_history(report: &RewindReport) -> Vec<Transaction> {
    let path = report.saved_to.as_ref().expect("something was saved");
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let (storage, _) = Storage::open(path, &options, &NoProgress).expect("it opens");
    assert_eq!(verify(path, &NoProgress).expect("readable").problems, []);
    history(&storage, Tid::ZERO)
}

fn open_copy(of: &Path) -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(of, folder.path());
    let site = Site::open(&folder.path().join("Data.fs"));
    (folder, site)
}

#[test]
fn what_is_left_is_as_if_the_lost_had_never_been_and_the_lost_are_saved() {
    for (kept, lost) in [(0, 3), (30, 1), (30, 60)] {
        let (folder, path) = place();
        let site = Site::open(&path);
        write_some(&site, kept);
        site.close();
        let (_never_folder, never) = open_copy(folder.path());
        let site = Site::open(&path);
        let fork = site.storage.last_tid();
        write_some(&site, lost);
        let (max_oid, last) = (site.storage.max_oid(), site.storage.last_tid());
        let expected = history(&site.storage, fork);

        let report = rewind(&site, fork);
        assert_eq!(report.end, never.storage.last_place());
        let tids: Vec<_> = report.transactions.iter().map(|lost| lost.tid).collect();
        assert_eq!(tids, expected.iter().map(|transaction| transaction.0).collect::<Vec<_>>());
        let oids: BTreeSet<_> = expected.iter().flat_map(|lost| lost.5.iter().map(|(oid, _)| *oid)).collect();
        assert_eq!(report.oids, oids.into_iter().collect::<Vec<_>>());
        let saved = site.storage.saved().expect("a list");
        let [saved] = &saved[..] else { panic!("one file was saved: {saved:?}") };
        assert_eq!((Some(&saved.path), saved.fork), (report.saved_to.as_ref(), report.end.tid));
        let (count, counted) = saved.count();
        counted.expect("it is whole");
        assert_eq!(count, tids.len() as u64);
        let changes = |wanted| saved.changes(wanted).expect("what it has");
        let all = SavedChanges { tids: tids.clone(), oids: report.oids.clone() };
        assert_eq!(changes(tids.len().max(report.oids.len())), Some(all));
        assert_eq!(changes(report.oids.len() - 1), None);
        assert_eq!(saved_history(&report), expected);
        let name = report.saved_to.clone().expect("saved");
        let name = name.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.starts_with(&format!("{:016x}-{:016x}-", fork.get(), last.get())), "{name}");
        check_same(site, never, max_oid);
    }
}

#[test]
fn a_hundred_thousand_transactions_are_taken_back() {
    let (folder, path) = place();
    let site = Site::open(&path);
    write_some(&site, 20);
    site.close();
    let (_never_folder, never) = open_copy(folder.path());
    let site = Site::open(&path);
    let fork = site.storage.last_tid();
    let mut tag = 0;
    for number in 0..100_000u64 {
        let mut transaction = site.begin();
        transaction.store(Oid::new(number % 30_000), &number.to_be_bytes()).expect("collected");
        tag = site.queue(transaction);
    }
    site.answers.wait_for(tag).expect("committed");
    let report = rewind(&site, fork);
    assert_eq!((report.transactions.len(), report.oids.len()), (100_000, 30_000));
    let saved = saved_history(&report);
    assert_eq!(saved.len(), 100_000);
    for (number, transaction) in saved.iter().enumerate() {
        let number = number as u64;
        let data = number.to_be_bytes().to_vec();
        assert_eq!(transaction.5, [(Oid::new(number % 30_000), Some(data))]);
    }
    check_same(site, never, Oid::new(29_999));
}

#[test]
fn commits_go_on_after_a_rewind_and_it_can_be_done_again() {
    let (_folder, path) = place();
    let site = Site::open(&path);
    write_some(&site, 10);
    let fork = site.storage.last_tid();
    for round in 0..5u8 {
        write_some(&site, 6);
        assert!(!rewind(&site, fork).transactions.is_empty());
        assert_eq!(site.storage.last_tid(), fork);
        let kept = site.store(&[(1, &[round; 10]), (99, b"new")]);
        assert_eq!(site.load(1), Some(vec![round; 10]));
        let report = rewind(&site, fork);
        assert_eq!(report.transactions.iter().map(|lost| lost.tid).collect::<Vec<_>>(), [kept]);
        assert_eq!(site.load(99), None);
    }
    let nothing = rewind(&site, fork);
    assert_eq!((nothing.transactions.len(), nothing.saved_to), (0, None));
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

struct At<F: Fn(RewindStage) + Send + Sync>(F);

impl<F: Fn(RewindStage) + Send + Sync> Progress for At<F> {
    fn rewinding(&self, stage: RewindStage) {
        (self.0)(stage);
    }
}

fn store_blob(site: &Site, content: &[u8]) -> Tid {
    let mut transaction = site.begin();
    transaction.store(Oid::new(50), b"\x80\x03cZODB.blob\nBlob\n.\x80\x03N.").expect("collected");
    let (mut file, staged) = site.storage.blobs().expect("blobs").stage().expect("staged");
    std::io::Write::write_all(&mut file, content).expect("written");
    transaction.attach_blob(Oid::new(50), staged);
    site.commit(transaction)
}

fn with_blobs(folder: &Path) -> OpenOptions {
    OpenOptions { blob_dir: Some(folder.join("blobs")), ..OpenOptions::default() }
}

fn saved_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("Data.fs.standby/lost")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "fs")).collect()
}

#[test]
fn a_crash_at_any_stage_leaves_all_or_nothing_of_a_rewind() {
    let (folder, path) = place();
    let crashed = tempfile::tempdir().expect("a folder");
    let site = Site::open_with(&path, &with_blobs(folder.path()));
    write_some(&site, 10);
    let kept_blob = store_blob(&site, b"kept");
    let fork = site.storage.last_place();
    let expected = objects(&site.storage);
    site.close();
    let site = Site::open_with(&path, &with_blobs(folder.path()));
    write_some(&site, 7);
    let lost_blob = store_blob(&site, b"lost");
    let lost = history(&site.storage, fork.tid);
    let before = (site.storage.last_place(), objects(&site.storage), site.storage.max_oid());

    let stages = Mutex::new(Vec::new());
    let progress = At(|stage| {
        let mut stages = stages.lock().expect("stages");
        copy_folder(folder.path(), &crashed.path().join(stages.len().to_string()));
        stages.push(stage);
    });
    let report = site.storage.rewind(fork.tid, &site.storage.lost_folder(), &progress).expect("rewound");
    site.close();
    let last = stages.lock().expect("stages").len();
    copy_folder(folder.path(), &crashed.path().join(last.to_string()));
    let stages = stages.into_inner().expect("stages");
    use RewindStage::{BlobsRemoved, Cut, Indexed, Noted, Saved, Switched};
    assert_eq!(stages, [Saved, Noted, Indexed, Switched, Cut, BlobsRemoved]);
    assert_eq!(saved_history(&report), lost);

    for number in 0..=last {
        let folder = crashed.path().join(number.to_string());
        let path = folder.join("Data.fs");
        let site = Site::open_with(&path, &with_blobs(&folder));
        let blobs = site.storage.blobs().expect("blobs").clone();
        let stage = stages.get(number);
        assert!(blobs.path(Oid::new(50), kept_blob).exists(), "{stage:?}");
        if stage == Some(&Saved) {
            assert_eq!(before, (site.storage.last_place(), objects(&site.storage), site.storage.max_oid()));
            assert!(blobs.path(Oid::new(50), lost_blob).exists());
            assert_eq!(saved_files(&folder), Vec::<PathBuf>::new());
            rewind(&site, fork.tid);
        } else if stage.is_some() {
            assert_ne!(site.report.index, IndexSource::Rebuilt, "{stage:?}");
        }
        assert_eq!((site.storage.last_place(), site.storage.max_oid()), (fork, before.2), "{stage:?}");
        assert_eq!(objects(&site.storage), expected, "{stage:?}");
        assert!(!blobs.path(Oid::new(50), lost_blob).exists(), "{stage:?}");
        let saved = saved_files(&folder);
        assert_eq!(saved.len(), 1, "{stage:?}: {saved:?}");
        let report = RewindReport { saved_to: Some(saved[0].clone()), ..report.clone() };
        assert_eq!(saved_history(&report), lost, "{stage:?}");
        let lost_blobs = replica::BlobStore::open(&saved[0].with_extension("blobs")).expect("blobs");
        let content = std::fs::read(lost_blobs.path(Oid::new(50), lost_blob)).expect("the blob is saved");
        assert_eq!(content, b"lost");
        // It goes on from there.
        write_some(&site, 3);
        site.close();
        assert_eq!(verify(&path, &NoProgress).expect("readable").problems, [], "{stage:?}");
        assert!(!folder.join("Data.fs.standby/rewind").exists(), "{stage:?}");
    }
}

#[test]
fn a_log_that_somebody_else_has_written_meanwhile_is_not_cut() {
    let (folder, path) = place();
    let crashed = tempfile::tempdir().expect("a folder");
    let site = Site::open(&path);
    write_some(&site, 5);
    let fork = site.storage.last_tid();
    write_some(&site, 5);
    let progress = At(|stage| {
        if stage == RewindStage::Noted {
            copy_folder(folder.path(), crashed.path());
        }
    });
    site.storage.rewind(fork, &site.storage.lost_folder(), &progress).expect("rewound");
    site.close();
    let path = crashed.path().join("Data.fs");
    // Without its folder it is a log like any other, as for a stock server.
    let ours = crashed.path().join("Data.fs.standby");
    std::fs::rename(&ours, crashed.path().join("away")).expect("moved");
    let site = Site::open(&path);
    let written = site.store(&[(1, b"by somebody else")]);
    site.close();
    std::fs::remove_dir_all(&ours).expect("removed");
    std::fs::rename(crashed.path().join("away"), &ours).expect("moved back");
    let site = Site::open(&path);
    assert_eq!((site.storage.last_tid(), site.load(1)), (written, Some(b"by somebody else".to_vec())));
    assert!(!ours.join("rewind").exists());
    site.close();
}

#[test]
fn what_cannot_be_taken_back_is_refused_and_nothing_changes() {
    let (_folder, path) = place();
    let site = Site::open(&path);
    let first = site.store(&[(0, &record(&[1], "root")), (1, &record(&[], "one"))]);
    let second = site.store(&[(1, &record(&[], "two"))]);
    site.storage.pack(second, PackOptions::default(), &NoProgress).expect("packed");
    let third = site.store(&[(1, &record(&[], "three"))]);
    let place = site.storage.last_place();
    for fork in [Tid::ZERO, first, Tid::new(second.get() + 1), Tid::new(third.get() + 1)] {
        let refused = site.storage.rewind(fork, &site.storage.lost_folder(), &NoProgress);
        assert!(matches!(refused, Err(RewindError::CannotRewind { .. })), "{fork}: {refused:?}");
    }
    assert_eq!(site.storage.last_place(), place);
    assert!(!site.storage.lost_folder().exists());
    // Back to the end of what was packed is possible.
    rewind(&site, second);
    assert_eq!(site.storage.last_tid(), second);
    assert_eq!(site.load(1), Some(record(&[], "two")));
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn an_export_goes_on_before_the_fork_and_ends_behind_it() {
    let (_folder, path) = place();
    let site = Site::open(&path);
    let first = site.store(&[(1, b"first")]);
    let fork = site.store(&[(1, b"second")]);
    site.store(&[(1, b"lost")]);
    let step = |exporter: &mut replica::Exporter| {
        let next = exporter.next(&mut Vec::new())?;
        Ok::<_, ReadError>(next.map(|next| next.tid))
    };
    let mut transactions = site.storage.transactions(None, None).expect("readable");
    let headers: Vec<_> = transactions.by_ref().map(|header| header.expect("readable")).collect();
    let mut before = site.storage.export(Tid::ZERO, Export::All).expect("readable");
    let mut behind = site.storage.export(fork, Export::All).expect("readable");
    let mut current = site.storage.export(Tid::ZERO, Export::Current).expect("readable");
    assert_eq!(step(&mut before).expect("readable"), Some(first));
    assert!(step(&mut behind).expect("readable").is_some());
    rewind(&site, fork);
    let later = site.store(&[(1, b"later")]);
    assert_eq!(step(&mut before).expect("readable"), Some(fork));
    assert_eq!(step(&mut before).expect("readable"), Some(later));
    assert_eq!(step(&mut before).expect("readable"), None);
    assert!(matches!(step(&mut behind), Err(ReadError::Gone)));
    assert!(matches!(step(&mut current), Err(ReadError::Gone)), "its anchor is lost");
    // What lies where the lost one was is not taken for it.
    let read = |at: usize| transactions.records(&headers[at]).next().expect("a record");
    assert_eq!(read(1).expect("it is still there").data.as_deref(), Some(&b"second"[..]));
    assert!(matches!(read(2), Err(ReadError::Gone)));
}

/// What an object holds as of a transaction: nobody can take it for another's.
fn content(oid: u64, tid: Tid) -> Vec<u8> {
    let length = 100 + (oid * 7 + tid.get() * 13) % 3000;
    format!("{oid}@{tid};").into_bytes().into_iter().cycle().take(length as usize).collect()
}

#[test]
fn readers_never_take_one_history_for_another() {
    const OBJECTS: u64 = 20;
    let (_folder, path) = place();
    let site = Site::open(&path);
    let clock = AtomicU64::new(1);
    let write = |count: u64| {
        let mut tag = 0;
        for _ in 0..count {
            let tid = Tid::new(clock.fetch_add(1, Ordering::SeqCst));
            let mut transaction = site.begin();
            transaction.set_tid(tid);
            for oid in [tid.get() % OBJECTS, tid.get() * 7 % OBJECTS] {
                transaction.store(Oid::new(oid), &content(oid, tid)).expect("collected");
            }
            tag = site.queue(transaction);
        }
        site.answers.wait_for(tag).expect("committed").tid
    };
    let fork = write(OBJECTS);
    let done = AtomicBool::new(false);
    let loads = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                let (storage, done) = (site.storage.clone(), &done);
                scope.spawn(move || {
                    let (mut buffer, mut loads) = (Vec::new(), 0u64);
                    while !done.load(Ordering::SeqCst) {
                        let oid = (loads * 11 + seed) % OBJECTS;
                        let before = if loads % 3 == 0 { storage.last_tid() } else { Tid::MAX };
                        match storage.load_before(Oid::new(oid), before, ReadMode::MayBlock, &mut buffer) {
                            Ok(Some(revision)) => assert_eq!(buffer, content(oid, revision.serial)),
                            Ok(None) | Err(ReadError::NotFound(_) | ReadError::Gone) => {}
                            Err(error) => panic!("{error}"),
                        }
                        loads += 1;
                    }
                    loads
                })
            })
            .collect();
        for _ in 0..30 {
            write(50);
            rewind(&site, fork);
        }
        done.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().expect("no reader was wrong")).sum::<u64>()
    });
    assert!(loads > 1000, "{loads} loads");
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}
