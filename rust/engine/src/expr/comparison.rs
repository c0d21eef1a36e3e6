//! `== != < <= > >=` and the forms in which null equals null.
//!
//! NaN equals NaN and is larger than any number; -0.0 equals 0.0; strings and binaries compare byte by byte; times by
//! ticks, decimals by value. Not here: categories, nested values, sides of different types: Polars does those.
//! Called by the compiler and by `is_between`.

use super::elementwise::{map, nulls2, test2};
use super::value::{Kernel, Operand, Value, boolean, no_kernel, physical_type, primitive, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, Datum, Scalar};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type};
use dataflare_plan::{BinaryOperator, DataType};
use std::sync::Arc;

/// The kernel of `left op right` and its type, Boolean.
pub(super) fn compile(
    op: BinaryOperator,
    left: &Operand,
    right: &Operand,
    place: &str,
) -> Result<(Kernel, DataType)> {
    let refuse = || no_kernel(place, &format!("{}, {}", left.dtype, right.dtype));
    let compare = match (&left.dtype, &right.dtype) {
        (DataType::Decimal { scale: l, .. }, DataType::Decimal { scale: r, .. }) => decimals(op, *l, *r),
        (l, r) if l == r => comparator(op, l),
        _ => None,
    };
    let compare = compare.ok_or_else(refuse)?;
    let missing = match op {
        BinaryOperator::EqMissing => Some(true),
        BinaryOperator::NeMissing => Some(false),
        _ => None,
    };
    let kernel: Kernel = Box::new(move |args, rows| {
        let [left, right] = args else {
            return Err(EngineError::internal("a comparison", "expected two arguments"));
        };
        if let Some(both_null) = missing {
            return Ok(Arc::new(null_equals_null(left, right, rows.count, both_null, &compare)?));
        }
        if left.is_null_constant() || right.is_null_constant() {
            return Ok(Arc::new(BooleanArray::new_null(rows.count)));
        }
        Ok(Arc::new(BooleanArray::new(compare(left, right)?, nulls2(left, right))))
    });
    Ok((kernel, DataType::Boolean))
}

/// Compares all rows; what it says where a side is null means nothing. Constants are not null.
pub(super) type Comparator = Box<dyn Fn(&Value, &Value) -> Result<BooleanBuffer> + Send + Sync>;

/// The comparison of two sides of one type; `None` where only Polars knows it.
pub(super) fn comparator(op: BinaryOperator, dtype: &DataType) -> Option<Comparator> {
    let op = match op {
        BinaryOperator::EqMissing => BinaryOperator::Eq,
        BinaryOperator::NeMissing => BinaryOperator::Ne,
        other => other,
    };
    let compare = match dtype {
        DataType::Float32 => floats::<Float32Type>(op)?,
        DataType::Float64 => floats::<Float64Type>(op)?,
        DataType::Boolean => booleans(op)?,
        DataType::String | DataType::Binary => bytes(op)?,
        DataType::Decimal { .. } => integers::<Decimal128Type>(op)?,
        other => with_integer!(&physical_type(other), T => integers::<T>(op)?, return None),
    };
    let temporal = physical_type(dtype) != *dtype;
    Some(if temporal { Box::new(move |l, r| compare(&l.to_physical()?, &r.to_physical()?)) } else { compare })
}

/// Decimals of different scales compare by their values. What leaves the range of 128 bits stays larger than all.
fn decimals(op: BinaryOperator, left: i8, right: i8) -> Option<Comparator> {
    let compare = comparator(op, &DataType::Decimal { precision: 38, scale: left.max(right) })?;
    if left == right {
        return Some(compare);
    }
    let factor = |digits: u8| 10_i128.checked_pow(u32::from(digits));
    let (l, r) = (
        factor(right.saturating_sub(left).max(0).unsigned_abs())?,
        factor(left.saturating_sub(right).max(0).unsigned_abs())?,
    );
    Some(Box::new(move |left, right| compare(&scaled(left, l)?, &scaled(right, r)?)))
}

fn scaled(value: &Value, factor: i128) -> Result<Value> {
    let scale = |array: &ArrayRef| -> Result<ArrayRef> {
        let scaled =
            map::<Decimal128Type, Decimal128Type>(primitive(array)?, |ticks| ticks.saturating_mul(factor));
        Ok(Arc::new(scaled))
    };
    Ok(match value {
        Value::Column(array) => Value::Column(scale(array)?),
        Value::Constant(array) => Value::Constant(scale(array)?),
    })
}

fn integers<T>(op: BinaryOperator) -> Option<Comparator>
where
    T: arrow::array::ArrowPrimitiveType,
    T::Native: PartialOrd,
{
    Some(match op {
        BinaryOperator::Eq => Box::new(|l, r| test2::<T>(l, r, |l, r| l == r)),
        BinaryOperator::Ne => Box::new(|l, r| test2::<T>(l, r, |l, r| l != r)),
        BinaryOperator::Lt => Box::new(|l, r| test2::<T>(l, r, |l, r| l < r)),
        BinaryOperator::Le => Box::new(|l, r| test2::<T>(l, r, |l, r| l <= r)),
        BinaryOperator::Gt => Box::new(|l, r| test2::<T>(l, r, |l, r| l > r)),
        BinaryOperator::Ge => Box::new(|l, r| test2::<T>(l, r, |l, r| l >= r)),
        _ => return None,
    })
}

/// `x != x` is true of NaN only. Non-short-circuit operators keep the loops free of branches.
#[expect(clippy::eq_op, reason = "the test for NaN")]
fn floats<T>(op: BinaryOperator) -> Option<Comparator>
where
    T: arrow::array::ArrowPrimitiveType,
    T::Native: PartialOrd,
{
    Some(match op {
        BinaryOperator::Eq => Box::new(|l, r| test2::<T>(l, r, |l, r| (l == r) | ((l != l) & (r != r)))),
        BinaryOperator::Ne => Box::new(|l, r| test2::<T>(l, r, |l, r| !((l == r) | ((l != l) & (r != r))))),
        BinaryOperator::Lt => Box::new(|l, r| test2::<T>(l, r, |l, r| !((l >= r) | (l != l)))),
        BinaryOperator::Le => Box::new(|l, r| test2::<T>(l, r, |l, r| (l <= r) | (r != r))),
        BinaryOperator::Gt => Box::new(|l, r| test2::<T>(l, r, |l, r| !((l <= r) | (r != r)))),
        BinaryOperator::Ge => Box::new(|l, r| test2::<T>(l, r, |l, r| (l >= r) | (l != l))),
        _ => return None,
    })
}

/// False is smaller than true.
fn booleans(op: BinaryOperator) -> Option<Comparator> {
    let words: fn(&BooleanBuffer, &BooleanBuffer) -> BooleanBuffer = match op {
        BinaryOperator::Eq => |l, r| !&(l ^ r),
        BinaryOperator::Ne => |l, r| l ^ r,
        BinaryOperator::Lt => |l, r| &!l & r,
        BinaryOperator::Le => |l, r| &!l | r,
        BinaryOperator::Gt => |l, r| l & &!r,
        BinaryOperator::Ge => |l, r| l | &!r,
        _ => return None,
    };
    Some(Box::new(move |left, right| {
        // A constant has one row, also beside an empty column.
        let rows = match (left, right) {
            (Value::Constant(_), other) | (other, _) => other.array().len(),
        };
        Ok(words(&expand(left, rows)?, &expand(right, rows)?))
    }))
}

fn expand(value: &Value, rows: usize) -> Result<BooleanBuffer> {
    let array = boolean(value.array())?;
    Ok(match value {
        Value::Column(_) => array.values().clone(),
        Value::Constant(_) if array.value(0) => BooleanBuffer::new_set(rows),
        Value::Constant(_) => BooleanBuffer::new_unset(rows),
    })
}

fn bytes(op: BinaryOperator) -> Option<Comparator> {
    let kernel = match op {
        BinaryOperator::Eq => cmp::eq,
        BinaryOperator::Ne => cmp::neq,
        BinaryOperator::Lt => cmp::lt,
        BinaryOperator::Le => cmp::lt_eq,
        BinaryOperator::Gt => cmp::gt,
        BinaryOperator::Ge => cmp::gt_eq,
        _ => return None,
    };
    Some(Box::new(move |left, right| Ok(kernel(&*datum(left), &*datum(right))?.values().clone())))
}

fn datum(value: &Value) -> Box<dyn Datum> {
    match value {
        Value::Column(array) => Box::new(array.clone()),
        Value::Constant(array) => Box::new(Scalar::new(array.clone())),
    }
}

/// `eq_missing` (`both_null` true) and `ne_missing` (false): never null.
fn null_equals_null(
    left: &Value,
    right: &Value,
    rows: usize,
    both_null: bool,
    compare: &Comparator,
) -> Result<BooleanArray> {
    let valid = |value: &Value| match value {
        Value::Column(array) => array.nulls().map(|nulls| nulls.inner().clone()),
        Value::Constant(array) => array.is_null(0).then(|| BooleanBuffer::new_unset(rows)),
    };
    let (left_valid, right_valid) = (valid(left), valid(right));
    let compared = if left.is_null_constant() || right.is_null_constant() {
        BooleanBuffer::new_unset(rows)
    } else {
        compare(left, right)?
    };
    if left_valid.is_none() && right_valid.is_none() {
        return Ok(BooleanArray::new(compared, None));
    }
    let all = || BooleanBuffer::new_set(rows);
    let (l, r) = (left_valid.unwrap_or_else(all), right_valid.unwrap_or_else(all));
    let (both, one) = (&l & &r, &l ^ &r);
    // Both valid: what the comparison says. One null: different. Both null: equal.
    let neither = !&(&l | &r);
    let rest = if both_null { neither } else { one };
    Ok(BooleanArray::new(&(&compared & &both) | &rest, None))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{binary, col, frame, lit};
    use arrow::array::{BooleanArray, Decimal128Array, Float64Array, StringViewArray};
    use dataflare_plan::BinaryOperator::{Eq, EqMissing, Ge, Gt, Le, Lt, Ne, NeMissing};
    use dataflare_plan::DataType::{Boolean, Decimal, Float64, String};
    use serde_json::Value;
    use std::sync::Arc;

    #[test]
    fn nan_equals_nan_and_is_largest() {
        let left = vec![f64::NAN, -f64::NAN, f64::NAN, f64::INFINITY, -0.0, 1.0];
        let right = vec![f64::NAN, f64::NAN, f64::INFINITY, f64::NAN, 0.0, 2.0];
        let frame = frame([
            ("a", Float64, Arc::new(Float64Array::from(left))),
            ("b", Float64, Arc::new(Float64Array::from(right))),
        ]);
        let answer = |op| frame.answer(binary(op, col("a"), col("b")));
        assert_eq!(answer(Eq), "true true false false true false");
        assert_eq!(answer(Ne), "false false true true false true");
        assert_eq!(answer(Lt), "false false false true false true");
        assert_eq!(answer(Le), "true true false true true true");
        assert_eq!(answer(Gt), "false false true false false false");
        assert_eq!(answer(Ge), "true true true false true false");
    }

    #[test]
    fn null_equals_null_only_in_the_missing_forms() {
        let left = BooleanArray::from(vec![Some(true), Some(true), None, None]);
        let right = BooleanArray::from(vec![Some(true), Some(false), Some(true), None]);
        let frame = frame([("a", Boolean, Arc::new(left)), ("b", Boolean, Arc::new(right))]);
        let answer = |op| frame.answer(binary(op, col("a"), col("b")));
        assert_eq!(answer(Eq), "true false - -");
        assert_eq!(answer(EqMissing), "true false false true");
        assert_eq!(answer(NeMissing), "false true true false");
        let null = || lit(Value::Null, Boolean);
        assert_eq!(frame.answer(binary(EqMissing, col("a"), null())), "false false true true");
        assert_eq!(frame.answer(binary(Eq, col("a"), null())), "- - - -");
    }

    #[test]
    fn empty_column_compares_with_a_constant() {
        let frame = frame([("a", Boolean, Arc::new(BooleanArray::from(Vec::<bool>::new())))]);
        for op in [Eq, Ne, Lt, Ge, EqMissing, NeMissing] {
            assert_eq!(frame.answer(binary(op, col("a"), lit(true, Boolean))), "");
            assert_eq!(frame.answer(binary(op, lit(false, Boolean), col("a"))), "");
        }
    }

    #[test]
    fn strings_compare_byte_by_byte() {
        let words =
            StringViewArray::from(vec![Some("Zebra"), Some("apple"), Some("é, longer than twelve"), None]);
        let frame = frame([("s", String, Arc::new(words))]);
        assert_eq!(frame.answer(binary(Lt, col("s"), lit("a", String))), "true false false -");
        assert_eq!(frame.answer(binary(Ge, lit("apple", String), col("s"))), "true true false -");
    }

    #[test]
    fn decimals_of_different_scales_compare_by_value() {
        let prices =
            Decimal128Array::from(vec![Some(150), Some(-225), None]).with_precision_and_scale(10, 2).unwrap();
        let limits = Decimal128Array::from(vec![15_000, 30_000, 1]).with_precision_and_scale(12, 4).unwrap();
        let (price, limit) = (Decimal { precision: 10, scale: 2 }, Decimal { precision: 12, scale: 4 });
        let frame = frame([("p", price, Arc::new(prices)), ("l", limit, Arc::new(limits))]);
        assert_eq!(frame.answer(binary(Eq, col("p"), col("l"))), "true false -");
        assert_eq!(
            frame.answer(binary(Lt, col("p"), lit("1", Decimal { precision: 38, scale: 0 }))),
            "false true -"
        );
    }
}
