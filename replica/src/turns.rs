use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whoever gives way looks again this often whether anybody still wants to commit.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Lets commits and a pack take turns: neither can lock the other out, however fast it comes back.
#[derive(Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// A pack has commits held up, or is about to.
    held: bool,
    /// Counts the batches that were committed.
    batches: u64,
}

/// Commits are held up while this lives.
pub(crate) struct Hold<'a>(&'a Turns);

impl Turns {
    /// From now on no batch begins. One may be under way.
    pub(crate) fn hold(&self) -> Hold<'_> {
        let mut state = self.state();
        assert!(!state.held, "one pack at a time");
        state.held = true;
        Hold(self)
    }

    /// Whether a batch may begin.
    pub(crate) fn is_held(&self) -> bool {
        self.state().held
    }

    /// Waits until a batch may begin.
    pub(crate) fn wait(&self) {
        let state = self.state();
        drop(self.changed.wait_while(state, |state| state.held).unwrap_or_else(PoisonError::into_inner));
    }

    /// A batch was committed.
    pub(crate) fn batch_done(&self) {
        self.state().batches += 1;
        self.changed.notify_all();
    }

    /// Waits until a batch was committed, or nobody `wants` to commit.
    pub(crate) fn give_way(&self, wants: impl Fn() -> bool) {
        let mut state = self.state();
        let seen = state.batches;
        while state.batches == seen {
            drop(state);
            if !wants() {
                return;
            }
            let waited = self.changed.wait_timeout_while(self.state(), LOOK_AGAIN, |now| now.batches == seen);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.state().held = false;
        self.0.changed.notify_all();
    }
}
