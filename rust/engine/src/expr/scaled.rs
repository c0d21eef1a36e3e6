//! `integers * constant` as floats, in one pass: currencies, units, percentages.
//!
//! Polars writes it as a cast and a product; the cast would be a column that is only read once. Not here: other
//! operations, which take the two kernels one after the other. Called by the compiler, which looks for the pattern.

use super::arithmetic::Integer;
use super::elementwise::map;
use super::literal;
use super::value::{Kernel, Operand, primitive, with_integer};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::Float64Type;
use dataflare_plan::{BinaryOperator, DataType, Expr};
use std::sync::Arc;

/// The parts of the pattern.
pub(super) struct Scaled<'a> {
    pub(super) integers: &'a Expr,
    factor: f64,
}

impl<'a> Scaled<'a> {
    /// Finds the pattern at the top of an expression.
    pub(super) fn find(op: BinaryOperator, left: &'a Expr, right: &'a Expr) -> Result<Option<Self>> {
        if op != BinaryOperator::Mul {
            return Ok(None);
        }
        let (integers, factor) = match (left, right) {
            (Expr::Cast { input, dtype: DataType::Float64, .. }, factor)
            | (factor, Expr::Cast { input, dtype: DataType::Float64, .. }) => (input, factor),
            _ => return Ok(None),
        };
        Ok(float(factor)?.map(|factor| Self { integers, factor }))
    }

    /// The kernel over the integers; `None` if they are something else.
    pub(super) fn compile(&self, integers: &Operand) -> Option<Kernel> {
        with_integer!(&integers.dtype, T => Some(scale::<T>(self.factor)), None)
    }
}

fn scale<T>(factor: f64) -> Kernel
where
    T: ArrowPrimitiveType,
    T::Native: Integer,
{
    Box::new(move |args, _| {
        let [integers] = args else {
            return Err(EngineError::internal("a product", "expected one argument"));
        };
        let integers = primitive::<T>(integers.array())?;
        Ok(Arc::new(map::<T, Float64Type>(integers, |value| value.to_f64() * factor)))
    })
}

fn float(expr: &Expr) -> Result<Option<f64>> {
    let Expr::Literal { value, dtype: DataType::Float64 } = expr else { return Ok(None) };
    let array = literal::array(value, &DataType::Float64)?;
    let array = array.as_primitive_opt::<Float64Type>();
    Ok(array.filter(|array| array.is_valid(0)).map(|array| array.value(0)))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{binary, cast, col, frame, lit};
    use arrow::array::{Int64Array, UInt8Array};
    use dataflare_plan::BinaryOperator::Mul;
    use dataflare_plan::DataType::{Float64, Int64, UInt8};
    use std::sync::Arc;

    #[test]
    fn product_is_that_of_the_cast_on_either_side() {
        let big = 9_007_199_254_740_993;
        let frame = frame([
            ("a", Int64, Arc::new(Int64Array::from(vec![Some(3), None, Some(big)]))),
            ("b", UInt8, Arc::new(UInt8Array::from(vec![255, 0, 1]))),
        ]);
        let float = |name| cast(col(name), Float64, true);
        let expected = format!("{:?} - {:?}", 3.0 * 0.25, big as f64 * 0.25);
        assert_eq!(frame.answer(binary(Mul, float("a"), lit(0.25, Float64))), expected);
        assert_eq!(frame.answer(binary(Mul, lit(0.25, Float64), float("a"))), expected);
        assert_eq!(frame.answer(binary(Mul, float("b"), lit(2.0, Float64))), "510.0 0.0 2.0");
    }
}
