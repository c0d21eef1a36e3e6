//! `+ - * /` where a side is a date, datetime or duration.
//!
//! Ticks wrap on overflow. A date plus a duration is the day in which the sum lies; a duration over an integer rounds
//! down. Not here: sides of different units, durations times floats: Polars does those. Called by `arithmetic.rs`.

use super::arithmetic::{integer, pair};
use super::cast;
use super::divisor::Divisor;
use super::elementwise::{map, map2};
use super::value::{Kernel, Operand, Rows, Value, primitive, to_logical};
use crate::error::Result;
use arrow::array::{ArrayRef, ArrowPrimitiveType};
use arrow::datatypes::{Int32Type, Int64Type};
use dataflare_plan::{BinaryOperator, DataType, TimeUnit};
use std::sync::Arc;

const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;

/// The kernel of `left op right` and the type of its answer; `None` where Polars must do it.
pub(super) fn compile(op: BinaryOperator, left: &Operand, right: &Operand) -> Option<(Kernel, DataType)> {
    use BinaryOperator::{Add, FloorDiv, Mul, Sub, TrueDiv};
    use DataType::{Date, Datetime, Duration};
    let (l, r) = (&left.dtype, &right.dtype);
    match (op, l, r) {
        (Add | Sub, Datetime { unit, .. }, Duration { unit: other }) if unit == other => ticks(op, l.clone()),
        (Add, Duration { unit }, Datetime { unit: other, .. }) if unit == other => ticks(op, r.clone()),
        (Sub, Datetime { unit, .. }, Datetime { .. }) if l == r => ticks(op, Duration { unit: *unit }),
        (Add | Sub, Duration { .. }, Duration { .. }) if l == r => ticks(op, l.clone()),
        (TrueDiv, Duration { .. }, Duration { .. }) if l == r => ticks(op, DataType::Float64),
        (Mul, Duration { .. }, number) if is_count(number) => times(Mul, l.clone(), None, Some(right)),
        (Mul, number, Duration { .. }) if is_count(number) => times(Mul, r.clone(), Some(left), None),
        (TrueDiv, Duration { .. }, number) if is_count(number) => {
            times(FloorDiv, l.clone(), None, Some(right))
        }
        (Sub, Date, Date) => Some((days_between(), Duration { unit: TimeUnit::Microseconds })),
        (Add | Sub, Date, Duration { unit }) => Some((date_and_duration(op, *unit, 0)?, Date)),
        (Add, Duration { unit }, Date) => Some((date_and_duration(op, *unit, 1)?, Date)),
        _ => None,
    }
}

/// Integers that fit `Int64`.
fn is_count(dtype: &DataType) -> bool {
    dtype.is_integer() && *dtype != DataType::UInt64
}

/// An operation of ticks.
fn ticks(op: BinaryOperator, dtype: DataType) -> Option<(Kernel, DataType)> {
    let (kernel, logical) = (integer::<Int64Type>(op)?, dtype.clone());
    let kernel: Kernel = Box::new(move |args, rows| {
        let [left, right] = pair(args)?;
        to_logical(&kernel(&[left.to_physical()?, right.to_physical()?], rows)?, &logical)
    });
    Some((kernel, dtype))
}

/// Ticks and an integer, which is widened first.
fn times(
    op: BinaryOperator,
    dtype: DataType,
    left: Option<&Operand>,
    right: Option<&Operand>,
) -> Option<(Kernel, DataType)> {
    let widen = |side: Option<&Operand>| match side {
        Some(operand) => cast::compile(operand, &DataType::Int64, false, false, "").ok().map(Some),
        None => Some(None),
    };
    let (widen_left, widen_right) = (widen(left)?, widen(right)?);
    let (kernel, logical) = (integer::<Int64Type>(op)?, dtype.clone());
    let kernel: Kernel = Box::new(move |args, rows| {
        let [left, right] = pair(args)?;
        let sides = [widened(left, widen_left.as_ref(), rows)?, widened(right, widen_right.as_ref(), rows)?];
        to_logical(&kernel(&sides, rows)?, &logical)
    });
    Some((kernel, dtype))
}

fn widened(value: &Value, widen: Option<&Kernel>, rows: &mut Rows<'_, '_>) -> Result<Value> {
    let Some(widen) = widen else { return value.to_physical() };
    let array = widen(std::slice::from_ref(value), rows)?;
    Ok(match value {
        Value::Column(_) => Value::Column(array),
        Value::Constant(_) => Value::Constant(array),
    })
}

fn days_between() -> Kernel {
    const MICROSECONDS_PER_DAY: i64 = NANOSECONDS_PER_DAY / 1_000;
    Box::new(|args, _| {
        let [left, right] = pair(args)?;
        let (left, right) = (left.to_physical()?, right.to_physical()?);
        let days = map2::<Int32Type, Int64Type>(&left, &right, |l, r| i64::from(l) - i64::from(r))?;
        let ticks = map::<Int64Type, Int64Type>(&days, |days| days.wrapping_mul(MICROSECONDS_PER_DAY));
        to_logical(&(Arc::new(ticks) as ArrayRef), &DataType::Duration { unit: TimeUnit::Microseconds })
    })
}

/// A date at `position` of the arguments, a duration at the other.
fn date_and_duration(op: BinaryOperator, unit: TimeUnit, position: usize) -> Option<Kernel> {
    let per_day = NANOSECONDS_PER_DAY / unit.nanoseconds();
    let (day, kernel) = (Divisor::new(per_day)?, integer::<Int64Type>(op)?);
    Some(Box::new(move |args, rows| {
        let mut sides = Vec::with_capacity(2);
        for (index, arg) in args.iter().enumerate() {
            sides.push(if index == position {
                midnights(&arg.to_physical()?, per_day)?
            } else {
                arg.to_physical()?
            });
        }
        let ticks = kernel(&sides, rows)?;
        let days = map::<Int64Type, Int32Type>(primitive(&ticks)?, |ticks| day.floor_div(ticks) as i32);
        to_logical(&(Arc::new(days) as ArrayRef), &DataType::Date)
    }))
}

fn midnights(days: &Value, per_day: i64) -> Result<Value> {
    let ticks = |array: &ArrayRef| -> Result<ArrayRef> {
        let days = primitive::<Int32Type>(array)?;
        let ticks = |days: <Int32Type as ArrowPrimitiveType>::Native| i64::from(days).wrapping_mul(per_day);
        Ok(Arc::new(map::<Int32Type, Int64Type>(days, ticks)))
    };
    Ok(match days {
        Value::Column(array) => Value::Column(ticks(array)?),
        Value::Constant(array) => Value::Constant(ticks(array)?),
    })
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, binary, cast, col, frame, lit};
    use arrow::array::{Date32Array, DurationMicrosecondArray, Int32Array, TimestampMicrosecondArray};
    use dataflare_plan::BinaryOperator::{Add, Mul, Sub, TrueDiv};
    use dataflare_plan::DataType::{self, Date, Datetime, Duration, Int32, Int64};
    use dataflare_plan::Expr;
    use dataflare_plan::TimeUnit::Microseconds;
    use std::sync::Arc;

    const DURATION: DataType = Duration { unit: Microseconds };

    fn times() -> Frame {
        let hour = 3_600_000_000;
        frame([
            ("d", Date, Arc::new(Date32Array::from(vec![Some(0), Some(0), Some(0), None]))),
            ("u", DURATION, Arc::new(DurationMicrosecondArray::from(vec![25 * hour, -1, 7, 7]))),
            ("i", Int32, Arc::new(Int32Array::from(vec![Some(2), Some(-2), Some(0), None]))),
            (
                "t",
                Datetime { unit: Microseconds, zone: None },
                Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(5), None, Some(-1)])),
            ),
        ])
    }

    fn physical(expr: Expr, dtype: DataType) -> String {
        times().answer(cast(expr, dtype, true))
    }

    #[test]
    fn date_and_duration_is_the_day_in_which_the_sum_lies() {
        assert_eq!(physical(binary(Add, col("d"), col("u")), Int32), "1 -1 0 -");
        assert_eq!(physical(binary(Sub, col("d"), col("u")), Int32), "-2 0 -1 -");
        assert_eq!(physical(binary(Add, col("u"), lit(10, Date)), Int32), "11 9 10 10");
    }

    #[test]
    fn duration_times_an_integer_wraps_and_over_one_rounds_down() {
        assert_eq!(physical(binary(Mul, col("u"), col("i")), Int64), "180000000000 2 0 -");
        assert_eq!(physical(binary(Mul, lit(3, Int32), col("u")), Int64), "270000000000 -3 21 21");
        assert_eq!(physical(binary(TrueDiv, col("u"), lit(2, Int32)), Int64), "45000000000 -1 3 3");
        assert_eq!(physical(binary(TrueDiv, col("u"), col("i")), Int64), "45000000000 0 - -");
    }

    #[test]
    fn difference_of_times_is_a_duration() {
        assert_eq!(physical(binary(Sub, col("t"), col("t")), Int64), "0 0 - 0");
        assert_eq!(physical(binary(Sub, col("t"), col("u")), Int64), "-90000000000 6 - -8");
        assert_eq!(
            physical(binary(Sub, col("d"), lit(2, Date)), Int64),
            "-172800000000 -172800000000 -172800000000 -"
        );
    }
}
