//! Casts between numbers, booleans, times and their text.
//!
//! A value that does not fit is a row error if the cast is strict, else null; with `wrap` integers lose high bits and
//! floats stop at the limits. Units of datetimes round down, of durations towards zero, as floats do. A zoned datetime casts by its UTC ticks.
//! Not here: floats and times to text, categories, decimals, nested types: Polars does those. Called by the compiler.

use super::divisor::Divisor;
use super::elementwise::{bits, map};
use super::text_builder::TextBuilder;
use super::value::{
    Kernel, Operand, Rows, boolean, no_kernel, physical_type, primitive, strings, to_logical, to_physical,
    with_integer, with_number,
};
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringViewArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Int32Type, Int64Type};
use dataflare_plan::{DataType, TimeUnit};
use std::fmt::{Display, Write};
use std::str::FromStr;
use std::sync::Arc;

const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;

/// What happens to a value that does not fit.
#[derive(Clone, Copy, PartialEq)]
enum Misfit {
    Fails,
    BecomesNull,
    Wraps,
}

/// Casts one array.
type Convert = Box<dyn Fn(&ArrayRef, &mut Rows<'_, '_>) -> Result<ArrayRef> + Send + Sync>;

/// The kernel of a cast.
pub(super) fn compile(
    from: &Operand,
    to: &DataType,
    strict: bool,
    wrap: bool,
    place: &str,
) -> Result<Kernel> {
    let misfit = match (strict, wrap) {
        (_, true) => Misfit::Wraps,
        (true, false) => Misfit::Fails,
        (false, false) => Misfit::BecomesNull,
    };
    let convert = conversion(&from.dtype, to, misfit)
        .ok_or_else(|| no_kernel(place, &format!("a cast from {} to {to}", from.dtype)))?;
    Ok(Box::new(move |args, rows| match args {
        [input] => convert(input.array(), rows),
        _ => Err(EngineError::internal("a cast", "expected one argument")),
    }))
}

fn conversion(from: &DataType, to: &DataType, misfit: Misfit) -> Option<Convert> {
    use DataType::{Binary, Boolean, Date, Datetime, Duration, Null, String};
    let target = to.clone();
    match (from, to) {
        (from, to) if from == to => Some(Box::new(|array, _| Ok(array.clone()))),
        (Null, _) => Some(Box::new(move |array, _| Ok(new_null_array(&arrow_type(&target), array.len())))),
        (Date, Datetime { unit, .. }) if misfit != Misfit::Wraps => {
            let factor = NANOSECONDS_PER_DAY / unit.nanoseconds();
            let numbers = numbers::<Int32Type>(&DataType::Int64, misfit)?;
            Some(Box::new(move |array, rows| {
                let days = numbers(&to_physical(array)?, rows)?;
                to_logical(&finer(&days, factor, misfit, rows)?, &target)
            }))
        }
        (Datetime { unit, .. }, Date) => to_date(*unit),
        (Datetime { zone: None, .. }, Datetime { zone: Some(_), .. }) => None,
        (Datetime { unit, .. }, Datetime { unit: into, .. })
        | (Duration { unit }, Duration { unit: into }) => units(*unit, *into, target, misfit),
        (String, Binary) => Some(Box::new(|array, _| Ok(Arc::new(strings(array)?.clone().to_binary_view())))),
        (String, to) if misfit != Misfit::Wraps => with_number!(to, T => Some(parse::<T>(to, misfit)), None),
        (Boolean, String) => Some(Box::new(|array, _| {
            let texts =
                boolean(array)?.iter().map(|flag| flag.map(|flag| if flag { "true" } else { "false" }));
            Ok(Arc::new(texts.collect::<StringViewArray>()))
        })),
        (from, String) => with_integer!(from, T => Some(print::<T>()), None),
        (Boolean, to) => with_number!(to, T => Some(from_boolean::<T>()), None),
        (from, to) if from.is_integer() && physical_type(to) != *to && *to != DataType::Time => {
            let convert = conversion(from, &physical_type(to), misfit)?;
            Some(Box::new(move |array, rows| to_logical(&convert(array, rows)?, &target)))
        }
        (from, to) if physical_type(from) != *from && (to.is_integer() || to.is_float()) => {
            let convert = conversion(&physical_type(from), to, misfit)?;
            Some(Box::new(move |array, rows| convert(&to_physical(array)?, rows)))
        }
        (from, to) => with_number!(from, T => numbers::<T>(to, misfit), None),
    }
}

/// A number as another one.
trait To<T>: Copy {
    /// True if all values fit.
    const ALL_FIT: bool = false;
    /// As the Rust operator `as`.
    fn to(self) -> T;
    /// True if the value, rounded towards zero, has a place in `T`.
    fn fits(self) -> bool;
}

macro_rules! integer_to_integer {
    ($from:ty => $($to:ty),*) => {$(
        impl To<$to> for $from {
            fn to(self) -> $to {
                self as $to
            }
            #[allow(unused_comparisons, reason = "unsigned types share the rule")]
            fn fits(self) -> bool {
                let other = self as $to;
                (other as $from == self) & ((other < 0) == (self < 0))
            }
        }
    )*};
}

macro_rules! to_float {
    ($to:ty => $($from:ty),*) => {$(
        impl To<$to> for $from {
            const ALL_FIT: bool = true;
            fn to(self) -> $to {
                self as $to
            }
            fn fits(self) -> bool {
                true
            }
        }
    )*};
}

/// `MIN` of an integer type is exact as a float; `MAX` may round up to the power of two that no longer fits.
macro_rules! float_to_integer {
    ($from:ty => $($to:ty),*) => {$(
        impl To<$to> for $from {
            fn to(self) -> $to {
                self as $to
            }
            fn fits(self) -> bool {
                const END: $from = ((<$to>::MAX / 2 + 1) as $from) * 2.0;
                const START: $from = <$to>::MIN as $from;
                const BEFORE: $from = START - 1.0;
                // Without rounding first, which is a call on older processors. Where floats are too coarse for
                // `BEFORE`, all from `START` on are whole.
                ((self > BEFORE) | (self == START)) & (self < END) & ((BEFORE < START) | (self >= START))
            }
        }
    )*};
}

macro_rules! all_numbers {
    ($($from:ty),*) => {$(
        integer_to_integer!($from => i8, i16, i32, i64, u8, u16, u32, u64);
    )*};
}
all_numbers!(i8, i16, i32, i64, u8, u16, u32, u64);
to_float!(f32 => i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);
to_float!(f64 => i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);
float_to_integer!(f32 => i8, i16, i32, i64, u8, u16, u32, u64);
float_to_integer!(f64 => i8, i16, i32, i64, u8, u16, u32, u64);

fn numbers<S>(to: &DataType, misfit: Misfit) -> Option<Convert>
where
    S: ArrowPrimitiveType,
    S::Native: To<i8>
        + To<i16>
        + To<i32>
        + To<i64>
        + To<u8>
        + To<u16>
        + To<u32>
        + To<u64>
        + To<f32>
        + To<f64>
        + Display,
{
    if *to == DataType::Boolean {
        return Some(Box::new(|array, _| {
            let array = primitive::<S>(array)?;
            let zero = S::Native::default();
            Ok(Arc::new(BooleanArray::new(
                bits(array.values(), |value| value != zero),
                array.nulls().cloned(),
            )))
        }));
    }
    with_number!(to, T => Some(pair::<S, T>(misfit)), None)
}

fn pair<S, T>(misfit: Misfit) -> Convert
where
    S: ArrowPrimitiveType,
    T: ArrowPrimitiveType,
    S::Native: To<T::Native> + Display,
{
    Box::new(move |array, rows| {
        let array = primitive::<S>(array)?;
        let converted = map::<S, T>(array, S::Native::to);
        if misfit == Misfit::Wraps || S::Native::ALL_FIT {
            return Ok(Arc::new(converted));
        }
        let fits = bits(array.values(), S::Native::fits);
        Ok(Arc::new(without_misfits(converted, fits, misfit, rows, |row| array.value(row).to_string())))
    })
}

/// Makes rows null that are valid but do not fit; notes them if the cast is strict.
fn without_misfits<T: ArrowPrimitiveType>(
    array: PrimitiveArray<T>,
    fits: BooleanBuffer,
    misfit: Misfit,
    rows: &mut Rows<'_, '_>,
    show: impl Fn(usize) -> String,
) -> PrimitiveArray<T> {
    if fits.count_set_bits() == fits.len() {
        return array;
    }
    let (_, values, nulls) = array.into_parts();
    if misfit == Misfit::Fails {
        let misfits = match &nulls {
            Some(nulls) => nulls.inner() & &!&fits,
            None => !&fits,
        };
        for row in misfits.set_indices() {
            rows.fail(row, "cast", format!("{} is no {}", show(row), T::DATA_TYPE));
        }
    }
    PrimitiveArray::new(values, NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(fits))))
}

fn from_boolean<T>() -> Convert
where
    T: ArrowPrimitiveType,
    T::Native: From<bool>,
{
    Box::new(|array, _| {
        let array = boolean(array)?;
        let values: Vec<T::Native> = array.values().iter().map(T::Native::from).collect();
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), array.nulls().cloned())))
    })
}

fn to_date(unit: TimeUnit) -> Option<Convert> {
    let per_day = Divisor::new(NANOSECONDS_PER_DAY / unit.nanoseconds())?;
    Some(Box::new(move |array, _| {
        let ticks = to_physical(array)?;
        let days = map::<Int64Type, Int32Type>(primitive(&ticks)?, |ticks| per_day.floor_div(ticks) as i32);
        to_logical(&(Arc::new(days) as ArrayRef), &DataType::Date)
    }))
}

fn units(from: TimeUnit, into: TimeUnit, target: DataType, misfit: Misfit) -> Option<Convert> {
    let (from, into) = (from.nanoseconds(), into.nanoseconds());
    if from >= into {
        if misfit == Misfit::Wraps && from > into {
            return None;
        }
        let factor = from / into;
        return Some(Box::new(move |array, rows| {
            let ticks = to_physical(array)?;
            to_logical(&if factor == 1 { ticks } else { finer(&ticks, factor, misfit, rows)? }, &target)
        }));
    }
    let divisor = into / from;
    let fast = Divisor::new(divisor)?;
    let truncates = matches!(target, DataType::Duration { .. });
    Some(Box::new(move |array, _| {
        let ticks = to_physical(array)?;
        let ticks = primitive(&ticks)?;
        let coarse = if truncates {
            map::<Int64Type, Int64Type>(ticks, |ticks| ticks / divisor)
        } else {
            map::<Int64Type, Int64Type>(ticks, |ticks| fast.floor_div(ticks))
        };
        to_logical(&(Arc::new(coarse) as ArrayRef), &target)
    }))
}

/// `Int64` times a factor.
fn finer(ticks: &ArrayRef, factor: i64, misfit: Misfit, rows: &mut Rows<'_, '_>) -> Result<ArrayRef> {
    let ticks = primitive::<Int64Type>(ticks)?;
    let limit = i64::MAX / factor;
    let fits = bits(ticks.values(), |tick| (tick <= limit) & (tick >= -limit));
    let fine = map::<Int64Type, Int64Type>(ticks, |tick| tick.wrapping_mul(factor));
    Ok(Arc::new(without_misfits(fine, fits, misfit, rows, |row| format!("{} ticks", ticks.value(row)))))
}

fn parse<T>(to: &DataType, misfit: Misfit) -> Convert
where
    T: ArrowPrimitiveType,
    T::Native: FromStr,
{
    let to = to.to_string();
    Box::new(move |array, rows| {
        let texts = strings(array)?;
        let parsed: PrimitiveArray<T> =
            texts.iter().map(|text| text.and_then(|text| text.parse().ok())).collect();
        if misfit == Misfit::Fails && parsed.null_count() > texts.null_count() {
            for (row, text) in texts.iter().enumerate() {
                if let (Some(text), true) = (text, parsed.is_null(row)) {
                    rows.fail(row, "cast", format!("{text:?} is no {to}"));
                }
            }
        }
        Ok(Arc::new(parsed))
    })
}

fn print<T>() -> Convert
where
    T: ArrowPrimitiveType,
    T::Native: Display,
{
    Box::new(|array, _| {
        let array = primitive::<T>(array)?;
        let mut texts = TextBuilder::with_capacity(array.len());
        for value in array.values() {
            texts.append(|text| {
                // Writing into a string cannot fail.
                let _ = write!(text, "{value}");
            });
        }
        texts.finish(array.nulls().cloned())
    })
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{cast, col, frame, show};
    use arrow::array::{Float64Array, Int64Array, StringViewArray};
    use dataflare_plan::DataType::{Boolean, Float64, Int8, Int64, String, UInt8, UInt64};
    use std::sync::Arc;

    #[test]
    fn float_rounds_towards_zero_and_a_misfit_is_null() {
        let values = vec![1.9, -1.9, -128.9, -129.0, 255.9, 256.0, f64::NAN, f64::INFINITY, -0.5, 9.3e18];
        let frame = frame([("x", Float64, Arc::new(Float64Array::from(values)))]);
        assert_eq!(frame.answer(cast(col("x"), Int8, false)), "1 -1 -128 - - - - - 0 -");
        assert_eq!(frame.answer(cast(col("x"), UInt8, false)), "1 - - - 255 - - - 0 -");
        assert_eq!(frame.answer(cast(col("x"), Int64, false)), "1 -1 -128 -129 255 256 - - 0 -");
        assert_eq!(frame.answer(cast(col("x"), UInt64, false)), "1 - - - 255 256 - - 0 9300000000000000000");
        assert_eq!(
            frame.answer(cast(col("x"), Boolean, false)),
            "true true true true true true true true true true"
        );
    }

    #[test]
    fn strict_cast_fails_row_by_row() {
        let values = vec![Some(1), Some(300), None, Some(-1)];
        let frame = frame([("a", Int64, Arc::new(Int64Array::from(values)))]);
        let (array, errors) = frame.run(cast(col("a"), UInt8, true)).unwrap();
        assert_eq!(show(&array), "1 - - -");
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(errors[0].code, "cast");
        assert_eq!(errors[0].place, "col(a).cast(UInt8)");
        assert_eq!(errors[0].message, "300 is no UInt8");
    }

    #[test]
    fn text_parses_whole_or_not_at_all() {
        let words = vec!["1", " 1", "+1", "-1", "1.5", "", "1e3", "00012", "inf", "-nan", "0x1", "5."];
        let frame = frame([("s", String, Arc::new(StringViewArray::from(words)))]);
        assert_eq!(frame.answer(cast(col("s"), Int64, false)), "1 - 1 -1 - - - 12 - - - -");
        assert_eq!(
            frame.answer(cast(col("s"), Float64, false)),
            "1.0 - 1.0 -1.0 1.5 - 1000.0 12.0 inf NaN - 5.0"
        );
    }
}
