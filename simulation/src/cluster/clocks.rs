//! Clocks of nodes: each has one of its own, and goes on while the node is down.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use simulated_world::{clock, later};
use tokio::runtime::{Handle, Id};

/// When all began, in seconds since 1970.
const BEGAN: Duration = Duration::from_secs(1_800_000_000);

/// Who runs on which runtime, and how far their clocks are ahead. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Clocks(Rc<Inner>);

#[derive(Default)]
struct Inner {
    ahead: RefCell<HashMap<Id, Duration>>,
    /// What was said last, for what runs when a node is gone.
    last: Cell<Duration>,
}

impl Clocks {
    /// The clocks of this thread from now on.
    pub(super) fn install() -> Self {
        let clocks = Self::default();
        clock::set({
            let clocks = clocks.clone();
            move || clocks.wall()
        });
        clock::set_since_boot({
            let clocks = clocks.clone();
            move || clocks.elapsed() + Duration::from_secs(1000)
        });
        later::set(|time, work| {
            // Nobody is left who could do it, where there is no runtime: the node is gone.
            if Handle::try_current().is_ok() {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    work();
                });
            }
        });
        clocks
    }

    /// Whoever runs here has a clock that is so far ahead.
    pub(super) fn register(&self, ahead: Duration) {
        self.0.ahead.borrow_mut().insert(Handle::current().id(), ahead);
    }

    /// Since all began.
    pub(super) fn elapsed(&self) -> Duration {
        let elapsed = turmoil::sim_elapsed().unwrap_or(self.0.last.get());
        self.0.last.set(elapsed);
        elapsed
    }

    fn wall(&self) -> SystemTime {
        let here = Handle::try_current().ok().and_then(|here| self.0.ahead.borrow().get(&here.id()).copied());
        UNIX_EPOCH + BEGAN + self.elapsed() + here.unwrap_or_default()
    }
}
