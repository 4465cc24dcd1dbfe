//! How long a lease is, and how long others wait for it to end.

use std::time::Duration;

/// Clocks of nodes may differ in speed by so much: one part in this many.
const DRIFT: u32 = 100;

/// The times that failover turns on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease holds so long from when it was proposed.
    pub lease: Duration,
    /// A primary proposes the next one so often.
    pub renew_every: Duration,
    /// Replicas that are asked how far they are have so long to answer.
    pub answers_within: Duration,
    /// After a promotion was proposed or given up, so long until the next try.
    pub retry: Duration,
    /// A lease's tids go so far beyond the clock.
    pub tid_horizon: Duration,
    /// A lease's oids go so far beyond what is used.
    pub oid_block: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self::of_lease(Duration::from_millis(1500))
    }
}

impl Timing {
    /// All times, from the length of a lease.
    pub fn of_lease(lease: Duration) -> Self {
        Self {
            lease,
            renew_every: lease / 4,
            answers_within: lease / 8,
            retry: lease / 4,
            tid_horizon: lease * 2,
            oid_block: 1 << 20,
        }
    }

    /// Whoever applied a lease of this length so long ago knows that it has ended, wherever it was held.
    pub fn surely_over(lease: Duration) -> Duration {
        lease + lease / (DRIFT / 2) + Duration::from_millis(1)
    }
}
