//! The stock ZEO server's configuration file, `zeo.conf`: ZConfig's grammar, and the meaning that the schema of
//! `runzeo` gives it.
//!
//! Text goes in, and either a [`ZeoConf`] comes out, with notes on what an operator should know, or all mistakes of
//! the file, each with its line and what to do. What cannot be honoured is a mistake; nothing is ignored in silence.
//!
//! | step | where |
//! |---|---|
//! | one line | `line`(mod@line), `substitution` |
//! | sections and keys, with the files that are included | `parser`, `section` |
//! | what each section means | `conf`: `zeo`, `ssl`, `storage`, `event_log`, `runner` |
//! | single keys and values | `keys`, `values` |
//!
//! All steps are pure: files, environment variables and directories are asked for through [`Surroundings`].

mod conf;
mod event_log;
mod keys;
mod line;
mod parser;
mod report;
mod runner;
mod section;
mod ssl;
mod storage;
mod substitution;
mod surroundings;
#[cfg(test)]
mod test_surroundings;
mod values;
mod zeo;

use std::path::Path;

pub use conf::ZeoConf;
pub use event_log::{EventLog, Level, LogTarget, Rotation};
pub use report::Mistakes;
pub use ssl::SslSection;
pub use storage::FileStorageSection;
pub use surroundings::{Machine, Surroundings};
pub use zeo::ZeoSection;

/// Reads a file. The notes are lines for the log, each with file and line number.
pub fn load(path: &Path, surroundings: &dyn Surroundings) -> Result<(ZeoConf, Vec<String>), Mistakes> {
    match surroundings.read(path) {
        Ok(text) => parse(path, &text, surroundings),
        Err(why) => {
            let mut report = report::Report::default();
            let place = report.open_file(path);
            report.mistake(place, format!("the file cannot be read: {why}"));
            report.finish(None)
        }
    }
}

/// Understands a file whose text is given; the path names it in messages, and included files are found from there.
pub fn parse(
    path: &Path,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<(ZeoConf, Vec<String>), Mistakes> {
    let mut report = report::Report::default();
    let parsed = parser::parse(path, text, surroundings, &mut report);
    let conf = conf::interpret(&parsed, surroundings, &mut report);
    report.finish(conf)
}

#[cfg(test)]
#[path = "zeo_conf_test.rs"]
mod tests;
