//! What is left after a pack.

use std::collections::{BTreeMap, BTreeSet};

use zeo_proto::Tid;

use super::history::{History, Record};

/// What a pack up to some time makes of a history.
#[derive(Debug)]
pub(super) struct Packed {
    /// What must be left, and nothing else.
    pub(super) history: History,
    /// Something that can be reached refers to what was not there.
    pub(super) dangles: bool,
    /// It is packed to that time already.
    pub(super) redundant: bool,
}

/// Packs up to `until`. What is `pinned` is about to be pointed back to.
pub(super) fn pack(before: &History, until: Tid, gc: bool, pinned: &BTreeSet<(Tid, u64)>) -> Packed {
    let (packed, later): (Vec<_>, Vec<_>) =
        before.0.iter().partition::<Vec<_>, _>(|transaction| transaction.tid <= until);
    let mut current: BTreeMap<u64, (Tid, &Record)> = BTreeMap::new();
    for transaction in &packed {
        for (oid, record) in transaction.records.iter().filter(|(_, record)| record.linked) {
            current.insert(*oid, (transaction.tid, record));
        }
    }
    // What points to a deletion still is a record; a deletion is the end of an object.
    current.retain(|_, (_, record)| record.state.is_some() || record.points_to.is_some());

    let mut pointed: BTreeSet<(Tid, u64)> = pinned.iter().filter(|(tid, _)| *tid <= until).copied().collect();
    let mut roots = vec![0];
    for (oid, record) in later.iter().flat_map(|transaction| &transaction.records) {
        match record.points_to {
            Some(to) if to <= until => _ = pointed.insert((to, *oid)),
            Some(_) => {}
            None => roots.extend(record.state.iter().flat_map(|state| state.references())),
        }
    }
    for (tid, oid) in &pointed {
        let record = before.record(*oid, *tid);
        roots.extend(
            record.and_then(|record| record.state.as_ref()).iter().flat_map(|state| state.references()),
        );
    }

    let mut dangles = !current.is_empty() && !current.contains_key(&0);
    roots.retain(|oid| current.contains_key(oid)); // of what was not there, nothing is known
    let mut reached = BTreeSet::new();
    while let Some(oid) = roots.pop() {
        match current.get(&oid) {
            None => dangles = true,
            Some((_, record)) if reached.insert(oid) => {
                roots.extend(record.state.iter().flat_map(|state| state.references()));
            }
            Some(_) => {}
        }
    }

    let is_kept = |tid: Tid, oid: u64| {
        pointed.contains(&(tid, oid))
            || (current.get(&oid).is_some_and(|(at, _)| *at == tid) && (!gc || reached.contains(&oid)))
    };
    let last = before.0.last().map(|transaction| transaction.tid);
    let mut history = History::default();
    for transaction in &packed {
        let mut transaction = (*transaction).clone();
        let tid = transaction.tid;
        transaction.packed = true;
        transaction.records.retain(|oid, _| is_kept(tid, *oid));
        for (oid, record) in &mut transaction.records {
            record.points_to = None;
            // Of several that are kept, the last one is the object's.
            record.linked = !packed
                .iter()
                .any(|other| other.tid > tid && other.records.contains_key(oid) && is_kept(other.tid, *oid));
        }
        if !transaction.records.is_empty() || last == Some(tid) {
            history.0.push(transaction);
        }
    }
    let next = later.first().or(packed.last());
    let redundant = packed.iter().all(|transaction| transaction.packed)
        && next.is_some_and(|transaction| transaction.packed);
    history.0.extend(later.into_iter().cloned());
    Packed { history, dangles: dangles && gc, redundant }
}
