use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::{Committer, NoProgress, OpenOptions, ReserveError, Series, Storage};

struct Answers(Mutex<Sender<Result<Committed, CommitError>>>);

impl Publish for Answers {
    fn published(&self, batch: Vec<Committed>) {
        for committed in batch {
            self.0.lock().expect("a channel").send(Ok(committed)).expect("somebody listens");
        }
    }

    fn failed(&self, _: u64, error: &CommitError) {
        self.0.lock().expect("a channel").send(Err(error.clone())).expect("somebody listens");
    }
}

type Listener = Receiver<Result<Committed, CommitError>>;

fn open(path: &std::path::Path) -> (Storage, Committer, Arc<Answers>, Listener) {
    let (storage, _) = Storage::open(path, &OpenOptions::default(), &NoProgress).expect("it opens");
    let (sender, listener) = channel();
    let answers = Arc::new(Answers(Mutex::new(sender)));
    let committer = storage.start_committer(answers.clone());
    (storage, committer, answers, listener)
}

fn commit(storage: &Storage, committer: &Committer, listener: &Listener) -> Result<Committed, CommitError> {
    let mut transaction = storage.begin();
    transaction.store(Oid::new(1), b"some data").expect("collected");
    let reservation = storage.reserve(&transaction).expect("there is space");
    committer.commit(0, transaction, reservation);
    listener.recv().expect("an answer")
}

/// Commits several at once, each with a megabyte of data; the expected checksum of one of them may be wrong.
fn commit_several(storage: &Storage, committer: &Committer, number: u64, wrong: Option<u64>) {
    let large = |tag| {
        let mut transaction = storage.begin();
        transaction.store(Oid::new(tag), &vec![tag as u8; 1 << 20]).expect("collected");
        if wrong == Some(tag) {
            transaction.expect_checksum(crate::Checksum::ZERO);
        }
        let reservation = storage.reserve(&transaction).expect("there is space");
        (tag, transaction, reservation)
    };
    committer.commit_all((0..number).map(large).collect());
}

/// One small transaction of a series that others may have been of.
fn commit_in(series: &Series, storage: &Storage, committer: &Committer, wrong: bool) {
    let mut transaction = storage.begin();
    transaction.join(series);
    transaction.store(Oid::new(1), b"some data").expect("collected");
    if wrong {
        transaction.expect_checksum(crate::Checksum::ZERO);
    }
    let reservation = storage.reserve(&transaction).expect("there is space");
    committer.commit(0, transaction, reservation);
}

fn inject(storage: &Storage, fault: Fault) {
    *storage.inner().fault.lock().expect("a fault") = Some(fault);
}

#[test]
fn a_failed_write_is_taken_back_and_the_next_commit_succeeds() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Data.fs");
    let (storage, committer, _answers, listener) = open(&path);
    let first = commit(&storage, &committer, &listener).expect("committed");
    inject(&storage, Fault::Write);
    let error = commit(&storage, &committer, &listener).expect_err("the write fails");
    assert!(matches!(error, CommitError::Write(_)), "{error}");
    assert_eq!(std::fs::metadata(&path).expect("the log").len(), first.size_bytes);
    assert_eq!(storage.last_tid(), first.tid);
    let second = commit(&storage, &committer, &listener).expect("committed");
    storage.close().expect("it closes");
    let report = crate::verify(&path, &NoProgress).expect("readable");
    assert_eq!((report.problems, report.last_tid), (vec![], second.tid));
}

#[test]
fn when_a_piece_of_a_batch_cannot_be_written_none_of_it_is_committed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Data.fs");
    let (storage, committer, _answers, listener) = open(&path);
    let first = commit(&storage, &committer, &listener).expect("committed");
    inject(&storage, Fault::Write);
    commit_several(&storage, &committer, 4, None);
    for _ in 0..4 {
        let error = listener.recv().expect("an answer").expect_err("the write fails");
        assert!(matches!(error, CommitError::Write(_)), "{error}");
    }
    assert_eq!(std::fs::metadata(&path).expect("the log").len(), first.size_bytes);
    let second = commit(&storage, &committer, &listener).expect("committed");
    storage.close().expect("it closes");
    let report = crate::verify(&path, &NoProgress).expect("readable");
    assert_eq!((report.problems, report.last_tid), (vec![], second.tid));
}

#[test]
fn a_transaction_that_fails_within_a_batch_leaves_no_trace_between_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Data.fs");
    let (storage, committer, _answers, listener) = open(&path);
    commit_several(&storage, &committer, 5, Some(3));
    let (done, failed): (Vec<_>, Vec<_>) = listener.iter().take(5).partition(Result::is_ok);
    assert_eq!(done.into_iter().map(|done| done.expect("it is").tag).collect::<Vec<_>>(), [0, 1, 2, 4]);
    assert!(matches!(failed[..], [Err(CommitError::Checksum { .. })]), "{failed:?}");
    for tag in [0, 1, 2, 4] {
        let mut data = Vec::new();
        let read = storage.load_before(Oid::new(tag), Tid::MAX, ReadMode::MayBlock, &mut data);
        assert!(read.expect("readable").is_some());
        assert_eq!(data, vec![tag as u8; 1 << 20]);
    }
    storage.close().expect("it closes");
    assert_eq!(crate::verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn behind_a_transaction_that_is_not_committed_none_of_its_series_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let (storage, committer, _answers, listener) = open(&directory.path().join("Data.fs"));
    let answer = || listener.recv().expect("an answer");
    let (wrong, unwritten) = (Series::default(), Series::default());
    commit_in(&wrong, &storage, &committer, false);
    let first = answer().expect("committed");
    commit_in(&wrong, &storage, &committer, true);
    assert!(matches!(answer(), Err(CommitError::Checksum { .. })));
    inject(&storage, Fault::Write);
    commit_in(&unwritten, &storage, &committer, false);
    assert!(matches!(answer(), Err(CommitError::Write(_))));
    for series in [wrong, unwritten] {
        commit_in(&series, &storage, &committer, false);
        assert!(matches!(answer(), Err(CommitError::SeriesBroken)));
    }
    assert_eq!(storage.last_tid(), first.tid);
    commit_in(&Series::default(), &storage, &committer, false);
    answer().expect("others go on");
}

#[test]
fn after_a_failed_sync_nothing_is_committed_and_a_restart_recovers_what_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Data.fs");
    let (storage, committer, _answers, listener) = open(&path);
    let first = commit(&storage, &committer, &listener).expect("committed");
    inject(&storage, Fault::Sync);
    let waiting = storage.begin();
    let reservation = storage.reserve(&waiting).expect("there is space");
    let error = commit(&storage, &committer, &listener).expect_err("it cannot be known to be durable");
    assert!(matches!(error, CommitError::Failed(_)), "{error}");
    committer.commit(1, waiting, reservation);
    assert!(matches!(listener.recv(), Ok(Err(CommitError::Failed(_)))));
    assert!(matches!(storage.reserve(&storage.begin()), Err(ReserveError::Failed(_))));
    assert_eq!((storage.last_tid(), storage.size_bytes()), (first.tid, first.size_bytes));
    let mut data = Vec::new();
    let found = storage.load_before(Oid::new(1), Tid::MAX, ReadMode::MayBlock, &mut data).expect("readable");
    assert_eq!(found.map(|revision| revision.serial), Some(first.tid));
    storage.close().expect("it closes");
    let (storage, committer, _answers, listener) = open(&path);
    assert!(storage.last_tid() > first.tid, "this time it was on the disk");
    commit(&storage, &committer, &listener).expect("committed");
    storage.close().expect("it closes");
    assert_eq!(crate::verify(&path, &NoProgress).expect("readable").problems, []);
}
