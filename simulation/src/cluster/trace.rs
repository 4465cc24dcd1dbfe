//! What has happened, so that two runs can be compared.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

/// What has happened, in order. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(super) fn note(&self, at: Duration, what: impl Display) {
        let line = format!("{:9.3} {what}", at.as_secs_f64());
        tracing::info!(target: "trace", "{line}");
        self.0.borrow_mut().push(line);
    }

    /// The lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}
