//! `& | ^` and `not`, on booleans in Kleene logic (unknown and false is false), on integers bit by bit.
//!
//! Called by the compiler.

use super::compile::Compile;
use super::elementwise::{map, map2};
use super::value::{Call, Kernel, Operand, Value, boolean, no_kernel, primitive, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrowPrimitiveType, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{and_kleene, not, or_kleene};
use dataflare_plan::{BinaryOperator, DataType};
use std::ops::{BitAnd, BitOr, BitXor};
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[("not_", negation)];

/// The kernel of `left op right` and its type.
pub(super) fn compile(
    op: BinaryOperator,
    left: &Operand,
    right: &Operand,
    place: &str,
) -> Result<(Kernel, DataType)> {
    let refuse = || no_kernel(place, &format!("{}, {}", left.dtype, right.dtype));
    if left.dtype != right.dtype {
        return Err(refuse());
    }
    let kernel = match &left.dtype {
        DataType::Boolean => booleans(op).ok_or_else(refuse)?,
        other => with_integer!(other, T => integers::<T>(op).ok_or_else(refuse)?, return Err(refuse())),
    };
    Ok((kernel, left.dtype.clone()))
}

fn booleans(op: BinaryOperator) -> Option<Kernel> {
    let apply: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray> = match op {
        BinaryOperator::And => |l, r| Ok(and_kleene(l, r)?),
        BinaryOperator::Or => |l, r| Ok(or_kleene(l, r)?),
        BinaryOperator::Xor => |l, r| {
            let nulls = NullBuffer::union(l.nulls(), r.nulls());
            Ok(BooleanArray::new(l.values() ^ r.values(), nulls))
        },
        _ => return None,
    };
    Some(Box::new(move |args, rows| {
        let [left, right] = pair(args)?;
        let (left, right) = (left.clone().into_column(rows.count)?, right.clone().into_column(rows.count)?);
        Ok(Arc::new(apply(boolean(&left)?, boolean(&right)?)?))
    }))
}

fn integers<T>(op: BinaryOperator) -> Option<Kernel>
where
    T: ArrowPrimitiveType,
    T::Native: BitAnd<Output = T::Native> + BitOr<Output = T::Native> + BitXor<Output = T::Native>,
{
    fn kernel<T: ArrowPrimitiveType>(op: fn(T::Native, T::Native) -> T::Native) -> Kernel {
        Box::new(move |args, _| {
            let [left, right] = pair(args)?;
            Ok(Arc::new(map2::<T, T>(left, right, op)?))
        })
    }
    Some(match op {
        BinaryOperator::And => kernel::<T>(|l, r| l & r),
        BinaryOperator::Or => kernel::<T>(|l, r| l | r),
        BinaryOperator::Xor => kernel::<T>(|l, r| l ^ r),
        _ => return None,
    })
}

fn pair(args: &[Value]) -> Result<&[Value; 2]> {
    args.try_into().map_err(|_| EngineError::internal("a boolean operator", "expected two arguments"))
}

/// `not_`: of booleans, and of the bits of integers.
fn negation(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    Ok(match &input.dtype {
        DataType::Boolean => Box::new(|args, _| match args {
            [input] => Ok(Arc::new(not(boolean(input.array())?)?)),
            _ => Err(EngineError::internal("not_", "expected one argument")),
        }),
        other => with_integer!(other, T => Box::new(|args, _| match args {
            [input] => Ok(Arc::new(map::<T, T>(primitive(input.array())?, |value| !value))),
            _ => Err(EngineError::internal("not_", "expected one argument")),
        }), return Err(call.no_kernel())),
    })
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{binary, call, col, frame, lit};
    use arrow::array::BooleanArray;
    use dataflare_plan::BinaryOperator::{And, Or, Xor};
    use dataflare_plan::DataType::Boolean;
    use serde_json::Value;
    use std::sync::Arc;

    #[test]
    fn unknown_and_false_is_false_unknown_or_true_is_true() {
        let left = vec![Some(true), Some(true), Some(false), Some(false), None];
        let right = vec![Some(true), None, None, Some(false), None];
        let frame = frame([
            ("a", Boolean, Arc::new(BooleanArray::from(left))),
            ("b", Boolean, Arc::new(BooleanArray::from(right))),
        ]);
        let answer = |op| frame.answer(binary(op, col("a"), col("b")));
        assert_eq!(answer(And), "true - false false -");
        assert_eq!(answer(Or), "true true - false -");
        assert_eq!(answer(Xor), "false - - false -");
        assert_eq!(frame.answer(binary(And, col("a"), lit(Value::Null, Boolean))), "- - false false -");
        assert_eq!(frame.answer(call("not_", [col("b")], Boolean)), "false - - true -");
    }
}
