//! Functions of real numbers: exponentials, logarithms, powers, trigonometry. Integers become floats first.
//!
//! They are those of the system's mathematical library, which Polars calls too. Not here: `erf` and `arcsinh` and its kin,
//! which differ in the last bit between versions of Rust; decimals; integers to a power from a column: Polars does those.
//! Called by the compiler.

use super::cast;
use super::compile::Compile;
use super::elementwise::{map, map2};
use super::numeric::one;
use super::value::{Call, Kernel, Operand, Value, primitive, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{ArrowNativeTypeOp, AsArray};
use arrow::datatypes::{Float32Type, Float64Type};
use dataflare_plan::DataType;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("exp", |call| real(call, f32::exp, f64::exp)),
    ("log1p", |call| real(call, f32::ln_1p, f64::ln_1p)),
    ("log", log),
    ("pow", pow),
    ("sqrt", |call| real(call, f32::sqrt, f64::sqrt)),
    ("cbrt", |call| real(call, f32::cbrt, f64::cbrt)),
    ("sin", |call| real(call, f32::sin, f64::sin)),
    ("cos", |call| real(call, f32::cos, f64::cos)),
    ("tan", |call| real(call, f32::tan, f64::tan)),
    ("cot", |call| real(call, |x| x.tan().powi(-1), |x| x.tan().powi(-1))),
    ("arcsin", |call| real(call, f32::asin, f64::asin)),
    ("arccos", |call| real(call, f32::acos, f64::acos)),
    ("arctan", |call| real(call, f32::atan, f64::atan)),
    ("sinh", |call| real(call, f32::sinh, f64::sinh)),
    ("cosh", |call| real(call, f32::cosh, f64::cosh)),
    ("tanh", |call| real(call, f32::tanh, f64::tanh)),
    ("degrees", |call| real(call, f32::to_degrees, f64::to_degrees)),
    ("radians", |call| real(call, f32::to_radians, f64::to_radians)),
    ("arctan2", arctan2),
];

/// A function of one number; the answer has the type that Polars says.
fn real(call: &Call<'_>, single: fn(f32) -> f32, double: fn(f64) -> f64) -> Result<Kernel> {
    let [input] = call.args()?;
    over_real(call, input, single, double)
}

fn over_real(
    call: &Call<'_>,
    input: &Operand,
    single: impl Fn(f32) -> f32 + Send + Sync + 'static,
    double: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> Result<Kernel> {
    let to_real = to_real(call, input, call.dtype)?;
    let apply = match call.dtype {
        DataType::Float32 => {
            one(move |array| Ok(Arc::new(map::<Float32Type, Float32Type>(primitive(array)?, &single))))
        }
        DataType::Float64 => {
            one(move |array| Ok(Arc::new(map::<Float64Type, Float64Type>(primitive(array)?, &double))))
        }
        _ => return Err(call.no_kernel()),
    };
    Ok(Box::new(move |args, rows| match args.first() {
        Some(input) => {
            let array = to_real(std::slice::from_ref(input), rows)?;
            apply(&[Value::Column(array)], rows)
        }
        None => Err(EngineError::internal("a function of real numbers", "expected an argument")),
    }))
}

/// Casts a number to a float type.
fn to_real(call: &Call<'_>, input: &Operand, dtype: &DataType) -> Result<Kernel> {
    if !input.dtype.is_integer() && !input.dtype.is_float() {
        return Err(call.no_kernel());
    }
    cast::compile(input, dtype, false, false, call.place)
}

/// A constant number as the type of the answer, then as Float64; `None` if it is null or none at all.
fn constant(call: &Call<'_>, input: &Operand) -> Option<f64> {
    let array = input.constant.as_ref()?;
    let cast = to_real(call, input, call.dtype).ok()?;
    let mut errors = crate::error::RowErrors::new();
    let mut rows = super::value::Rows::new(1, call.place, &mut errors);
    let array = cast(&[Value::Column(array.clone())], &mut rows).ok()?;
    match call.dtype {
        DataType::Float32 => array.as_primitive_opt::<Float32Type>()?.iter().next()?.map(f64::from),
        _ => array.as_primitive_opt::<Float64Type>()?.iter().next()?,
    }
}

/// Logarithm to a constant base.
fn log(call: &Call<'_>) -> Result<Kernel> {
    let [input, base] = call.args()?;
    let base = constant(call, base).ok_or_else(|| call.no_kernel())?;
    over_real(call, input, move |x| x.log(base as f32), move |x| x.log(base))
}

/// Powers: of floats by a constant or a column of their type, of integers by a constant that is not negative.
fn pow(call: &Call<'_>) -> Result<Kernel> {
    let [base, exponent] = call.args()?;
    if call.dtype.is_float() {
        if let Some(exponent) = constant(call, exponent) {
            return constant_power(call, base, exponent);
        }
        if exponent.constant.is_some() {
            return Err(call.no_kernel());
        }
        return two_reals(call, base, exponent, f32::powf, f64::powf);
    }
    if base.dtype != *call.dtype || base.constant.is_some() {
        return Err(call.no_kernel());
    }
    let exponent = call.integer(1)?.and_then(|exponent| u32::try_from(exponent).ok());
    let exponent = exponent.ok_or_else(|| call.no_kernel())?;
    Ok(with_integer!(&base.dtype, T => Box::new(move |args: &[Value], _: &mut super::value::Rows<'_, '_>| {
        match args.first() {
            Some(base) => Ok(Arc::new(map::<T, T>(primitive(base.array())?, |base| base.pow_wrapping(exponent))) as _),
            None => Err(EngineError::internal("pow", "expected an argument")),
        }
    }), return Err(call.no_kernel())))
}

/// Small whole powers are products from left to right, 0.5 is the root, as in Polars: each differs from the general power
/// in the last bit or in the sign of zero.
fn constant_power(call: &Call<'_>, base: &Operand, exponent: f64) -> Result<Kernel> {
    if exponent == 0.5 {
        return over_real(call, base, f32::sqrt, f64::sqrt);
    }
    if (1.0..=6.0).contains(&exponent) && exponent.fract() == 0.0 {
        let more = exponent as usize - 1;
        return over_real(
            call,
            base,
            move |x| (0..more).fold(x, |product, _| product * x),
            move |x| (0..more).fold(x, |product, _| product * x),
        );
    }
    if (7.0..10.0).contains(&exponent) {
        return Err(call.no_kernel());
    }
    over_real(call, base, move |x| x.powf(exponent as f32), move |x| x.powf(exponent))
}

fn arctan2(call: &Call<'_>) -> Result<Kernel> {
    let [y, x] = call.args()?;
    two_reals(call, y, x, f32::atan2, f64::atan2)
}

fn two_reals(
    call: &Call<'_>,
    left: &Operand,
    right: &Operand,
    single: fn(f32, f32) -> f32,
    double: fn(f64, f64) -> f64,
) -> Result<Kernel> {
    if left.dtype != *call.dtype || right.dtype != *call.dtype {
        return Err(call.no_kernel());
    }
    let is_single = match call.dtype {
        DataType::Float32 => true,
        DataType::Float64 => false,
        _ => return Err(call.no_kernel()),
    };
    Ok(Box::new(move |args, _| {
        let [left, right] = super::arithmetic::pair(args)?;
        Ok(if is_single {
            Arc::new(map2::<Float32Type, Float32Type>(left, right, single)?)
        } else {
            Arc::new(map2::<Float64Type, Float64Type>(left, right, double)?)
        })
    }))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame, lit};
    use arrow::array::{Float64Array, Int64Array};
    use dataflare_plan::DataType::{Float64, Int32, Int64};
    use std::sync::Arc;

    #[test]
    fn integers_become_floats_and_their_powers_wrap() {
        let values = vec![Some(0), Some(3), None, Some(i64::MAX)];
        let frame = frame([("a", Int64, Arc::new(Int64Array::from(values)))]);
        assert_eq!(frame.answer(call("pow", [col("a"), lit(2, Int32)], Int64)), "0 9 - 1");
        assert_eq!(
            frame.answer(call("log", [col("a"), lit(3.0, Float64)], Float64)).split(' ').nth(1),
            Some("1.0")
        );
        assert!(!crate::expr::is_compiled(&call("pow", [col("a"), lit(-1, Int32)], Int64), &frame.schema()));
    }

    #[test]
    fn logarithm_of_nothing_and_less_is_no_error() {
        let frame = frame([("x", Float64, Arc::new(Float64Array::from(vec![0.0, -1.0])))]);
        assert_eq!(frame.answer(call("log1p", [col("x")], Float64)), "0.0 -inf");
        assert_eq!(frame.answer(call("sqrt", [col("x")], Float64)), "0.0 NaN");
    }
}
