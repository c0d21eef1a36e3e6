//! A duration in the three parts that do not convert into each other: months, days, ticks. All parts have one sign.
//!
//! Adding follows Polars: months first (a day that the month lacks becomes its last), then days, both in local time,
//! then ticks in physical time. Not here: what a grid allows (`rules.rs`). Called by `grid.rs`.

use super::calendar::{add_months, saturate};
use super::zone::Zone;
use dataflare_plan::Duration;

/// A signed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    pub months: i64,
    pub days: i64,
    pub ticks: i64,
}

impl Length {
    /// The length in ticks of `nanoseconds_per_tick`; parts of a tick are cut off, as Polars does.
    pub fn new(duration: &Duration, nanoseconds_per_tick: i64) -> Self {
        let sign = if duration.negative { -1 } else { 1 };
        let days = i128::from(duration.weeks) * 7 + i128::from(duration.days);
        Self {
            months: duration.months.saturating_mul(sign),
            days: saturate(days * i128::from(sign)),
            ticks: (duration.nanoseconds / nanoseconds_per_tick).saturating_mul(sign),
        }
    }

    /// The whole in ticks when a day has `day` of them; `None` with months.
    pub fn fixed(&self, day: i64) -> Option<i128> {
        (self.months == 0).then(|| i128::from(self.days) * i128::from(day) + i128::from(self.ticks))
    }

    /// `self - other`, part by part.
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            months: self.months.saturating_sub(other.months),
            days: self.days.saturating_sub(other.days),
            ticks: self.ticks.saturating_sub(other.ticks),
        }
    }

    /// A lower bound in ticks, whatever the calendar; `spread` is how far the clocks of the zone move.
    pub fn at_least(&self, day: i64, spread: i64) -> i128 {
        let days_of_months = |months: i64| match months {
            0.. => (months / 12) * 365 + (months % 12) * 28,
            _ => (months / 12) * 366 + (months % 12) * 31,
        };
        let calendar = i128::from(days_of_months(self.months)) + i128::from(self.days);
        let is_mixed = (self.months != 0 || self.days != 0) && self.ticks != 0;
        calendar * i128::from(day) + i128::from(self.ticks) - if is_mixed { i128::from(spread) } else { 0 }
    }

    /// The instant that lies this length after `instant`.
    pub fn add_to(&self, instant: i64, zone: &Zone, day: i64) -> i64 {
        let mut moved = instant;
        if self.months != 0 {
            let local = zone.to_local(moved);
            let date = add_months(local.div_euclid(day), self.months);
            moved = zone.to_utc(at(date, local.rem_euclid(day), day));
        }
        if self.days != 0 {
            let local = zone.to_local(moved);
            moved = zone.to_utc(saturate(i128::from(local) + i128::from(self.days) * i128::from(day)));
        }
        moved.saturating_add(self.ticks)
    }
}

/// The tick at `time_of_day` of a date.
pub fn at(date: i64, time_of_day: i64, day: i64) -> i64 {
    saturate(i128::from(date) * i128::from(day) + i128::from(time_of_day))
}
