//! What a vote must say.

use std::collections::{BTreeMap, BTreeSet};

use zeo_proto::Tid;

use super::history::{History, Record, State, UndoRefusal};

/// What a client has put into its transaction.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Writes(Vec<Check>),
    Undo(Vec<Tid>),
}

/// One of its calls. Serials are the revisions that it builds on.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Store { oid: u64, serial: Option<Tid>, state: State },
    Delete { oid: u64, serial: Tid },
    Current { oid: u64, serial: Tid },
}

/// How a vote ends.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Ready {
        records: BTreeMap<u64, Record>,
        undone: BTreeSet<u64>,
    },
    /// Object, committed revision, given revision.
    Conflicts(Vec<(u64, Tid, Option<Tid>)>),
    /// With an exception of this class.
    Refused(&'static str),
}

impl Work {
    /// Adds a call. Of several that write an object, the last one counts.
    pub(super) fn add(&mut self, check: Check) {
        let Self::Writes(checks) = self else { panic!("an undo writes by itself") };
        match checks.iter_mut().find(|known| check.written().is_some() && known.written() == check.written())
        {
            Some(known) => *known = check,
            None => checks.push(check),
        }
    }

    pub(super) fn vote(&self, history: &History) -> Outcome {
        match self {
            Self::Writes(checks) => vote(checks, history),
            Self::Undo(tids) => match history.undo(tids) {
                Ok(records) => Outcome::Ready { undone: records.keys().copied().collect(), records },
                Err(UndoRefusal::NotUndoable) => Outcome::Refused("ZODB.POSException.UndoError"),
                Err(UndoRefusal::Conflicts) => Outcome::Refused("ZODB.POSException.MultipleUndoErrors"),
            },
        }
    }

    /// The objects that it writes, and those that it only checks.
    pub(super) fn claims(&self, history: &History) -> (BTreeSet<u64>, BTreeSet<u64>) {
        match self {
            Self::Writes(checks) => {
                let written = checks.iter().filter_map(Check::written).collect();
                let checked = checks.iter().filter_map(|check| match check {
                    Check::Current { oid, .. } => Some(*oid),
                    _ => None,
                });
                (written, checked.collect())
            }
            Self::Undo(tids) => {
                let undone = tids.iter().filter_map(|tid| history.transaction(*tid));
                (
                    undone.flat_map(|transaction| transaction.records.keys().copied()).collect(),
                    BTreeSet::new(),
                )
            }
        }
    }
}

impl Check {
    /// The object, if this writes it.
    fn written(&self) -> Option<u64> {
        match self {
            Self::Store { oid, .. } | Self::Delete { oid, .. } => Some(*oid),
            Self::Current { .. } => None,
        }
    }
}

fn vote(checks: &[Check], history: &History) -> Outcome {
    let mut records = BTreeMap::new();
    let mut conflicts = Vec::new();
    for check in checks {
        let (Check::Store { oid, .. } | Check::Delete { oid, .. } | Check::Current { oid, .. }) = check;
        let committed = history.current(*oid, Tid::MAX).map(|(tid, _)| tid);
        match check {
            Check::Store { serial, state, .. } => {
                conflicts.extend(committed.filter(|at| Some(*at) != *serial).map(|at| (*oid, at, *serial)));
                let state = Some(state.clone());
                records.insert(*oid, Record { state, points_to: None, linked: true });
            }
            Check::Delete { .. } | Check::Current { .. } if committed.is_none() => {
                return Outcome::Refused("ZODB.POSException.POSKeyError");
            }
            Check::Delete { serial, .. } => {
                if committed != Some(*serial) {
                    return Outcome::Refused("ZODB.POSException.ConflictError");
                }
                records.insert(*oid, Record { state: None, points_to: None, linked: true });
            }
            Check::Current { serial, .. } => {
                if committed != Some(*serial) {
                    return Outcome::Refused("ZODB.POSException.ReadConflictError");
                }
            }
        }
    }
    if conflicts.is_empty() {
        Outcome::Ready { records, undone: BTreeSet::new() }
    } else {
        Outcome::Conflicts(conflicts)
    }
}
