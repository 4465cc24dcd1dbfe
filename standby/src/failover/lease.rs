//! The lease as those see it who must ask before each reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use crate::world::since_boot;

/// Until when this node may commit. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LeaseView(Arc<AtomicU64>);

impl LeaseView {
    /// Whether it holds now.
    pub fn holds(&self) -> bool {
        (since_boot().as_nanos() as u64) < self.0.load(Ordering::Acquire)
    }

    /// It holds until then, since the machine was started; `None`: it does not.
    pub fn set(&self, until: Option<Duration>) {
        self.0.store(until.map_or(0, |until| until.as_nanos() as u64), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_until_its_end() {
        let (lease, other) = (LeaseView::default(), LeaseView::default());
        assert!(!lease.holds());
        lease.set(Some(since_boot() + Duration::from_secs(3600)));
        assert!(lease.clone().holds() && !other.holds());
        lease.set(Some(since_boot()));
        assert!(!lease.holds());
        lease.set(Some(since_boot() + Duration::from_secs(3600)));
        lease.set(None);
        assert!(!lease.holds());
    }
}
