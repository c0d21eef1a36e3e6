//! `is_in` of a constant list, and `is_between`.
//!
//! NaN is in a list with NaN, -0.0 in one with 0.0. A null is in no list (null), or with `nulls_equal` in one that holds
//! null. Not here: lists from a column: Polars looks into those. Called by the compiler.

use super::comparison::{Comparator, comparator};
use super::compile::Compile;
use super::elementwise::{bits, nulls2};
use super::value::{Call, Kernel, boolean, physical_type, primitive, strings, to_physical, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::and_kleene;
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type};
use dataflare_plan::{BinaryOperator, DataType};
use hashbrown::HashSet;
use std::hash::Hash;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[("is_in", is_in), ("is_between", is_between)];

/// Lists up to this length are searched value by value, which vectorises.
const SHORT: usize = 8;

/// Tells which values of an array are in the list; what it says of nulls means nothing.
pub(super) type Contains = Box<dyn Fn(&ArrayRef) -> Result<BooleanBuffer> + Send + Sync>;

fn is_in(call: &Call<'_>) -> Result<Kernel> {
    let [input, list] = call.args()?;
    let Some(list) = list.constant.as_ref().and_then(|list| list.as_list_opt::<i64>()) else {
        return Err(call.no_kernel());
    };
    if list.is_null(0) {
        return Err(call.no_kernel());
    }
    let items = list.value(0);
    if *items.data_type() != crate::types::arrow_type(&input.dtype) {
        return Err(call.no_kernel());
    }
    let null_answer = call.flag("nulls_equal").then(|| items.null_count() > 0);
    let contains = contains(&input.dtype, &items)?.ok_or_else(|| call.no_kernel())?;
    Ok(Box::new(move |args, _| {
        let [input, _] = args else { return Err(EngineError::internal("is_in", "expected two arguments")) };
        let array = &to_physical(input.array())?;
        let found = contains(array)?;
        let (Some(nulls), Some(answer)) = (array.nulls(), null_answer) else {
            return Ok(Arc::new(BooleanArray::new(found, array.nulls().cloned())));
        };
        let valid = nulls.inner();
        let found = if answer { &found | &!valid } else { &found & valid };
        Ok(Arc::new(BooleanArray::new(found, None)))
    }))
}

/// Tells which values equal a constant, an array of length one.
pub(super) fn single_value(dtype: &DataType, constant: &ArrayRef) -> Result<Option<Contains>> {
    contains(dtype, constant)
}

fn contains(dtype: &DataType, items: &ArrayRef) -> Result<Option<Contains>> {
    let items = to_physical(items)?;
    Ok(Some(match &physical_type(dtype) {
        DataType::Boolean => {
            let items = boolean(&items)?;
            let has = |wanted: bool| items.iter().flatten().any(|item| item == wanted);
            let (with_true, with_false) = (has(true), has(false));
            Box::new(move |array| {
                let values = boolean(array)?.values();
                Ok(match (with_true, with_false) {
                    (true, true) => BooleanBuffer::new_set(values.len()),
                    (true, false) => values.clone(),
                    (false, true) => !values,
                    (false, false) => BooleanBuffer::new_unset(values.len()),
                })
            })
        }
        DataType::String => {
            let set: HashSet<Box<str>, foldhash::fast::FixedState> =
                strings(&items)?.iter().flatten().map(Box::from).collect();
            Box::new(move |array| {
                let texts = strings(array)?;
                // Behind a null may lie anything: `value` reads what is there.
                Ok(BooleanBuffer::collect_bool(texts.len(), |row| {
                    texts.is_valid(row) && set.contains(texts.value(row))
                }))
            })
        }
        DataType::Float32 => {
            numbers::<Float32Type, u32>(&items, |x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() })?
        }
        DataType::Float64 => {
            numbers::<Float64Type, u64>(&items, |x| if x.is_nan() { u64::MAX } else { (x + 0.0).to_bits() })?
        }
        DataType::Decimal { .. } => numbers::<Decimal128Type, i128>(&items, |x| x)?,
        other => {
            with_integer!(other, T => numbers::<T, <T as ArrowPrimitiveType>::Native>(&items, |x| x)?, return Ok(None))
        }
    }))
}

/// `key` makes equal values the same: -0.0 + 0.0 is 0.0, and all NaN are one.
fn numbers<T, K>(items: &ArrayRef, key: impl Fn(T::Native) -> K + Send + Sync + 'static) -> Result<Contains>
where
    T: ArrowPrimitiveType,
    K: Copy + Eq + Hash + Send + Sync + 'static,
{
    let keys: HashSet<K, foldhash::fast::FixedState> =
        primitive::<T>(items)?.iter().flatten().map(&key).collect();
    if keys.len() > SHORT {
        return Ok(Box::new(move |array| {
            Ok(bits(primitive::<T>(array)?.values(), |value| keys.contains(&key(value))))
        }));
    }
    let keys: Vec<K> = keys.into_iter().collect();
    Ok(Box::new(move |array| {
        Ok(bits(primitive::<T>(array)?.values(), |value| {
            let value = key(value);
            keys.iter().fold(false, |found, item| found | (*item == value))
        }))
    }))
}

fn is_between(call: &Call<'_>) -> Result<Kernel> {
    let [input, low, high] = call.args()?;
    let (above, below) = match call.text("closed") {
        Some("both") => (BinaryOperator::Ge, BinaryOperator::Le),
        Some("left") => (BinaryOperator::Ge, BinaryOperator::Lt),
        Some("right") => (BinaryOperator::Gt, BinaryOperator::Le),
        Some("none") => (BinaryOperator::Gt, BinaryOperator::Lt),
        _ => return Err(call.no_kernel()),
    };
    if low.dtype != input.dtype || high.dtype != input.dtype {
        return Err(call.no_kernel());
    }
    let compare = |op| comparator(op, &input.dtype).ok_or_else(|| call.no_kernel());
    let (above, below): (Comparator, Comparator) = (compare(above)?, compare(below)?);
    Ok(Box::new(move |args, rows| {
        let [input, low, high] = args else {
            return Err(EngineError::internal("is_between", "expected three arguments"));
        };
        if args.iter().any(super::value::Value::is_null_constant) {
            return Ok(Arc::new(BooleanArray::new_null(rows.count)));
        }
        let above = BooleanArray::new(above(input, low)?, nulls2(input, low));
        let below = BooleanArray::new(below(input, high)?, nulls2(input, high));
        // A constant against a constant has one row.
        let (above, below) = (stretched(above, rows.count), stretched(below, rows.count));
        Ok(Arc::new(and_kleene(&above, &below)?))
    }))
}

fn stretched(array: BooleanArray, rows: usize) -> BooleanArray {
    if array.len() == rows {
        return array;
    }
    let value = !array.is_empty() && array.value(0);
    let nulls = (array.null_count() > 0).then(|| NullBuffer::new_null(rows));
    BooleanArray::new(
        if value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) },
        nulls,
    )
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, call_with, col, frame, lit};
    use arrow::array::{Float64Array, Int64Array};
    use dataflare_plan::DataType::{Boolean, Float64, Int64, List};
    use dataflare_plan::Expr;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn is_in(items: Value, nulls_equal: bool) -> Expr {
        let list = lit(items, List(Box::new(Int64)));
        call_with("is_in", [col("a"), list], json!({"nulls_equal": nulls_equal}), Boolean)
    }

    fn integers() -> Frame {
        frame([("a", Int64, Arc::new(Int64Array::from(vec![Some(1), Some(2), None])))])
    }

    #[test]
    fn null_is_in_no_list_unless_nulls_are_equal() {
        assert_eq!(integers().answer(is_in(json!([1, null]), false)), "true false -");
        assert_eq!(integers().answer(is_in(json!([1, null]), true)), "true false true");
        assert_eq!(integers().answer(is_in(json!([1]), true)), "true false false");
        assert_eq!(integers().answer(is_in(json!([]), false)), "false false -");
    }

    #[test]
    fn long_lists_answer_as_short_ones() {
        let items: Vec<i64> = (2..50).collect();
        assert_eq!(integers().answer(is_in(json!(items), false)), "false true -");
    }

    #[test]
    fn nan_is_in_a_list_with_nan_and_both_zeros_are_one() {
        let values = vec![f64::NAN, -0.0, 0.0, 1.0];
        let frame = frame([("x", Float64, Arc::new(Float64Array::from(values)))]);
        let list = lit(json!(["NaN", 0.0]), List(Box::new(Float64)));
        let is_in = call_with("is_in", [col("x"), list], json!({"nulls_equal": false}), Boolean);
        assert_eq!(frame.answer(is_in), "true true true false");
    }

    #[test]
    fn unknown_bound_decides_only_where_the_other_does_not() {
        let frame = frame([
            ("x", Int64, Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(1), None, Some(9)]))),
            ("low", Int64, Arc::new(Int64Array::from(vec![Some(0), Some(5), None, Some(0), Some(0)]))),
            ("high", Int64, Arc::new(Int64Array::from(vec![Some(1), None, Some(0), Some(5), None]))),
        ]);
        let between = |closed: &str, high: Expr| {
            frame.answer(call_with(
                "is_between",
                [col("x"), col("low"), high],
                json!({"closed": closed}),
                Boolean,
            ))
        };
        assert_eq!(between("both", col("high")), "true false false - -");
        assert_eq!(between("left", col("high")), "false false false - -");
        // A constant null makes all rows null in Polars.
        assert_eq!(between("both", lit(Value::Null, Int64)), "- - - - -");
    }
}
