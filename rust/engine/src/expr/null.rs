//! Nulls, NaN and infinities: `is_null`, `is_not_null`, `is_nan`, `is_not_nan`, `is_finite`, `is_infinite`, `fill_null`,
//! `coalesce`.
//!
//! Not here: `fill_nan`, which Polars plans as a `when`; fills from other rows, which are not row-wise.
//! Called by the compiler.

use super::compile::Compile;
use super::conditional::{choose, holds_dictionary};
use super::elementwise::test;
use super::literal;
use super::numeric::one;
use super::value::{Call, Kernel, Value, primitive};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Float32Type, Float64Type};
use dataflare_plan::DataType;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("is_null", |_| Ok(one(|array| Ok(Arc::new(BooleanArray::new(!&valid(array), None)))))),
    ("is_not_null", |_| Ok(one(|array| Ok(Arc::new(BooleanArray::new(valid(array), None)))))),
    ("is_nan", |call| of_float(call, f32::is_nan, f64::is_nan, false)),
    ("is_not_nan", |call| of_float(call, |x| !x.is_nan(), |x| !x.is_nan(), true)),
    ("is_finite", |call| of_float(call, f32::is_finite, f64::is_finite, true)),
    ("is_infinite", |call| of_float(call, f32::is_infinite, f64::is_infinite, false)),
    ("fill_null", fill_null),
    ("coalesce", coalesce),
];

/// Rows that are not null.
fn valid(array: &ArrayRef) -> BooleanBuffer {
    match array.logical_nulls() {
        Some(nulls) => nulls.inner().clone(),
        None => BooleanBuffer::new_set(array.len()),
    }
}

/// A test of floats; numbers of other types all answer `otherwise`, nulls null.
fn of_float(
    call: &Call<'_>,
    single: fn(f32) -> bool,
    double: fn(f64) -> bool,
    otherwise: bool,
) -> Result<Kernel> {
    let [input] = call.args()?;
    Ok(match &input.dtype {
        DataType::Float32 => one(move |array| Ok(Arc::new(test::<Float32Type>(primitive(array)?, single)))),
        DataType::Float64 => one(move |array| Ok(Arc::new(test::<Float64Type>(primitive(array)?, double)))),
        dtype if dtype.is_integer() => one(move |array| {
            let answers = if otherwise { BooleanBuffer::new_set } else { BooleanBuffer::new_unset };
            Ok(Arc::new(BooleanArray::new(answers(array.len()), array.nulls().cloned())))
        }),
        _ => return Err(call.no_kernel()),
    })
}

/// A value for null: the second argument, or by the option `strategy` zero or one.
fn fill_null(call: &Call<'_>) -> Result<Kernel> {
    let value = match call.text("strategy") {
        None => return coalesce(call),
        Some("zero") => 0.into(),
        Some("one") => 1.into(),
        Some(_) => return Err(call.no_kernel()),
    };
    let [input] = call.args()?;
    if input.dtype != *call.dtype || !(input.dtype.is_integer() || input.dtype.is_float()) {
        return Err(call.no_kernel());
    }
    let value = Value::Constant(literal::array(&value, call.dtype)?);
    Ok(one(move |array| match array.null_count() {
        0 => Ok(array.clone()),
        _ => choose(&valid(array), &Value::Column(array.clone()), &value),
    }))
}

/// The first argument that is not null. `fill_null` with a value is the same with two arguments.
fn coalesce(call: &Call<'_>) -> Result<Kernel> {
    let unknown = *call.dtype == DataType::Null || holds_dictionary(call.dtype);
    if call.args.is_empty()
        || unknown
        || call.args.iter().any(|arg| arg.dtype != *call.dtype)
        || call.has_options()
    {
        return Err(call.no_kernel());
    }
    Ok(Box::new(|args, rows| {
        let Some((first, rest)) = args.split_first() else {
            return Err(EngineError::internal("coalesce", "expected an argument"));
        };
        let mut found = first.clone().into_column(rows.count)?;
        for next in rest {
            if found.null_count() == 0 {
                break;
            }
            found = choose(&valid(&found), &Value::Column(found.clone()), next)?;
        }
        Ok(found)
    }))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame};
    use arrow::array::{Float64Array, Int64Array};
    use dataflare_plan::DataType::{Boolean, Float64, Int64};
    use std::sync::Arc;

    #[test]
    fn nan_is_a_value_and_null_is_no_number() {
        let floats = Float64Array::from(vec![Some(f64::NAN), Some(f64::INFINITY), Some(1.0), None]);
        let integers = Int64Array::from(vec![Some(1), None, Some(2), Some(3)]);
        let frame = frame([("x", Float64, Arc::new(floats)), ("i", Int64, Arc::new(integers))]);
        let answer = |name: &str, column: &str| frame.answer(call(name, [col(column)], Boolean));
        assert_eq!(answer("is_null", "x"), "false false false true");
        assert_eq!(answer("is_not_null", "x"), "true true true false");
        assert_eq!(answer("is_nan", "x"), "true false false -");
        assert_eq!(answer("is_finite", "x"), "false false true -");
        assert_eq!(answer("is_infinite", "i"), "false - false false");
        assert_eq!(answer("is_not_nan", "i"), "true - true true");
    }
}
