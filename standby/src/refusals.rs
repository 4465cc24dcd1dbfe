//! Telling that connections are refused, without filling the log: whoever is refused may try again at once.

use std::time::Duration;

use crate::world::Instant;

/// How often it is told.
const INTERVAL: Duration = Duration::from_secs(1);

/// The refusals of a listener.
#[derive(Debug, Default)]
pub struct Refusals {
    told: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// One more. How many are to be told of now, this one and those that were not told of: `None` so soon after the last
    /// time.
    pub fn add(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_is_told_at_once_and_the_next_together() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.add(start), Some(1));
        assert_eq!(refusals.add(start), None);
        assert_eq!(refusals.add(start + INTERVAL / 2), None);
        assert_eq!(refusals.add(start + INTERVAL), Some(3));
        assert_eq!(refusals.add(start + INTERVAL * 3), Some(1));
    }
}
