//! Numbers as people read them.

/// A length in bytes.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A span of time in seconds.
pub fn seconds(seconds: f64) -> String {
    match seconds.max(0.0) {
        short if short < 10.0 => format!("{short:.1} s"),
        short if short < 120.0 => format!("{short:.0} s"),
        minutes if minutes < 7_200.0 => format!("{:.0} min", minutes / 60.0),
        hours if hours < 172_800.0 => format!("{:.0} h", hours / 3_600.0),
        days => format!("{:.0} days", days / 86_400.0),
    }
}

/// A moment, in UTC.
pub fn moment(unix: f64) -> String {
    let shown = jiff::Timestamp::from_second(unix as i64).map(|time| time.strftime("%F %T UTC").to_string());
    shown.unwrap_or_else(|_| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
        assert_eq!(seconds(0.04), "0.0 s");
        assert_eq!(seconds(61.4), "61 s");
        assert_eq!(seconds(600.0), "10 min");
        assert_eq!(seconds(86_400.0), "24 h");
        assert_eq!(seconds(864_000.0), "10 days");
        assert_eq!(moment(1.5), "1970-01-01 00:00:01 UTC");
    }
}
