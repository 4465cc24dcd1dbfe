//! Long work, told on a terminal.

use std::io::IsTerminal;

use replica::{PackStage, Progress};

/// A line on standard error that says how far the work is; nothing where that is no terminal.
pub struct TerminalProgress;

impl TerminalProgress {
    fn tell(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        if std::io::stderr().is_terminal() {
            let percent = done_bytes * 100 / total_bytes.max(1);
            let end = if done_bytes >= total_bytes { "\n" } else { "" };
            eprint!("\r{what} {percent:3} % of {total_bytes} bytes{end}");
        }
    }
}

impl Progress for TerminalProgress {
    fn indexing(&self, done_bytes: u64, total_bytes: u64) {
        self.tell("reading", done_bytes, total_bytes);
    }

    fn packing(&self, stage: PackStage, done_bytes: u64, total_bytes: u64) {
        self.tell(&format!("{stage:18}"), done_bytes, total_bytes);
    }

    fn note(&self, message: &str) {
        eprintln!("{message}");
    }
}
