//! `+ - * / // %` on numbers.
//!
//! Integers wrap; `/` makes Float64 of them; `//` rounds down and `%` takes the divisor's sign, both null for divisor 0.
//! Floats divide by a constant as Polars does: times its reciprocal, which differs from a division in the last bit.
//! Not here: times (`time_arithmetic.rs`), decimals, which Polars adds. Called by the compiler.

use super::divisor::Divisor;
use super::elementwise::{map, map2};
use super::time_arithmetic;
use super::value::{Kernel, Operand, Value, no_kernel, physical_type, primitive, with_integer};
use crate::error::Result;
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use dataflare_plan::{BinaryOperator, DataType};
use std::sync::Arc;

/// The kernel of `left op right` and the type of its answer.
pub(super) fn compile(
    op: BinaryOperator,
    left: &Operand,
    right: &Operand,
    place: &str,
) -> Result<(Kernel, DataType)> {
    let (l, r) = (&left.dtype, &right.dtype);
    let refuse = || no_kernel(place, &format!("{l}, {r}"));
    if l != r || physical_type(l) != *l {
        return time_arithmetic::compile(op, left, right).ok_or_else(refuse);
    }
    let dtype = match op {
        BinaryOperator::TrueDiv if l.is_integer() => DataType::Float64,
        _ => l.clone(),
    };
    let kernel = with_integer!(l, T => integer::<T>(op), match l {
        DataType::Float32 => float::<Float32Type>(op),
        DataType::Float64 => float::<Float64Type>(op),
        _ => None,
    });
    Ok((kernel.ok_or_else(refuse)?, dtype))
}

pub(super) fn pair(args: &[Value]) -> Result<&[Value; 2]> {
    args.try_into().map_err(|_| crate::EngineError::internal("arithmetic", "expected two arguments"))
}

/// Integers with a division that rounds down.
pub(super) trait Integer: ArrowNativeTypeOp {
    fn to_f64(self) -> f64;
    /// Wraps at `MIN // -1`; 0 for divisor 0.
    fn floor_div(self, divisor: Self) -> Self;
    /// Takes the divisor's sign; 0 for divisor 0.
    fn floor_mod(self, divisor: Self) -> Self;
}

macro_rules! signed {
    ($($native:ty),*) => {$(
        impl Integer for $native {
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn floor_div(self, divisor: Self) -> Self {
                if divisor == 0 {
                    return 0;
                }
                let (quotient, rest) = (self.wrapping_div(divisor), self.wrapping_rem(divisor));
                if rest != 0 && (rest < 0) != (divisor < 0) { quotient - 1 } else { quotient }
            }
            fn floor_mod(self, divisor: Self) -> Self {
                if divisor == 0 {
                    return 0;
                }
                let rest = self.wrapping_rem(divisor);
                if rest != 0 && (rest < 0) != (divisor < 0) { rest + divisor } else { rest }
            }
        }
    )*};
}
signed!(i8, i16, i32, i64);

macro_rules! unsigned {
    ($($native:ty),*) => {$(
        impl Integer for $native {
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn floor_div(self, divisor: Self) -> Self {
                self.checked_div(divisor).unwrap_or(0)
            }
            fn floor_mod(self, divisor: Self) -> Self {
                self.checked_rem(divisor).unwrap_or(0)
            }
        }
    )*};
}
unsigned!(u8, u16, u32, u64);

/// The kernel of an operation on integers of one type.
pub(super) fn integer<T>(op: BinaryOperator) -> Option<Kernel>
where
    T: ArrowPrimitiveType,
    T::Native: Integer,
{
    Some(match op {
        BinaryOperator::Add => values::<T>(T::Native::add_wrapping),
        BinaryOperator::Sub => values::<T>(T::Native::sub_wrapping),
        BinaryOperator::Mul => values::<T>(T::Native::mul_wrapping),
        BinaryOperator::FloorDiv => division::<T>(T::Native::floor_div, Divisor::floor_div),
        BinaryOperator::Mod => division::<T>(T::Native::floor_mod, Divisor::floor_mod),
        BinaryOperator::TrueDiv => Box::new(|args, _| {
            let [left, right] = pair(args)?;
            let array = match (left, right) {
                (Value::Column(column), Value::Constant(divisor)) if divisor.is_valid(0) => {
                    let reciprocal = 1.0 / primitive::<T>(divisor)?.value(0).to_f64();
                    map::<T, Float64Type>(primitive(column)?, |value| value.to_f64() * reciprocal)
                }
                _ => map2::<T, Float64Type>(left, right, |l, r| l.to_f64() / r.to_f64())?,
            };
            Ok(Arc::new(array))
        }),
        _ => return None,
    })
}

fn values<T: ArrowPrimitiveType>(
    op: impl Fn(T::Native, T::Native) -> T::Native + Send + Sync + 'static,
) -> Kernel {
    Box::new(move |args, _| {
        let [left, right] = pair(args)?;
        Ok(Arc::new(map2::<T, T>(left, right, &op)?))
    })
}

/// A division of integers: null where the divisor is 0. `constant` is the same for a positive `Int64` divisor.
fn division<T>(
    op: impl Fn(T::Native, T::Native) -> T::Native + Send + Sync + 'static,
    constant: impl Fn(Divisor, i64) -> i64 + Send + Sync + 'static,
) -> Kernel
where
    T: ArrowPrimitiveType,
    T::Native: Integer,
{
    Box::new(move |args, _| {
        let [left, right] = pair(args)?;
        if let Some(array) = by_constant(left, right, &constant)? {
            return Ok(array);
        }
        let divisors = primitive::<T>(right.array())?;
        let array = map2::<T, T>(left, right, &op)?;
        if !divisors.values().contains(&T::Native::ZERO) {
            return Ok(Arc::new(array));
        }
        if matches!(right, Value::Constant(_)) {
            return Ok(Arc::new(PrimitiveArray::<T>::new_null(array.len())));
        }
        let not_zero =
            NullBuffer::from_iter(divisors.values().iter().map(|divisor| *divisor != T::Native::ZERO));
        let (_, values, nulls) = array.into_parts();
        Ok(Arc::new(PrimitiveArray::<T>::new(values, NullBuffer::union(nulls.as_ref(), Some(&not_zero)))))
    })
}

/// The fast path of a division: `Int64` by a constant.
fn by_constant(left: &Value, right: &Value, op: impl Fn(Divisor, i64) -> i64) -> Result<Option<ArrayRef>> {
    let (Value::Column(column), Value::Constant(divisor)) = (left, right) else { return Ok(None) };
    let (Some(column), Some(divisor)) =
        (column.as_primitive_opt::<Int64Type>(), divisor.as_primitive_opt::<Int64Type>())
    else {
        return Ok(None);
    };
    let divisor = if divisor.is_valid(0) { Divisor::new(divisor.value(0)) } else { None };
    Ok(divisor.map(|divisor| {
        Arc::new(map::<Int64Type, Int64Type>(column, |dividend| op(divisor, dividend))) as ArrayRef
    }))
}

/// Floats that know Polars' rounding.
trait Float: ArrowNativeTypeOp {
    fn floor(self) -> Self;
    fn is_zero_of_any_sign(self) -> bool;
}

impl Float for f32 {
    fn floor(self) -> Self {
        self.floor()
    }
    fn is_zero_of_any_sign(self) -> bool {
        self == 0.0
    }
}

impl Float for f64 {
    fn floor(self) -> Self {
        self.floor()
    }
    fn is_zero_of_any_sign(self) -> bool {
        self == 0.0
    }
}

fn float<T>(op: BinaryOperator) -> Option<Kernel>
where
    T: ArrowPrimitiveType,
    T::Native: Float,
{
    Some(match op {
        BinaryOperator::Add => sum::<T>(T::Native::add_wrapping, |x| x),
        BinaryOperator::Sub => sum::<T>(T::Native::sub_wrapping, T::Native::neg_wrapping),
        BinaryOperator::Mul => values::<T>(T::Native::mul_wrapping),
        BinaryOperator::TrueDiv => quotient::<T>(|_, _, quotient| quotient),
        BinaryOperator::FloorDiv => quotient::<T>(|_, _, quotient| quotient.floor()),
        BinaryOperator::Mod => {
            quotient::<T>(|l, r, quotient| l.sub_wrapping(r.mul_wrapping(quotient.floor())))
        }
        _ => return None,
    })
}

/// A sum or difference. A constant zero is left out, as Polars does: -0.0 + 0.0 stays -0.0, and 0.0 - 0.0 is
/// `second(0.0)`.
fn sum<T>(
    op: impl Fn(T::Native, T::Native) -> T::Native + Send + Sync + 'static,
    second: impl Fn(T::Native) -> T::Native + Send + Sync + 'static,
) -> Kernel
where
    T: ArrowPrimitiveType,
    T::Native: Float,
{
    Box::new(move |args, _| {
        let [left, right] = pair(args)?;
        let is_zero = |value: &ArrayRef| -> Result<bool> {
            // -0.0 == 0.0, unlike in Arrow's total order.
            Ok(value.is_valid(0) && primitive::<T>(value)?.value(0).is_zero_of_any_sign())
        };
        Ok(match (left, right) {
            (Value::Column(column), Value::Constant(zero)) if is_zero(zero)? => column.clone(),
            (Value::Constant(zero), Value::Column(column)) if is_zero(zero)? => {
                Arc::new(map::<T, T>(primitive(column)?, &second))
            }
            _ => Arc::new(map2::<T, T>(left, right, &op)?),
        })
    })
}

/// `then(l, r, l / r)`; for a constant divisor the quotient is `l * (1 / r)`.
fn quotient<T>(then: impl Fn(T::Native, T::Native, T::Native) -> T::Native + Send + Sync + 'static) -> Kernel
where
    T: ArrowPrimitiveType,
    T::Native: Float,
{
    Box::new(move |args, _| {
        let [left, right] = pair(args)?;
        let array = match (left, right) {
            (Value::Column(column), Value::Constant(divisor)) if divisor.is_valid(0) => {
                let divisor = primitive::<T>(divisor)?.value(0);
                let reciprocal = T::Native::ONE.div_wrapping(divisor);
                map::<T, T>(primitive(column)?, |l| then(l, divisor, l.mul_wrapping(reciprocal)))
            }
            _ => map2::<T, T>(left, right, |l, r| then(l, r, l.div_wrapping(r)))?,
        };
        Ok(Arc::new(array))
    })
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, binary, col, frame, lit};
    use arrow::array::{Float64Array, Int64Array};
    use dataflare_plan::BinaryOperator::{Add, FloorDiv, Mod, Mul, Sub, TrueDiv};
    use dataflare_plan::DataType::{Float64, Int64};
    use std::sync::Arc;

    fn pairs() -> Frame {
        let left =
            Int64Array::from(vec![Some(7), Some(-7), Some(7), Some(-7), Some(0), Some(i64::MIN), None]);
        let right = Int64Array::from(vec![3, 3, -3, -3, 0, -1, 1]);
        frame([("a", Int64, Arc::new(left)), ("b", Int64, Arc::new(right))])
    }

    #[test]
    fn integer_division_rounds_down_and_modulo_takes_the_divisors_sign() {
        let frame = pairs();
        assert_eq!(frame.answer(binary(FloorDiv, col("a"), col("b"))), "2 -3 -3 2 - -9223372036854775808 -");
        assert_eq!(frame.answer(binary(Mod, col("a"), col("b"))), "1 2 -2 -1 - 0 -");
        assert_eq!(
            frame.answer(binary(FloorDiv, col("a"), lit(-3, Int64))),
            "-3 2 -3 2 0 3074457345618258602 -"
        );
        assert_eq!(frame.answer(binary(Mod, col("a"), lit(-3, Int64))), "-2 -1 -2 -1 0 -2 -");
        assert_eq!(frame.answer(binary(Mod, lit(7, Int64), col("b"))), "1 1 -2 -2 - 0 0");
    }

    #[test]
    fn integer_division_by_zero_is_null() {
        let frame = pairs();
        assert_eq!(frame.answer(binary(FloorDiv, col("a"), lit(0, Int64))), "- - - - - - -");
        assert_eq!(frame.answer(binary(Mod, col("a"), lit(0, Int64))), "- - - - - - -");
    }

    #[test]
    fn integers_wrap_on_overflow() {
        let frame = frame([("a", Int64, Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN])))]);
        assert_eq!(
            frame.answer(binary(Add, col("a"), lit(1, Int64))),
            "-9223372036854775808 -9223372036854775807"
        );
        assert_eq!(frame.answer(binary(Mul, col("a"), lit(2, Int64))), "-2 0");
    }

    #[test]
    fn integer_true_division_is_float() {
        let frame = pairs();
        assert_eq!(
            frame.answer(binary(TrueDiv, col("a"), col("b"))),
            "2.3333333333333335 -2.3333333333333335 -2.3333333333333335 2.3333333333333335 NaN 9.223372036854776e18 -"
        );
        assert_eq!(frame.answer(binary(TrueDiv, col("a"), lit(0, Int64))), "inf -inf inf -inf NaN -inf -");
    }

    /// 0.6 * (1 / 0.1) is 6.0; 0.6 / 0.1 is 5.999999999999999.
    #[test]
    fn float_division_by_a_constant_multiplies_by_its_reciprocal() {
        let values = vec![Some(0.6), Some(-0.3), Some(0.0), Some(f64::INFINITY), None];
        let frame = frame([("x", Float64, Arc::new(Float64Array::from(values)))]);
        let tenth = || lit(0.1, Float64);
        assert_eq!(frame.answer(binary(TrueDiv, col("x"), tenth())), "6.0 -3.0 0.0 inf -");
        assert_eq!(frame.answer(binary(FloorDiv, col("x"), tenth())), "6.0 -3.0 0.0 inf -");
        assert_eq!(
            frame.answer(binary(TrueDiv, lit(1.0, Float64), lit(3.0, Float64))),
            "0.3333333333333333 ".repeat(5).trim()
        );
    }

    #[test]
    fn constant_zero_is_left_out_of_float_sums() {
        let frame = frame([("x", Float64, Arc::new(Float64Array::from(vec![-0.0, 0.0, 1.5])))]);
        let zero = || lit(0.0, Float64);
        assert_eq!(frame.answer(binary(Add, col("x"), zero())), "-0.0 0.0 1.5");
        assert_eq!(frame.answer(binary(Sub, zero(), col("x"))), "0.0 -0.0 -1.5");
    }
}
