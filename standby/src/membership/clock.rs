//! Whether this node's wall clock is the odd one out. Tids are timestamps: a node whose clock is far off would give out tids far from
//! the time, or have to wait.

/// A clock that is further from the middle of all clocks is off, in milliseconds.
pub const OFF_MS: i64 = 5_000;

/// How far this node's clock is ahead of the middle of all clocks, its own included, in milliseconds; `None` where there is nothing to
/// compare it with. `ahead` says how far others are ahead of it. Where two are in the middle, the nearer to its own counts: of
/// two clocks alone nobody knows which is wrong.
pub fn ahead_of_the_middle(ahead: impl IntoIterator<Item = i64>) -> Option<i64> {
    let mut all: Vec<i64> = ahead.into_iter().collect();
    if all.is_empty() {
        return None;
    }
    all.push(0);
    all.sort_unstable();
    let middle = all.len() / 2;
    let nearest = if all.len() % 2 == 1 {
        all[middle]
    } else {
        [all[middle - 1], all[middle]].into_iter().min_by_key(|ms| ms.unsigned_abs()).unwrap_or_default()
    };
    Some(nearest.saturating_neg())
}

/// Whether a clock that is so far ahead, or behind, is off.
pub fn is_off(ahead_ms: Option<i64>) -> bool {
    ahead_ms.is_some_and(|ms| ms.unsigned_abs() > OFF_MS.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_clock_that_differs_from_all_others_is_off() {
        assert_eq!(ahead_of_the_middle([-60_000, -60_010]), Some(60_000));
        assert_eq!(ahead_of_the_middle([60_000, 60_010, 60_005]), Some(-60_000));
        assert_eq!(ahead_of_the_middle([0, 60_000]), Some(0), "another's is");
        assert_eq!(ahead_of_the_middle([3, -4, 60_000]), Some(0));
    }

    #[test]
    fn of_two_clocks_nobody_knows_which_is_wrong() {
        assert_eq!(ahead_of_the_middle([60_000]), Some(0));
        assert_eq!(ahead_of_the_middle([60_000, 60_000, 1]), Some(-1), "nor of two and two");
        assert_eq!(ahead_of_the_middle([]), None);
    }

    #[test]
    fn a_clock_is_off_by_more_than_five_seconds() {
        assert!(!is_off(None) && !is_off(Some(5_000)) && !is_off(Some(-5_000)));
        assert!(is_off(Some(5_001)) && is_off(Some(i64::MIN)));
    }
}
