//! What values mean.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use crate::listener::ListenAddress;
use crate::span;

/// Any text but an empty one.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
        DeValue::String(_) => Err("expected a text that is not empty".to_owned()),
        _ => Err("expected a text, in quotes".to_owned()),
    }
}

/// A name: letters, digits, `-`, `_` and `.`, 64 bytes at most.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= 64 && name.chars().all(fits) {
        return Ok(name);
    }
    Err(format!("expected up to 64 letters, digits, `-`, `_` and `.`, not {name:?}"))
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        _ => Err("expected true or false, without quotes".to_owned()),
    }
}

/// A whole number from 0.
pub(super) fn count(value: &DeValue<'_>) -> Result<u64, String> {
    let number = match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) => text.parse().ok(), // of a variable
        _ => None,
    };
    number.ok_or_else(|| "expected a whole number from 0".to_owned())
}

/// A time with its unit: `"250ms"`, `"5s"`, `"10min"`, `"1h"`, `"1d"`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let wrong =
        || "expected a time with its unit, such as \"250ms\", \"5s\", \"10min\", \"1h\" or \"1d\"".to_owned();
    let text = text(value).map_err(|_| wrong())?;
    span::parse(&text).ok_or_else(wrong)
}

/// A size in bytes, or with its unit: `65536`, `"64KiB"`, `"256MiB"`, `"1GiB"`.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    if let Ok(bytes) = count(value) {
        return Ok(bytes);
    }
    let wrong = || "expected a size, such as 65536, \"64KiB\", \"256MiB\" or \"1GiB\"".to_owned();
    let text = text(value).map_err(|_| wrong())?;
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (number, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|number| (number, shift)))
        .ok_or_else(wrong)?;
    let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// What is to be logged.
pub(super) fn log_filter(value: &DeValue<'_>) -> Result<String, String> {
    let text = text(value)?;
    match EnvFilter::try_new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("expected such as \"info\" or \"info,standby::session=debug\": {error}")),
    }
}

/// A path, as it is.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

/// Where to listen: `HOST:PORT` or `unix:PATH`.
pub(super) fn listen(value: &DeValue<'_>) -> Result<ListenAddress, String> {
    text(value)?.parse()
}

/// Where to listen: one address, or a list of them.
pub(super) fn listens(value: &DeValue<'_>) -> Result<Vec<ListenAddress>, String> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| listen(item.get_ref())).collect(),
        one => Ok(vec![listen(one)?]),
    }
}

/// Where to listen with TCP: `HOST:PORT`.
pub(super) fn listen_tcp(value: &DeValue<'_>) -> Result<ListenAddress, String> {
    match listen(value)? {
        ListenAddress::Unix(_) => Err("expected HOST:PORT: other machines must reach it".to_owned()),
        address => Ok(address),
    }
}

/// Where another node is: a list of `HOST:PORT`.
pub(super) fn addresses(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let wrong = || "expected a list of HOST:PORT, such as [\"10.0.0.1:8200\"]".to_owned();
    let DeValue::Array(items) = value else { return Err(wrong()) };
    let address = |item: &DeValue<'_>| {
        let address = text(item).map_err(|_| wrong())?;
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok(address)
            }
            _ => Err(format!("expected HOST:PORT, not {address:?}")),
        }
    };
    items.iter().map(|item| address(item.get_ref())).collect()
}
