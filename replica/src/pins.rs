use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Oid, Tid};

/// The revisions that transactions not yet committed lead back to. A pack keeps those that are pinned when it begins,
/// and all that they refer to. What is pinned later may be dropped by it: it is to be stored again instead of pointed
/// to, and a pack begins anew when it would drop what that refers to.
#[derive(Default)]
pub(crate) struct Pins(Mutex<State>);

#[derive(Default)]
struct State {
    pinned: HashMap<(Oid, Tid), usize>,
    /// A pack up to this transaction is under way.
    packing: Option<Tid>,
}

/// Keeps a revision until it is dropped.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    pub(crate) oid: Oid,
    /// The revision.
    pub(crate) tid: Tid,
    /// No pack drops it. Otherwise the one that is under way may.
    pub(crate) holds: bool,
}

impl Pins {
    /// Pins a revision. Whoever found it in a log has to look afterwards whether that still is the storage's.
    pub(crate) fn pin(self: &Arc<Self>, oid: Oid, tid: Tid) -> Pin {
        let mut state = self.state();
        let holds = state.packing.is_none_or(|until| tid > until);
        *state.pinned.entry((oid, tid)).or_default() += 1;
        Pin { pins: Arc::clone(self), oid, tid, holds }
    }

    /// A pack up to `until` begins: the revisions up to there that it has to keep.
    pub(crate) fn begin_pack(&self, until: Tid) -> Vec<(Oid, Tid)> {
        let mut state = self.state();
        state.packing = Some(until);
        state.up_to(until)
    }

    /// The revisions up to `until` that are pinned now.
    pub(crate) fn now(&self, until: Tid) -> Vec<(Oid, Tid)> {
        self.state().up_to(until)
    }

    /// Does something with these while nobody pins.
    pub(crate) fn settled<T>(&self, until: Tid, work: impl FnOnce(&[(Oid, Tid)]) -> T) -> T {
        let state = self.state();
        work(&state.up_to(until))
    }

    /// The pack is over.
    pub(crate) fn end_pack(&self) {
        self.state().packing = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn up_to(&self, until: Tid) -> Vec<(Oid, Tid)> {
        self.pinned.keys().copied().filter(|(_, tid)| *tid <= until).collect()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.pins.state();
        let count = state.pinned.get_mut(&(self.oid, self.tid)).expect("what is unpinned was pinned");
        *count -= 1;
        if *count == 0 {
            state.pinned.remove(&(self.oid, self.tid));
        }
    }
}
