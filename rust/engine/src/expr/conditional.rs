//! `when(predicate).then(x).otherwise(y)`: both sides are computed for all rows, then one is chosen; null is not true.
//!
//! Called by the compiler, and by `fill_null` and `coalesce` with a mask of their own.

use super::value::{Kernel, Operand, Value, boolean, no_kernel, primitive, retype};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, Datum, PrimitiveArray, Scalar};
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
    let values: Vec<T::Native> = match (&then, &otherwise) {
        (Value::Column(_), Value::Column(_)) => {
            let pairs = t.values().iter().zip(o.values().iter());
            mask.iter().zip(pairs).map(|(first, (t, o))| if first { *t } else { *o }).collect()
        }
        (Value::Column(_), Value::Constant(_)) => {
            let o = o.value(0);
            mask.iter().zip(t.values().iter()).map(|(first, t)| if first { *t } else { o }).collect()
        }
        (Value::Constant(_), Value::Column(_)) => {
            let t = t.value(0);
            mask.iter().zip(o.values().iter()).map(|(first, o)| if first { t } else { *o }).collect()
        }
        (Value::Constant(_), Value::Constant(_)) => {
            let (t, o) = (t.value(0), o.value(0));
            mask.iter().map(|first| if first { t } else { o }).collect()
        }
    };
    let nulls = match (validity(&then, mask.len()), validity(&otherwise, mask.len())) {
        (None, None) => None,
        (t, o) => {
            let all = || BooleanBuffer::new_set(mask.len());
            let (t, o) = (t.unwrap_or_else(all), o.unwrap_or_else(all));
            Some(NullBuffer::new(&(&t & mask) | &(&o & &!mask)))
        }
    };
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

fn validity(value: &Value, rows: usize) -> Option<BooleanBuffer> {
    match value {
        Value::Column(array) => array.nulls().map(|nulls| nulls.inner().clone()),
        Value::Constant(array) => array.is_null(0).then(|| BooleanBuffer::new_unset(rows)),
    }
}
