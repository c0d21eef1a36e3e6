//! `x % c == k` and `x % c != k` of `Int64` with constants: the test of every c-th row, in one pass.
//!
//! The remainder is never stored. Not here: other types and divisors below 1, which take the two kernels one after the
//! other. Called by the compiler, which looks for the pattern.

use super::divisor::Divisor;
use super::elementwise::test;
use super::literal;
use super::value::{Kernel, Operand, primitive};
use crate::error::{EngineError, Result};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use dataflare_plan::{BinaryOperator, DataType, Expr};
use std::sync::Arc;

/// The parts of the pattern: `x`, the divisor, the wanted remainder, and if it is wanted or unwanted.
pub(super) struct Remainder<'a> {
    pub(super) dividend: &'a Expr,
    divisor: Divisor,
    remainder: i64,
    wanted: bool,
}

impl<'a> Remainder<'a> {
    /// Finds the pattern at the top of an expression.
    pub(super) fn find(op: BinaryOperator, left: &'a Expr, right: &Expr) -> Result<Option<Self>> {
        let wanted = match op {
            BinaryOperator::Eq => true,
            BinaryOperator::Ne => false,
            _ => return Ok(None),
        };
        let Expr::Binary { op: BinaryOperator::Mod, left: dividend, right: divisor } = left else {
            return Ok(None);
        };
        let (Some(divisor), Some(remainder)) = (integer(divisor)?, integer(right)?) else { return Ok(None) };
        Ok(Divisor::new(divisor).map(|divisor| Self { dividend, divisor, remainder, wanted }))
    }

    /// The kernel over `x`; `None` if that is no `Int64`.
    pub(super) fn compile(&self, dividend: &Operand) -> Option<Kernel> {
        if dividend.dtype != DataType::Int64 {
            return None;
        }
        let (divisor, remainder, wanted) = (self.divisor, self.remainder, self.wanted);
        Some(Box::new(move |args, _| {
            let [dividend] = args else {
                return Err(EngineError::internal("a remainder", "expected one argument"));
            };
            let dividend = primitive::<Int64Type>(dividend.array())?;
            Ok(Arc::new(test(dividend, |value| (divisor.floor_mod(value) == remainder) == wanted)))
        }))
    }
}

fn integer(expr: &Expr) -> Result<Option<i64>> {
    let Expr::Literal { value, dtype: DataType::Int64 } = expr else { return Ok(None) };
    let array = literal::array(value, &DataType::Int64)?;
    let array = array.as_primitive_opt::<Int64Type>();
    Ok(array.filter(|array| array.is_valid(0)).map(|array| array.value(0)))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{binary, col, frame, lit};
    use arrow::array::Int64Array;
    use dataflare_plan::BinaryOperator::{Eq, Mod, Ne};
    use dataflare_plan::DataType::Int64;
    use std::sync::Arc;

    #[test]
    fn remainder_takes_the_divisors_sign_and_null_stays_null() {
        let values = vec![Some(-7), Some(7), Some(-6), Some(i64::MIN), None];
        let frame = frame([("a", Int64, Arc::new(Int64Array::from(values)))]);
        let rest = |divisor: i64| binary(Mod, col("a"), lit(divisor, Int64));
        assert_eq!(frame.answer(binary(Eq, rest(3), lit(2, Int64))), "true false false false -");
        assert_eq!(frame.answer(binary(Ne, rest(3), lit(0, Int64))), "true true false true -");
        assert_eq!(frame.answer(binary(Eq, rest(1), lit(0, Int64))), "true true true true -");
        assert_eq!(frame.answer(binary(Eq, rest(-3), lit(-1, Int64))), "true false false false -");
        assert_eq!(frame.answer(binary(Eq, rest(0), lit(0, Int64))), "- - - - -");
    }
}
