//! Numbers: `abs`, `neg`, `floor`, `ceil`, `sqrt`, and `min_horizontal`, `max_horizontal` of integers and times.
//!
//! Integers wrap: `abs` and `neg` of the smallest one are itself. Not here: `round`, `pow` and the rest, and the
//! horizontal functions of floats: Polars does those. Called by the compiler.

use super::compile::Compile;
use super::elementwise::map;
use super::value::{Call, Kernel, Value, physical_type, primitive, to_logical, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float32Type, Float64Type};
use dataflare_plan::DataType;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("abs", abs),
    ("neg", neg),
    ("floor", |call| of_floats(call, f32::floor, f64::floor, true)),
    ("ceil", |call| of_floats(call, f32::ceil, f64::ceil, true)),
    ("sqrt", |call| of_floats(call, f32::sqrt, f64::sqrt, false)),
    ("min_horizontal", |call| horizontal(call, false)),
    ("max_horizontal", |call| horizontal(call, true)),
];

/// A kernel of one argument.
pub(super) fn one(apply: impl Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, _| match args {
        [input] => apply(input.array()),
        _ => Err(EngineError::internal("a function of one argument", "it got another number of them")),
    })
}

fn primitives<T: ArrowPrimitiveType>(op: impl Fn(T::Native) -> T::Native + Send + Sync + 'static) -> Kernel {
    one(move |array| Ok(Arc::new(map::<T, T>(primitive(array)?, &op))))
}

fn abs(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    Ok(match &input.dtype {
        DataType::Float32 => primitives::<Float32Type>(f32::abs),
        DataType::Float64 => primitives::<Float64Type>(f64::abs),
        dtype if dtype.is_unsigned() => one(|array| Ok(array.clone())),
        dtype => signed(call, dtype, true)?,
    })
}

fn neg(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    Ok(match &input.dtype {
        DataType::Float32 => primitives::<Float32Type>(|x| -x),
        DataType::Float64 => primitives::<Float64Type>(|x| -x),
        dtype if dtype.is_unsigned() => return Err(call.no_kernel()),
        dtype => signed(call, dtype, false)?,
    })
}

/// Signed integers and durations; `positive`: only negative ones change their sign.
fn signed(call: &Call<'_>, dtype: &DataType, positive: bool) -> Result<Kernel> {
    if matches!(dtype, DataType::Date | DataType::Time | DataType::Datetime { .. }) {
        return Err(call.no_kernel());
    }
    let kernel = with_integer!(&physical_type(dtype), T => primitives::<T>(move |value| {
        if positive && value >= Default::default() { value } else { value.neg_wrapping() }
    }), return Err(call.no_kernel()));
    Ok(on_physical(kernel, dtype))
}

/// The kernel over the integers behind times; its answer has the type `dtype` again.
fn on_physical(kernel: Kernel, dtype: &DataType) -> Kernel {
    let dtype = dtype.clone();
    Box::new(move |args, rows| {
        let args = args.iter().map(Value::to_physical).collect::<Result<Vec<_>>>()?;
        to_logical(&kernel(&args, rows)?, &dtype)
    })
}

/// A function of floats; integers are themselves if `integers` says so.
fn of_floats(
    call: &Call<'_>,
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
    integers: bool,
) -> Result<Kernel> {
    let [input] = call.args()?;
    match &input.dtype {
        DataType::Float32 => Ok(primitives::<Float32Type>(single)),
        DataType::Float64 => Ok(primitives::<Float64Type>(double)),
        dtype if integers && dtype.is_integer() && dtype == call.dtype => Ok(one(|array| Ok(array.clone()))),
        _ => Err(call.no_kernel()),
    }
}

/// The smallest or largest of the arguments that are not null.
fn horizontal(call: &Call<'_>, largest: bool) -> Result<Kernel> {
    if call.args.is_empty() || call.args.iter().any(|arg| arg.dtype != *call.dtype) {
        return Err(call.no_kernel());
    }
    let kernel = with_integer!(&physical_type(call.dtype), T => {
        let kernel: Kernel = Box::new(move |args, rows| {
            let columns = args.iter().map(|arg| arg.clone().into_column(rows.count)).collect::<Result<Vec<_>>>()?;
            let mut best: Option<PrimitiveArray<T>> = None;
            for column in &columns {
                let column = primitive::<T>(column)?;
                best = Some(match best {
                    None => column.clone(),
                    Some(best) => better(&best, column, largest),
                });
            }
            best.map(|best| Arc::new(best) as ArrayRef)
                .ok_or_else(|| EngineError::internal("a horizontal function", "no argument"))
        });
        kernel
    }, return Err(call.no_kernel()));
    Ok(on_physical(kernel, call.dtype))
}

fn better<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
    largest: bool,
) -> PrimitiveArray<T> {
    let pairs = left.values().iter().zip(right.values().iter());
    if left.null_count() == 0 && right.null_count() == 0 {
        let values: Vec<T::Native> =
            pairs.map(|(l, r)| if l.is_lt(*r) != largest { *l } else { *r }).collect();
        return PrimitiveArray::new(values.into(), None);
    }
    let values: Vec<T::Native> = pairs
        .enumerate()
        .map(|(row, (l, r))| match (left.is_valid(row), right.is_valid(row)) {
            (true, true) if l.is_lt(*r) != largest => *l,
            (true, false) => *l,
            _ => *r,
        })
        .collect();
    let nulls = match (left.nulls(), right.nulls()) {
        (Some(l), Some(r)) => Some(NullBuffer::new(l.inner() | r.inner())),
        _ => None,
    };
    PrimitiveArray::new(values.into(), nulls)
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame, lit};
    use arrow::array::{Float64Array, Int8Array, Int64Array};
    use dataflare_plan::DataType::{Float64, Int8, Int64};
    use serde_json::Value;
    use std::sync::Arc;

    #[test]
    fn smallest_integer_is_its_own_negative() {
        let frame =
            frame([("a", Int8, Arc::new(Int8Array::from(vec![Some(-128), Some(127), Some(-1), None])))]);
        assert_eq!(frame.answer(call("abs", [col("a")], Int8)), "-128 127 1 -");
        assert_eq!(frame.answer(call("neg", [col("a")], Int8)), "-128 -127 1 -");
    }

    #[test]
    fn rounding_keeps_the_sign_of_zero() {
        let frame =
            frame([("x", Float64, Arc::new(Float64Array::from(vec![1.5, -0.4, -0.0, f64::INFINITY])))]);
        assert_eq!(frame.answer(call("ceil", [col("x")], Float64)), "2.0 -0.0 -0.0 inf");
        assert_eq!(frame.answer(call("floor", [col("x")], Float64)), "1.0 -1.0 -0.0 inf");
    }

    #[test]
    fn horizontal_functions_pass_over_nulls() {
        let frame = frame([
            ("a", Int64, Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None]))),
            ("b", Int64, Arc::new(Int64Array::from(vec![Some(2), Some(5), None, None]))),
        ]);
        assert_eq!(frame.answer(call("min_horizontal", [col("a"), col("b")], Int64)), "1 5 3 -");
        assert_eq!(
            frame.answer(call("max_horizontal", [col("a"), col("b"), lit(4, Int64)], Int64)),
            "4 5 4 4"
        );
        assert_eq!(
            frame.answer(call("max_horizontal", [col("a"), lit(Value::Null, Int64)], Int64)),
            "1 - 3 -"
        );
    }
}
