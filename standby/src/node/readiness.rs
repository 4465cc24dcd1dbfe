//! Whether a replica serves its read-only clients.

use tokio::task::JoinSet;

use super::peers::Copies;
use crate::door::{Keeper, Readiness};
use crate::replication::copy::{Copy, Progress};
use zeo_proto::Tid;

/// Whether a copy may be served that has transactions up to `last`.
fn readiness(progress: Progress, last: Tid) -> Readiness {
    match progress {
        Progress { whole: false, .. } => Readiness::Closed,
        Progress { upstream: Some(upstream), .. } if upstream > last => Readiness::Behind,
        _ => Readiness::Open,
    }
}

/// The least ready of several.
fn least(all: impl IntoIterator<Item = Readiness>) -> Readiness {
    let rank = |readiness: &Readiness| match readiness {
        Readiness::Closed => 0,
        Readiness::Behind => 1,
        Readiness::Open => 2,
    };
    all.into_iter().min_by_key(rank).unwrap_or(Readiness::Open)
}

/// The readiness of a node whose copies are so.
pub(crate) fn of(copies: &Copies) -> Readiness {
    least(copies.values().map(of_copy))
}

/// The readiness of one copy.
pub(crate) fn of_copy(copy: &Copy) -> Readiness {
    readiness(*copy.progress().borrow(), copy.service().storage().last_place().tid)
}

/// Opens and closes the door as the copies come along, until the task is dropped.
pub(super) async fn keep(copies: Copies, keeper: Keeper) {
    loop {
        let mut changes = JoinSet::new();
        for copy in copies.values() {
            let (mut progress, mut tip) = (copy.progress(), copy.service().tip());
            progress.mark_unchanged();
            tip.mark_unchanged();
            changes.spawn(async move {
                tokio::select! {
                    _ = progress.changed() => {}
                    _ = tip.changed() => {}
                }
            });
        }
        keeper.set(of(&copies));
        if changes.join_next().await.is_none() {
            return; // a node without copies: nothing changes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_served_when_it_is_whole_and_has_what_its_upstream_is_known_to_have() {
        let progress =
            |whole, upstream: Option<u64>| Progress { whole, upstream: upstream.map(Tid::new), distance: 1 };
        assert_eq!(readiness(progress(false, None), Tid::new(5)), Readiness::Closed);
        assert_eq!(readiness(progress(true, None), Tid::new(5)), Readiness::Open);
        assert_eq!(readiness(progress(true, Some(6)), Tid::new(5)), Readiness::Behind);
        assert_eq!(readiness(progress(true, Some(5)), Tid::new(5)), Readiness::Open);
    }

    #[test]
    fn a_node_is_as_ready_as_the_least_of_its_copies() {
        assert_eq!(least([Readiness::Open, Readiness::Behind]), Readiness::Behind);
        assert_eq!(least([Readiness::Behind, Readiness::Closed, Readiness::Open]), Readiness::Closed);
        assert_eq!(least([]), Readiness::Open);
    }
}
