//! Local time of a zone and back, in ticks, for any `i64`.
//!
//! Where Polars finds no single answer there is one here: a local time that happens twice is the earlier instant, one
//! that is skipped is the first instant after the gap. (Polars answers by the rows of the group, so days that begin in a
//! gap or twice are outside the law.) Not here: calendar arithmetic (`calendar.rs`). Called by `grid.rs`.

use super::calendar::saturate;
use crate::error::{EngineError, Result};
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use std::collections::BTreeSet;

/// chrono ends near the year 262 000: rules beyond are those of the last second here.
const LAST_SECOND: i64 = 8_000_000_000_000;

/// A zone, or none: then local time is UTC.
#[derive(Clone, Debug)]
pub struct Zone {
    /// `None` also for UTC under its names, which needs no table.
    table: Option<Tz>,
    ticks_per_second: i64,
    /// UTC offsets in seconds between 1970 and 2100.
    offsets: BTreeSet<i64>,
}

impl Zone {
    /// The zone of a column.
    ///
    /// # Errors
    /// [`EngineError::Call`]: no such zone in the IANA data base.
    pub fn new(name: Option<&str>, ticks_per_second: i64) -> Result<Self> {
        let Some(name) = name else {
            return Ok(Self { table: None, ticks_per_second, offsets: BTreeSet::from([0]) });
        };
        let table: Tz = name.parse().map_err(|_| {
            EngineError::call("the time column", "a time zone of the IANA data base", format!("'{name}'"))
        })?;
        const WEEK: i64 = 7 * 86_400;
        let seconds = |weeks: std::ops::Range<i64>| weeks.map(|week| offset_at(table, week * WEEK));
        let offsets: BTreeSet<i64> = seconds(0..6_783).collect();
        let is_utc = offsets == BTreeSet::from([0]) && seconds(-9_000..0).all(|offset| offset == 0);
        Ok(Self { table: (!is_utc).then_some(table), ticks_per_second, offsets })
    }

    /// True if local time is UTC.
    pub fn is_utc(&self) -> bool {
        self.table.is_none()
    }

    /// True if the clocks have been changed since 1970, or will be.
    pub fn changes(&self) -> bool {
        self.offsets.len() > 1
    }

    /// How far apart its UTC offsets are since 1970, in ticks.
    pub fn spread(&self) -> i64 {
        let (first, last) = (self.offsets.first().copied(), self.offsets.last().copied());
        (last.unwrap_or(0) - first.unwrap_or(0)) * self.ticks_per_second
    }

    /// The UTC offset modulo `every` ticks if it is one and the same for all times since 1970.
    pub fn phase(&self, every: i64) -> Option<i64> {
        let mut phases = self.offsets.iter().map(|offset| (offset * self.ticks_per_second).rem_euclid(every));
        let first = phases.next()?;
        phases.all(|phase| phase == first).then_some(first)
    }

    /// Local time of an instant, as ticks of a clock on the wall.
    pub fn to_local(&self, instant: i64) -> i64 {
        let Some(table) = self.table else { return instant };
        let offset = offset_at(table, instant.div_euclid(self.ticks_per_second));
        instant.saturating_add(offset * self.ticks_per_second)
    }

    /// The instant of a local time.
    pub fn to_utc(&self, local: i64) -> i64 {
        let Some(table) = self.table else { return local };
        let second = local.div_euclid(self.ticks_per_second);
        match table.offset_from_local_datetime(&clock_face(second)) {
            MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => {
                let offset = i64::from(offset.fix().local_minus_utc());
                local.saturating_sub(offset * self.ticks_per_second)
            }
            MappedLocalTime::None => {
                saturate(i128::from(gap_end(table, second)) * i128::from(self.ticks_per_second))
            }
        }
    }
}

fn clock_face(second: i64) -> NaiveDateTime {
    DateTime::from_timestamp(second.clamp(-LAST_SECOND, LAST_SECOND), 0).unwrap_or_default().naive_utc()
}

fn offset_at(table: Tz, second: i64) -> i64 {
    i64::from(table.offset_from_utc_datetime(&clock_face(second)).fix().local_minus_utc())
}

/// The instant at which the clocks jumped over `local`. No zone ever skipped more than a day.
fn gap_end(table: Tz, local: i64) -> i64 {
    let (mut before, mut after) = (local.saturating_sub(2 * 86_400), local.saturating_add(2 * 86_400));
    let offset_before = offset_at(table, before);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset_at(table, middle) == offset_before { before = middle } else { after = middle }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::Zone;

    const HOUR: i64 = 3_600;

    #[test]
    fn local_midnight_of_a_short_day_is_found() {
        let berlin = Zone::new(Some("Europe/Berlin"), 1).unwrap();
        let midnight = 1_616_889_600; // 2021-03-28 on the wall; clocks go forward at 02:00
        assert_eq!(berlin.to_utc(midnight), midnight - HOUR);
        assert_eq!(berlin.to_utc(midnight + 24 * HOUR) - berlin.to_utc(midnight), 23 * HOUR);
        assert_eq!(berlin.to_local(midnight - HOUR), midnight);
    }

    #[test]
    fn skipped_midnight_is_the_end_of_the_gap() {
        let sao_paulo = Zone::new(Some("America/Sao_Paulo"), 1_000).unwrap();
        let midnight = 1_508_025_600_000; // 2017-10-15 on the wall; clocks went from 00:00 to 01:00
        assert_eq!(sao_paulo.to_utc(midnight), midnight + 3 * HOUR * 1_000);
        assert_eq!(sao_paulo.to_local(sao_paulo.to_utc(midnight)), midnight + HOUR * 1_000);
    }

    #[test]
    fn repeated_midnight_is_the_earlier_one() {
        let havana = Zone::new(Some("America/Havana"), 1).unwrap();
        let midnight = 1_636_243_200; // 2021-11-07 on the wall; clocks went from 01:00 to 00:00
        assert_eq!(havana.to_utc(midnight), midnight + 4 * HOUR);
    }

    #[test]
    fn utc_under_any_name_needs_no_table() {
        assert!(Zone::new(Some("Etc/UTC"), 1).unwrap().is_utc());
        assert!(!Zone::new(Some("Europe/London"), 1).unwrap().is_utc());
        assert!(!Zone::new(Some("Asia/Kolkata"), 1).unwrap().changes());
        assert!(Zone::new(Some("Mars/Olympus"), 1).is_err());
    }

    #[test]
    fn half_hour_shift_breaks_the_phase_of_hours() {
        let lord_howe = Zone::new(Some("Australia/Lord_Howe"), 1).unwrap();
        assert_eq!(lord_howe.phase(HOUR), None);
        assert_eq!(lord_howe.phase(HOUR / 2), Some(0));
    }

    #[test]
    fn extreme_times_saturate() {
        for ticks_per_second in [1, 1_000_000_000] {
            let berlin = Zone::new(Some("Europe/Berlin"), ticks_per_second).unwrap();
            for extreme in [i64::MIN, i64::MAX] {
                berlin.to_utc(extreme);
                berlin.to_local(extreme);
            }
        }
    }
}
