//! What is to happen later, on a clock that stands still while the node does.

use std::collections::BTreeMap;
use std::time::Duration;

/// Things and when they are due.
#[derive(Clone, Debug)]
pub(super) struct Timers<T> {
    /// By when they are due, and in the order in which they were put there.
    waiting: BTreeMap<(Duration, u64), T>,
    count: u64,
    now: Duration,
    looked: Option<Duration>,
    step_max: Duration,
}

impl<T> Timers<T> {
    /// Between two looks at the time, `step_max` counts at most: what is longer was a stall of this node. Nobody else is to blame
    /// for what it did not hear then.
    pub(super) fn new(step_max: Duration) -> Self {
        Self { waiting: BTreeMap::new(), count: 0, now: Duration::ZERO, looked: None, step_max }
    }

    /// It is so late, on a clock that does not go back.
    pub(super) fn look(&mut self, clock: Duration) {
        let passed = clock.saturating_sub(self.looked.replace(clock).unwrap_or(clock));
        self.now += passed.min(self.step_max);
    }

    pub(super) fn add(&mut self, thing: T, after: Duration) {
        self.count += 1;
        self.waiting.insert((self.now + after, self.count), thing);
    }

    /// The next that is due.
    pub(super) fn due(&mut self) -> Option<T> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn things_are_due_in_order_and_once() {
        let mut timers = Timers::new(at(100));
        timers.look(at(5_000));
        for (name, after) in [("late", 90), ("soon", 10), ("as soon", 10)] {
            timers.add(name, at(after));
        }
        assert_eq!(timers.due(), None);
        timers.look(at(5_010));
        assert_eq!((timers.due(), timers.due(), timers.due()), (Some("soon"), Some("as soon"), None));
        timers.look(at(5_090));
        assert_eq!((timers.due(), timers.due()), (Some("late"), None));
    }

    #[test]
    fn a_stall_counts_as_one_step() {
        let mut timers = Timers::new(at(100));
        timers.look(at(0));
        timers.add("in time", at(100));
        timers.add("later", at(150));
        timers.look(at(60_000));
        assert_eq!((timers.due(), timers.due()), (Some("in time"), None));
        timers.look(at(60_049));
        assert_eq!(timers.due(), None);
        timers.look(at(60_050));
        assert_eq!(timers.due(), Some("later"));
        timers.look(at(10));
        assert_eq!(timers.due(), None, "a clock that goes back does no harm");
    }
}
