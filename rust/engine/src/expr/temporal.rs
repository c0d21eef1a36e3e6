//! `dt.*`: parts of dates and datetimes, `truncate`, `timestamp`, totals of durations.
//!
//! Datetimes without a zone, or in UTC, are read as their ticks, those of other zones as their local ones (`zone.rs`); days
//! count from 1970-01-01 and round down. Outside the years -262143 to 262142 parts are null, as in Polars. Not here: months
//! and what moves by them (`calendar.rs`), text (`time_text.rs`).
//! Called by the compiler.

use super::calendar;
use super::cast;
use super::compile::Compile;
use super::divisor::Divisor;
use super::elementwise::map;
use super::numeric::one;
use super::value::{Call, Kernel, primitive, strings, to_logical, to_physical};
use super::zone::of_local_time;
use crate::error::Result;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use chrono::{Datelike, NaiveDate};
use dataflare_plan::{DataType, TimeUnit};
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("dt.year", |call| of_date::<Int32Type>(call, |date| date.year())),
    ("dt.month", |call| of_date::<Int8Type>(call, |date| date.month() as i8)),
    ("dt.day", |call| of_date::<Int8Type>(call, |date| date.day() as i8)),
    ("dt.quarter", |call| of_date::<Int8Type>(call, |date| date.quarter() as i8)),
    ("dt.week", |call| of_date::<Int8Type>(call, |date| date.iso_week().week() as i8)),
    ("dt.iso_year", |call| of_date::<Int32Type>(call, |date| date.iso_week().year())),
    ("dt.ordinal_day", |call| of_date::<Int16Type>(call, |date| date.ordinal() as i16)),
    ("dt.weekday", |call| of_local_time(call, weekday)),
    ("dt.hour", |call| of_day::<Int8Type>(call, |ns| (ns / 3_600_000_000_000) as i8)),
    ("dt.minute", |call| of_day::<Int8Type>(call, |ns| (ns / 60_000_000_000 % 60) as i8)),
    ("dt.second", |call| of_day::<Int8Type>(call, |ns| (ns / 1_000_000_000 % 60) as i8)),
    ("dt.millisecond", |call| of_day::<Int32Type>(call, |ns| (ns % 1_000_000_000 / 1_000_000) as i32)),
    ("dt.microsecond", |call| of_day::<Int32Type>(call, |ns| (ns % 1_000_000_000 / 1_000) as i32)),
    ("dt.nanosecond", |call| of_day::<Int32Type>(call, |ns| (ns % 1_000_000_000) as i32)),
    ("dt.date", |call| of_local_time(call, date)),
    ("dt.time", |call| of_local_time(call, time)),
    ("dt.cast_time_unit", cast_time_unit),
    ("dt.timestamp", timestamp),
    ("dt.truncate", truncate),
    ("dt.total_days", |call| total(call, NANOSECONDS_PER_DAY)),
    ("dt.total_hours", |call| total(call, 3_600_000_000_000)),
    ("dt.total_minutes", |call| total(call, 60_000_000_000)),
    ("dt.total_seconds", |call| total(call, 1_000_000_000)),
    ("dt.total_milliseconds", |call| total(call, 1_000_000)),
    ("dt.total_microseconds", |call| total(call, 1_000)),
    ("dt.total_nanoseconds", |call| total(call, 1)),
];

const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;

/// Days from the year 1 (chrono's day 1) to 1970-01-01.
const EPOCH_DAY: i32 = 719_163;

/// The unit of a datetime whose ticks are its local time.
pub(super) fn local_unit(dtype: &DataType) -> Option<TimeUnit> {
    match dtype {
        DataType::Datetime { unit, zone } if zone.as_deref().is_none_or(|zone| zone == "UTC") => Some(*unit),
        _ => None,
    }
}

/// How many ticks a day has.
pub(super) fn ticks_per_day(unit: TimeUnit) -> i64 {
    NANOSECONDS_PER_DAY / unit.nanoseconds()
}

/// The local day of a tick.
fn days_of(call: &Call<'_>, dtype: &DataType) -> Result<Divisor> {
    let unit = local_unit(dtype).ok_or_else(|| call.no_kernel())?;
    Divisor::new(ticks_per_day(unit)).ok_or_else(|| call.no_kernel())
}

pub(super) fn chrono_date(days: i64) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).ok()?.checked_add(EPOCH_DAY)?)
}

/// A part of the calendar date. Neighbouring rows mostly share the day: the last answer is kept.
pub(super) fn of_date<O: ArrowPrimitiveType>(
    call: &Call<'_>,
    part: fn(NaiveDate) -> O::Native,
) -> Result<Kernel> {
    of_local_time(call, |call| of_local_date::<O>(call, part))
}

fn of_local_date<O: ArrowPrimitiveType>(call: &Call<'_>, part: fn(NaiveDate) -> O::Native) -> Result<Kernel> {
    let [input] = call.args()?;
    if input.dtype == DataType::Date {
        return Ok(one(move |array| {
            let days = to_physical(array)?;
            Ok(Arc::new(parts::<Int32Type, O>(primitive(&days)?, i64::from, part)))
        }));
    }
    let per_day = days_of(call, &input.dtype)?;
    Ok(one(move |array| {
        let ticks = to_physical(array)?;
        Ok(Arc::new(parts::<Int64Type, O>(primitive(&ticks)?, |ticks| per_day.floor_div(ticks), part)))
    }))
}

fn parts<T: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    day: impl Fn(T::Native) -> i64,
    part: fn(NaiveDate) -> O::Native,
) -> PrimitiveArray<O> {
    let (mut last_day, mut last) = (0, chrono_date(0).map(part));
    let mut outside = Vec::new();
    let values: Vec<O::Native> = array
        .values()
        .iter()
        .enumerate()
        .map(|(row, value)| {
            let day = day(*value);
            if day != last_day {
                (last_day, last) = (day, chrono_date(day).map(part));
            }
            last.unwrap_or_else(|| {
                outside.push(row);
                O::Native::default()
            })
        })
        .collect();
    PrimitiveArray::new(values.into(), without(array.nulls(), &outside, array.len()))
}

/// Validity without some rows.
fn without(nulls: Option<&NullBuffer>, rows: &[usize], len: usize) -> Option<NullBuffer> {
    if rows.is_empty() {
        return nulls.cloned();
    }
    let mut valid: Vec<bool> = (0..len).map(|row| nulls.is_none_or(|nulls| nulls.is_valid(row))).collect();
    for row in rows {
        if let Some(valid) = valid.get_mut(*row) {
            *valid = false;
        }
    }
    Some(NullBuffer::from(valid))
}

/// Monday is 1; 1970-01-01 was a Thursday.
fn weekday(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    let of_days = |days: i64| ((days.rem_euclid(7) + 3) % 7 + 1) as i8;
    if input.dtype == DataType::Date {
        return Ok(one(move |array| {
            let days = to_physical(array)?;
            Ok(Arc::new(map::<Int32Type, Int8Type>(primitive(&days)?, |days| of_days(i64::from(days)))))
        }));
    }
    let per_day = days_of(call, &input.dtype)?;
    Ok(one(move |array| {
        let ticks = to_physical(array)?;
        Ok(Arc::new(map::<Int64Type, Int8Type>(primitive(&ticks)?, |ticks| {
            of_days(per_day.floor_div(ticks))
        })))
    }))
}

/// A part of the time of day, from nanoseconds since midnight.
fn of_day<O: ArrowPrimitiveType>(call: &Call<'_>, part: fn(i64) -> O::Native) -> Result<Kernel> {
    of_local_time(call, |call| of_local_day::<O>(call, part))
}

fn of_local_day<O: ArrowPrimitiveType>(call: &Call<'_>, part: fn(i64) -> O::Native) -> Result<Kernel> {
    let [input] = call.args()?;
    if input.dtype == DataType::Time {
        return Ok(one(move |array| {
            Ok(Arc::new(map::<Int64Type, O>(primitive(&to_physical(array)?)?, part)))
        }));
    }
    let unit = local_unit(&input.dtype).ok_or_else(|| call.no_kernel())?;
    let (per_day, nanoseconds) = (ticks_per_day(unit), unit.nanoseconds());
    let day = days_of(call, &input.dtype)?;
    let first = NaiveDate::MIN.num_days_from_ce() - EPOCH_DAY;
    let last = NaiveDate::MAX.num_days_from_ce() - EPOCH_DAY;
    let range =
        i64::from(first).saturating_mul(per_day)..i64::from(last).saturating_add(1).saturating_mul(per_day);
    Ok(one(move |array| {
        let ticks = to_physical(array)?;
        let ticks = primitive::<Int64Type>(&ticks)?;
        let parts = map::<Int64Type, O>(ticks, |ticks| part(day.floor_mod(ticks) * nanoseconds));
        // A branch-free pass that the common case leaves at once.
        if ticks.values().iter().fold(true, |inside, tick| inside & range.contains(tick)) {
            return Ok(Arc::new(parts));
        }
        let outside = ticks.values().iter().enumerate().filter(|(_, tick)| !range.contains(*tick));
        let outside: Vec<usize> = outside.map(|(row, _)| row).collect();
        let (_, values, nulls) = parts.into_parts();
        let nulls = without(nulls.as_ref(), &outside, ticks.len());
        Ok(Arc::new(PrimitiveArray::<O>::new(values, nulls)))
    }))
}

/// `dt.date` of local time is the cast of its ticks.
fn date(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    if input.dtype != DataType::Date && local_unit(&input.dtype).is_none() {
        return Err(call.no_kernel());
    }
    cast::compile(input, &DataType::Date, false, false, call.place)
}

/// The time of day.
fn time(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    if input.dtype == DataType::Time {
        return Ok(one(|array| Ok(array.clone())));
    }
    let unit = local_unit(&input.dtype).ok_or_else(|| call.no_kernel())?;
    let (per_day, nanoseconds) = (days_of(call, &input.dtype)?, unit.nanoseconds());
    Ok(one(move |array| {
        let times = map::<Int64Type, Int64Type>(primitive(&to_physical(array)?)?, |tick| {
            per_day.floor_mod(tick) * nanoseconds
        });
        to_logical(&(Arc::new(times) as ArrayRef), &DataType::Time)
    }))
}

/// The same times in another unit; one that does not fit fails.
fn cast_time_unit(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    if !matches!(input.dtype, DataType::Datetime { .. } | DataType::Duration { .. }) {
        return Err(call.no_kernel());
    }
    cast::compile(input, call.dtype, true, false, call.place)
}

/// Ticks since 1970 in a unit: the cast to that unit, null where it overflows. Zones do not matter.
fn timestamp(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    let unit = match call.text("time_unit") {
        Some("ms") => TimeUnit::Milliseconds,
        Some("us") => TimeUnit::Microseconds,
        Some("ns") => TimeUnit::Nanoseconds,
        _ => return Err(call.no_kernel()),
    };
    let zone = match &input.dtype {
        DataType::Datetime { zone, .. } => zone.clone(),
        DataType::Date => None,
        _ => return Err(call.no_kernel()),
    };
    let to_unit = cast::compile(input, &DataType::Datetime { unit, zone }, false, false, call.place)?;
    Ok(Box::new(move |args, rows| to_physical(&to_unit(args, rows)?)))
}

/// Rounds down to a multiple of a fixed duration since 1970, or of weeks since a Monday.
fn truncate(call: &Call<'_>) -> Result<Kernel> {
    let [input, every] = call.args()?;
    let every = every.constant.as_ref().ok_or_else(|| call.no_kernel())?;
    let every = strings(every)?.iter().next().flatten().ok_or_else(|| call.no_kernel())?;
    if let Some(kernel) = calendar::truncate_months(call, every) {
        return kernel;
    }
    let step = step(every).ok_or_else(|| call.no_kernel())?;
    let dtype = input.dtype.clone();
    if dtype == DataType::Date {
        // Parts of a day round a date in ways of Polars' own.
        let days = i32::try_from(step.nanoseconds / NANOSECONDS_PER_DAY).ok().filter(|days| *days > 0);
        let days =
            days.filter(|_| step.nanoseconds % NANOSECONDS_PER_DAY == 0).ok_or_else(|| call.no_kernel())?;
        let origin = if step.from_monday { 4 } else { 0 };
        return Ok(Box::new(move |args, _| {
            let array = first_physical(args)?;
            let truncated = map::<Int32Type, Int32Type>(primitive(&array)?, |day| {
                day.wrapping_sub(day.wrapping_sub(origin).rem_euclid(days))
            });
            to_logical(&(Arc::new(truncated) as ArrayRef), &dtype)
        }));
    }
    let unit = local_unit(&dtype).ok_or_else(|| call.no_kernel())?;
    if step.nanoseconds % unit.nanoseconds() != 0 {
        return Err(call.no_kernel());
    }
    let every = Divisor::new(step.nanoseconds / unit.nanoseconds()).ok_or_else(|| call.no_kernel())?;
    let origin = if step.from_monday { 4 * ticks_per_day(unit) } else { 0 };
    Ok(Box::new(move |args, _| {
        let array = first_physical(args)?;
        let truncated = map::<Int64Type, Int64Type>(primitive(&array)?, |tick| {
            tick.wrapping_sub(every.floor_mod(tick.wrapping_sub(origin)))
        });
        to_logical(&(Arc::new(truncated) as ArrayRef), &dtype)
    }))
}

fn first_physical(args: &[super::value::Value]) -> Result<ArrayRef> {
    match args.first() {
        Some(value) => to_physical(value.array()),
        None => Err(crate::EngineError::internal("dt.truncate", "expected two arguments")),
    }
}

pub(super) struct Step {
    pub(super) nanoseconds: i64,
    /// Weeks start on Mondays: the grid goes through 1970-01-05.
    pub(super) from_monday: bool,
}

/// Reads `"1d12h"`: counts and units without months, positive, weeks alone. `None` for all else.
pub(super) fn step(text: &str) -> Option<Step> {
    let (mut rest, mut nanoseconds, mut weeks, mut parts) = (text, 0_i64, false, 0);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, tail) = tail.split_at(letters);
        let size = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => NANOSECONDS_PER_DAY,
            "w" => 7 * NANOSECONDS_PER_DAY,
            _ => return None,
        };
        weeks |= unit == "w";
        parts += 1;
        nanoseconds = nanoseconds.checked_add(count.parse::<i64>().ok()?.checked_mul(size)?)?;
        rest = tail;
    }
    (nanoseconds > 0 && (!weeks || parts == 1)).then_some(Step { nanoseconds, from_monday: weeks })
}

/// A duration in whole units, towards zero, or in fractions of one.
fn total(call: &Call<'_>, nanoseconds: i64) -> Result<Kernel> {
    let [input] = call.args()?;
    let DataType::Duration { unit } = &input.dtype else { return Err(call.no_kernel()) };
    let tick = unit.nanoseconds();
    if call.flag("fractional") {
        // A multiplication, as in Polars: it differs from a division in the last bit.
        let factor = 1.0 / (nanoseconds as f64 / tick as f64);
        return Ok(one(move |array| {
            let ticks = to_physical(array)?;
            Ok(Arc::new(map::<Int64Type, Float64Type>(primitive(&ticks)?, |ticks| ticks as f64 * factor)))
        }));
    }
    Ok(one(move |array| {
        let ticks = to_physical(array)?;
        let ticks = primitive::<Int64Type>(&ticks)?;
        Ok(Arc::new(if nanoseconds >= tick {
            let divisor = nanoseconds / tick;
            map::<Int64Type, Int64Type>(ticks, |ticks| ticks / divisor)
        } else {
            let factor = tick / nanoseconds;
            map::<Int64Type, Int64Type>(ticks, |ticks| ticks.wrapping_mul(factor))
        }))
    }))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, call, call_with, col, frame, lit};
    use arrow::array::{DurationMicrosecondArray, TimestampMicrosecondArray};
    use dataflare_plan::DataType::{Date, Datetime, Duration, Int8, Int32, Int64, String};
    use dataflare_plan::TimeUnit::Microseconds;
    use dataflare_plan::{DataType, Expr};
    use serde_json::json;
    use std::sync::Arc;

    const TIME: DataType = Datetime { unit: Microseconds, zone: None };

    fn times() -> Frame {
        let ticks = vec![
            Some(-1),
            Some(1_577_840_523_456_789),
            None,
            Some(8_000_000_000_000_000_000),
            Some(i64::MAX),
        ];
        frame([("t", TIME, Arc::new(TimestampMicrosecondArray::from(ticks)))])
    }

    fn truncated(every: &str) -> Expr {
        let every = lit(every, String);
        call_with(
            "dt.timestamp",
            [call("dt.truncate", [col("t"), every], TIME)],
            json!({"time_unit": "us"}),
            Int64,
        )
    }

    #[test]
    fn parts_round_down_before_1970_and_are_null_outside_the_calendar() {
        assert_eq!(times().answer(call("dt.year", [col("t")], Int32)), "1969 2020 - 255479 -");
        assert_eq!(times().answer(call("dt.month", [col("t")], Int8)), "12 1 - 11 -");
        assert_eq!(times().answer(call("dt.day", [col("t")], Int8)), "31 1 - 28 -");
        assert_eq!(times().answer(call("dt.hour", [col("t")], Int8)), "23 1 - 14 -");
        assert_eq!(times().answer(call("dt.microsecond", [col("t")], Int32)), "999999 456789 - 0 -");
        assert_eq!(times().answer(call("dt.weekday", [col("t")], Int8)), "3 3 - 5 7");
    }

    #[test]
    fn timestamp_that_overflows_is_null() {
        let timestamp = |unit: &str| call_with("dt.timestamp", [col("t")], json!({"time_unit": unit}), Int64);
        assert_eq!(times().answer(timestamp("ms")), "-1 1577840523456 - 8000000000000000 9223372036854775");
        assert_eq!(times().answer(timestamp("ns")), "-1000 1577840523456789000 - - -");
    }

    #[test]
    fn weeks_start_on_mondays_and_days_at_1970() {
        let rows =
            |every: &str| times().answer(truncated(every)).split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert_eq!(rows("10s"), "-10000000 1577840520000000");
        assert_eq!(rows("7d"), "-604800000000 1577318400000000");
        assert_eq!(rows("1w"), "-259200000000 1577664000000000");
        assert_eq!(rows("2w"), "-864000000000 1577664000000000");
        assert_eq!(rows("1d12h"), "-129600000000 1577750400000000");
    }

    #[test]
    fn steps_of_another_kind_and_unknown_zones_are_left_to_polars() {
        for every in ["1mo1d", "-1h", "0s", "1w1d", "250ns"] {
            assert!(!crate::expr::is_compiled(&truncated(every), &times().schema()), "{every}");
        }
        let zoned = Datetime { unit: Microseconds, zone: Some("Europe/Nowhere".to_owned()) };
        let schema = vec![dataflare_plan::Field { name: "t".to_owned(), dtype: zoned }];
        assert!(!crate::expr::is_compiled(&call("dt.hour", [col("t")], Int8), &schema));
        assert!(!crate::expr::is_compiled(&call("dt.date", [col("t")], Date), &schema));
    }

    #[test]
    fn totals_round_towards_zero() {
        let durations = DurationMicrosecondArray::from(vec![-1, 1500, -86_400_000_001]);
        let frame = frame([("d", Duration { unit: Microseconds }, Arc::new(durations))]);
        let total = |unit: &str| {
            frame.answer(call_with(
                &format!("dt.total_{unit}"),
                [col("d")],
                json!({"fractional": false}),
                Int64,
            ))
        };
        assert_eq!(total("days"), "0 0 -1");
        assert_eq!(total("milliseconds"), "0 1 -86400000");
        assert_eq!(total("nanoseconds"), "-1000 1500000 -86400000001000");
    }
}
