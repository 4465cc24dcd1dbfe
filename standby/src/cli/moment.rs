//! Moments and transactions, as they are written on the command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use replica::{Oid, Tid};

/// Digits of a tid.
const TID_DIGITS: usize = 16;

/// A moment: seconds since 1970, or a date with or without a time. Without an offset it is in UTC.
pub fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let since_epoch = Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("{text} seconds since 1970 are no time"))?;
        return UNIX_EPOCH.checked_add(since_epoch).ok_or_else(|| format!("{text} seconds are too many"));
    }
    let timestamp = match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => Ok(timestamp),
        // A time with a zone or none; jiff refuses a `Z` here, which would be lost.
        Err(_) => text
            .parse::<jiff::civil::DateTime>()
            .and_then(|local| local.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|zoned| zoned.timestamp()),
    };
    timestamp.map(SystemTime::from).map_err(|_| {
        "expected seconds since 1970, or a time such as 2026-11-21T03:00:00Z or 2026-11-21".to_owned()
    })
}

/// A transaction by its tid (16 hexadecimal digits, also with `0x`), or by its time.
pub fn transaction(text: &str) -> Result<Tid, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == TID_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return u64::from_str_radix(digits, 16).map(Tid::new).map_err(|error| error.to_string());
    }
    moment(text).map(Tid::from_time).map_err(|_| {
        "expected a tid of 16 hexadecimal digits, seconds since 1970, or a time such as 2026-11-21T03:00:00Z"
            .to_owned()
    })
}

/// An object by its oid in hexadecimal, with or without `0x`.
pub fn object(text: &str) -> Result<Oid, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(number) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => Ok(Oid::new(number)),
        _ => Err("expected an oid of up to 16 hexadecimal digits, such as 0x1f".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::time_of;

    fn seconds(text: &str) -> Option<u64> {
        let time = moment(text).ok()?;
        Some(time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs())
    }

    #[test]
    fn a_moment_is_seconds_or_a_date() {
        assert_eq!(seconds("1795000000"), Some(1_795_000_000));
        assert_eq!(seconds("2026-11-21T03:00:00Z"), Some(1_795_230_000));
        assert_eq!(seconds("2026-11-21T05:00:00+02:00"), Some(1_795_230_000));
        assert_eq!(seconds("2026-11-21T03:00:00"), Some(1_795_230_000));
        assert_eq!(seconds("2026-11-21 03:00"), Some(1_795_230_000));
        assert_eq!(seconds("2026-11-21"), Some(1_795_219_200));
        for wrong in ["", "yesterday", "-5", "1e300", "nan", "2026-13-01", "2026-11-21T25:00:00Z"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_transaction_is_a_tid_or_a_moment() {
        let tid = Tid::new(0x03f9_66f9_cf37_9aaa);
        assert_eq!(transaction("03f966f9cf379aaa"), Ok(tid));
        assert_eq!(transaction("0x03F966F9CF379AAA"), Ok(tid));
        let time = time_of(tid).expect("a time");
        let read = transaction(&time).expect("a time");
        assert!(read <= tid && tid.unix_seconds() - read.unix_seconds() < 2e-6, "{time}: {read}");
        for wrong in ["", "03f966f9", "03f966f9cf379aag", "0x", "last week", "+3f966f9cf379aaa"] {
            let outcome = transaction(wrong);
            // Eight digits might be seconds.
            assert!(outcome.is_err(), "{wrong:?}: {outcome:?}");
        }
    }

    #[test]
    fn an_object_is_its_oid_in_hexadecimal() {
        assert_eq!(object("0x1f"), Ok(Oid::new(31)));
        assert_eq!(object("000000000000001F"), Ok(Oid::new(31)));
        assert_eq!(object("0"), Ok(Oid::ROOT));
        for wrong in ["", "0x", "+1", "xyz", "11112222333344445"] {
            assert!(object(wrong).is_err(), "{wrong:?}");
        }
    }
}
