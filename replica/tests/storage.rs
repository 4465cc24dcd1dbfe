//! What a storage does, seen from outside.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Site, place};
use replica::{
    Changed, CommitError, NoProgress, Oid, OpenError, OpenOptions, ReadError, ReadMode, Storage, Tid,
    UndoError, verify,
};

#[test]
fn what_is_committed_is_there_after_a_clean_restart_and_after_a_crash() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    assert!(site.report.created);
    assert_eq!((site.storage.last_tid(), site.storage.max_oid()), (Tid::ZERO, Oid::ROOT));
    let first = site.store(&[(0, b"root"), (7, b"seven")]);
    let checksum = site.storage.checksum();
    site.close();

    let site = Site::open(&path);
    assert_eq!(site.report.scanned_bytes, 0, "a clean stop leaves nothing to read");
    assert_eq!((site.storage.last_tid(), site.storage.checksum()), (first, checksum));
    let second = site.store(&[(7, b"seven again"), (9, b"nine")]);
    assert_eq!(site.load_before(7, second), Some((b"seven".to_vec(), first, Some(second))));
    drop(site);

    let site = Site::open(&path);
    assert_eq!(site.load_before(7, Tid::MAX), Some((b"seven again".to_vec(), second, None)));
    assert_eq!(site.storage.object_count(), 3);
    assert_eq!(site.storage.max_oid(), Oid::new(9));
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("it can be read").problems, []);
}

#[test]
fn load_before_tells_not_yet_from_never_and_deleted() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let mut data = Vec::new();
    let first = site.store(&[(1, b"one")]);
    let mut deletion = site.begin();
    deletion.delete(Oid::new(1)).expect("collected");
    let second = site.commit(deletion);
    let mut load =
        |oid, before| site.storage.load_before(Oid::new(oid), before, ReadMode::MayBlock, &mut data);
    assert!(matches!(load(1, first), Ok(None)));
    assert!(matches!(load(1, second), Ok(Some(revision)) if revision.end == Some(second)));
    assert!(matches!(load(1, Tid::MAX), Err(ReadError::NotFound(_))));
    assert!(matches!(load(2, Tid::MAX), Err(ReadError::NotFound(_))));
    let current = site.storage.current(Oid::new(1), ReadMode::MayBlock).expect("readable").expect("known");
    assert!(current.deleted && current.serial == second);
    let third = site.store(&[(1, b"back")]);
    assert_eq!(site.load_before(1, Tid::MAX), Some((b"back".to_vec(), third, None)));
    let history = site.storage.history(Oid::new(1), 10).expect("readable");
    let sizes: Vec<_> = history.iter().map(|entry| (entry.transaction.tid, entry.size)).collect();
    assert_eq!(sizes, [(third, 4), (second, 0), (first, 3)]);
}

#[test]
fn a_later_store_replaces_an_earlier_one_and_large_transactions_spill() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let mut transaction = site.begin();
    let large: Vec<u8> = (0..9_000_000u32).map(|number| number as u8).collect();
    for oid in 0..6 {
        transaction.store(Oid::new(oid), b"first").expect("collected");
        transaction.store(Oid::new(oid), &large[oid as usize..]).expect("collected");
    }
    assert_eq!(transaction.oids().count(), 6);
    assert_eq!(transaction.data(Oid::new(0)).expect("readable").as_deref(), Some(&large[..]));
    let length = transaction.len_bytes();
    let tid = site.commit(transaction);
    assert_eq!(site.storage.size_bytes(), 4 + length);
    for oid in 0..6 {
        assert_eq!(site.load_before(oid, Tid::MAX), Some((large[oid as usize..].to_vec(), tid, None)));
    }
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("it can be read").problems, []);
}

#[test]
fn tids_that_are_given_must_rise_and_others_go_on() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let last = site.store(&[(1, b"one")]);
    let mut transaction = site.begin();
    transaction.set_tid(last);
    assert!(matches!(site.try_commit(transaction), Err(CommitError::TidNotAbove { .. })));
    let mut transaction = site.begin();
    let far = Tid::new(last.get() + (1 << 40));
    transaction.set_tid(far);
    assert_eq!(site.commit(transaction), far);
    assert_eq!(site.store(&[(1, b"two")]), far.next());
}

#[test]
fn several_undos_in_one_transaction_see_each_other() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let first = site.store(&[(1, b"a"), (2, b"x")]);
    let second = site.store(&[(1, b"b")]);
    let third = site.store(&[(1, b"c")]);
    let mut transaction = site.begin();
    match site.storage.undo(second, &mut transaction) {
        Err(UndoError::Conflicts(conflicts)) => {
            let reason = "Some data were modified by a later transaction".to_owned();
            assert_eq!(conflicts, [(Oid::new(1), reason)]);
        }
        other => panic!("{other:?}"),
    }
    site.storage.undo(third, &mut transaction).expect("the last one");
    site.storage.undo(second, &mut transaction).expect("now the last one");
    assert_eq!(
        site.storage.undo(first, &mut transaction).expect("now the last one"),
        [Oid::new(1), Oid::new(2)]
    );
    site.commit(transaction);
    assert_eq!((site.load(1), site.load(2)), (None, None));
    let mut transaction = site.begin();
    assert!(matches!(site.storage.undo(first.next(), &mut transaction), Err(UndoError::InvalidTransaction)));
}

#[test]
fn a_back_pointer_stands_for_equal_data_only() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let first = site.store(&[(1, b"same")]);
    site.store(&[(1, b"else")]);
    let resolve = |tid, data| site.storage.resolve_back_pointer(Oid::new(1), tid, data).expect("readable");
    assert!(resolve(first, b"same"));
    assert!(!resolve(first, b"diff"));
    assert!(!resolve(first.next(), b"same"));
    let mut transaction = site.begin();
    transaction.store_as(Oid::new(1), first).expect("collected");
    let third = site.commit(transaction);
    assert_eq!(site.load_before(1, Tid::MAX), Some((b"same".to_vec(), third, None)));
    let header =
        site.storage.transactions(Some(third), None).expect("readable").next().expect("one").expect("good");
    let record = site.storage.records(&header).next().expect("one").expect("good");
    assert_eq!((record.data.as_deref(), record.data_tid), (Some(&b"same"[..]), Some(first)));
    let mut transaction = site.begin();
    transaction.store_as(Oid::new(1), first.next()).expect("collected");
    assert!(matches!(site.try_commit(transaction), Err(CommitError::BackPointer { .. })));
}

#[test]
fn changes_since_a_transaction_come_from_the_log() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let tids: Vec<Tid> = (0..5).map(|n| site.store(&[(n, b"x"), (99, b"y")])).collect();
    let changed = site.storage.changed_between(tids[2], Tid::MAX, 10).expect("readable");
    let oids = [3, 99, 4].map(Oid::new).to_vec();
    assert_eq!(changed, Changed::Oids { last: tids[4], oids });
    let changed = site.storage.changed_between(tids[1], tids[2], 10).expect("readable");
    let oids = [2, 99].map(Oid::new).to_vec();
    assert_eq!(changed, Changed::Oids { last: tids[2], oids }, "and no further");
    assert_eq!(site.storage.changed_between(tids[0], Tid::MAX, 3).expect("readable"), Changed::TooMany);
    assert_eq!(site.storage.changed_between(Tid::ZERO, Tid::MAX, 3).expect("readable"), Changed::Unknown);
    assert_eq!(
        site.storage.changed_between(tids[1].next(), Tid::MAX, 9).expect("readable"),
        Changed::Unknown
    );
    let recent = site.storage.recent_transactions(2).expect("readable");
    let expected: Vec<_> = [3, 4].map(|n| (tids[n as usize], vec![Oid::new(n), Oid::new(99)])).to_vec();
    assert_eq!(recent, expected);
    assert_eq!(site.storage.recent_transactions(100).expect("readable").len(), 5);
}

#[test]
fn objects_come_in_order_and_without_deleted_ones() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(3, b"c"), (8, b"h"), (5, b"e"), (9, b"i")]);
    let mut deletion = site.begin();
    deletion.delete(Oid::new(5)).expect("collected");
    deletion.delete(Oid::new(9)).expect("collected");
    site.commit(deletion);
    let mut data = Vec::new();
    let mut next = |from| {
        let record = site.storage.next_record(from, &mut data).expect("readable")?;
        Some((record.oid.get(), record.next.map(Oid::get)))
    };
    assert_eq!(next(None), Some((3, Some(8))));
    assert_eq!(next(Some(Oid::new(4))), Some((8, None)));
    assert_eq!(next(Some(Oid::new(9))), None);
}

#[test]
fn a_second_storage_is_refused_and_a_read_only_one_does_without_the_lock() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let tid = site.store(&[(1, b"one")]);
    let error = Storage::open(&path, &OpenOptions::default(), &NoProgress).err().expect("it is locked");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let (reader, report) = Storage::open(&path, &options, &NoProgress).expect("it opens");
    assert!(!report.locked);
    assert_eq!(common::load_before(&reader, 1, Tid::MAX), Some((b"one".to_vec(), tid, None)));
    assert!(reader.reserve(&reader.begin()).is_err());
    site.close();
    reader.close().expect("it closes");
}

#[test]
fn reserved_space_is_given_back_at_close() {
    use std::os::unix::fs::MetadataExt;
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(1, &[7; 5000])]);
    let blocks = || std::fs::metadata(&path).expect("it is there").blocks();
    let (while_open, length) = (blocks(), site.storage.size_bytes());
    site.close();
    assert!(blocks() <= while_open);
    assert!(blocks() * 512 < length + (64 << 10), "{} blocks for {length} bytes", blocks());
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), length);
}

#[test]
fn readers_see_whole_transactions_while_others_are_committed() {
    let (_directory, path) = place();
    let options = OpenOptions { recent_entries: 200, ..OpenOptions::default() };
    let site = Site::open_with(&path, &options);
    let objects =
        |round: u32| -> Vec<(u64, [u8; 4])> { (0..50).map(|oid| (oid, round.to_be_bytes())).collect() };
    let store = |round| {
        let objects = objects(round);
        let objects: Vec<(u64, &[u8])> = objects.iter().map(|(oid, data)| (*oid, &data[..])).collect();
        site.store(&objects)
    };
    store(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3u64 {
            let (site, done) = (&site, &done);
            scope.spawn(move || {
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let before = site.storage.last_tid().next();
                    let rounds: Vec<_> =
                        (0..50).map(|oid| site.load_before((oid + reader) % 50, before)).collect();
                    let first = rounds[0].clone().expect("it is there");
                    assert!(
                        rounds.iter().flatten().all(|(data, tid, _)| (data, tid) == (&first.0, &first.1))
                    );
                    let round = u32::from_be_bytes(first.0.try_into().expect("four bytes"));
                    assert!(round >= seen, "history goes forwards");
                    seen = round;
                }
            });
        }
        for round in 1..400 {
            store(round);
        }
        done.store(true, Ordering::Relaxed);
    });
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("it can be read").problems, []);
}

#[test]
fn a_stopped_committer_commits_what_is_queued_and_refuses_more() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let tags: Vec<u64> = (0..20)
        .map(|oid| {
            let mut transaction = site.begin();
            transaction.store(Oid::new(oid), b"x").expect("collected");
            site.queue(transaction)
        })
        .collect();
    site.committer.stop();
    for tag in tags {
        site.answers.wait_for(tag).expect("it was queued in time");
    }
    assert!(matches!(site.try_commit(site.begin()), Err(CommitError::Stopped)));
    assert_eq!(site.storage.object_count(), 20);
}

#[test]
fn several_that_are_queued_at_once_are_committed_in_their_order_or_fail_alone() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let transaction = |number: u64, tid: u64| {
        let mut transaction = site.begin();
        transaction.set_tid(Tid::new(tid));
        transaction.store(Oid::new(1), &number.to_be_bytes()).expect("collected");
        let reservation = site.storage.reserve(&transaction).expect("there is space");
        (number, transaction, reservation)
    };
    site.committer.commit_all(Vec::new());
    let tids = [10, 20, 15, 30];
    let all = tids.iter().zip(101..).map(|(tid, number)| transaction(number, *tid)).collect();
    site.committer.commit_all(all);
    for (tid, number) in tids.iter().zip(101..) {
        let answer = site.answers.wait_for(number).map(|committed| committed.tid);
        if *tid == 15 {
            assert!(matches!(answer, Err(CommitError::TidNotAbove { .. })), "{answer:?}");
        } else {
            assert_eq!(answer.expect("committed"), Tid::new(*tid));
        }
    }
    assert_eq!(site.load(1), Some(104u64.to_be_bytes().to_vec()));
    let late = transaction(200, 40);
    site.committer.stop();
    site.committer.commit_all(vec![late]);
    assert!(matches!(site.answers.wait_for(200), Err(CommitError::Stopped)));
}

#[test]
fn an_object_that_is_deleted_after_all_has_no_blob() {
    let (directory, path) = place();
    let blob_dir = Some(directory.path().join("blobs"));
    let site = Site::open_with(&path, &OpenOptions { blob_dir, ..OpenOptions::default() });
    let oid = Oid::new(7);
    let blobs = site.storage.blobs().expect("blobs");
    let staged = || blobs.stage().expect("staged").1;

    let mut transaction = site.begin();
    transaction.store(oid, b"record").expect("collected");
    transaction.attach_blob(oid, staged());
    transaction.delete(oid).expect("collected");
    let tid = site.commit(transaction);
    assert!(!blobs.path(oid, tid).exists(), "a blob that no pack would ever remove");

    let mut transaction = site.begin();
    transaction.delete(oid).expect("collected");
    transaction.store(oid, b"record").expect("collected");
    transaction.attach_blob(oid, staged());
    let tid = site.commit(transaction);
    assert!(blobs.path(oid, tid).exists());
}

#[test]
fn an_object_whose_deletion_is_brought_back_by_the_last_of_several_undos_has_no_blob() {
    let (directory, path) = place();
    let blob_dir = Some(directory.path().join("blobs"));
    let site = Site::open_with(&path, &OpenOptions { blob_dir, ..OpenOptions::default() });
    let oid = Oid::new(7);
    let blobs = site.storage.blobs().expect("blobs");
    let commit = |record: Option<&[u8]>| {
        let mut transaction = site.begin();
        match record {
            Some(record) => transaction.store(oid, record).expect("collected"),
            None => transaction.delete(oid).expect("collected"),
        }
        site.commit(transaction)
    };
    commit(Some(b"first"));
    commit(None);
    let (created, changed) = (commit(Some(b"second")), commit(Some(b"third")));

    let mut transaction = site.begin();
    site.storage.undo(changed, &mut transaction).expect("undone");
    transaction.attach_blob(oid, blobs.stage().expect("staged").1);
    site.storage.undo(created, &mut transaction).expect("undone");
    let tid = site.commit(transaction);
    assert!(!blobs.path(oid, tid).exists(), "a blob that no pack would ever remove");
}
