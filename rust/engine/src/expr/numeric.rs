//! Numbers and their bits: `abs`, `neg`, `bitwise_*`, `reinterpret`, `to_physical`.
//!
//! Integers wrap: `abs` and `neg` of the smallest one are itself. Not here: functions of real numbers (`math.rs`), grids
//! and ranges (`rounding.rs`). Called by the compiler.

use super::compile::Compile;
use super::elementwise::map;
use super::value::{Call, Kernel, Value, physical_type, primitive, to_logical, to_physical, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType};
use arrow::datatypes::{Float32Type, Float64Type, UInt32Type};
use dataflare_plan::DataType;
use std::sync::Arc;

/// Counts bits of an integer with one of the methods of its type.
macro_rules! bits {
    ($call:expr, $count:ident) => {{
        let [input] = $call.args()?;
        Ok(with_integer!(&input.dtype, T => one(|array| {
            Ok(Arc::new(map::<T, UInt32Type>(primitive(array)?, |value| value.$count())))
        }), return Err($call.no_kernel())))
    }};
}

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("abs", abs),
    ("neg", neg),
    ("bitwise_count_ones", |call| bits!(call, count_ones)),
    ("bitwise_count_zeros", |call| bits!(call, count_zeros)),
    ("bitwise_leading_ones", |call| bits!(call, leading_ones)),
    ("bitwise_leading_zeros", |call| bits!(call, leading_zeros)),
    ("bitwise_trailing_ones", |call| bits!(call, trailing_ones)),
    ("bitwise_trailing_zeros", |call| bits!(call, trailing_zeros)),
    ("reinterpret", reinterpret),
    ("to_physical", physical),
];

/// A kernel of one argument.
pub(super) fn one(apply: impl Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, _| match args {
        [input] => apply(input.array()),
        _ => Err(EngineError::internal("a function of one argument", "it got another number of them")),
    })
}

pub(super) fn primitives<T: ArrowPrimitiveType>(
    op: impl Fn(T::Native) -> T::Native + Send + Sync + 'static,
) -> Kernel {
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
pub(super) fn on_physical(kernel: Kernel, dtype: &DataType) -> Kernel {
    let dtype = dtype.clone();
    Box::new(move |args, rows| {
        let args = args.iter().map(Value::to_physical).collect::<Result<Vec<_>>>()?;
        to_logical(&kernel(&args, rows)?, &dtype)
    })
}

/// The bits of an integer as another type of its width.
fn reinterpret(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    let same_width = |to: &DataType| {
        matches!(
            (&input.dtype, to),
            (DataType::Int64, DataType::UInt64)
                | (DataType::UInt64, DataType::Int64)
                | (DataType::Int32, DataType::UInt32)
                | (DataType::UInt32, DataType::Int32)
        )
    };
    if !same_width(call.dtype) {
        return Err(call.no_kernel());
    }
    let dtype = call.dtype.clone();
    Ok(one(move |array| to_logical(array, &dtype)))
}

/// The integers behind times; numbers are themselves.
fn physical(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    if physical_type(&input.dtype) != *call.dtype || !(call.dtype.is_integer() || call.dtype.is_float()) {
        return Err(call.no_kernel());
    }
    Ok(one(to_physical))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame};
    use arrow::array::Int8Array;
    use dataflare_plan::DataType::Int8;
    use std::sync::Arc;

    #[test]
    fn smallest_integer_is_its_own_negative() {
        let frame =
            frame([("a", Int8, Arc::new(Int8Array::from(vec![Some(-128), Some(127), Some(-1), None])))]);
        assert_eq!(frame.answer(call("abs", [col("a")], Int8)), "-128 127 1 -");
        assert_eq!(frame.answer(call("neg", [col("a")], Int8)), "-128 -127 1 -");
    }
}
