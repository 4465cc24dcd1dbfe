//! New object ids.

use std::sync::atomic::{AtomicU64, Ordering};

use zeo_proto::Oid;

/// Hands out object ids that were never stored and never handed out before, in growing order.
#[derive(Debug)]
pub struct OidAllocator {
    last: AtomicU64,
    /// None is handed out beyond.
    ceiling: AtomicU64,
}

/// Oids beyond the ceiling would be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CeilingReached;

impl OidAllocator {
    /// Continues after the greatest oid in use.
    pub fn new(greatest: Oid) -> Self {
        Self { last: AtomicU64::new(greatest.get()), ceiling: AtomicU64::new(u64::MAX) }
    }

    /// The next `count` ids.
    pub fn allocate(&self, count: usize) -> Result<Vec<Oid>, CeilingReached> {
        let ceiling = self.ceiling.load(Ordering::Acquire);
        let next = |last: u64| last.checked_add(count as u64).filter(|last| *last <= ceiling);
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let first = before.map_err(|_| CeilingReached)? + 1;
        Ok((first..first + count as u64).map(Oid::new).collect())
    }

    /// The last id that was handed out or stored.
    pub fn last(&self) -> Oid {
        Oid::new(self.last.load(Ordering::Relaxed))
    }

    /// From now on, none beyond this is handed out.
    pub fn set_ceiling(&self, ceiling: Oid) {
        self.ceiling.store(ceiling.get(), Ordering::Release);
    }

    /// A client stored this oid: only greater ones are new from now on.
    pub fn observe(&self, oid: Oid) {
        self.last.fetch_max(oid.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_continue_after_the_greatest_that_was_stored() {
        let oids = OidAllocator::new(Oid::new(10));
        assert_eq!(oids.allocate(2), Ok(vec![Oid::new(11), Oid::new(12)]));
        oids.observe(Oid::new(5));
        oids.observe(Oid::new(20));
        assert_eq!(oids.allocate(1), Ok(vec![Oid::new(21)]));
        oids.set_ceiling(Oid::new(23));
        assert_eq!(oids.allocate(3), Err(CeilingReached));
        assert_eq!(oids.allocate(2), Ok(vec![Oid::new(22), Oid::new(23)]));
        assert_eq!((oids.last(), oids.allocate(1)), (Oid::new(23), Err(CeilingReached)));
    }
}
