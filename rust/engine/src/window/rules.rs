//! Which grids are supported: those on which a row's windows do not depend on the first row of its key.
//!
//! Polars lets the first row of a group place the grid. On the grids that pass here every first row places the same one
//! (semantics, section 4). Not here: the arithmetic (`grid.rs`), which calls this once when a job starts.

use super::length::Length;
use super::zone::Zone;
use crate::error::{EngineError, Result};
use dataflare_plan::{Closed, DataType, StartBy, Window};

/// More windows than this never hold one row.
const MOST_WINDOWS_OF_A_ROW: i128 = 1_024;

/// What the rules look at: the window as it was written, and its parts in ticks.
#[derive(Debug)]
pub struct Rules<'a> {
    pub window: &'a Window,
    pub dtype: &'a DataType,
    pub zone: &'a Zone,
    /// Ticks of a day.
    pub day: i64,
    pub every: Length,
    pub period: Length,
    pub offset: Length,
}

impl Rules<'_> {
    /// Checks all of them.
    ///
    /// # Errors
    /// [`EngineError::Call`] with the first rule that is broken and a spelling that works.
    pub fn check(&self) -> Result<()> {
        self.check_units()?;
        self.check_lengths()?;
        self.check_zone()?;
        self.check_weekday()?;
        self.check_offset_parts()?;
        self.check_first_window()
    }

    fn refuse(&self, expected: impl Into<String>, found: impl Into<String>) -> Result<()> {
        Err(EngineError::call(format!("group_by_dynamic on '{}'", self.window.column), expected, found))
    }

    fn check_units(&self) -> Result<()> {
        let Window { every, period, offset, .. } = self.window;
        let is_number = matches!(self.dtype, DataType::Int32 | DataType::Int64);
        for (name, duration) in [("every", every), ("period", period), ("offset", offset)] {
            if duration.index != is_number && !duration.is_zero() {
                let expected = if is_number { "a count such as '10i'" } else { "a duration such as '10s'" };
                return self.refuse(
                    format!("{expected} as {name} for a column of type {}", self.dtype),
                    format!("'{duration}'"),
                );
            }
        }
        if is_number && self.window.start_by != StartBy::Window {
            return self.refuse("start_by='window' for a column of integers", "a weekday");
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<()> {
        let Window { every, period, .. } = self.window;
        for (name, duration, length) in [("every", every, self.every), ("period", period, self.period)] {
            if length.at_least(self.day, 0) <= 0 {
                return self.refuse(
                    format!("{name} to be at least one unit of the column's type, {}", self.dtype),
                    format!("'{duration}'"),
                );
            }
        }
        let parts = [every.months, every.weeks, every.days, every.nanoseconds];
        if parts.iter().filter(|part| **part != 0).count() != 1 {
            return self.refuse(
                "every in one kind of unit (months, weeks, days or clock time)",
                format!("'{every}'"),
            );
        }
        let zero = Length { months: 0, days: 0, ticks: 0 };
        let longest_period = -zero.minus(&self.period).at_least(self.day, self.zone.spread());
        let overlap = longest_period / self.every.at_least(self.day, 0).max(1);
        if overlap > MOST_WINDOWS_OF_A_ROW {
            return self.refuse(
                format!("period to be at most {MOST_WINDOWS_OF_A_ROW} times every"),
                format!("every '{every}' and period '{period}', {overlap} windows for each row"),
            );
        }
        Ok(())
    }

    fn check_zone(&self) -> Result<()> {
        let Window { every, offset, .. } = self.window;
        if every.is_physical() && self.zone.phase(self.every.ticks).is_none() {
            return self.refuse(
                format!("an every that divides each change of the clocks of {}", self.dtype),
                format!("'{every}' (convert the column to UTC first, or use days such as '1d')"),
            );
        }
        if !every.is_physical() && self.offset.ticks != 0 && self.zone.changes() {
            return self.refuse(
                format!(
                    "an offset in days or months beside every '{every}', because the clocks of {} change",
                    self.dtype
                ),
                format!("'{offset}' (convert the column to UTC first)"),
            );
        }
        if every.is_physical() && (self.period.months != 0 || self.period.days != 0) && self.zone.changes() {
            return self.refuse(
                format!(
                    "a period in clock time beside every '{every}', because the clocks of {} change",
                    self.dtype
                ),
                format!("'{}'", self.window.period),
            );
        }
        Ok(())
    }

    fn check_weekday(&self) -> Result<()> {
        if self.window.start_by == StartBy::Window {
            return Ok(());
        }
        if self.zone.changes() {
            // Polars counts back to Monday in hours, so that its weeks move with the first row.
            return self.refuse(
                format!("start_by='window', because the clocks of {} change", self.dtype),
                "a weekday (weeks begin on Monday; an offset such as '-1d' moves them to Sunday)",
            );
        }
        let divides_a_week =
            self.every.fixed(self.day).is_some_and(|every| i128::from(self.day) * 7 % every == 0);
        if divides_a_week {
            return Ok(());
        }
        let every = self.window.every;
        self.refuse(
            "an every that divides a week when start_by is a weekday",
            format!("'{every}' (use '1w', or start_by='window')"),
        )
    }

    /// A start on day 29 to 31 of a month would drift, and months would move a grid of days or hours.
    fn check_offset_parts(&self) -> Result<()> {
        let offset = self.window.offset;
        if self.every.months != 0 {
            let rest = Length { months: 0, ..self.offset }.fixed(self.day).unwrap_or_default();
            if rest < 0 || rest >= 28 * i128::from(self.day) {
                let expected = "an offset that lets each window begin on one of the days 1 to 28 of a month";
                return self.refuse(expected, format!("'{offset}' (add months instead, such as '-1mo')"));
            }
        } else if self.offset.months != 0 {
            let divides_a_day =
                self.every.fixed(self.day).is_some_and(|every| i128::from(self.day) % every == 0);
            if !divides_a_day {
                return self.refuse(
                    format!("an offset without months beside every '{}'", self.window.every),
                    format!("'{offset}'"),
                );
            }
        }
        Ok(())
    }

    /// The first window that Polars looks at must be the first that can hold the row.
    fn check_first_window(&self) -> Result<()> {
        let Window { every, period, offset, closed, .. } = self.window;
        let spread = self.zone.spread();
        let shortest = |length: Length| length.at_least(self.day, spread);
        let gap = shortest(self.every.minus(&self.period));
        let zero = Length { months: 0, days: 0, ticks: 0 };
        let back = zero.minus(&self.offset);
        let reaches =
            |needed: Length| !offset_is_positive(&self.offset) && shortest(back.minus(&needed)) >= 0;
        let works = match closed {
            Closed::Left | Closed::None => gap >= 0 || reaches(self.period.minus(&self.every)),
            Closed::Right => gap >= 0 || reaches(self.period),
            Closed::Both => gap > 0 || reaches(self.period),
        };
        if works {
            return Ok(());
        }
        self.refuse(
            format!("an offset that reaches back over all windows of a row, such as {}", self.suggestion()),
            format!("every '{every}', period '{period}', offset '{offset}', closed {closed:?}"),
        )
    }

    /// The same grid, moved back by whole steps.
    fn suggestion(&self) -> String {
        let lengths = (self.every.fixed(self.day), self.period.fixed(self.day), self.offset.fixed(self.day));
        let (Some(every), Some(period), Some(offset)) = lengths else {
            return format!("offset='-{}'", self.window.period);
        };
        let needed =
            if matches!(self.window.closed, Closed::Left | Closed::None) { period - every } else { period };
        let steps =
            (needed + offset).div_euclid(every) + i128::from((needed + offset).rem_euclid(every) != 0);
        let moved = offset - steps * every;
        let is_days = !self.window.every.is_physical() && moved % i128::from(self.day) == 0;
        let nanoseconds_per_tick =
            if self.window.every.index { 1 } else { 86_400_000_000_000 / i128::from(self.day) };
        let mut text = dataflare_plan::Duration {
            negative: moved < 0,
            index: self.window.every.index,
            ..Default::default()
        };
        let size = moved.abs();
        if is_days {
            text.days = i64::try_from(size / i128::from(self.day)).unwrap_or(i64::MAX);
        } else {
            text.nanoseconds = i64::try_from(size * nanoseconds_per_tick).unwrap_or(i64::MAX);
        }
        format!("offset='{text}'")
    }
}

fn offset_is_positive(offset: &Length) -> bool {
    offset.months > 0 || offset.days > 0 || offset.ticks > 0
}
