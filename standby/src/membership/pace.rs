//! How often nodes ask each other, and how long they wait.

use std::time::Duration;

/// The times of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// One node is probed so often.
    pub probe_every: Duration,
    /// A probe that is not answered for so long is repeated through others, until it is time for the next.
    pub ack_within: Duration,
    /// A suspected node has so long to speak up.
    pub suspicion: Duration,
    /// News is passed on so often.
    pub gossip_every: Duration,
}

impl Pace {
    /// All times, from the length of a primary's lease: a failure is noticed some two or three leases later, and in 1.5 s to
    /// 12 s.
    pub fn of_lease(lease: Duration) -> Self {
        let probe_every = (lease / 3).clamp(Duration::from_millis(200), Duration::from_secs(1));
        Self {
            probe_every,
            ack_within: probe_every * 2 / 5,
            suspicion: (lease * 2).clamp(Duration::from_secs(1), Duration::from_secs(8)),
            gossip_every: probe_every * 2 / 5,
        }
    }

    /// The machine wants to be asked so often.
    pub fn tick(&self) -> Duration {
        self.ack_within / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_noticed_in_a_few_seconds_whatever_the_lease() {
        for (lease_ms, seconds) in [(200, 1.6), (1_500, 4.5), (5_000, 10.5), (60_000, 10.5)] {
            let pace = Pace::of_lease(Duration::from_millis(lease_ms));
            let noticed = pace.probe_every * 2 + pace.suspicion;
            assert!(noticed.as_secs_f64() <= seconds, "{lease_ms}: {noticed:?}");
            assert!(pace.ack_within * 2 <= pace.probe_every, "others have time to ask, too");
        }
    }
}
