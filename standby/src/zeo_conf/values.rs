//! What values mean: the data types of ZConfig that the stock server's schema uses.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::surroundings::Surroundings;
use crate::listener::ListenAddress;

/// `boolean`.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(format!("expected true or false, not `{text}`")),
    }
}

/// `integer`, where it counts something.
pub fn count<T: FromStr>(text: &str) -> Result<T, String> {
    python_number(text)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("expected a whole number from 0, not `{text}`"))
}

/// A positive number of whole seconds.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    match count(text)? {
        0 => Err("0 seconds would end every transaction: for no limit, remove the line".to_owned()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// `float`, where it is a number of seconds. Infinity is the longest duration.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let refused = || format!("expected a number of seconds, not `{text}`");
    let seconds: f64 = python_number(text).and_then(|number| number.parse().ok()).ok_or_else(refused)?;
    if seconds == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| refused())
}

/// `byte-size`: `KB`, `MB` and `GB` may follow the number.
pub fn byte_size(text: &str) -> Result<u64, String> {
    let lower = text.to_lowercase();
    let units = [("kb", 10), ("mb", 20), ("gb", 30)];
    let (number, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| lower.strip_suffix(unit).map(|number| (number, shift)))
        .unwrap_or((&lower, 0));
    python_number(number.trim_end())
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("expected a number of bytes, such as 500000, 100KB or 5MB, not `{text}`"))
}

/// Python lets underscores stand between digits.
fn python_number(text: &str) -> Option<String> {
    let digit = |c: Option<&u8>| c.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let well_placed = (0..bytes.len()).all(|index| {
        bytes[index] != b'_' || (index > 0 && digit(bytes.get(index - 1)) && digit(bytes.get(index + 1)))
    });
    well_placed.then(|| text.replace('_', ""))
}

/// `socket-binding-address`: `HOST:PORT`, `PORT`, `[IPV6]:PORT`, or a path, which has a `/`.
pub fn address(text: &str) -> Result<BindingAddress, String> {
    if text.contains('/') {
        return Ok(BindingAddress {
            listen: ListenAddress::Unix(text.into()),
            no_host: false,
            no_port: false,
        });
    }
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!("expected HOST:PORT, PORT, [IPV6]:PORT or the path of a socket, not `{text}`"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (is_bracketed(host) || !host.contains(':')) => {
            (host, (!port.is_empty()).then_some(port))
        }
        Some(_) => (text, None), // an IPv6 address alone
        None if text.parse::<i64>().is_ok() => ("", Some(text)),
        None => (text, None),
    };
    let number: u16 = match port {
        Some(port) => {
            port.parse().map_err(|_| format!("a port is a number from 0 to 65535, not `{port}`"))?
        }
        None => 0,
    };
    let host = if is_bracketed(host) { &host[1..host.len() - 1] } else { host };
    let listen = match host {
        "" => format!("0.0.0.0:{number}"),
        host if host.contains(':') => format!("[{}]:{number}", host.to_lowercase()),
        host => format!("{}:{number}", host.to_lowercase()),
    };
    Ok(BindingAddress {
        listen: ListenAddress::Tcp(listen),
        no_host: host.is_empty(),
        no_port: port.is_none(),
    })
}

fn is_bracketed(host: &str) -> bool {
    host.len() >= 2 && host.starts_with('[') && host.ends_with(']')
}

/// An address, and what was left to defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindingAddress {
    /// Where to listen.
    pub listen: ListenAddress,
    /// No host was given: all interfaces.
    pub no_host: bool,
    /// No port was given: any that is free.
    pub no_port: bool,
}

/// Any path but an empty one.
pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(text.into()) }
}

/// `existing-dirpath`: a path in a directory that is there; `~` at the start is the home directory.
pub fn path_in_directory(text: &str, surroundings: &dyn Surroundings) -> Result<PathBuf, String> {
    let path = match text.strip_prefix('~') {
        None => path(text)?,
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = surroundings.variable("HOME").filter(|home| !home.is_empty());
            let home = home.ok_or("`~` stands for $HOME, which is not set: write the path out")?;
            PathBuf::from(format!("{}{rest}", home.trim_end_matches('/')))
        }
        Some(_) => return Err(format!("the home directory in `{text}` is not known: write the path out")),
    };
    match path.parent() {
        Some(parent) if parent != Path::new("") && !surroundings.is_directory(parent) => {
            Err(format!("the directory {} does not exist", parent.display()))
        }
        _ => Ok(path),
    }
}

#[cfg(test)]
#[path = "values_test.rs"]
mod tests;
