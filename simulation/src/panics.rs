//! Panics that somebody caught before us, and panics that are hoped for.

use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    /// What tasks of a runtime panic with, is caught there.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Notes panics from now on.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            if !EXPECTED.get() {
                before(panic);
            }
        }));
    });
    panicked();
}

/// The first panic of this thread since the last look.
pub(crate) fn panicked() -> Option<String> {
    PANICS.take().into_iter().next()
}

/// Does something of which a panic is hoped for: nobody is shown a backtrace that looks like a failure.
pub(crate) fn expected<T>(work: impl FnOnce() -> T) -> T {
    watch();
    EXPECTED.set(true);
    let done = work();
    EXPECTED.set(false);
    done
}
