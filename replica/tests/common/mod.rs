//! What the tests share: a storage with its committer, which waits for each answer.
#![allow(dead_code, unreachable_pub)]

pub mod packing;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use replica::{
    CommitError, Committed, Committer, NoProgress, Oid, OpenOptions, OpenReport, Publish, ReadError,
    ReadMode, ReserveError, Storage, Tid, Transaction,
};

/// Keeps the answers of a committer.
#[derive(Default)]
pub struct Answers {
    answers: Mutex<Vec<(u64, Result<Committed, CommitError>)>>,
    arrived: Condvar,
}

impl Publish for Answers {
    fn published(&self, batch: Vec<Committed>) {
        let mut answers = self.answers.lock().expect("answers");
        answers.extend(batch.into_iter().map(|committed| (committed.tag, Ok(committed))));
        self.arrived.notify_all();
    }

    fn failed(&self, tag: u64, error: &CommitError) {
        self.answers.lock().expect("answers").push((tag, Err(error.clone())));
        self.arrived.notify_all();
    }
}

impl Answers {
    pub fn wait_for(&self, tag: u64) -> Result<Committed, CommitError> {
        let answers = self.answers.lock().expect("answers");
        let (mut answers, late) = self
            .arrived
            .wait_timeout_while(answers, Duration::from_secs(60), |answers| {
                !answers.iter().any(|(of, _)| *of == tag)
            })
            .expect("answers");
        assert!(!late.timed_out(), "no answer for {tag}");
        let at = answers.iter().position(|(of, _)| *of == tag).expect("it is there");
        answers.swap_remove(at).1
    }
}

/// A storage that can commit.
pub struct Site {
    pub storage: Storage,
    pub report: OpenReport,
    pub committer: Committer,
    pub answers: Arc<Answers>,
    tags: AtomicU64,
}

impl Site {
    pub fn open(path: &Path) -> Self {
        Self::open_with(path, &OpenOptions::default())
    }

    pub fn open_with(path: &Path, options: &OpenOptions) -> Self {
        let (storage, report) = Storage::open(path, options, &NoProgress).expect("the storage opens");
        let answers = Arc::new(Answers::default());
        let committer = storage.start_committer(answers.clone());
        Self { storage, report, committer, answers, tags: AtomicU64::new(1) }
    }

    pub fn begin(&self) -> Transaction {
        self.storage.begin()
    }

    pub fn queue(&self, transaction: Transaction) -> u64 {
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        let reservation = self.storage.reserve(&transaction).expect("there is space");
        self.committer.commit(tag, transaction, reservation);
        tag
    }

    pub fn try_commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        let reservation = match self.storage.reserve(&transaction) {
            Ok(reservation) => reservation,
            // Found out a little earlier than by the committer.
            Err(ReserveError::NothingToPointTo { oid, data_tid }) => {
                return Err(CommitError::BackPointer { oid, data_tid });
            }
            Err(error) => panic!("there is no space: {error}"),
        };
        self.committer.commit(tag, transaction, reservation);
        self.answers.wait_for(tag)
    }

    pub fn commit(&self, transaction: Transaction) -> Tid {
        self.try_commit(transaction).expect("it is committed").tid
    }

    /// Commits these objects' data.
    pub fn store(&self, objects: &[(u64, &[u8])]) -> Tid {
        let mut transaction = self.begin();
        transaction.set_metadata(b"user", b"test", b"").expect("short");
        for (oid, data) in objects {
            transaction.store(Oid::new(*oid), data).expect("it is collected");
        }
        self.commit(transaction)
    }

    pub fn undo(&self, tid: Tid) -> Tid {
        let mut transaction = self.begin();
        self.storage.undo(tid, &mut transaction).expect("it can be undone");
        self.commit(transaction)
    }

    /// The object's data before a tid; `None` when it is not there.
    pub fn load_before(&self, oid: u64, before: Tid) -> Option<(Vec<u8>, Tid, Option<Tid>)> {
        load_before(&self.storage, oid, before)
    }

    pub fn load(&self, oid: u64) -> Option<Vec<u8>> {
        self.load_before(oid, Tid::MAX).map(|(data, _, _)| data)
    }

    pub fn close(self) {
        self.storage.close().expect("it closes");
    }
}

pub fn load_before(storage: &Storage, oid: u64, before: Tid) -> Option<(Vec<u8>, Tid, Option<Tid>)> {
    let mut data = Vec::new();
    match storage.load_before(Oid::new(oid), before, ReadMode::MayBlock, &mut data) {
        Ok(Some(revision)) => Some((data, revision.serial, revision.end)),
        Ok(None) | Err(ReadError::NotFound(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A path for a log in a folder that goes away.
pub fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Data.fs");
    (directory, path)
}
