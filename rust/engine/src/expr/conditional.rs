//! `when(predicate).then(x).otherwise(y)`: both sides are computed for all rows, then one is chosen; null is not true.
//!
//! Called by the compiler, and by `fill_null` and `coalesce` with a mask of their own.

use super::elementwise::{Side, pick};
use super::value::{Kernel, Operand, Value, boolean, no_kernel, primitive, retype, strings};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, Datum, PrimitiveArray, Scalar, StringViewArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType as Arrow, Float64Type, Int32Type, Int64Type};
use dataflare_plan::DataType;
use std::sync::Arc;

/// The kernel of a choice and its type.
pub(super) fn when(args: &[Operand], place: &str) -> Result<(Kernel, DataType)> {
    let [predicate, then, otherwise] = args else {
        return Err(no_kernel(place, ""));
    };
    if predicate.dtype != DataType::Boolean || then.dtype != otherwise.dtype || holds_dictionary(&then.dtype)
    {
        let types = args.iter().map(|arg| arg.dtype.to_string()).collect::<Vec<_>>().join(", ");
        return Err(no_kernel(place, &types));
    }
    let dtype = then.dtype.clone();
    let kernel: Kernel = Box::new(|args, rows| {
        let [predicate, then, otherwise] = args else {
            return Err(EngineError::internal("when", "expected three arguments"));
        };
        let predicate = predicate.clone().into_column(rows.count)?;
        let predicate = boolean(&predicate)?;
        let mask = match predicate.nulls() {
            Some(nulls) => predicate.values() & nulls.inner(),
            None => predicate.values().clone(),
        };
        choose(&mask, then, otherwise)
    });
    Ok((kernel, dtype))
}

/// True if a Categorical or Enum is in the type: rows of two of them have different codes for one text.
pub(super) fn holds_dictionary(dtype: &DataType) -> bool {
    match dtype {
        DataType::Categorical | DataType::Enum { .. } => true,
        DataType::List(inner) | DataType::Array { inner, .. } => holds_dictionary(inner),
        DataType::Struct(fields) => fields.iter().any(|field| holds_dictionary(&field.dtype)),
        _ => false,
    }
}

/// `then` where `mask` is set, else `otherwise`. As long as `mask`.
pub(super) fn choose(mask: &BooleanBuffer, then: &Value, otherwise: &Value) -> Result<ArrayRef> {
    let (logical, rows) = (then.array().data_type().clone(), mask.len());
    let chosen = match mask.count_set_bits() {
        0 => return otherwise.clone().into_column(rows),
        set if set == rows => return then.clone().into_column(rows),
        _ => match &logical {
            Arrow::Float64 => numbers::<Float64Type>(mask, then, otherwise)?,
            Arrow::Date32 | Arrow::Int32 => numbers::<Int32Type>(mask, then, otherwise)?,
            Arrow::Int64 | Arrow::Timestamp(..) | Arrow::Duration(_) | Arrow::Time64(_) => {
                numbers::<Int64Type>(mask, then, otherwise)?
            }
            Arrow::Utf8View => texts(mask, then, otherwise)?,
            _ => return Ok(zip(&mask.clone().into(), &*datum(then), &*datum(otherwise))?),
        },
    };
    retype(&chosen, logical)
}

fn datum(value: &Value) -> Box<dyn Datum> {
    match value {
        Value::Column(array) => Box::new(array.clone()),
        Value::Constant(array) => Box::new(Scalar::new(array.clone())),
    }
}

fn numbers<T: ArrowPrimitiveType>(mask: &BooleanBuffer, then: &Value, otherwise: &Value) -> Result<ArrayRef> {
    let (then, otherwise) = (then.to_physical()?, otherwise.to_physical()?);
    let (t, o) = (primitive::<T>(then.array())?, primitive::<T>(otherwise.array())?);
    let values = pick(mask, &Side::new(&then, t.values()), &Side::new(&otherwise, o.values()));
    let nulls = chosen_validity(mask, &then, &otherwise);
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

/// Chooses views; the answer holds the buffers of both sides.
fn texts(mask: &BooleanBuffer, then: &Value, otherwise: &Value) -> Result<ArrayRef> {
    let (t, o) = (strings(then.array())?, strings(otherwise.array())?);
    let buffers_before = t.data_buffers().len() as u128;
    // Bits 64 to 95 of a long view (over twelve bytes) number its buffer.
    let behind = |view: u128| if view as u32 > 12 { view.wrapping_add(buffers_before << 64) } else { view };
    let moved: Vec<u128> = o.views().iter().map(|view| behind(*view)).collect();
    let views = pick(mask, &Side::new(then, t.views()), &Side::new(otherwise, &moved));
    let buffers = t.data_buffers().iter().chain(o.data_buffers().iter()).cloned().collect();
    let nulls = chosen_validity(mask, then, otherwise);
    // SAFETY: each view is one of the two sides; those of `otherwise` point behind the buffers of `then`, where theirs are.
    Ok(Arc::new(unsafe { StringViewArray::new_unchecked(views.into(), buffers, nulls) }))
}

fn chosen_validity(mask: &BooleanBuffer, then: &Value, otherwise: &Value) -> Option<NullBuffer> {
    match (validity(then, mask.len()), validity(otherwise, mask.len())) {
        (None, None) => None,
        (t, o) => {
            let all = || BooleanBuffer::new_set(mask.len());
            let (t, o) = (t.unwrap_or_else(all), o.unwrap_or_else(all));
            Some(NullBuffer::new(&(&t & mask) | &(&o & &!mask)))
        }
    }
}

fn validity(value: &Value, rows: usize) -> Option<BooleanBuffer> {
    match value {
        Value::Column(array) => array.nulls().map(|nulls| nulls.inner().clone()),
        Value::Constant(array) => array.is_null(0).then(|| BooleanBuffer::new_unset(rows)),
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, call, col, frame, lit};
    use arrow::array::{BooleanArray, Int64Array, StringViewArray};
    use dataflare_plan::DataType::{Boolean, Int64, String};
    use dataflare_plan::Expr;
    use serde_json::Value;
    use std::sync::Arc;

    fn rows() -> Frame {
        let long = "longer than twelve bytes";
        frame([
            ("p", Boolean, Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("a", Int64, Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3)]))),
            ("b", Int64, Arc::new(Int64Array::from(vec![Some(10), None, Some(30)]))),
            ("s", String, Arc::new(StringViewArray::from(vec![Some("x"), Some(long), None]))),
            (
                "r",
                String,
                Arc::new(StringViewArray::from(vec![Some(long), None, Some("the other long text")])),
            ),
        ])
    }

    fn when(then: Expr, otherwise: Expr) -> Expr {
        Expr::When { predicate: Box::new(col("p")), then: Box::new(then), otherwise: Box::new(otherwise) }
    }

    #[test]
    fn null_is_not_true() {
        assert_eq!(rows().answer(when(col("a"), col("b"))), "1 - 30");
        assert_eq!(rows().answer(when(lit(7, Int64), col("b"))), "7 - 30");
        assert_eq!(rows().answer(when(col("b"), lit(Value::Null, Int64))), "10 - -");
        assert_eq!(rows().answer(when(lit(1, Int64), lit(2, Int64))), "1 2 2");
    }

    #[test]
    fn long_texts_of_both_sides_keep_their_bytes() {
        assert_eq!(rows().answer(when(col("s"), col("r"))), "x - the other long text");
        assert_eq!(
            rows().answer(when(col("r"), col("s"))),
            "longer than twelve bytes longer than twelve bytes -"
        );
        let constant = || lit("a constant of some length", String);
        assert_eq!(
            rows().answer(when(constant(), col("r"))),
            "a constant of some length - the other long text"
        );
    }

    #[test]
    fn fill_and_coalesce_take_the_first_that_is_not_null() {
        assert_eq!(rows().answer(call("fill_null", [col("b"), col("a")], Int64)), "10 2 30");
        assert_eq!(
            rows().answer(call("coalesce", [col("b"), lit(Value::Null, Int64), lit(5, Int64)], Int64)),
            "10 5 30"
        );
        assert_eq!(
            rows().answer(call("fill_null", [col("r"), lit("-", String)], String)),
            "longer than twelve bytes - the other long text"
        );
    }
}
