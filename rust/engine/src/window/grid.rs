//! The grid of `group_by_dynamic`: which windows hold a time, where each begins and ends, when it is final.
//!
//! Window *i* is the *i*-th step of `every` from an origin near 1970 that depends on the plan alone: the same in every
//! run and release, and growing with time. Times are ticks of the column; a `Date` is counted in microseconds inside, as
//! in Polars. Everything saturates at the ends of `i64`.
//!
//! Not here: which grids are refused (`rules.rs`), the state of windows (`operators/`). Called by the window operators.
//! Cost: a division for fixed grids; a few look-ups in the zone's table for calendar grids, so ask once per window and
//! not once per row.

use super::calendar::{first_day, month_of, saturate};
use super::length::{Length, at};
use super::rules::Rules;
use super::zone::Zone;
use crate::error::{EngineError, Result};
use crate::time::Timestamp;
use dataflare_plan::{Closed, DataType, Label, StartBy, TimeUnit, Window};
use std::ops::Range;

const NANOSECONDS_OF_A_DAY: i64 = 86_400_000_000_000;
/// 1970-01-05, the first Monday.
const FIRST_MONDAY: i64 = 4;

/// Where windows begin.
#[derive(Clone, Copy, Debug)]
enum Steps {
    /// At `origin + i * every`.
    Physical { every: i64, origin: i64 },
    /// At `shift` ticks after local midnight of day `origin + i * every`.
    Days { every: i64, origin: i64, shift: i64 },
    /// At `shift` ticks after the local beginning of month `origin + i * every`.
    Months { every: i64, origin: i64, shift: i64 },
}

/// A grid whose windows all have one length, in ticks of the column: window *i* begins at `offset + i * every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedGrid {
    pub every: i64,
    pub period: i64,
    /// At least 0 and below `every`.
    pub offset: i64,
    pub closed: Closed,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Grid {
    steps: Steps,
    period: Length,
    /// The period in ticks if it does not depend on the calendar.
    fixed_period: Option<i64>,
    closed: Closed,
    label: Label,
    zone: Zone,
    /// Ticks of a day.
    day: i64,
    /// Ticks of one unit of the column: more than 1 for `Date` only.
    ticks_per_unit: i64,
    boundary_type: DataType,
    /// No time lies in more windows.
    most_windows: i64,
}

impl Grid {
    /// The grid of `window` over a column of type `dtype`.
    ///
    /// # Errors
    /// [`EngineError::Call`]: a type that is no time, an unknown zone, or a grid that depends on the first row of a key.
    pub fn new(window: &Window, dtype: &DataType) -> Result<Self> {
        let (unit, zone_name, boundary_type) = match dtype {
            DataType::Date => {
                let unit = TimeUnit::Microseconds;
                (unit.nanoseconds(), None, DataType::Datetime { unit, zone: None })
            }
            DataType::Datetime { unit, zone } => (unit.nanoseconds(), zone.as_deref(), dtype.clone()),
            DataType::Int32 | DataType::Int64 => (1, None, dtype.clone()),
            other => {
                let place = format!("group_by_dynamic on '{}'", window.column);
                let expected = "a column of type Date, Datetime, Int32 or Int64, as in Polars";
                return Err(EngineError::call(place, expected, other.to_string()));
            }
        };
        let zone = Zone::new(zone_name, 1_000_000_000 / unit)?;
        let day = NANOSECONDS_OF_A_DAY / unit;
        let [every, period, offset] =
            [window.every, window.period, window.offset].map(|part| Length::new(&part, unit));
        Rules { window, dtype, zone: &zone, day, every, period, offset }.check()?;
        let steps = Steps::new(window, &zone, day, &every, &offset);
        let uses_calendar = period.months != 0 || (period.days != 0 && !zone.is_utc());
        let fixed_period = if uses_calendar { None } else { period.fixed(day).map(saturate) };
        let longest = -Length { months: 0, days: 0, ticks: 0 }.minus(&period).at_least(day, zone.spread());
        let shortest_step = (every.at_least(day, 0) - i128::from(zone.spread())).max(1);
        let ticks_per_unit = if *dtype == DataType::Date { day } else { 1 };
        let most_windows = saturate(longest / shortest_step).clamp(0, 4_096) + 3;
        let (closed, label) = (window.closed, window.label);
        Ok(Self {
            steps,
            period,
            fixed_period,
            closed,
            label,
            zone,
            day,
            ticks_per_unit,
            boundary_type,
            most_windows,
        })
    }

    /// The windows that hold `t`; empty in a gap (`period < every`).
    pub fn windows_of(&self, t: i64) -> Range<i64> {
        let ticks = self.ticks(t);
        let includes_start = matches!(self.closed, Closed::Left | Closed::Both);
        let last =
            if includes_start { self.last_from(ticks) } else { self.last_from(ticks.saturating_sub(1)) };
        let first = self.first_reaching(ticks);
        first..last.saturating_add(1).max(first)
    }

    /// The lower boundary of a window.
    pub fn start(&self, index: i64) -> i64 {
        self.start_ticks(index).div_euclid(self.ticks_per_unit)
    }

    /// The upper boundary of a window.
    pub fn end(&self, index: i64) -> i64 {
        self.end_ticks(index).div_euclid(self.ticks_per_unit)
    }

    /// The boundary that names a window.
    pub fn label(&self, index: i64) -> i64 {
        match self.label {
            Label::Left => self.start(index),
            Label::Right => self.end(index),
        }
    }

    /// `_lower_boundary` and `_upper_boundary` of a window in ticks of [`Grid::boundary_type`].
    pub fn boundaries(&self, index: i64) -> (i64, i64) {
        (self.start_ticks(index), self.end_ticks(index))
    }

    /// The type of the boundary columns: the column's own, but `Datetime("us")` for a `Date`.
    pub fn boundary_type(&self) -> &DataType {
        &self.boundary_type
    }

    /// True if no row at or above the watermark can lie in the window or in one before it.
    pub fn is_final(&self, index: i64, watermark: Timestamp) -> bool {
        index < self.earliest_open(watermark)
    }

    /// The first window that is not final.
    pub fn earliest_open(&self, watermark: Timestamp) -> i64 {
        match watermark {
            Timestamp::MIN => i64::MIN,
            Timestamp::MAX => i64::MAX,
            Timestamp(t) => self.first_reaching(self.ticks(t)),
        }
    }

    /// The grid as plain numbers, if no calendar is needed.
    pub fn fixed(&self) -> Option<FixedGrid> {
        let (Steps::Physical { every, origin }, Some(period)) = (self.steps, self.fixed_period) else {
            return None;
        };
        let unit = self.ticks_per_unit;
        if [every, origin, period].iter().any(|ticks| ticks % unit != 0) {
            return None; // a `Date` with windows of hours
        }
        Some(FixedGrid {
            every: every / unit,
            period: period / unit,
            offset: origin / unit,
            closed: self.closed,
        })
    }

    fn ticks(&self, t: i64) -> i64 {
        t.saturating_mul(self.ticks_per_unit)
    }

    fn start_ticks(&self, index: i64) -> i64 {
        let step = |origin: i64, every: i64| i128::from(origin) + i128::from(index) * i128::from(every);
        match self.steps {
            Steps::Physical { every, origin } => saturate(step(origin, every)),
            Steps::Days { every, origin, shift } => {
                self.zone.to_utc(at(saturate(step(origin, every)), shift, self.day))
            }
            Steps::Months { every, origin, shift } => {
                self.zone.to_utc(at(first_day(saturate(step(origin, every))), shift, self.day))
            }
        }
    }

    fn end_ticks(&self, index: i64) -> i64 {
        match (self.steps, self.fixed_period) {
            (Steps::Physical { every, origin }, Some(period)) => {
                saturate(i128::from(origin) + i128::from(index) * i128::from(every) + i128::from(period))
            }
            _ => self.period.add_to(self.start_ticks(index), &self.zone, self.day),
        }
    }

    /// The last window that begins at or before `ticks`.
    fn last_from(&self, ticks: i64) -> i64 {
        let guess = match self.steps {
            Steps::Physical { every, origin } => return floor(i128::from(ticks) - i128::from(origin), every),
            Steps::Days { every, origin, shift } => {
                let date = self.zone.to_local(ticks).saturating_sub(shift).div_euclid(self.day);
                floor(i128::from(date) - i128::from(origin), every)
            }
            Steps::Months { every, origin, shift } => {
                let date = self.zone.to_local(ticks).saturating_sub(shift).div_euclid(self.day);
                floor(i128::from(month_of(date).0) - i128::from(origin), every)
            }
        };
        // Where clocks change near the beginning of a day the guess is off by one.
        let candidates = guess.saturating_sub(1)..=guess.saturating_add(1);
        candidates.rev().find(|index| self.start_ticks(*index) <= ticks).unwrap_or(guess)
    }

    /// The first window that a row at `ticks` or later can lie in.
    fn first_reaching(&self, ticks: i64) -> i64 {
        let includes_end = matches!(self.closed, Closed::Right | Closed::Both);
        if let (Steps::Physical { every, origin }, Some(period)) = (self.steps, self.fixed_period) {
            let reach =
                i128::from(ticks) - i128::from(origin) - i128::from(period) - i128::from(includes_end);
            return floor(reach, every).saturating_add(1);
        }
        let reaches = |index: i64| {
            let end = self.end_ticks(index);
            end > ticks || (includes_end && end == ticks)
        };
        let beyond = self.last_from(ticks).saturating_add(1);
        let steps_back =
            (1..=self.most_windows).take_while(|back| reaches(beyond.saturating_sub(*back))).count();
        beyond.saturating_sub(i64::try_from(steps_back).unwrap_or(self.most_windows))
    }
}

impl Steps {
    fn new(window: &Window, zone: &Zone, day: i64, every: &Length, offset: &Length) -> Self {
        let shift = Length { months: 0, ..*offset }.fixed(day).unwrap_or_default();
        if every.months != 0 {
            return Self::Months {
                every: every.months,
                origin: offset.months.rem_euclid(every.months),
                shift: saturate(shift),
            };
        }
        let weekday_origin = match window.start_by {
            StartBy::Weekday(weekday) => FIRST_MONDAY + i64::from(weekday),
            StartBy::Window if window.every.weeks != 0 => FIRST_MONDAY,
            StartBy::Window => 0,
        };
        let size = i128::from(day);
        if every.days != 0 && !zone.is_utc() {
            let days = i128::from(weekday_origin) + shift.div_euclid(size);
            let origin = saturate(days.rem_euclid(i128::from(every.days)));
            return Self::Days { every: every.days, origin, shift: saturate(shift.rem_euclid(size)) };
        }
        let every = every.fixed(day).map_or(1, |length| saturate(length).max(1));
        let local_origin =
            i128::from(weekday_origin) * size + shift - i128::from(zone.phase(every).unwrap_or(0));
        Self::Physical { every, origin: saturate(local_origin.rem_euclid(i128::from(every))) }
    }
}

fn floor(distance: i128, every: i64) -> i64 {
    saturate(distance.div_euclid(i128::from(every)))
}
