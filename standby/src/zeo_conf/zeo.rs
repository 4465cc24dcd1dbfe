//! `<zeo>`: how clients are served.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::Keys;
use super::report::Report;
use super::section::Section;
use super::ssl::SslSection;
use super::surroundings::Surroundings;
use super::values::{address, boolean, count, path_in_directory, seconds, whole_seconds};
use crate::listener::ListenAddress;

/// The section `<zeo>`. What is `None` was not given.
#[derive(Clone, PartialEq, Debug)]
pub struct ZeoSection {
    /// Where clients connect.
    pub address: ListenAddress,
    /// Refuse clients that want to write.
    pub read_only: bool,
    /// Transactions that a client may have missed and still keep its cache.
    pub invalidation_queue_size: Option<usize>,
    /// Age of a client's last transaction up to which the log is read for it.
    pub invalidation_age: Option<Duration>,
    /// Greatest time from a client's vote to its finish.
    pub transaction_timeout: Option<Duration>,
    /// Whether the stock server would leave conflict resolution to the clients. Standby always does.
    pub client_conflict_resolution: bool,
    /// Greet clients with msgpack instead of pickle.
    pub msgpack: bool,
    /// Speak TLS with clients.
    pub ssl: Option<SslSection>,
    /// Where to write the process id.
    pub pid_filename: Option<PathBuf>,
}

const NO_MONITOR: &str = "ZEO 5 has no monitor port: send `ruok` to the server's own address (as zeo-nagios does), \
                          and remove the line";
const NO_AUTHENTICATION: &str = "ZEO 5 has no password authentication: identify clients by certificates, with an \
                                 <ssl> section, and remove the line";

/// Understands a `<zeo>` section.
pub fn interpret(
    section: &Section,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Option<ZeoSection> {
    let mut keys = Keys::of(section, report);
    keys.refuse("monitor-address", report, NO_MONITOR);
    for name in ["authentication-protocol", "authentication-database", "authentication-realm"] {
        keys.refuse(name, report, NO_AUTHENTICATION);
    }
    let place = section.keys.iter().find(|key| key.name == "address").map_or(section.place, |key| key.place);
    let address = keys.require("address", report, address);
    if let Some(address) = &address {
        if address.no_host {
            report.note(
                place,
                "no host is given: Standby listens on all IPv4 addresses; `[::]:PORT` adds IPv6",
            );
        }
        if address.no_port {
            report.note(place, "no port is given: the system picks a free one");
        }
    }
    let read_only = keys.take("read-only", report, boolean).unwrap_or(false);
    let queue_size = keys.take_placed("invalidation-queue-size", report, count);
    let age = keys.take("invalidation-age", report, seconds).filter(|age| !age.is_zero());
    if let Some((size, place)) = queue_size {
        let text = format!(
            "a client that missed more than {size} transactions drops its cache, as with the stock server; without \
             `invalidation-queue-size` and `invalidation-age`, Standby tells it what changed as far back as the \
             log goes"
        );
        report.note(place, text);
    }
    let transaction_timeout = keys.take("transaction-timeout", report, whole_seconds);
    let resolution = keys.take_placed("client-conflict-resolution", report, boolean);
    if !matches!(resolution, Some((true, _))) {
        report.note(
            resolution.map_or(section.place, |(_, place)| place),
            "conflicts are resolved by the clients, always: Standby runs no application code",
        );
    }
    let msgpack = keys.take_placed("msgpack", report, boolean);
    let asked_by_environment = surroundings.variable("ZEO_MSGPACK").is_some_and(|value| !value.is_empty());
    if msgpack.is_none() && asked_by_environment {
        report.note(section.place, "msgpack is used, as the environment variable ZEO_MSGPACK asks for it");
    }
    let pid_filename = pid_filename(&mut keys, read_only, section, surroundings, report);
    keys.finish(report);
    Some(ZeoSection {
        ssl: ssl(section, surroundings, report),
        address: address?.listen,
        read_only,
        invalidation_queue_size: queue_size.map(|(size, _)| size),
        invalidation_age: age,
        transaction_timeout,
        client_conflict_resolution: resolution.is_some_and(|(value, _)| value),
        msgpack: msgpack.map_or(asked_by_environment, |(value, _)| value),
        pid_filename,
    })
}

/// As the stock server: without a name, a Zope instance's usual place; and none where nothing is written.
fn pid_filename(
    keys: &mut Keys<'_>,
    read_only: bool,
    section: &Section,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Option<PathBuf> {
    let given = keys.take_placed("pid-filename", report, |text| match text {
        "" => Ok(None),
        text => path_in_directory(text, surroundings).map(Some),
    });
    let (path, place) = match given {
        Some((Some(path), place)) => (path, place),
        _ => {
            let home = surroundings.variable("INSTANCE_HOME").filter(|home| !home.is_empty())?;
            (PathBuf::from(home).join("var/ZEO.pid"), section.place)
        }
    };
    if read_only {
        report.note(
            place,
            "with `read-only`, no file with the process id is written, as with the stock server",
        );
        return None;
    }
    Some(path)
}

fn ssl(section: &Section, surroundings: &dyn Surroundings, report: &mut Report) -> Option<SslSection> {
    let mut found = None;
    for inner in &section.sections {
        match inner.kind.as_str() {
            "ssl" if found.is_some() => report.mistake(inner.place, "a second <ssl> section"),
            "ssl" => found = Some(super::ssl::interpret(inner, surroundings, report)),
            "" => {} // has been reported
            _ => {
                let text = format!(
                    "{inner} cannot stand in <zeo>, which has only <ssl>: is `</zeo>` missing above it?"
                );
                report.mistake(inner.place, text);
            }
        }
    }
    found.flatten()
}
