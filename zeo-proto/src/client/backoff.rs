use std::time::Duration;

/// How long to wait before an address that failed is dialled again: twice as long after each failure, up to a bound,
/// and of that a random part between a half and the whole. So a thousand clients that lost one server at one moment do
/// not come back at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// At most so long after the first failure.
    pub first: Duration,
    /// At most so long after any.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(3) }
    }
}

impl Backoff {
    /// The wait after so many failures in a row (1 for the first). `random` is any number, evenly distributed.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole / 2 + part_of(whole / 2, random)
    }
}

/// A random part of a time, from nothing to all of it.
pub(super) fn part_of(time: Duration, random: u64) -> Duration {
    time.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_doubles_up_to_the_longest_and_is_never_less_than_half_of_that(
            failures in 1u32..200, random: u64,
        ) {
            let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(3) };
            let whole = Duration::from_millis(100 << (failures - 1).min(10)).min(backoff.longest);
            let wait = backoff.wait(failures, random);
            prop_assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
        }
    }

    #[test]
    fn many_clients_spread_over_the_whole_second_half() {
        let backoff = Backoff::default();
        let mut waits: Vec<_> = (0..1_000u64).map(|n| backoff.wait(9, n * (u64::MAX / 999))).collect();
        waits.sort();
        let widest = waits.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(widest < Some(Duration::from_millis(2)), "{widest:?} without a client");
    }
}
