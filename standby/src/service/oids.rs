//! New object ids.

use std::sync::atomic::{AtomicU64, Ordering};

use zeo_proto::Oid;

/// Hands out object ids that were never stored and never handed out before, in growing order.
#[derive(Debug)]
pub struct OidAllocator {
    last: AtomicU64,
}

impl OidAllocator {
    /// Continues after the greatest oid in use.
    pub fn new(greatest: Oid) -> Self {
        Self { last: AtomicU64::new(greatest.get()) }
    }

    /// The next `count` ids.
    pub fn allocate(&self, count: usize) -> Vec<Oid> {
        let first = self.last.fetch_add(count as u64, Ordering::Relaxed) + 1;
        (first..first + count as u64).map(Oid::new).collect()
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
        assert_eq!(oids.allocate(2), [Oid::new(11), Oid::new(12)]);
        oids.observe(Oid::new(5));
        oids.observe(Oid::new(20));
        assert_eq!(oids.allocate(1), [Oid::new(21)]);
    }
}
