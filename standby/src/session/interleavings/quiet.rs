//! On the way to the smallest case that fails, hundreds fail: not all of them are to be printed.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does something whose panics in this thread are not printed, only noted.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if QUIET.get() {
                LAST_PANIC.set(panic.location().map(ToString::to_string).unwrap_or_default());
            } else {
                print(panic);
            }
        }));
    });
    let _loud_again = Quiet::new();
    work()
}

/// Where the last panic was that was not printed: file, line and column.
pub(super) fn last_panic() -> String {
    LAST_PANIC.take()
}

struct Quiet;

impl Quiet {
    fn new() -> Self {
        QUIET.set(true);
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}
