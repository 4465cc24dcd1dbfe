//! Chance that can be repeated.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Pseudo-random numbers (SplitMix64) from a seed that is printed, and that `STANDBY_SEED=N` gives again.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The seed of `STANDBY_SEED`, else one of the clock. Prints it: shown when the test fails.
    pub fn announced() -> Self {
        let given = std::env::var("STANDBY_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.map_or_else(Self::of_the_clock, Self);
        println!("STANDBY_SEED={}", seed.0);
        seed
    }

    /// Another one each time.
    pub fn of_the_clock() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64))
    }

    /// One that nobody prints: part of what another has given.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of this range, which must not be empty.
    pub fn pick(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (word ^ (word >> 31)) % (range.end - range.start)
    }
}
