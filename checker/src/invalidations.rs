//! Whether clients were told of what others have changed: all of it, in order, before they saw it.

use std::collections::HashSet;

use zodb_types::{Oid, Tid};

use crate::history::{Operation, Outcome};
use crate::world::{Fate, World};
use crate::{History, Kind, Place, Verdict};

/// Looks at those histories that have any invalidation.
pub(crate) fn judge(histories: &[History], world: &World<'_>, verdict: &mut Verdict) {
    for history in histories {
        let told = |operation: &Operation| matches!(operation, Operation::Invalidated { .. });
        if history.entries.iter().any(|entry| told(&entry.operation)) {
            judge_one(history, world, verdict);
        }
    }
}

fn judge_one(history: &History, world: &World<'_>, verdict: &mut Verdict) {
    let own: HashSet<Tid> = history.entries.iter().filter_map(own_transaction).collect();
    // Up to where it was told, since it was connected last.
    let mut told: Option<Tid> = None;
    for (entry, line) in history.entries.iter().zip(1..) {
        let place = Place { client: history.client.clone(), line };
        match &entry.operation {
            Operation::Reconnected { tid } => told = Some(told.map_or(*tid, |told| told.max(*tid))),
            Operation::Invalidated { tid, oids } => {
                verdict.counts.invalidations += 1;
                if let Some(last) = told.filter(|last| last >= tid) {
                    let what = format!("it was told of {tid} after {last}");
                    verdict.add(Kind::InvalidationOrder, [place.clone()], what);
                }
                is_complete(*tid, oids, &place, world, verdict);
                let before = Tid::new(tid.get().saturating_sub(1));
                nothing_was_skipped(told, before, &own, &place, world, verdict);
                told = Some(told.map_or(*tid, |told| told.max(*tid)));
            }
            Operation::Begin { start } => {
                let last = Tid::new(start.get().saturating_sub(1));
                nothing_was_skipped(told, last, &own, &place, world, verdict);
            }
            Operation::Read { .. } | Operation::Commit { .. } | Operation::Outcome(_) => {}
        }
    }
}

fn own_transaction(entry: &crate::Entry) -> Option<Tid> {
    match entry.operation {
        Operation::Outcome(Outcome::Committed(tid)) => Some(tid),
        _ => None,
    }
}

fn is_complete(tid: Tid, oids: &[Oid], place: &Place, world: &World<'_>, verdict: &mut Verdict) {
    let (Fate::There(writes) | Fate::Lost(writes)) = world.fate(tid) else { return };
    let told: HashSet<&Oid> = oids.iter().collect();
    if let Some(missing) = writes.iter().find(|write| !told.contains(&write.oid)) {
        let what = format!("it was not told that {tid} has changed {}", missing.oid);
        verdict.add(Kind::InvalidationIncomplete, [place.clone()], what);
    }
}

/// Of what is there between two transactions, it has made all itself. (Of what was lost nothing is said: it may have
/// been told of that by another server.)
fn nothing_was_skipped(
    told: Option<Tid>,
    up_to: Tid,
    own: &HashSet<Tid>,
    place: &Place,
    world: &World<'_>,
    verdict: &mut Verdict,
) {
    let Some(told) = told else { return };
    if let Some((skipped, _)) = world.between(told, up_to).find(|(tid, _)| !own.contains(tid)) {
        let what = format!("it was told of {told}, not of {skipped}, and knows of {}", up_to.next());
        verdict.add(Kind::InvalidationSkipped, [place.clone()], what);
    }
}
