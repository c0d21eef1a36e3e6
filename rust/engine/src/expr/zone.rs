//! Time zones: `convert_time_zone`, `replace_time_zone` where no local time is missing or doubled, and local time for the
//! parts of a datetime.
//!
//! Rules of zones come from `chrono-tz`, as in Polars. Not here: a local time that becomes an instant of a zone other than
//! UTC, which may be missing or doubled: Polars does those. Called by the compiler and by `temporal.rs`.

use super::compile::Compile;
use super::elementwise::map;
use super::numeric::one;
use super::value::{Call, Kernel, Value, primitive, to_logical, to_physical};
use crate::error::{EngineError, Result};
use arrow::array::ArrayRef;
use arrow::datatypes::Int64Type;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use dataflare_plan::{DataType, TimeUnit};
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] =
    &[("dt.convert_time_zone", convert), ("dt.replace_time_zone", replace)];

/// Offsets of zones change at whole quarters of an hour but for a few old ones, which the end of a slot shows.
const SLOT_S: i64 = 900;

/// The same instants under another zone.
fn convert(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    match (&input.dtype, call.dtype) {
        (DataType::Datetime { unit, .. }, DataType::Datetime { unit: to, .. }) if unit == to => {
            let dtype = call.dtype.clone();
            Ok(one(move |array| to_logical(array, &dtype)))
        }
        _ => Err(call.no_kernel()),
    }
}

/// Local time without a zone, or read as UTC.
fn replace(call: &Call<'_>) -> Result<Kernel> {
    let input = call.args.first().ok_or_else(|| call.no_kernel())?;
    let (DataType::Datetime { unit, zone }, DataType::Datetime { unit: to, zone: new }) =
        (&input.dtype, call.dtype)
    else {
        return Err(call.no_kernel());
    };
    if unit != to || !is_utc(new.as_deref()) {
        return Err(call.no_kernel());
    }
    let local = Local::of(call, zone.as_deref(), *unit)?;
    let dtype = call.dtype.clone();
    Ok(Box::new(move |args, _| match args.first() {
        Some(input) => to_logical(&local.ticks(input.array())?, &dtype),
        None => Err(EngineError::internal("dt.replace_time_zone", "expected an argument")),
    }))
}

fn is_utc(zone: Option<&str>) -> bool {
    zone.is_none_or(|zone| zone == "UTC")
}

/// Compiles a function of local time: datetimes of a zone move to their local ticks first.
pub(super) fn of_local_time(
    call: &Call<'_>,
    compile: impl FnOnce(&Call<'_>) -> Result<Kernel>,
) -> Result<Kernel> {
    let Some(DataType::Datetime { unit, zone: Some(zone) }) = call.args.first().map(|arg| &arg.dtype) else {
        return compile(call);
    };
    let local = Local::of(call, Some(zone), *unit)?;
    let naive = DataType::Datetime { unit: *unit, zone: None };
    let mut args = call.args.to_vec();
    for arg in args.iter_mut().take(1) {
        arg.dtype = naive.clone();
    }
    let kernel = compile(&Call { args: &args, options: call.options, dtype: call.dtype, place: call.place })?;
    Ok(Box::new(move |args, rows| {
        let mut args = args.to_vec();
        if let Some(input) = args.first_mut() {
            let ticks = to_logical(&local.ticks(input.array())?, &naive)?;
            *input = match input {
                Value::Column(_) => Value::Column(ticks),
                Value::Constant(_) => Value::Constant(ticks),
            };
        }
        kernel(&args, rows)
    }))
}

/// Moves ticks of UTC to ticks of local time.
struct Local {
    /// `None`: UTC.
    zone: Option<Tz>,
    per_second: i64,
}

impl Local {
    fn of(call: &Call<'_>, zone: Option<&str>, unit: TimeUnit) -> Result<Self> {
        let zone = match zone {
            zone if is_utc(zone) => None,
            Some(zone) => Some(zone.parse().map_err(|_| call.no_kernel())?),
            None => None,
        };
        Ok(Self { zone, per_second: 1_000_000_000 / unit.nanoseconds() })
    }

    fn ticks(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let ticks = to_physical(array)?;
        let Some(zone) = self.zone else { return Ok(ticks) };
        let mut slot = Slot { zone, number: i64::MIN, offset_s: 0 };
        let offsets = std::cell::RefCell::new(&mut slot);
        let local = map::<Int64Type, Int64Type>(primitive(&ticks)?, |tick| {
            let offset_s = offsets.borrow_mut().offset_s(tick.div_euclid(self.per_second));
            tick.wrapping_add(offset_s.wrapping_mul(self.per_second))
        });
        Ok(Arc::new(local))
    }
}

/// The offset of a stretch of time; neighbouring rows mostly share it.
struct Slot {
    zone: Tz,
    number: i64,
    offset_s: i64,
}

impl Slot {
    fn offset_s(&mut self, second: i64) -> i64 {
        let number = second.div_euclid(SLOT_S);
        if number == self.number {
            return self.offset_s;
        }
        let start = number.saturating_mul(SLOT_S);
        let (first, last) = (self.at(start), self.at(start.saturating_add(SLOT_S - 1)));
        if first != last {
            return self.at(second);
        }
        (self.number, self.offset_s) = (number, first);
        first
    }

    /// 0 outside the calendar, where parts are null.
    fn at(&self, second: i64) -> i64 {
        DateTime::from_timestamp(second, 0).map_or(0, |instant| {
            i64::from(self.zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame};
    use arrow::array::TimestampMillisecondArray;
    use dataflare_plan::DataType::{Datetime, Int8};
    use dataflare_plan::TimeUnit::Milliseconds;
    use std::sync::Arc;

    #[test]
    fn hour_follows_the_zone_over_a_change_of_its_offset() {
        let zone = Some("Europe/Oslo".to_owned());
        // 2024-03-31 00:59:59 UTC and one second later: 01:59:59 and 03:00:00 in Oslo.
        let ticks = vec![Some(1_711_846_799_000), Some(1_711_846_800_000), None];
        let array = TimestampMillisecondArray::from(ticks).with_timezone("Europe/Oslo");
        let frame = frame([("t", Datetime { unit: Milliseconds, zone }, Arc::new(array))]);
        assert_eq!(frame.answer(call("dt.hour", [col("t")], Int8)), "1 3 -");
    }
}
