//! Chance, all of it out of seeds.

use std::cell::RefCell;
use std::time::Duration;

use crate::Random;

thread_local! {
    static ANY: RefCell<Chance> = const { RefCell::new(Chance(0)) };
}

/// From now on [`any`] gives what follows from this seed.
pub fn seed(seed: u64) {
    ANY.with(|chance| *chance.borrow_mut() = Chance::new(seed));
}

/// A number for whoever needs one that nobody else comes to.
pub fn any() -> u64 {
    ANY.with(|chance| chance.borrow_mut().any())
}

/// Chance that can be repeated (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// All that this gives is settled by the seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// From `least` to `most` milliseconds.
    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(least * 1000 + self.below((most - least) * 1000 + 1))
    }
}

impl Random for Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.any() % end.max(1)
    }
}
