//! Calendar arithmetic: months, years and eras, `offset_by` and `round` by a constant, `combine`.
//!
//! On dates and on datetimes without a zone or in UTC. Not here: steps from a column, local time of other zones: Polars
//! does those. Called by the compiler; `truncate` by months by `temporal.rs`.

use super::compile::Compile;
use super::divisor::Divisor;
use super::elementwise::map;
use super::temporal::{chrono_date, local_unit, of_date, step, ticks_per_day};
use super::value::{Call, Kernel, Rows, Value, primitive, strings, to_logical, to_physical};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int8Type, Int32Type, Int64Type};
use chrono::{Datelike, Months, NaiveDate};
use dataflare_plan::DataType;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("dt.century", |call| of_date::<Int32Type>(call, |date| era(date.year(), 100))),
    ("dt.millennium", |call| of_date::<Int32Type>(call, |date| era(date.year(), 1_000))),
    ("dt.days_in_month", |call| of_date::<Int8Type>(call, |date| days_in_month(date) as i8)),
    ("dt.is_leap_year", is_leap_year),
    ("dt.month_start", |call| moved(call, |date| date.with_day(1))),
    ("dt.month_end", |call| moved(call, |date| date.with_day(days_in_month(date)))),
    ("dt.offset_by", offset_by),
    ("dt.round", round),
    ("dt.combine", combine),
];

/// Year 1 to 100 are the first century; years before the year 1 round towards it.
fn era(year: i32, years: i32) -> i32 {
    if year > 0 { (year - 1) / years + 1 } else { year / years }
}

fn days_in_month(date: NaiveDate) -> u32 {
    match date.month() {
        4 | 6 | 9 | 11 => 30,
        2 if date.leap_year() => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap_year(call: &Call<'_>) -> Result<Kernel> {
    let answers = of_date::<Int8Type>(call, |date| i8::from(date.leap_year()))?;
    Ok(Box::new(move |args, rows| {
        let answers = answers(args, rows)?;
        let answers = primitive::<Int8Type>(&answers)?;
        let values = answers.values().iter().map(|leap| *leap == 1).collect();
        Ok(Arc::new(BooleanArray::new(values, answers.nulls().cloned())))
    }))
}

/// Days of a date or datetime, and the time of day behind them, in ticks.
struct Days {
    dtype: DataType,
    /// `None` for dates.
    per_day: Option<Divisor>,
    ticks_per_day: i64,
}

impl Days {
    fn of(call: &Call<'_>) -> Result<Self> {
        let input = call.args.first().ok_or_else(|| call.no_kernel())?;
        if input.dtype != *call.dtype {
            return Err(call.no_kernel());
        }
        if input.dtype == DataType::Date {
            return Ok(Self { dtype: DataType::Date, per_day: None, ticks_per_day: 1 });
        }
        let ticks_per_day = ticks_per_day(local_unit(&input.dtype).ok_or_else(|| call.no_kernel())?);
        Ok(Self { dtype: input.dtype.clone(), per_day: Divisor::new(ticks_per_day), ticks_per_day })
    }

    /// Another day, and ticks more, for each row. Neighbouring rows mostly share the day: the last answer is kept.
    fn map(
        &self,
        args: &[Value],
        rows: &mut Rows<'_, '_>,
        day: impl Fn(i64) -> Option<i64>,
        ticks_more: i64,
    ) -> Result<ArrayRef> {
        let input = first(args)?;
        let (mut last_day, mut last) = (0, day(0));
        let mut outside = Vec::new();
        let mut moved = |row: usize, found: i64| {
            if found != last_day {
                (last_day, last) = (found, day(found));
            }
            last.unwrap_or_else(|| {
                outside.push(row);
                0
            })
        };
        let array: ArrayRef = match self.per_day {
            None => {
                let days = primitive::<Int32Type>(&input)?;
                let values: Vec<i32> = days
                    .values()
                    .iter()
                    .enumerate()
                    .map(|(row, day)| moved(row, i64::from(*day)) as i32)
                    .collect();
                Arc::new(PrimitiveArray::<Int32Type>::new(values.into(), days.nulls().cloned()))
            }
            Some(per_day) => {
                let ticks = primitive::<Int64Type>(&input)?;
                let values: Vec<i64> = ticks
                    .values()
                    .iter()
                    .enumerate()
                    .map(|(row, tick)| {
                        let (day, rest) = (per_day.floor_div(*tick), per_day.floor_mod(*tick));
                        let start = moved(row, day).wrapping_mul(self.ticks_per_day);
                        start.wrapping_add(rest).wrapping_add(ticks_more)
                    })
                    .collect();
                Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), ticks.nulls().cloned()))
            }
        };
        outside.retain(|row| array.is_valid(*row));
        for row in &outside {
            rows.fail(*row, "calendar", "the day is outside the years -262143 to 262142".to_owned());
        }
        to_logical(&without(array, &outside)?, &self.dtype)
    }
}

fn first(args: &[Value]) -> Result<ArrayRef> {
    match args.first() {
        Some(value) => to_physical(value.array()),
        None => Err(EngineError::internal("a calendar function", "expected an argument")),
    }
}

/// The array with some rows null.
fn without(array: ArrayRef, rows: &[usize]) -> Result<ArrayRef> {
    if rows.is_empty() {
        return Ok(array);
    }
    let mut valid: Vec<bool> = (0..array.len()).map(|row| array.is_valid(row)).collect();
    for row in rows {
        if let Some(valid) = valid.get_mut(*row) {
            *valid = false;
        }
    }
    let data = array.to_data().into_builder().nulls(Some(NullBuffer::from(valid))).build()?;
    Ok(arrow::array::make_array(data))
}

/// Days since 1970 of a date.
fn number(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - 719_163
}

/// Another day of the month, at the same time of day.
fn moved(call: &Call<'_>, day: fn(NaiveDate) -> Option<NaiveDate>) -> Result<Kernel> {
    let days = Days::of(call)?;
    Ok(Box::new(move |args, rows| {
        days.map(args, rows, |found| chrono_date(found).and_then(day).map(number), 0)
    }))
}

/// Months first, with the last day of a shorter month, then days, then what is below a day.
fn offset_by(call: &Call<'_>) -> Result<Kernel> {
    let days = Days::of(call)?;
    let offset = constant_text(call, 1)?;
    let offset = Offset::read(&offset).ok_or_else(|| call.no_kernel())?;
    let ticks_more = match &days.dtype {
        DataType::Date if offset.nanoseconds != 0 => return Err(call.no_kernel()),
        DataType::Date => 0,
        dtype => {
            let tick = local_unit(dtype).ok_or_else(|| call.no_kernel())?.nanoseconds();
            if offset.nanoseconds % tick != 0 {
                return Err(call.no_kernel());
            }
            offset.nanoseconds / tick
        }
    };
    Ok(Box::new(move |args, rows| {
        let day = |found: i64| {
            if offset.months == 0 {
                return found.checked_add(offset.days);
            }
            let months = Months::new(offset.months.unsigned_abs());
            let date = chrono_date(found)?;
            let date = if offset.months > 0 {
                date.checked_add_months(months)
            } else {
                date.checked_sub_months(months)
            };
            number(date?).checked_add(offset.days)
        };
        days.map(args, rows, day, ticks_more)
    }))
}

/// A constant offset such as `-1mo2d3h`.
struct Offset {
    months: i32,
    days: i64,
    nanoseconds: i64,
}

impl Offset {
    fn read(text: &str) -> Option<Self> {
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let mut offset = Self { months: 0, days: 0, nanoseconds: 0 };
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (count, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (unit, tail) = tail.split_at(letters);
            let count: i64 = count.parse().ok()?;
            let months = |each: i64| i32::try_from(count.checked_mul(each)?.checked_mul(sign)?).ok();
            let in_days = |each: i64| count.checked_mul(each)?.checked_mul(sign);
            match unit {
                "mo" => offset.months = offset.months.checked_add(months(1)?)?,
                "q" => offset.months = offset.months.checked_add(months(3)?)?,
                "y" => offset.months = offset.months.checked_add(months(12)?)?,
                "d" => offset.days = offset.days.checked_add(in_days(1)?)?,
                "w" => offset.days = offset.days.checked_add(in_days(7)?)?,
                _ => {
                    let nanoseconds = step(&format!("{count}{unit}"))?.nanoseconds.checked_mul(sign)?;
                    offset.nanoseconds = offset.nanoseconds.checked_add(nanoseconds)?;
                }
            }
            rest = tail;
        }
        Some(offset)
    }
}

/// The constant text of an argument.
fn constant_text(call: &Call<'_>, index: usize) -> Result<String> {
    let constant = call.args.get(index).and_then(|arg| arg.constant.as_ref());
    let constant = strings(constant.ok_or_else(|| call.no_kernel())?)?;
    constant.iter().next().flatten().map(str::to_owned).ok_or_else(|| call.no_kernel())
}

/// Rounds down to a number of months since 1970-01; `None` if `every` is no number of months.
pub(super) fn truncate_months(call: &Call<'_>, every: &str) -> Option<Result<Kernel>> {
    let offset = Offset::read(every).filter(|offset| offset.months > 0)?;
    if offset.days != 0 || offset.nanoseconds != 0 {
        return None;
    }
    Some(Days::of(call).map(|days| -> Kernel {
        let every = offset.months;
        Box::new(move |args, rows| {
            let start = |found: i64| {
                let date = chrono_date(found)?;
                let months = (date.year() - 1970) * 12 + date.month0() as i32;
                let months = months - months.rem_euclid(every);
                NaiveDate::from_ymd_opt(
                    1970 + months.div_euclid(12),
                    months.rem_euclid(12).unsigned_abs() + 1,
                    1,
                )
                .map(number)
            };
            // The start of a day first, then of the months.
            let input = first(args)?;
            let midnight: ArrayRef = match days.per_day {
                None => input,
                Some(per_day) => Arc::new(map::<Int64Type, Int64Type>(primitive(&input)?, |tick| {
                    tick.wrapping_sub(per_day.floor_mod(tick))
                })),
            };
            days.map(&[Value::Column(midnight)], rows, start, 0)
        })
    }))
}

/// To the nearest multiple of a fixed duration since 1970, halves up; of weeks since a Monday.
fn round(call: &Call<'_>) -> Result<Kernel> {
    let days = Days::of(call)?;
    let step = step(&constant_text(call, 1)?).ok_or_else(|| call.no_kernel())?;
    // Dates round as datetimes of milliseconds.
    let tick = local_unit(&days.dtype).map_or(1_000_000, |unit| unit.nanoseconds());
    if step.nanoseconds % tick != 0 {
        return Err(call.no_kernel());
    }
    let per_day = 86_400_000_000_000 / tick;
    let every = step.nanoseconds / tick;
    let divisor = Divisor::new(every).ok_or_else(|| call.no_kernel())?;
    let origin = if step.from_monday { 4 * per_day } else { 0 };
    let nearest = move |tick: i64| {
        let later = tick.wrapping_add(every / 2);
        later.wrapping_sub(divisor.floor_mod(later.wrapping_sub(origin)))
    };
    Ok(Box::new(move |args, _| {
        let input = first(args)?;
        let rounded: ArrayRef = match days.per_day {
            None => Arc::new(map::<Int32Type, Int32Type>(primitive(&input)?, |day| {
                nearest(i64::from(day) * per_day).div_euclid(per_day) as i32
            })),
            Some(_) => Arc::new(map::<Int64Type, Int64Type>(primitive(&input)?, nearest)),
        };
        to_logical(&rounded, &days.dtype)
    }))
}

/// The day of the first argument with the time of the second.
fn combine(call: &Call<'_>) -> Result<Kernel> {
    let [input, time] = call.args()?;
    let unit = local_unit(call.dtype).ok_or_else(|| call.no_kernel())?;
    if time.dtype != DataType::Time {
        return Err(call.no_kernel());
    }
    let from = match &input.dtype {
        DataType::Date => None,
        other => {
            let from = local_unit(other).ok_or_else(|| call.no_kernel())?;
            Some(Divisor::new(ticks_per_day(from)).ok_or_else(|| call.no_kernel())?)
        }
    };
    let (per_day, tick, dtype) = (ticks_per_day(unit), unit.nanoseconds(), call.dtype.clone());
    Ok(Box::new(move |args, rows| {
        let [input, time] = args else {
            return Err(EngineError::internal("dt.combine", "expected two arguments"));
        };
        let input = to_physical(&input.clone().into_column(rows.count)?)?;
        let time = to_physical(&time.clone().into_column(rows.count)?)?;
        let time = primitive::<Int64Type>(&time)?;
        let days: Vec<i64> = match from {
            None => primitive::<Int32Type>(&input)?.values().iter().map(|day| i64::from(*day)).collect(),
            Some(from) => {
                primitive::<Int64Type>(&input)?.values().iter().map(|tick| from.floor_div(*tick)).collect()
            }
        };
        let values: Vec<i64> = days
            .iter()
            .zip(time.values().iter())
            .map(|(day, time)| day.wrapping_mul(per_day).wrapping_add(time / tick))
            .collect();
        let nulls = NullBuffer::union(input.nulls(), time.nulls());
        to_logical(&(Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), nulls)) as ArrayRef), &dtype)
    }))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, call, col, frame, lit};
    use arrow::array::Date32Array;
    use dataflare_plan::DataType::{Date, Int8, Int32, String};
    use std::sync::Arc;

    fn days() -> Frame {
        // 1970-01-01, 2024-01-31, 1969-12-31.
        frame([("d", Date, Arc::new(Date32Array::from(vec![Some(0), Some(19_753), None, Some(-1)])))])
    }

    #[test]
    fn last_day_of_a_shorter_month_stands_for_those_it_lacks() {
        let offset = |by: &str| days().answer(call("dt.offset_by", [col("d"), lit(by, String)], Date));
        assert_eq!(offset("1mo"), "1970-02-01 2024-02-29 - 1970-01-31");
        assert_eq!(offset("-1mo1d"), "1969-11-30 2023-12-30 - 1969-11-29");
        assert_eq!(offset("1y2w"), "1971-01-15 2025-02-14 - 1971-01-14");
    }

    #[test]
    fn months_start_and_end_at_their_own_days() {
        assert_eq!(
            days().answer(call("dt.month_end", [col("d")], Date)),
            "1970-01-31 2024-01-31 - 1969-12-31"
        );
        assert_eq!(days().answer(call("dt.days_in_month", [col("d")], Int8)), "31 31 - 31");
        assert_eq!(days().answer(call("dt.century", [col("d")], Int32)), "20 21 - 20");
        let quarter = call("dt.truncate", [col("d"), lit("1q", String)], Date);
        assert_eq!(days().answer(quarter), "1970-01-01 2024-01-01 - 1969-10-01");
    }
}
