//! Functions of the columns of a row: `sum_horizontal`, `mean_horizontal`, `min_horizontal`, `max_horizontal`.
//!
//! Not here: sums of three floats and more, whose last bits follow Polars' order; `any_horizontal` and `all_horizontal`,
//! which Polars plans as `|` and `&`. Called by the compiler.

use super::compile::Compile;
use super::numeric::on_physical;
use super::value::{Call, Kernel, boolean, physical_type, primitive, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, PrimitiveArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float32Type, Float64Type};
use dataflare_plan::DataType;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("sum_horizontal", sum),
    ("mean_horizontal", mean),
    ("min_horizontal", |call| extreme(call, false)),
    ("max_horizontal", |call| extreme(call, true)),
];

/// Answers from two neighbouring columns.
type Pair<T> = fn(&PrimitiveArray<T>, &PrimitiveArray<T>) -> PrimitiveArray<T>;

/// Adds from left to right. A null counts as 0, or makes the sum null.
fn sum(call: &Call<'_>) -> Result<Kernel> {
    let ignore_nulls = call.flag("ignore_nulls");
    if call.args.is_empty() {
        return Err(call.no_kernel());
    }
    if call.args.iter().all(|arg| arg.dtype == DataType::Boolean) && *call.dtype == DataType::UInt32 {
        return Ok(sum_of_booleans(ignore_nulls));
    }
    if call.args.iter().any(|arg| arg.dtype != *call.dtype) || (call.dtype.is_float() && call.args.len() != 2)
    {
        return Err(call.no_kernel());
    }
    Ok(match call.dtype {
        DataType::Float32 => folded::<Float32Type>(if ignore_nulls { added_present } else { added }),
        DataType::Float64 => folded::<Float64Type>(if ignore_nulls { added_present } else { added }),
        other => {
            with_integer!(other, T => folded::<T>(if ignore_nulls { added_present } else { added }), return Err(call.no_kernel()))
        }
    })
}

fn sum_of_booleans(ignore_nulls: bool) -> Kernel {
    Box::new(move |args, rows| {
        let mut sums = vec![0_u32; rows.count];
        let mut nulls = None;
        for arg in args {
            let column = arg.clone().into_column(rows.count)?;
            let column = boolean(&column)?;
            let set = match column.nulls() {
                Some(valid) => column.values() & valid.inner(),
                None => column.values().clone(),
            };
            for row in set.set_indices() {
                if let Some(sum) = sums.get_mut(row) {
                    *sum += 1;
                }
            }
            if !ignore_nulls {
                nulls = NullBuffer::union(nulls.as_ref(), column.nulls());
            }
        }
        Ok(Arc::new(UInt32Array::new(sums.into(), nulls)))
    })
}

fn folded<T: ArrowPrimitiveType>(pair: Pair<T>) -> Kernel {
    Box::new(move |args, rows| {
        let mut found: Option<PrimitiveArray<T>> = None;
        for arg in args {
            let column = arg.clone().into_column(rows.count)?;
            let column = primitive::<T>(&column)?;
            found = Some(match found {
                None => column.clone(),
                Some(found) => pair(&found, column),
            });
        }
        found
            .map(|found| Arc::new(found) as ArrayRef)
            .ok_or_else(|| EngineError::internal("a horizontal function", "no argument"))
    })
}

fn added<T: ArrowPrimitiveType>(left: &PrimitiveArray<T>, right: &PrimitiveArray<T>) -> PrimitiveArray<T> {
    let pairs = left.values().iter().zip(right.values().iter());
    let values: Vec<T::Native> = pairs.map(|(l, r)| l.add_wrapping(*r)).collect();
    PrimitiveArray::new(values.into(), NullBuffer::union(left.nulls(), right.nulls()))
}

fn added_present<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
) -> PrimitiveArray<T> {
    added(&zero_for_null(left), &zero_for_null(right))
}

fn zero_for_null<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> PrimitiveArray<T> {
    match array.nulls() {
        None => array.clone(),
        Some(nulls) => {
            let pairs = array.values().iter().zip(nulls.iter());
            let values: Vec<T::Native> =
                pairs.map(|(value, valid)| if valid { *value } else { T::Native::ZERO }).collect();
            PrimitiveArray::new(values.into(), None)
        }
    }
}

/// The mean of two floats; of those that are not null, or null with one.
fn mean(call: &Call<'_>) -> Result<Kernel> {
    let ignore_nulls = call.flag("ignore_nulls");
    if call.args.len() != 2 || call.args.iter().any(|arg| arg.dtype != *call.dtype) {
        return Err(call.no_kernel());
    }
    Ok(match call.dtype {
        DataType::Float32 => folded::<Float32Type>(if ignore_nulls { mean_present } else { mean_of_both }),
        DataType::Float64 => folded::<Float64Type>(if ignore_nulls { mean_present } else { mean_of_both }),
        _ => return Err(call.no_kernel()),
    })
}

fn mean_of_both<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
) -> PrimitiveArray<T> {
    let two = T::Native::ONE.add_wrapping(T::Native::ONE);
    super::elementwise::map::<T, T>(&added(left, right), |sum| sum.div_wrapping(two))
}

fn mean_present<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
) -> PrimitiveArray<T> {
    let two = T::Native::ONE.add_wrapping(T::Native::ONE);
    let sums = added_present(left, right);
    let values = sums.values().iter().enumerate().map(|(row, sum)| {
        if left.is_valid(row) && right.is_valid(row) { sum.div_wrapping(two) } else { *sum }
    });
    let values: Vec<T::Native> = values.collect();
    PrimitiveArray::new(values.into(), valid_in_one(left, right))
}

/// The smallest or largest of the arguments that are not null; NaN only where nothing else is.
fn extreme(call: &Call<'_>, largest: bool) -> Result<Kernel> {
    if call.args.is_empty() || call.args.iter().any(|arg| arg.dtype != *call.dtype) {
        return Err(call.no_kernel());
    }
    let kernel = match physical_type(call.dtype) {
        DataType::Float32 => folded::<Float32Type>(if largest { larger } else { smaller }),
        DataType::Float64 => folded::<Float64Type>(if largest { larger } else { smaller }),
        other => {
            with_integer!(&other, T => folded::<T>(if largest { larger } else { smaller }), return Err(call.no_kernel()))
        }
    };
    Ok(on_physical(kernel, call.dtype))
}

fn smaller<T: ArrowPrimitiveType>(left: &PrimitiveArray<T>, right: &PrimitiveArray<T>) -> PrimitiveArray<T> {
    better(left, right, |l, r| l < r)
}

fn larger<T: ArrowPrimitiveType>(left: &PrimitiveArray<T>, right: &PrimitiveArray<T>) -> PrimitiveArray<T> {
    better(left, right, |l, r| l > r)
}

fn better<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
    is_better: impl Fn(T::Native, T::Native) -> bool,
) -> PrimitiveArray<T> {
    // NaN differs from itself: it is taken where the right one is NaN, which keeps the left one.
    let choose = |l: T::Native, r: T::Native| {
        let right_is_nan = r.partial_cmp(&r).is_none();
        if is_better(l, r) || right_is_nan { l } else { r }
    };
    let pairs = left.values().iter().zip(right.values().iter());
    if left.null_count() == 0 && right.null_count() == 0 {
        let values: Vec<T::Native> = pairs.map(|(l, r)| choose(*l, *r)).collect();
        return PrimitiveArray::new(values.into(), None);
    }
    let values: Vec<T::Native> = pairs
        .enumerate()
        .map(|(row, (l, r))| match (left.is_valid(row), right.is_valid(row)) {
            (true, true) => choose(*l, *r),
            (true, false) => *l,
            _ => *r,
        })
        .collect();
    PrimitiveArray::new(values.into(), valid_in_one(left, right))
}

/// Validity of rows that are valid on at least one side.
fn valid_in_one<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
) -> Option<NullBuffer> {
    match (left.nulls(), right.nulls()) {
        (Some(l), Some(r)) => Some(NullBuffer::new(l.inner() | r.inner())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, call_with, col, frame, lit};
    use arrow::array::{Float64Array, Int64Array};
    use dataflare_plan::DataType::{Float64, Int64};
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[test]
    fn extremes_pass_over_nulls_and_nan() {
        let frame = frame([
            ("a", Int64, Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None]))),
            ("b", Int64, Arc::new(Int64Array::from(vec![Some(2), Some(5), None, None]))),
            (
                "x",
                Float64,
                Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.0), Some(f64::NAN), None])),
            ),
            ("y", Float64, Arc::new(Float64Array::from(vec![Some(2.0), Some(f64::NAN), None, None]))),
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
        assert_eq!(frame.answer(call("max_horizontal", [col("x"), col("y")], Float64)), "2.0 1.0 NaN -");
    }

    #[test]
    fn null_counts_as_zero_or_makes_the_sum_null() {
        let frame = frame([
            ("a", Int64, Arc::new(Int64Array::from(vec![Some(1), None, None]))),
            ("b", Int64, Arc::new(Int64Array::from(vec![Some(2), Some(5), None]))),
        ]);
        let sum = |ignore_nulls: bool| {
            let options = json!({"ignore_nulls": ignore_nulls});
            frame.answer(call_with("sum_horizontal", [col("a"), col("b")], options, Int64))
        };
        assert_eq!(sum(true), "3 5 0");
        assert_eq!(sum(false), "3 - -");
    }
}
