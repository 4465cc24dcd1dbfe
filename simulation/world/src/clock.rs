//! The wall clock of whoever runs now.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Clock = Box<dyn Fn() -> SystemTime>;

/// Where a clock that nobody has set stands, in seconds since 1970.
const START: Duration = Duration::from_secs(1_700_000_000);

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
    static SINCE_BOOT: RefCell<Option<SinceBoot>> = const { RefCell::new(None) };
}

type SinceBoot = Box<dyn Fn() -> Duration>;

/// From now on the clock of this thread is this one.
pub fn set(clock: impl Fn() -> SystemTime + 'static) {
    CLOCK.with(|it| *it.borrow_mut() = Some(Box::new(clock)));
}

/// From now on the time since the machine was started is this one. It goes forward only.
pub fn set_since_boot(since_boot: impl Fn() -> Duration + 'static) {
    SINCE_BOOT.with(|it| *it.borrow_mut() = Some(Box::new(since_boot)));
}

/// The time since the machine was started. Without anybody who says so, none.
pub fn since_boot() -> Duration {
    SINCE_BOOT.with(|clock| clock.borrow().as_ref().map_or(Duration::ZERO, |clock| clock()))
}

/// What the clock says. Without one it stands still.
pub fn now() -> SystemTime {
    CLOCK.with(|clock| clock.borrow().as_ref().map_or(UNIX_EPOCH + START, |clock| clock()))
}
