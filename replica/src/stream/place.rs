use crate::inner::Generation;
use crate::{Checksum, ReadError, Storage, Tid};

/// A place in a history: everything up to a transaction, and the running checksum there. Two copies that agree on it
/// have the same history up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The transaction; [`Tid::ZERO`] before the first. After a pack, that of the anchor need not be in the log.
    pub tid: Tid,
    /// The running checksum after it.
    pub checksum: Checksum,
}

impl Place {
    /// Before the first transaction.
    pub const START: Self = Self { tid: Tid::ZERO, checksum: Checksum::ZERO };
}

impl Generation {
    /// The first place that can be compared: after what was packed.
    pub(crate) fn first_place(&self) -> Place {
        self.anchor.map_or(Place::START, |anchor| Place { tid: anchor.tid, checksum: anchor.checksum })
    }

    /// The end.
    pub(crate) fn last_place(&self) -> Place {
        let (mark, first) = (self.mark(), self.first_place());
        if mark.last_tid > first.tid { Place { tid: mark.last_tid, checksum: mark.checksum } } else { first }
    }
}

impl Storage {
    /// From here on every transaction is whole, as far as that is known: what comes before was packed.
    pub fn first_place(&self) -> Place {
        self.inner().now().first_place()
    }

    /// The end of what is published.
    pub fn last_place(&self) -> Place {
        self.inner().now().last_place()
    }

    /// The last place at or before a transaction; `None` where everything there was packed. May wait for the disk.
    pub fn place_up_to(&self, tid: Tid) -> Result<Option<Place>, ReadError> {
        let now = self.inner().now();
        let (first, last) = (now.first_place(), now.last_place());
        if tid < first.tid {
            return Ok(None);
        }
        if tid >= last.tid {
            return Ok(Some(last));
        }
        let found = now.positions.transaction_up_to(tid)?.filter(|found| found.tid > first.tid);
        Ok(Some(found.map_or(first, |found| Place { tid: found.tid, checksum: found.checksum })))
    }
}
