use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A transaction id: 8 bytes, big-endian, that are also a timestamp (UTC).
///
/// The format is that of `persistent.TimeStamp`: the upper four bytes count minutes since 1900 in a calendar
/// whose years have twelve months of 31 days; the lower four are the seconds within the minute, in units of
/// 60 / 2^32 s (14 ns).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tid(u64);

const FRACTIONS_PER_MINUTE: u128 = 1 << 32;
const NANOS_PER_MINUTE: u128 = 60_000_000_000;
const FIRST_YEAR: i64 = 1900;

impl Tid {
    /// Before every transaction: what an empty database calls its last transaction.
    pub const ZERO: Self = Self(0);

    /// After every transaction: `loadBefore` with it asks for the current revision
    /// (`ZODB.utils.maxtid`).
    pub const MAX: Self = Self(0x7fff_ffff_ffff_ffff);

    /// The tid with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Reads the eight bytes that ZODB stores and sends.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The eight bytes that ZODB stores and sends.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The tid as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next tid, 14 ns later as a timestamp. Saturates at the greatest number.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The tid for a transaction at `now` that must come after `last`: `now` as a timestamp, or the tid after
    /// `last` where the clock has not passed it.
    pub fn after(last: Self, now: SystemTime) -> Self {
        Self::from_time(now).max(last.next())
    }

    /// The timestamp of a moment. Moments before 1970 count as 1970.
    pub fn from_time(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let minutes_since_epoch = since_epoch.as_secs() / 60;
        let (year, month, day) = civil_from_days((minutes_since_epoch / (24 * 60)) as i64);
        let minute_of_day = minutes_since_epoch % (24 * 60);
        let months = (year - FIRST_YEAR) as u64 * 12 + (month - 1);
        let minutes = (months * 31 + (day - 1)) * 24 * 60 + minute_of_day;
        let nanos_in_minute = since_epoch.as_nanos() % NANOS_PER_MINUTE;
        let fraction = (nanos_in_minute * FRACTIONS_PER_MINUTE / NANOS_PER_MINUTE) as u64;
        Self(minutes << 32 | fraction)
    }

    /// The moment that this timestamp stands for, to within 14 ns. `None` before 1970 (as for [`Tid::ZERO`]).
    pub fn to_time(self) -> Option<SystemTime> {
        let minutes = self.0 >> 32;
        let days = minutes / (24 * 60);
        let (months, day) = (days / 31, days % 31 + 1);
        let year = FIRST_YEAR + (months / 12) as i64;
        let days_since_epoch = days_from_civil(year, months % 12 + 1, day);
        let whole_minutes = u64::try_from(days_since_epoch).ok()? * 24 * 60 + minutes % (24 * 60);
        let nanos = (self.0 & 0xffff_ffff) as u128 * NANOS_PER_MINUTE / FRACTIONS_PER_MINUTE;
        Some(UNIX_EPOCH + Duration::from_secs(whole_minutes * 60) + Duration::from_nanos(nanos as u64))
    }

    /// The timestamp that lies so much later.
    pub fn later_by(self, time: Duration) -> Self {
        Self::from_time(self.to_time().unwrap_or(UNIX_EPOCH) + time).max(self)
    }

    /// Seconds since 1970 as a float, ZODB's `TimeStamp.timeTime()`. Negative before 1970.
    pub fn unix_seconds(self) -> f64 {
        match self.to_time() {
            Some(time) => time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            None => {
                let minutes = self.0 >> 32;
                let days = minutes / (24 * 60);
                let (months, day) = (days / 31, days % 31 + 1);
                let whole_days = days_from_civil(FIRST_YEAR + (months / 12) as i64, months % 12 + 1, day);
                let seconds = (self.0 & 0xffff_ffff) as f64 * 60.0 / FRACTIONS_PER_MINUTE as f64;
                (whole_days * 86_400) as f64 + (minutes % (24 * 60) * 60) as f64 + seconds
            }
        }
    }
}

impl TryFrom<&[u8]> for Tid {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self::from_bytes)
    }
}

/// Sixteen hexadecimal digits, as ZODB's tools print a tid.
impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tid({:016x})", self.0)
    }
}

/// Days since 1970-01-01 to (year, month 1-12, day 1-31) in the Gregorian calendar.
/// Algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u64;
    let month = (if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 }) as u64;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`]. A day past its month's end counts on into the next month.
fn days_from_civil(year: i64, month: u64, day: u64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month as i64 - 3 } else { month as i64 + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `persistent.TimeStamp(2026, 2, 28, 23, 59, 59.5).raw()` gives.
    #[test]
    fn a_timestamp_is_that_of_persistent() {
        let time = UNIX_EPOCH + Duration::from_millis(1_772_323_199_500);
        assert_eq!(Tid::from_time(time).to_string(), "040732dffddddddd");
    }

    #[test]
    fn time_and_timestamp_agree_on_every_day_of_a_leap_cycle() {
        for day in 0..146_097u64 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + 12_345);
            let back = Tid::from_time(time).to_time().expect("after 1970");
            assert_eq!(back, time, "day {day}");
        }
    }

    #[test]
    fn timestamps_order_as_time_does() {
        let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let tids: Vec<_> =
            (0..5_000).map(|i| Tid::from_time(start + Duration::from_secs(i * 3_601))).collect();
        assert!(tids.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_tid_comes_after_the_last_one_even_where_the_clock_stands_still_or_goes_back() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let first = Tid::after(Tid::ZERO, now);
        assert_eq!(Tid::after(first, now), first.next());
        assert_eq!(Tid::after(first, now - Duration::from_secs(10)), first.next());
    }

    #[test]
    fn zero_is_before_1970() {
        assert_eq!(Tid::ZERO.to_time(), None);
        assert_eq!(Tid::ZERO.unix_seconds(), -2_208_988_800.0);
    }
}
