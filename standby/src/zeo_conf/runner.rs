//! `<runner>`: how `zeoctl` starts and watches the server. The stock server itself does not use it, nor does
//! Standby; it is checked, and said so.

use super::keys::Keys;
use super::report::Report;
use super::section::Section;
use super::values::boolean;

/// What only `zeoctl` uses; any text will do.
const TEXTS: [&str; 13] = [
    "python",
    "zdrun",
    "socket-name",
    "directory",
    "backoff-limit",
    "exit-codes",
    "start-test-program",
    "start-timeout",
    "stop-timeout",
    "umask",
    "logfile",
    "transcript",
    "prompt",
];
const BOOLEANS: [&str; 4] = ["daemon", "forever", "hang-around", "default-to-interactive"];

/// Checks a `<runner>` section.
pub fn interpret(section: &Section, report: &mut Report) {
    let mut keys = Keys::of(section, report);
    keys.require("program", report, |_| Ok(()));
    for name in TEXTS {
        keys.take(name, report, |_| Ok(()));
    }
    for name in BOOLEANS {
        keys.take(name, report, boolean);
    }
    let user = keys.take("user", report, |text| Ok(text.to_owned()));
    keys.finish(report);
    for inner in section.sections.iter().filter(|inner| !inner.kind.is_empty()) {
        if !matches!(inner.kind.as_str(), "eventlog" | "logger") {
            report.mistake(inner.place, format!("unknown section {inner}: <runner> has <eventlog>"));
        }
    }
    let as_user = user.map(|user| format!(" as user `{user}`")).unwrap_or_default();
    report.note(
        section.place,
        format!(
            "<runner> is for zeoctl, and not used: have systemd or a like service start Standby{as_user}"
        ),
    );
}
