//! The span of time that a rolling window holds: a period that ends at the row. A calendar period (`1mo`, `1d` on a zone)
//! is taken back in local time, as Polars does. Not here: windows on a grid (`grid.rs`). Called by `running/rolling.rs`.

use super::length::Length;
use super::zone::Zone;
use crate::error::{EngineError, Result};
use dataflare_plan::{Closed, DataType, Duration, TimeUnit};

/// See the module.
#[derive(Clone, Debug)]
pub struct Span {
    /// Minus the period.
    back: Length,
    /// The period in ticks if it does not depend on the calendar.
    fixed: Option<i64>,
    closed: Closed,
    zone: Zone,
    day: i64,
    /// Ticks of one unit of the column: more than 1 for `Date` only.
    ticks_per_unit: i64,
}

impl Span {
    /// # Errors
    /// A column that is no time, or an unknown zone.
    pub fn new(period: &Duration, closed: Closed, dtype: &DataType) -> Result<Self> {
        let (unit, zone) = match dtype {
            DataType::Date => (TimeUnit::Microseconds.nanoseconds(), None),
            DataType::Datetime { unit, zone } => (unit.nanoseconds(), zone.as_deref()),
            other if other.is_integer() => (1, None),
            other => {
                let expected = "a column of type Date, Datetime or integers";
                return Err(EngineError::call("rolling", expected, other.to_string()));
            }
        };
        let zone = Zone::new(zone, 1_000_000_000 / unit)?;
        let day = 86_400_000_000_000 / unit;
        let back = Length::new(&Duration { negative: !period.negative, ..*period }, unit);
        let uses_calendar = back.months != 0 || (back.days != 0 && !zone.is_utc());
        let ticks_per_unit = if *dtype == DataType::Date { day } else { 1 };
        let whole = back.fixed(day).filter(|_| !uses_calendar);
        let fixed = whole
            .filter(|ticks| ticks % i128::from(ticks_per_unit) == 0)
            .map(|ticks| super::calendar::saturate(-ticks / i128::from(ticks_per_unit)));
        Ok(Self { back, fixed, closed, zone, day, ticks_per_unit })
    }

    /// The least time inside the window of a row at `time`.
    pub fn first(&self, time: i64) -> i64 {
        let holds_start = matches!(self.closed, Closed::Left | Closed::Both);
        if let Some(period) = self.fixed {
            return time.saturating_sub(period).saturating_add(i64::from(!holds_start));
        }
        let start = self.back.add_to(time.saturating_mul(self.ticks_per_unit), &self.zone, self.day);
        let unit = start.div_euclid(self.ticks_per_unit);
        let is_whole = start.rem_euclid(self.ticks_per_unit) == 0;
        if is_whole && holds_start { unit } else { unit.saturating_add(1) }
    }

    /// True if the row itself, and others of its time, are inside.
    pub fn holds_end(&self) -> bool {
        matches!(self.closed, Closed::Right | Closed::Both)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;
    use dataflare_plan::{Closed, DataType, Duration};

    #[test]
    fn window_begins_a_period_before_the_row() {
        let period = Duration { nanoseconds: 5, index: true, ..Duration::default() };
        for (closed, first) in [(Closed::Left, 5), (Closed::Both, 5), (Closed::Right, 6), (Closed::None, 6)] {
            assert_eq!(Span::new(&period, closed, &DataType::Int64).unwrap().first(10), first);
        }
    }

    #[test]
    fn month_goes_back_by_the_calendar() {
        let period = Duration { months: 1, ..Duration::default() };
        // 2024-03-31 and 2024-02-29 as days.
        let span = Span::new(&period, Closed::Both, &DataType::Date).unwrap();
        assert_eq!(span.first(19_813), 19_782);
    }
}
