use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::anchor::Anchor;
use crate::committer::Committer;
use crate::drainer::Drainer;
use crate::index::Mark;
use crate::lock::LogLock;
use crate::log::LogFile;
use crate::pins::Pins;
use crate::positions::Positions;
use crate::space::Space;
use crate::{BlobStore, CloseError, OpenOptions, Tid};

/// What all handles of a storage share.
pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
    /// What it was opened with.
    pub(crate) options: OpenOptions,
    pub(crate) blobs: Option<BlobStore>,
    pub(crate) space: Arc<Space>,
    pub(crate) committer: Mutex<Option<Committer>>,
    /// What transactions under way point back to.
    pub(crate) pins: Arc<Pins>,
    /// Held by the pack that is under way.
    pub(crate) packing: Mutex<()>,
    rewinds: AtomicU64,
    tid_ceiling: AtomicU64,
    current: ArcSwap<Generation>,
    lock: Mutex<Option<LogLock>>,
    closed: AtomicBool,
    /// Why nothing is committed any more.
    pub(crate) failed: OnceLock<String>,
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<crate::batch::Fault>>,
}

/// A log and everything that goes with its positions. A pack replaces it as a whole; whoever reads stays with the one
/// that it began with.
pub(crate) struct Generation {
    pub(crate) log: Arc<LogFile>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) drainer: Drainer,
    /// Where the running checksum goes on after what was packed.
    pub(crate) anchor: Option<Anchor>,
    published: Published,
}

/// What readers see of the log.
struct Published {
    /// Stored after everything else, read before everything else: what a reader finds later than this, it leaves.
    last_tid: AtomicU64,
    mark: Mutex<Mark>,
}

impl Generation {
    /// Starts writing the index from `indexed` on. What follows it in the log up to `mark` is handed in by the
    /// caller.
    pub(crate) fn start(
        log: Arc<LogFile>,
        positions: Arc<Positions>,
        anchor: Option<Anchor>,
        indexed: Mark,
        mark: Mark,
    ) -> Self {
        Self {
            drainer: Drainer::start(Arc::clone(&log), Arc::clone(&positions), indexed),
            log,
            positions,
            anchor,
            published: Published { last_tid: AtomicU64::new(mark.last_tid.get()), mark: Mutex::new(mark) },
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

    fn published_mark(&self) -> MutexGuard<'_, Mark> {
        self.published.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The greatest tid that a transaction without one may get.
    pub(crate) fn tid_ceiling(&self) -> Tid {
        Tid::new(self.tid_ceiling.load(Ordering::Acquire))
    }

    pub(crate) fn set_tid_ceiling(&self, ceiling: Tid) {
        self.tid_ceiling.store(ceiling.get(), Ordering::Release);
    }

    pub(crate) fn new(
        path: PathBuf,
        options: OpenOptions,
        blobs: Option<BlobStore>,
        generation: Generation,
        lock: Option<LogLock>,
    ) -> Self {
        Self {
            path,
            read_only: options.read_only,
            options,
            blobs,
            space: Arc::new(Space::new(Arc::clone(&generation.log), generation.mark().end)),
            committer: Mutex::new(None),
            pins: Arc::default(),
            packing: Mutex::new(()),
            rewinds: AtomicU64::new(0),
            current: ArcSwap::from_pointee(generation),
            lock: Mutex::new(lock),
            closed: AtomicBool::new(false),
            tid_ceiling: AtomicU64::new(u64::MAX),
            failed: OnceLock::new(),
            #[cfg(test)]
            fault: Mutex::new(None),
        }
    }

    /// The log as it is now. What was read of one generation's positions says nothing about another's log.
    pub(crate) fn now(&self) -> Guard<Arc<Generation>> {
        self.current.load()
    }

    /// The same for longer work.
    pub(crate) fn now_held(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Lets everyone who begins to read from now on see another generation. Returns the one before.
    pub(crate) fn replace(&self, generation: Generation) -> Arc<Generation> {
        assert_eq!(generation.last_tid(), self.now().last_tid(), "a pack takes no transaction back");
        self.current.swap(Arc::new(generation))
    }

    /// The same where transactions are taken back.
    pub(crate) fn take_back(&self, generation: Generation) {
        assert!(generation.last_tid() < self.now().last_tid(), "something is taken back");
        self.current.store(Arc::new(generation));
        self.rewinds.fetch_add(1, Ordering::SeqCst);
    }

    /// How often transactions were taken back. Who sees this grow has been reading a history that is no more.
    pub(crate) fn rewinds(&self) -> u64 {
        self.rewinds.load(Ordering::SeqCst)
    }

    /// Does something while the committer stands still.
    pub(crate) fn while_nobody_commits<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.running_committer() {
            Some(committer) => committer.paused(work),
            None => work(),
        }
    }

    /// Lets the committer take its turn, if it wants one.
    pub(crate) fn give_way(&self) {
        if let Some(committer) = self.running_committer() {
            committer.give_way();
        }
    }

    /// Whether there is a committer, which holds on to a generation.
    pub(crate) fn has_committer(&self) -> bool {
        self.running_committer().is_some()
    }

    fn running_committer(&self) -> Option<Committer> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
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
        // A pack under way notices, and clears up.
        let packing = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now_held();
        let indexed = if checkpoint {
            now.drainer.checkpoint_and_stop()
        } else {
            now.drainer.abandon();
            Ok(())
        };
        now.positions.index.close();
        drop(packing);
        let given_back = if self.read_only { Ok(()) } else { self.space.give_back() };
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        indexed?;
        Ok(given_back?)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}
