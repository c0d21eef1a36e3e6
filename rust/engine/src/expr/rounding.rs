//! Numbers brought into a grid or a range: `floor`, `ceil`, `round`, `truncate`, `clip`, `sign`.
//!
//! Not here: decimals, `round_sig_figs`, more than 22 places (powers of ten are exact up to there): Polars does those.
//! Called by the compiler.

use super::cast;
use super::compile::Compile;
use super::elementwise::map;
use super::numeric::{on_physical, one, primitives};
use super::value::{Call, Kernel, Operand, Value, physical_type, primitive, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrowNativeTypeOp, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{Float32Type, Float64Type};
use dataflare_plan::DataType;
use serde_json::Value as Json;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("floor", |call| whole(call, f32::floor, f64::floor)),
    ("ceil", |call| whole(call, f32::ceil, f64::ceil)),
    ("round", round),
    ("truncate", |call| places(call, f32::trunc, f64::trunc)),
    ("clip", clip),
    ("sign", sign),
];

/// A function of floats; integers are themselves.
fn whole(
    call: &Call<'_>,
    single: impl Fn(f32) -> f32 + Send + Sync + 'static,
    double: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> Result<Kernel> {
    let [input] = call.args()?;
    match &input.dtype {
        DataType::Float32 => Ok(primitives::<Float32Type>(single)),
        DataType::Float64 => Ok(primitives::<Float64Type>(double)),
        dtype if dtype.is_integer() && dtype == call.dtype => Ok(one(|array| Ok(array.clone()))),
        _ => Err(call.no_kernel()),
    }
}

fn round(call: &Call<'_>) -> Result<Kernel> {
    match call.text("mode") {
        Some("half_to_even") => places(call, f32::round_ties_even, f64::round_ties_even),
        Some("half_away_from_zero") => places(call, f32::round, f64::round),
        _ => Err(call.no_kernel()),
    }
}

/// A function of whole numbers at the option `decimals`; a number too large to be moved there stays.
fn places(call: &Call<'_>, single: fn(f32) -> f32, double: fn(f64) -> f64) -> Result<Kernel> {
    let decimals = call.options.get("decimals").and_then(Json::as_u64).unwrap_or(u64::MAX);
    let decimals = i32::try_from(decimals).ok().filter(|decimals| *decimals <= 22);
    match decimals.ok_or_else(|| call.no_kernel())? {
        0 => whole(call, single, double),
        decimals => {
            let scale = 10_f64.powi(decimals);
            let narrow = scale as f32;
            if !narrow.is_finite() {
                return Err(call.no_kernel());
            }
            whole(
                call,
                move |x| finite_or(single(x * narrow) / narrow, x),
                move |x| {
                    let moved = double(x * scale) / scale;
                    if moved.is_finite() { moved } else { x }
                },
            )
        }
    }
}

fn finite_or(value: f32, otherwise: f32) -> f32 {
    if value.is_finite() { value } else { otherwise }
}

/// -1, 0 or 1; zeros and NaN are themselves.
fn sign(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    if input.dtype != *call.dtype {
        return Err(call.no_kernel());
    }
    match &input.dtype {
        DataType::Float32 => {
            Ok(primitives::<Float32Type>(|x| if x == 0.0 || x.is_nan() { x } else { x.signum() }))
        }
        DataType::Float64 => {
            Ok(primitives::<Float64Type>(|x| if x == 0.0 || x.is_nan() { x } else { x.signum() }))
        }
        dtype => with_integer!(dtype, T => {
            type N = <T as ArrowPrimitiveType>::Native;
            Ok(primitives::<T>(|x: N| {
                if x.is_gt(N::ZERO) { N::ONE } else if x.is_lt(N::ZERO) { N::ZERO.sub_wrapping(N::ONE) } else { x }
            }))
        }, Err(call.no_kernel())),
    }
}

/// Between two bounds, each constant, from a column, or missing; a null bound is none. The lower one decides first.
fn clip(call: &Call<'_>) -> Result<Kernel> {
    let (input, bounds) = call.args.split_first().ok_or_else(|| call.no_kernel())?;
    let (has_lower, has_upper) = (call.flag("has_lower_bound"), call.flag("has_upper_bound"));
    if bounds.len() != usize::from(has_lower) + usize::from(has_upper) || input.dtype != *call.dtype {
        return Err(call.no_kernel());
    }
    let casts =
        bounds.iter().map(|bound| bound_cast(call, bound, &input.dtype)).collect::<Result<Vec<_>>>()?;
    let kernel = match physical_type(&input.dtype) {
        DataType::Float32 => clipped::<Float32Type>(has_lower),
        DataType::Float64 => clipped::<Float64Type>(has_lower),
        other => with_integer!(&other, T => clipped::<T>(has_lower), return Err(call.no_kernel())),
    };
    let kernel = on_physical(kernel, &input.dtype);
    Ok(Box::new(move |args, rows| {
        let Some((input, bounds)) = args.split_first() else {
            return Err(EngineError::internal("clip", "expected an argument"));
        };
        let mut ready = vec![Value::Column(input.clone().into_column(rows.count)?)];
        for (bound, cast) in bounds.iter().zip(&casts) {
            let array = cast(std::slice::from_ref(bound), rows)?;
            ready.push(match bound {
                Value::Column(_) => Value::Column(array),
                Value::Constant(_) => Value::Constant(array),
            });
        }
        kernel(&ready, rows)
    }))
}

/// Brings a bound to the type of the column; a constant that does not fit, and a column of another type, have no kernel.
fn bound_cast(call: &Call<'_>, bound: &Operand, dtype: &DataType) -> Result<Kernel> {
    let cast = cast::compile(bound, dtype, false, false, call.place)?;
    match &bound.constant {
        None if bound.dtype != *dtype => Err(call.no_kernel()),
        Some(constant) if constant.null_count() == 0 && bound.dtype != *dtype => {
            let mut errors = crate::error::RowErrors::new();
            let mut rows = super::value::Rows::new(1, call.place, &mut errors);
            let array = cast(&[Value::Column(constant.clone())], &mut rows)?;
            let numbers = (bound.dtype.is_integer() && (dtype.is_integer() || dtype.is_float()))
                || (bound.dtype.is_float() && dtype.is_float());
            if array.null_count() > 0 || !numbers { Err(call.no_kernel()) } else { Ok(cast) }
        }
        _ => Ok(cast),
    }
}

fn clipped<T: ArrowPrimitiveType>(has_lower: bool) -> Kernel {
    Box::new(move |args, _| {
        let Some((input, bounds)) = args.split_first() else {
            return Err(EngineError::internal("clip", "expected an argument"));
        };
        let (lower, upper) = match (bounds, has_lower) {
            ([lower, upper], _) => (Some(lower), Some(upper)),
            ([lower], true) => (Some(lower), None),
            ([upper], false) => (None, Some(upper)),
            _ => (None, None),
        };
        let (lower, upper) = (Bound::<T>::new(lower)?, Bound::<T>::new(upper)?);
        let input = primitive::<T>(input.array())?;
        if let (Bound::Constant(lower), Bound::Constant(upper)) = (&lower, &upper) {
            let (lower, upper) = (*lower, *upper);
            return Ok(Arc::new(map::<T, T>(input, |x| {
                if lower.is_some_and(|lower| x < lower) {
                    lower.unwrap_or(x)
                } else if upper.is_some_and(|upper| x > upper) {
                    upper.unwrap_or(x)
                } else {
                    x
                }
            })));
        }
        let values = input.values().iter().enumerate().map(|(row, x)| {
            match (lower.at(row).filter(|lower| x < lower), upper.at(row)) {
                (Some(lower), _) => lower,
                (None, Some(upper)) if *x > upper => upper,
                _ => *x,
            }
        });
        let values: Vec<T::Native> = values.collect();
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), input.nulls().cloned())))
    })
}

enum Bound<'a, T: ArrowPrimitiveType> {
    Constant(Option<T::Native>),
    Column(&'a PrimitiveArray<T>),
}

impl<'a, T: ArrowPrimitiveType> Bound<'a, T> {
    fn new(value: Option<&'a Value>) -> Result<Self> {
        Ok(match value {
            None => Self::Constant(None),
            Some(Value::Constant(array)) => Self::Constant(primitive::<T>(array)?.iter().next().flatten()),
            Some(Value::Column(array)) => Self::Column(primitive::<T>(array)?),
        })
    }

    fn at(&self, row: usize) -> Option<T::Native> {
        match self {
            Self::Constant(value) => *value,
            Self::Column(array) => (row < array.len() && array.is_valid(row)).then(|| array.value(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, call_with, col, frame, lit};
    use arrow::array::{Float64Array, Int8Array};
    use dataflare_plan::DataType::{Float64, Int8, Int32};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn rounding_keeps_the_sign_of_zero() {
        let frame =
            frame([("x", Float64, Arc::new(Float64Array::from(vec![1.5, -0.4, -0.0, f64::INFINITY])))]);
        assert_eq!(frame.answer(call("ceil", [col("x")], Float64)), "2.0 -0.0 -0.0 inf");
        assert_eq!(frame.answer(call("floor", [col("x")], Float64)), "1.0 -1.0 -0.0 inf");
        let even = json!({"decimals": 0, "mode": "half_to_even"});
        assert_eq!(frame.answer(call_with("round", [col("x")], even, Float64)), "2.0 -0.0 -0.0 inf");
    }

    #[test]
    fn bound_that_does_not_fit_has_no_kernel() {
        let frame = frame([("a", Int8, Arc::new(Int8Array::from(vec![Some(-128), Some(127), None])))]);
        let clip = |low: i64, high: i64| {
            let options = json!({"has_lower_bound": true, "has_upper_bound": true});
            call_with("clip", [col("a"), lit(low, Int32), lit(high, Int32)], options, Int8)
        };
        assert_eq!(frame.answer(clip(-1, 100)), "-1 100 -");
        assert!(!crate::expr::is_compiled(&clip(0, 300), &frame.schema()));
    }
}
