//! When a pack stops copying what is committed meanwhile, and commits have to wait for it.
//!
//! The copying goes on in rounds: each copies what the one before left, which is what was committed during it. As long
//! as every round leaves at most half of what the one before left, all of them together copy no more than
//! twice the first. The first round that leaves more shows that commits come about as fast as copies, and that further
//! rounds would only grow. From then on pack and commits take turns: commits are held up for a slice of copying, then
//! one batch of them goes through, and a slice is at least twice as long as what the last batch added. So what is left
//! shrinks with every turn, whatever the clients do, to one batch at most.

/// With so little left to copy, in bytes, commits are stopped for it at once.
pub(super) const REST_BYTES: u64 = 1 << 20;
/// The shortest slice, in bytes.
const SLICE_BYTES: u64 = 4 << 20;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Copy everything that there is now, while commits go on.
    Round,
    /// Copy so many bytes while commits are held up, then let a batch through.
    Slice(u64),
    /// Copy the rest while commits are stopped, and end.
    Rest,
}

/// Decides that.
#[derive(Debug, Default)]
pub(super) struct Pace {
    before: Option<u64>,
    turns: bool,
    /// What the last slice left.
    left_by_slice: Option<u64>,
}

impl Pace {
    /// The next step when `left` bytes are to be copied.
    pub(super) fn step(&mut self, left: u64) -> Step {
        // Behind a slice that left nothing there is one batch at most.
        if left <= REST_BYTES || self.left_by_slice == Some(0) {
            return Step::Rest;
        }
        self.turns |= self.before.is_some_and(|before| left > before / 2);
        self.before = Some(left);
        if !self.turns {
            return Step::Round;
        }
        let added = self.left_by_slice.map_or(0, |left_by_slice| left.saturating_sub(left_by_slice));
        let slice = SLICE_BYTES.max(added.saturating_mul(2));
        self.left_by_slice = Some(left.saturating_sub(slice));
        Step::Slice(slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pack_that_is_faster_than_the_commits_never_holds_them_up_before_the_rest() {
        let mut pace = Pace::default();
        let mut left = 1 << 30;
        for _ in 0..11 {
            let step = pace.step(left);
            assert_eq!(step, if left > REST_BYTES { Step::Round } else { Step::Rest });
            left /= 2;
        }
        assert_eq!(pace.step(left), Step::Rest);
    }

    proptest! {
        /// Commits come at any rate, in batches of any length: after a round as many bytes as the round took time for, after
        /// a slice one batch.
        #[test]
        fn whatever_is_committed_meanwhile_a_pack_comes_to_its_end(
            first in 0u64..1 << 34,
            rates in prop::collection::vec(0u64..400, 1..50),
            batches in prop::collection::vec(0u64..16 << 20, 1..50),
        ) {
            let mut pace = Pace::default();
            let (mut left, mut in_rounds, mut slices) = (first, 0, 0u64);
            let mut rates = rates.iter().cycle();
            let mut batches = batches.iter().cycle();
            let mut begun = 0;
            loop {
                match pace.step(left) {
                    Step::Rest => break,
                    Step::Round => {
                        prop_assert_eq!(slices, 0, "no rounds after turns");
                        in_rounds += left;
                        left = left * rates.next().expect("a cycle") / 100;
                        begun = left;
                    }
                    Step::Slice(bytes) => {
                        slices += 1;
                        left = left.saturating_sub(bytes) + batches.next().expect("a cycle");
                    }
                }
                // A batch that is longer than all before it can undo one slice.
                prop_assert!(slices <= 60 + begun / (SLICE_BYTES / 2), "{left} left after {slices} slices");
            }
            prop_assert!(in_rounds <= 2 * first.max(REST_BYTES), "{in_rounds} in rounds, of {first}");
        }
    }
}
