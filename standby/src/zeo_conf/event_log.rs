//! `<eventlog>`: what is logged, and where.

use std::path::PathBuf;

use super::keys::Keys;
use super::report::Report;
use super::section::Section;
use super::values::{boolean, byte_size, count, path};

/// The section `<eventlog>`, with its `<logfile>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventLog {
    /// What is logged.
    pub level: Level,
    /// Where it goes.
    pub target: LogTarget,
}

/// Levels of Standby's log, the quietest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Everything.
    Trace,
    /// What helps to find mistakes.
    Debug,
    /// What happens.
    Info,
    /// What an operator should look at.
    Warn,
    /// What failed.
    Error,
}

/// Where log lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// Standard output, which also carries the line `ready`.
    Stdout,
    /// The end of a file.
    File {
        /// Its path.
        path: PathBuf,
        /// When to begin a new one.
        rotation: Option<Rotation>,
    },
}

/// A log file is renamed to `.1`, that one to `.2`, and so on, before it grows too large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Greatest size, in bytes.
    pub bytes_max: u64,
    /// How many renamed files are kept.
    pub old_files: usize,
}

impl Level {
    /// As it is written in a filter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level that lets through what Python's logging would: what is at least as important as the number.
    fn from_number(number: u8) -> Self {
        match number {
            0..=5 => Self::Trace,
            6..=10 => Self::Debug,
            11..=20 => Self::Info,
            21..=30 => Self::Warn,
            _ => Self::Error,
        }
    }
}

/// `logging-level`: a name, or a number up to 50.
fn level(text: &str) -> Result<Level, String> {
    let number = match text.to_lowercase().as_str() {
        "critical" | "fatal" => 50,
        "error" => 40,
        "warn" | "warning" => 30,
        "info" => 20,
        "blather" => 15,
        "debug" => 10,
        "trace" => 5,
        "all" => 1,
        "notset" => 0,
        other => other.parse().ok().filter(|number| *number <= 50).ok_or_else(|| {
            format!(
                "expected critical, error, warn, info, blather, debug, trace, all or 0 to 50, not `{text}`"
            )
        })?,
    };
    Ok(Level::from_number(number))
}

/// Understands an `<eventlog>` section.
pub fn interpret(section: &Section, report: &mut Report) -> EventLog {
    let mut keys = Keys::of(section, report);
    let level = keys.take("level", report, level).unwrap_or(Level::Info);
    keys.finish(report);
    let mut log = None;
    for inner in section.sections.iter().filter(|inner| !inner.kind.is_empty()) {
        match inner.kind.as_str() {
            "logfile" if log.is_some() => {
                report.mistake(inner.place, "a second <logfile>: Standby's log goes to one place");
            }
            "logfile" => log = Some(log_file(inner, level, report)),
            "syslog" | "win32-eventlog" | "http-logger" | "email-notifier" => {
                let text = format!(
                    "{inner} is not supported: Standby logs to standard error or to a <logfile>, from where the \
                     system's log service can send it on"
                );
                report.mistake(inner.place, text);
            }
            _ => report.mistake(inner.place, format!("unknown section {inner}: <eventlog> has <logfile>")),
        }
    }
    if section.sections.is_empty() {
        report.note(
            section.place,
            "no <logfile> is given: Standby logs to standard error, the stock server nowhere",
        );
    }
    log.unwrap_or(EventLog { level, target: LogTarget::Stderr })
}

fn log_file(section: &Section, log_level: Level, report: &mut Report) -> EventLog {
    let mut keys = Keys::of(section, report);
    let level = keys.take("level", report, level).map_or(log_level, |level| level.max(log_level));
    let path = keys.require("path", report, path);
    let bytes_max = keys.take("max-size", report, byte_size).unwrap_or(0);
    let old_files = keys.take("old-files", report, count).unwrap_or(0);
    let by_time = "Standby does not rotate its log by time: let logrotate do it, which sends SIGUSR2 to have the file \
                   opened again, and remove the line";
    keys.refuse("when", report, by_time);
    keys.refuse("interval", report, by_time);
    keys.take("encoding", report, |text| match text.to_lowercase().replace('_', "-").as_str() {
        "" | "utf-8" | "utf8" | "ascii" | "us-ascii" => Ok(()),
        _ => Err(format!("the log is written in UTF-8, not `{text}`")),
    });
    let delayed = keys.take("delay", report, boolean).unwrap_or(false);
    let mut of_python = ["format", "dateformat", "formatter", "style", "arbitrary-fields"]
        .into_iter()
        .filter(|name| keys.take(name, report, |_| Ok(())).is_some())
        .collect::<Vec<_>>();
    if delayed {
        of_python.push("delay");
    }
    keys.finish(report);
    for inner in section.sections.iter().filter(|inner| !inner.kind.is_empty()) {
        report.mistake(inner.place, format!("unknown section {inner}: <logfile> has none"));
    }
    if !of_python.is_empty() {
        let text =
            format!("log lines have Standby's own form (--log-format): {} not used", of_python.join(", "));
        report.note(section.place, text);
    }
    let target = match path {
        Some(path) if path.as_os_str() == "STDERR" => LogTarget::Stderr,
        Some(path) if path.as_os_str() == "STDOUT" => LogTarget::Stdout,
        Some(path) => LogTarget::File { path, rotation: rotation(bytes_max, old_files, section, report) },
        None => LogTarget::Stderr,
    };
    if !matches!(target, LogTarget::File { .. }) && (bytes_max > 0 || old_files > 0) {
        report.mistake(section.place, "`max-size` and `old-files` need a file");
    }
    EventLog { level, target }
}

fn rotation(bytes_max: u64, old_files: usize, section: &Section, report: &mut Report) -> Option<Rotation> {
    match (bytes_max, old_files) {
        (0, 0) => None,
        (0, _) | (_, 0) => {
            report.mistake(section.place, "a rotated <logfile> needs both `max-size` and `old-files`");
            None
        }
        (bytes_max, old_files) => Some(Rotation { bytes_max, old_files }),
    }
}
