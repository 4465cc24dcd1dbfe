//! Long work, shown on a terminal.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use replica::{PackStage, Progress};

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A bar on standard error, where that is a terminal, which is gone when the work is done.
pub struct TerminalProgress {
    bar: ProgressBar,
    /// What is being done, and of how much.
    shown: Mutex<(String, u64)>,
}

impl TerminalProgress {
    /// Shows nothing unless this is `wanted`: the output is for a person.
    pub fn new(wanted: bool) -> Self {
        let target = if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK); // else what is told just before a long silence might not be drawn
        }
        Self { bar, shown: Mutex::default() }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn tell(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if (shown.0.as_str(), shown.1) != (what, total_bytes) {
            *shown = (what.to_owned(), total_bytes);
            self.bar.reset();
            self.bar.set_style(style(total_bytes));
            self.bar.set_length(total_bytes);
            self.bar.set_message(what.to_owned());
        }
        self.bar.set_position(done_bytes);
    }
}

fn style(total_bytes: u64) -> ProgressStyle {
    let template = match total_bytes {
        0 => "{msg}",
        _ => "{msg:18} [{bar:30}] {percent:>3} % of {total_bytes}, {binary_bytes_per_sec}, {eta} left",
    };
    ProgressStyle::with_template(template).expect("a good template").progress_chars("=> ")
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for TerminalProgress {
    fn indexing(&self, done_bytes: u64, total_bytes: u64) {
        self.tell("reading", done_bytes, total_bytes);
    }

    fn packing(&self, stage: PackStage, done_bytes: u64, total_bytes: u64) {
        self.tell(&stage.to_string(), done_bytes, total_bytes);
    }

    fn note(&self, message: &str) {
        self.bar.suspend(|| eprintln!("{message}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_are_understood_and_an_unwanted_bar_shows_nothing() {
        let progress = TerminalProgress::new(false);
        progress.indexing(1, 2);
        progress.packing(PackStage::Switched, 0, 0);
        assert!(progress.bar.is_hidden());
        assert_eq!(progress.bar.message(), "clearing up");
    }
}
