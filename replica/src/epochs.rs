//! Epochs: who wrote which part of a history.
//!
//! An epoch is the reign of one primary. It begins with a boundary transaction, which the new primary writes on top of
//! the last transaction that it has of the epoch before, the *fork*. What the old primary committed past the fork is
//! lost. So two copies that know the same epochs agree as far as both go, and two that do not agree up to the end of
//! the last epoch that both know.

use crate::Tid;

/// The reign of one primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub epoch: u64,
    /// The transaction that began it.
    pub boundary: Tid,
    /// The last transaction before it; [`Tid::ZERO`] where there was none.
    pub fork: Tid,
    /// The primary's name.
    pub node: String,
}

/// The epochs of a history, oldest first. A history from before the first of them has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs(Vec<Epoch>);

/// Epochs that no history can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {epoch} (from {boundary}, after {fork}) does not fit the one before it")]
pub struct EpochsError {
    epoch: u64,
    boundary: Tid,
    fork: Tid,
}

impl Epochs {
    /// These epochs: numbers grow, and each one begins after the boundary of the one before.
    pub fn new(epochs: Vec<Epoch>) -> Result<Self, EpochsError> {
        let misfit =
            |epoch: &Epoch| EpochsError { epoch: epoch.epoch, boundary: epoch.boundary, fork: epoch.fork };
        if let Some(epoch) = epochs.iter().find(|epoch| epoch.fork >= epoch.boundary) {
            return Err(misfit(epoch));
        }
        for pair in epochs.windows(2) {
            if pair[0].epoch >= pair[1].epoch || pair[0].boundary > pair[1].fork {
                return Err(misfit(&pair[1]));
            }
        }
        Ok(Self(epochs))
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Epoch] {
        &self.0
    }

    /// The number of the newest; 0 without any.
    pub fn newest(&self) -> u64 {
        self.0.last().map_or(0, |epoch| epoch.epoch)
    }

    /// Those of which a history that ends with `last` has something. A copy can know of more, while it catches up.
    #[must_use]
    pub fn up_to(&self, last: Tid) -> Self {
        Self(self.0.iter().take_while(|epoch| epoch.boundary <= last).cloned().collect())
    }

    /// Whether a transaction, of whatever node, can be of this history: it was not committed by an old primary after a new
    /// one began, whose boundary is above everything that the old one can have committed.
    pub fn survives(&self, tid: Tid) -> bool {
        !self.0.iter().any(|epoch| tid > epoch.fork && tid < epoch.boundary)
    }

    /// The greatest tid up to which a history with the epochs `one`, and one with `other`, that end with these
    /// transactions, can be the same.
    pub fn common(one: &Self, one_last: Tid, other: &Self, other_last: Tid) -> Tid {
        let (one, other) = (one.up_to(one_last), other.up_to(other_last));
        let same = one.0.iter().zip(&other.0).take_while(|(one, other)| one == other).count();
        let end = |epochs: &Self, last| epochs.0.get(same).map_or(last, |next| next.fork);
        end(&one, one_last).min(end(&other, other_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(list: &[(u64, u64, u64)]) -> Epochs {
        let epoch = |&(epoch, boundary, fork): &(u64, u64, u64)| Epoch {
            epoch,
            boundary: Tid::new(boundary),
            fork: Tid::new(fork),
            node: format!("n{epoch}"),
        };
        Epochs::new(list.iter().map(epoch).collect()).expect("they fit")
    }

    fn common(one: &[(u64, u64, u64)], one_last: u64, other: &[(u64, u64, u64)], other_last: u64) -> u64 {
        let (one, other) = (epochs(one), epochs(other));
        let there = Epochs::common(&one, Tid::new(one_last), &other, Tid::new(other_last)).get();
        let back = Epochs::common(&other, Tid::new(other_last), &one, Tid::new(one_last)).get();
        assert_eq!(there, back);
        there
    }

    #[test]
    fn histories_of_the_same_epochs_agree_as_far_as_both_go() {
        assert_eq!(common(&[], 7, &[], 9), 7);
        assert_eq!(common(&[(1, 10, 0)], 70, &[(1, 10, 0)], 90), 70);
    }

    #[test]
    fn after_a_fork_they_agree_up_to_it() {
        let (old, new) = ([(1, 10, 0)], [(1, 10, 0), (2, 100, 50)]);
        assert_eq!(common(&old, 80, &new, 120), 50);
        assert_eq!(common(&old, 40, &new, 120), 40, "nothing is lost");
        assert_eq!(common(&[(1, 10, 0), (2, 90, 60)], 95, &[(1, 10, 0), (3, 100, 50)], 120), 50);
    }

    #[test]
    fn an_epoch_of_which_a_copy_has_nothing_yet_says_nothing_about_it() {
        let (known, forked) = ([(1, 10, 0), (2, 100, 80)], [(1, 10, 0), (3, 110, 50)]);
        assert_eq!(common(&known, 70, &forked, 120), 50);
        assert_eq!(common(&known, 70, &known, 120), 70);
    }

    #[test]
    fn a_history_without_epochs_agrees_with_what_was_made_of_it() {
        assert_eq!(common(&[], 50, &[(1, 100, 50)], 120), 50);
        assert_eq!(common(&[], 60, &[(1, 100, 50)], 120), 50);
    }

    #[test]
    fn epochs_that_contradict_themselves_are_refused() {
        let epoch = |epoch, boundary, fork| Epoch {
            epoch,
            boundary: Tid::new(boundary),
            fork: Tid::new(fork),
            node: "n".into(),
        };
        assert!(Epochs::new(vec![epoch(1, 10, 10)]).is_err());
        assert!(Epochs::new(vec![epoch(2, 10, 0), epoch(2, 30, 20)]).is_err());
        assert!(Epochs::new(vec![epoch(1, 10, 0), epoch(2, 30, 9)]).is_err());
    }
}
