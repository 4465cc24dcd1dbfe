//! A time in which clients' votes wait: a primary hands over, or is not one any more.

use super::Service;
use super::apply::NOBODY;
use super::locks::{Claims, Owner};

/// While this exists no vote of a client is answered. Transactions that have voted before are finished.
#[must_use = "it ends when it is dropped"]
pub struct Recess {
    service: Service,
    owner: Owner,
}

impl Service {
    /// Lets votes wait from now on.
    pub fn recess(&self) -> Recess {
        let owner = self.begin(NOBODY);
        self.lock(owner, Claims::storage());
        Recess { service: self.clone(), owner }
    }
}

impl Recess {
    /// Everything that had voted before has ended, and what was committed is published.
    pub fn is_quiet(&self) -> bool {
        self.service.0.exchange.lock_table().since.contains_key(&self.owner)
    }
}

impl Drop for Recess {
    fn drop(&mut self) {
        self.service.unlock(self.owner);
    }
}
