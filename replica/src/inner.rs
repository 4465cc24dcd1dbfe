use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::committer::Committer;
use crate::drainer::Drainer;
use crate::index::Mark;
use crate::lock::LogLock;
use crate::log::LogFile;
use crate::positions::Positions;
use crate::space::Space;
use crate::{BlobStore, CloseError, Oid, Tid};

/// What all handles of a storage share.
pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
    pub(crate) log: Arc<LogFile>,
    pub(crate) blobs: Option<BlobStore>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) space: Arc<Space>,
    pub(crate) drainer: Drainer,
    pub(crate) committer: Mutex<Option<Committer>>,
    published: Published,
    lock: Mutex<Option<LogLock>>,
    closed: AtomicBool,
    /// Why nothing is committed any more.
    pub(crate) failed: OnceLock<String>,
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<crate::batch::Fault>>,
}

/// What readers see of the log.
struct Published {
    /// Stored after everything else, read before everything else: what a reader finds later than this, it leaves.
    last_tid: AtomicU64,
    mark: Mutex<Mark>,
}

impl Inner {
    pub(crate) fn new(
        path: PathBuf,
        read_only: bool,
        log: Arc<LogFile>,
        blobs: Option<BlobStore>,
        positions: Arc<Positions>,
        mark: Mark,
        lock: Option<LogLock>,
    ) -> Self {
        Self {
            path,
            read_only,
            space: Arc::new(Space::new(Arc::clone(&log), mark.end)),
            drainer: Drainer::start(Arc::clone(&log), Arc::clone(&positions), mark),
            log,
            blobs,
            positions,
            committer: Mutex::new(None),
            published: Published { last_tid: AtomicU64::new(mark.last_tid.get()), mark: Mutex::new(mark) },
            lock: Mutex::new(lock),
            closed: AtomicBool::new(false),
            failed: OnceLock::new(),
            #[cfg(test)]
            fault: Mutex::new(None),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// The last transaction that readers see.
    pub(crate) fn last_tid(&self) -> Tid {
        Tid::new(self.published.last_tid.load(Ordering::Acquire))
    }

    /// What readers see, as one.
    pub(crate) fn mark(&self) -> Mark {
        *self.published_mark()
    }

    /// Makes readers see everything up to `mark`. The positions have been taken in.
    pub(crate) fn publish(&self, mark: Mark) {
        let mut published = self.published_mark();
        assert!(mark.last_tid > published.last_tid && mark.end > published.end, "the log only grows");
        *published = mark;
        self.published.last_tid.store(mark.last_tid.get(), Ordering::Release);
    }

    pub(crate) fn max_oid(&self) -> Oid {
        self.positions.max_oid()
    }

    /// Ends the threads and lets go of the files. With `checkpoint`, completes the index first; without, leaves
    /// everything as a crash would. Does nothing the second time.
    pub(crate) fn shut(&self, checkpoint: bool) -> Result<(), CloseError> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(committer) = committer {
            committer.end(checkpoint);
        }
        let indexed = if checkpoint {
            self.drainer.checkpoint_and_stop()
        } else {
            self.drainer.abandon();
            Ok(())
        };
        self.positions.index.close();
        let given_back = if self.read_only { Ok(()) } else { self.space.give_back() };
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        indexed?;
        Ok(given_back?)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn published_mark(&self) -> MutexGuard<'_, Mark> {
        self.published.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
