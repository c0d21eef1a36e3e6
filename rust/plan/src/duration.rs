//! Calendar durations as Polars writes them: `"1mo2d3h"`, `"10s"`, `"5i"`.
//!
//! The planner hands over the parts that Polars parsed; nothing is parsed here.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A calendar duration in Polars' parts. Months, weeks and days follow the calendar (and the time zone); the rest is
/// physical. All parts are absolute; `negative` is the sign of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Duration {
    pub months: i64,
    pub weeks: i64,
    pub days: i64,
    /// Physical part; for an integer time column (`index`) the count of units.
    pub nanoseconds: i64,
    pub negative: bool,
    /// True for `"5i"`: counts units of an integer column.
    pub index: bool,
}

impl Duration {
    /// True if no part is set.
    pub fn is_zero(&self) -> bool {
        self.months == 0 && self.weeks == 0 && self.days == 0 && self.nanoseconds == 0
    }

    /// True if the length does not depend on the calendar or zone ("1d" does on a zone with DST).
    pub fn is_physical(&self) -> bool {
        self.months == 0 && self.weeks == 0 && self.days == 0
    }

    /// The length in nanoseconds (or units, for `index`) when days have 24 hours; `None` with months or on overflow.
    pub fn fixed(&self) -> Option<i64> {
        const DAY: i64 = 86_400_000_000_000;
        if self.months != 0 {
            return None;
        }
        let days = self.weeks.checked_mul(7)?.checked_add(self.days)?;
        let total = days.checked_mul(DAY)?.checked_add(self.nanoseconds)?;
        Some(if self.negative { -total } else { total })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str(if self.index { "0i" } else { "0ns" });
        }
        if self.negative {
            f.write_str("-")?;
        }
        for (count, unit) in [(self.months, "mo"), (self.weeks, "w"), (self.days, "d")] {
            if count != 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        if self.nanoseconds == 0 {
            return Ok(());
        }
        if self.index {
            return write!(f, "{}i", self.nanoseconds);
        }
        let units = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        let mut rest = self.nanoseconds;
        for (size, unit) in units {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        if rest != 0 {
            write!(f, "{rest}ns")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn text_is_polars_text() {
        let parts = Duration {
            months: 1,
            days: 2,
            nanoseconds: 10_000_000_000,
            negative: true,
            ..Duration::default()
        };
        assert_eq!(parts.to_string(), "-1mo2d10s");
        assert_eq!(Duration { nanoseconds: 5, index: true, ..Duration::default() }.to_string(), "5i");
    }

    #[test]
    fn months_have_no_fixed_length() {
        assert_eq!(Duration { months: 1, ..Duration::default() }.fixed(), None);
        assert_eq!(Duration { weeks: 1, ..Duration::default() }.fixed(), Some(7 * 86_400_000_000_000));
    }
}
