//! The storage under test, and looking into it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use replica::{NoProgress, OpenOptions, PackOptions, Storage};
use zeo_proto::{Encoding, Oid, Tid};

use super::history::{History, Transaction, shown};
use super::steps::Setup;
use crate::server::{ConnectionLimits, Served};
use crate::service::acks::{AckOptions, OnAckTimeout};
use crate::service::invalidations::InvalidationPolicy;
use crate::service::{Service, ServiceOptions};

/// How many transactions `getInvalidations` knows where it is not answered from the log.
pub(super) const QUEUE: usize = 3;

/// A folder in memory, where there is such a thing: nothing here hangs on a disk, and many cases are done.
pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// A served storage in a folder.
pub(super) struct Site {
    pub(super) folder: tempfile::TempDir,
    pub(super) served: Arc<Served>,
}

impl Site {
    pub(super) fn open(folder: tempfile::TempDir, setup: &Setup) -> Self {
        let path = folder.path().join("Data.fs");
        let blob_dir = Some(folder.path().join("blobs"));
        let options =
            OpenOptions { blob_dir, recent_entries: 4, index_cache_bytes: 1 << 20, ..OpenOptions::default() };
        let (storage, _) = Storage::open(&path, &options, &NoProgress).expect("the storage opens");
        let age = setup.aged.then(|| Duration::from_secs(3600));
        let options = ServiceOptions {
            name: "1".to_owned(),
            read_only: false,
            invalidations: match setup.from_log {
                true => InvalidationPolicy::Log,
                false => InvalidationPolicy::Stock { queue_size: QUEUE, age },
            },
            transaction_timeout: None,
            pack: PackOptions { gc: setup.gc, keep_old: false },
            load_delay: Duration::from_millis(u64::from(setup.slow_loads)), // what is there of it, is not waited for
        };
        let service = Service::new(options, storage).expect("it is served");
        if setup.acks {
            let (needed, timeout) = (1, Duration::from_secs(3600)); // nobody looks whether it has passed
            service.require_acknowledgements(AckOptions { needed, timeout, on_timeout: OnAckTimeout::Wait });
        }
        let served = Arc::new(Served::new([service], Encoding::Pickle, ConnectionLimits::default()));
        Self { folder, served }
    }

    pub(super) fn service(&self) -> &Service {
        self.served.storage("1").expect("it is the only one")
    }

    /// Stops in order.
    pub(super) fn close(self) -> tempfile::TempDir {
        self.service().close().expect("closed");
        self.folder
    }

    /// Stops as in a crash.
    pub(super) fn crash(self) -> tempfile::TempDir {
        let Self { folder, served } = self;
        let served = Arc::into_inner(served).expect("no connection is left");
        drop(served);
        folder
    }

    /// Holds the log against the model, record by record.
    pub(super) fn check_log(&self, history: &History) {
        assert_eq!(observed(self.service().storage()), expected(history), "what is in the log");
    }

    /// The files of uploads, and of commits under way.
    pub(super) fn temporary_files(&self) -> Vec<PathBuf> {
        let staging = fs::read_dir(self.folder.path().join("blobs/.standby")).expect("a folder");
        let paths = staging.map(|entry| entry.expect("readable").path());
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "tmp" || kind == "pending")).collect()
    }

    /// Whether there is a blob of this revision.
    pub(super) fn has_blob(&self, oid: u64, tid: Tid) -> bool {
        let blobs = self.service().storage().blobs().expect("there is a blob directory");
        blobs.path(Oid::new(oid), tid).exists()
    }
}

/// A transaction as it is in the log: packed or not, and the data of its records.
pub(super) type Logged = (Tid, bool, BTreeMap<u64, Option<String>>);

/// What is in the log.
pub(super) fn observed(storage: &Storage) -> Vec<Logged> {
    let headers = storage.transactions(None, None).expect("readable");
    let of = |header: Result<replica::TransactionHeader, replica::ReadError>| {
        let header = header.expect("readable");
        let records = storage.records(&header).map(|record| record.expect("readable"));
        let records = records.map(|record| (record.oid.get(), record.data.as_deref().map(shown))).collect();
        (header.tid, header.status == b'p', records)
    };
    headers.map(of).collect()
}

/// What a model wants there.
pub(super) fn expected(history: &History) -> Vec<Logged> {
    let of = |transaction: &Transaction| {
        let records = transaction.records.iter();
        let records =
            records.map(|(oid, record)| (*oid, record.state.as_ref().map(|state| shown(&state.bytes()))));
        (transaction.tid, transaction.packed, records.collect())
    };
    history.0.iter().map(of).collect()
}
