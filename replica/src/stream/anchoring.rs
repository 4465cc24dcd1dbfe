use std::io;
use std::sync::{Arc, PoisonError};

use super::Place;
use crate::anchor::Anchor;
use crate::error::IndexError;
use crate::index::{Mark, TransactionEntry};
use crate::inner::Generation;
use crate::open::anchor_path;
use crate::scan::{Scanned, Scanner};
use crate::world::sync_directory_of;
use crate::{Checksum, ReadError, Storage, Tid};

/// Why an anchor was not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The log goes on beyond it already.
    #[error("the log has transaction {last}, which is beyond {anchor}")]
    Beyond {
        /// The last transaction of the log.
        last: Tid,
        /// The anchor's.
        anchor: Tid,
    },
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be written.
    #[error("the checksum's anchor could not be written: {0}")]
    Io(#[from] io::Error),
    /// The index could not take it in.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Storage {
    /// What the log has now stands for everything up to `place` of another copy: the running checksum goes on from
    /// there, durably. For a copy that was made of a packed one, or of what is current. May wait for the disk.
    ///
    /// # Errors
    /// See [`AnchorError`]; the checksum is as it was then, or, after an error of the index, as it is to be with the
    /// next opening.
    pub fn take_anchor(&self, place: Place) -> Result<(), AnchorError> {
        let inner = self.inner();
        let _no_pack = inner.packing.lock().unwrap_or_else(PoisonError::into_inner);
        inner.while_nobody_commits(|| {
            let before = inner.now_held();
            let mark = before.mark();
            if mark.last_tid > place.tid {
                return Err(AnchorError::Beyond { last: mark.last_tid, anchor: place.tid });
            }
            let anchor = Anchor {
                tid: place.tid,
                checksum: place.checksum,
                end: mark.end,
                packed: computed(&before, mark)?,
                max_oid: before.positions.max_oid(),
            };
            let path = anchor_path(&inner.path);
            let new = path.with_extension("new");
            anchor.write(&new)?;
            crate::world::fs::rename(&new, &path)?;
            sync_directory_of(&path)?;

            before.drainer.checkpoint_and_stop()?;
            let mark = Mark { checksum: place.checksum, ..mark };
            let last = (mark.last_tid > Tid::ZERO).then_some(TransactionEntry {
                tid: mark.last_tid,
                position: mark.last_position,
                checksum: place.checksum,
            });
            before.positions.index.apply(&[], last.as_slice(), &mark, true)?;
            let positions = before.positions.clone();
            inner.replace(Generation::start(before.log.clone(), positions, Some(anchor), mark, mark));
            Ok(())
        })
    }
}

/// The checksum of the log as a history of its own. With an anchor that it has already, it must be read for that.
fn computed(generation: &Generation, mark: Mark) -> Result<Checksum, ReadError> {
    if generation.anchor.is_none() {
        return Ok(mark.checksum);
    }
    let mut scanner = Scanner::new(Arc::clone(&generation.log), mark.end);
    let Mark { mut end, mut last_tid, mut checksum, .. } = Mark::START;
    while end < mark.end {
        match scanner.step(end, last_tid, checksum)? {
            Scanned::Transaction(found) => {
                (end, last_tid, checksum) = (found.end, found.head.tid, found.checksum)
            }
            Scanned::Bad(bad) => return Err(ReadError::corrupt(end, bad.reason)),
            Scanned::End => return Err(ReadError::corrupt(end, "the log is shorter than it was")),
        }
    }
    Ok(checksum)
}
