use std::path::Path;
use std::sync::{Arc, PoisonError};

use crate::inner::Inner;
use crate::{
    BlobStore, Checksum, CloseError, Committer, Oid, OpenError, OpenOptions, OpenReport, Progress, Publish,
    Reservation, ReserveError, Tid, Transaction,
};

/// One durable copy of a ZODB storage. Clones are handles to the same one.
///
/// When the last handle is dropped without [`Storage::close`], everything stops as in a crash: nothing that was
/// published is lost, and the next opening reads the end of the log again.
#[derive(Clone)]
pub struct Storage {
    handle: Arc<Handle>,
}

struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.0.shut(false) {
            tracing::warn!(%error, "a storage was dropped");
        }
    }
}

impl Storage {
    /// Opens the log at `path` (`Data.fs`), bringing its index up to its end, which takes long if there is none
    /// yet. An unfinished append at its end is saved and cut off.
    pub fn open(
        path: &Path,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<(Self, OpenReport), OpenError> {
        let (inner, report) = crate::open::open(path, options, progress)?;
        Ok((Self { handle: Arc::new(Handle(Arc::new(inner))) }, report))
    }

    /// The log.
    pub fn path(&self) -> &Path {
        &self.inner().path
    }

    /// It was opened so.
    pub fn is_read_only(&self) -> bool {
        self.inner().read_only
    }

    /// Its blobs, if it has any.
    pub fn blobs(&self) -> Option<&BlobStore> {
        self.inner().blobs.as_ref()
    }

    /// From now on, no transaction is given a tid above this one. (One that comes with its tid keeps it.)
    pub fn set_tid_ceiling(&self, ceiling: Tid) {
        self.inner().set_tid_ceiling(ceiling);
    }

    /// The last published transaction; [`Tid::ZERO`] when there is none.
    pub fn last_tid(&self) -> Tid {
        self.inner().now().last_tid()
    }

    /// The running checksum at the last published transaction.
    pub fn checksum(&self) -> Checksum {
        self.inner().now().mark().checksum
    }

    /// How many different oids have ever been stored, deleted ones included (as FileStorage's `len`).
    pub fn object_count(&self) -> u64 {
        self.inner().now().mark().objects
    }

    /// Length of the log up to the end of the last published transaction.
    pub fn size_bytes(&self) -> u64 {
        self.inner().now().mark().end
    }

    /// The greatest oid that has ever been stored; the root's when there is none.
    pub fn max_oid(&self) -> Oid {
        self.inner().now().positions.max_oid()
    }

    /// A transaction without anything in it.
    pub fn begin(&self) -> Transaction {
        Transaction::new(Arc::clone(self.inner()))
    }

    /// Why nothing more is committed until the storage is opened anew: what is on the disk is not known. `None`: it is fine.
    pub fn failure(&self) -> Option<&str> {
        self.inner().failed.get().map(String::as_str)
    }

    /// Takes disk space for a transaction as it is now, so that committing it will not fail for want of it. Also
    /// looks for the objects' positions, which committing it needs. May wait for the disk.
    pub fn reserve(&self, transaction: &Transaction) -> Result<Reservation, ReserveError> {
        let inner = self.inner();
        if inner.read_only {
            return Err(ReserveError::ReadOnly);
        }
        if inner.is_closed() {
            return Err(ReserveError::Failed("it is closed".into()));
        }
        if let Some(reason) = inner.failed.get() {
            return Err(ReserveError::Failed(reason.clone()));
        }
        let reservation = inner.space.reserve(transaction.len_bytes())?;
        let now = inner.now();
        transaction.check_pointers(&now)?;
        for oid in transaction.oids() {
            // What goes wrong here will go wrong, and be reported, when it is committed.
            if now.positions.object(oid, crate::ReadMode::MayBlock).is_err() {
                break;
            }
        }
        Ok(reservation)
    }

    /// Starts the thread that commits.
    ///
    /// # Panics
    /// When it was started before.
    pub fn start_committer(&self, publish: Arc<dyn Publish>) -> Committer {
        let mut place = self.inner().committer.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(place.is_none(), "a storage has one committer");
        let committer = Committer::start(self.inner(), publish);
        *place = Some(committer.clone());
        committer
    }

    /// Commits what is queued, completes the index and makes it durable, gives back disk space that was reserved,
    /// and the lock. Other handles can go on to read from the log what is in memory; everything else fails.
    pub fn close(self) -> Result<(), CloseError> {
        self.inner().shut(true)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.handle.0
    }
}
