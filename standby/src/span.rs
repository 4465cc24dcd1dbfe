//! Lengths of time as people write them: `250ms`, `5s`, `10min`, `1h`, `1d`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("min", 60_000), ("s", 1_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a whole number with a unit; `None` where the text is none.
pub fn parse(text: &str) -> Option<Duration> {
    let (number, millis) =
        UNITS.iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, *millis)))?;
    let number: u64 = number.trim_end().parse().ok()?;
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Writes it with the greatest unit of which it is a whole number. What is shorter than a millisecond is dropped.
pub fn shown(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let whole = UNITS.iter().filter(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit));
    let (unit, of) = whole.max_by_key(|(_, unit)| *unit).unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written() {
        for text in ["0ms", "1ms", "1500ms", "5s", "90s", "10min", "1h", "36h", "2d"] {
            assert_eq!(shown(parse(text).expect(text)), text);
        }
        assert_eq!(parse("2000ms"), parse("2s"));
        for wrong in ["", "5", "s", "-1s", "1.5s", "5 weeks", "99999999999999999999s", "9999999999999999d"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
