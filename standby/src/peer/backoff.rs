//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from `first` to `longest`, each shortened at random by up to a half, so that nodes which lost the same
/// upstream do not come back all at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The longest wait before the first new attempt.
    pub first: Duration,
    /// The longest wait at all.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The wait after `failures` attempts (1 or more) that failed in a row; `random` is any number, each as likely.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let full = self.first.checked_mul(factor).map_or(self.longest, |wait| wait.min(self.longest));
        let half = full / 2;
        half + half.mul_f64(random as f64 / u64::MAX as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let longest_waits: Vec<_> =
            (1..7).map(|failures| backoff.wait(failures, u64::MAX).as_millis()).collect();
        assert_eq!(longest_waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.wait(u32::MAX, u64::MAX), Duration::from_secs(1));
    }

    #[test]
    fn chance_takes_away_up_to_a_half() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, 0), Duration::from_millis(50));
        let between = backoff.wait(1, u64::MAX / 2);
        assert!(between > Duration::from_millis(74) && between < Duration::from_millis(76));
    }
}
