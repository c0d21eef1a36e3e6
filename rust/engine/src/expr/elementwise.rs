//! Loops of kernels with two primitive arguments: plain slices, one monomorphic closure, so that they vectorise.
//!
//! Every row is computed, null or not (the operations cannot fail), and validity is combined a word at a time.
//! Not here: what is computed. Used by arithmetic, comparison, membership.

use super::value::{Value, primitive, valid_in_both};
use crate::error::Result;
use arrow::array::{Array, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use std::hint::select_unpredictable;

/// `op` of every pair.
pub(super) fn map2<T, O>(
    left: &Value,
    right: &Value,
    op: impl Fn(T::Native, T::Native) -> O::Native,
) -> Result<PrimitiveArray<O>>
where
    T: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let (l, r) = (primitive::<T>(left.array())?, primitive::<T>(right.array())?);
    let (values, nulls): (Vec<O::Native>, _) = match (left, right) {
        (Value::Column(_), Value::Constant(_)) => match constant(r) {
            Some(r) => (l.values().iter().map(|l| op(*l, r)).collect(), l.nulls().cloned()),
            None => return Ok(PrimitiveArray::new_null(l.len())),
        },
        (Value::Constant(_), Value::Column(_)) => match constant(l) {
            Some(l) => (r.values().iter().map(|r| op(l, *r)).collect(), r.nulls().cloned()),
            None => return Ok(PrimitiveArray::new_null(r.len())),
        },
        _ => {
            let values = l.values().iter().zip(r.values().iter()).map(|(l, r)| op(*l, *r)).collect();
            (values, valid_in_both(left.array(), right.array()))
        }
    };
    Ok(PrimitiveArray::new(values.into(), nulls))
}

/// `op` of every value of a column.
pub(super) fn map<T, O>(array: &PrimitiveArray<T>, op: impl Fn(T::Native) -> O::Native) -> PrimitiveArray<O>
where
    T: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let values: Vec<O::Native> = array.values().iter().map(|value| op(*value)).collect();
    PrimitiveArray::new(values.into(), array.nulls().cloned())
}

/// `test` of every pair, without validity.
pub(super) fn test2<T: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    test: impl Fn(T::Native, T::Native) -> bool,
) -> Result<BooleanBuffer> {
    let (l, r) = (primitive::<T>(left.array())?, primitive::<T>(right.array())?);
    Ok(match (left, right) {
        (Value::Column(_), Value::Constant(_)) => {
            let r = r.value(0);
            bits(l.values(), |l| test(l, r))
        }
        (Value::Constant(_), Value::Column(_)) => {
            let l = l.value(0);
            bits(r.values(), |r| test(l, r))
        }
        _ => bits2(l.values(), r.values(), test),
    })
}

/// The validity of an operation that is null where one side is null.
pub(super) fn nulls2(left: &Value, right: &Value) -> Option<NullBuffer> {
    match (left, right) {
        (Value::Column(column), Value::Constant(constant))
        | (Value::Constant(constant), Value::Column(column)) => {
            if constant.is_null(0) {
                Some(NullBuffer::new_null(column.len()))
            } else {
                column.nulls().cloned()
            }
        }
        _ => valid_in_both(left.array(), right.array()),
    }
}

/// `test` of every value of a column, null where the value is.
pub(super) fn test<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    test: impl Fn(T::Native) -> bool,
) -> BooleanArray {
    BooleanArray::new(bits(array.values(), test), array.nulls().cloned())
}

/// One bit a value.
pub(super) fn bits<T: Copy>(values: &[T], test: impl Fn(T) -> bool) -> BooleanBuffer {
    let mut words: Vec<u64> = Vec::with_capacity(values.len().div_ceil(64));
    let mut bytes = [0_u8; 64];
    for chunk in values.chunks(64) {
        for (byte, value) in bytes.iter_mut().zip(chunk) {
            *byte = u8::from(test(*value));
        }
        words.push(pack(&bytes));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, values.len())
}

/// One bit a pair.
pub(super) fn bits2<T: Copy>(left: &[T], right: &[T], test: impl Fn(T, T) -> bool) -> BooleanBuffer {
    let mut words: Vec<u64> = Vec::with_capacity(left.len().div_ceil(64));
    let mut bytes = [0_u8; 64];
    for (left, right) in left.chunks(64).zip(right.chunks(64)) {
        for ((byte, left), right) in bytes.iter_mut().zip(left).zip(right) {
            *byte = u8::from(test(*left, *right));
        }
        words.push(pack(&bytes));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, left.len())
}

/// One side of a choice.
pub(super) enum Side<'a, T> {
    Column(&'a [T]),
    /// 64 times the same value.
    Constant([T; 64]),
}

impl<'a, T: Copy + Default> Side<'a, T> {
    /// The values of a column or constant.
    pub(super) fn new(value: &Value, values: &'a [T]) -> Self {
        match value {
            Value::Column(_) => Self::Column(values),
            Value::Constant(_) => Self::Constant([values.first().copied().unwrap_or_default(); 64]),
        }
    }

    /// The rows of the `index`-th 64.
    fn chunk(&self, index: usize) -> &[T] {
        match self {
            Self::Column(values) => values.get(64 * index..).unwrap_or(&[]),
            Self::Constant(values) => values,
        }
    }
}

/// `then` where the mask is set, else `otherwise`.
pub(super) fn pick<T: Copy + Default>(
    mask: &BooleanBuffer,
    then: &Side<'_, T>,
    otherwise: &Side<'_, T>,
) -> Vec<T> {
    let mut values = Vec::with_capacity(mask.len());
    for (index, mut word) in mask.bit_chunks().iter_padded().enumerate() {
        let rows = (mask.len() - values.len()).min(64);
        let sides = then.chunk(index).iter().zip(otherwise.chunk(index));
        values.extend(sides.take(rows).map(|(then, otherwise)| {
            let set = word & 1 == 1;
            word >>= 1;
            // Masks are often random: a conditional move instead of a branch.
            select_unpredictable(set, *then, *otherwise)
        }));
    }
    values
}

/// 64 bytes of 0 or 1 as 64 bits. One multiplication gathers the low bits of eight bytes in the highest byte: byte `i`
/// times 2^(56 - 7i) lands at bit 56 + i, and no two products meet.
fn pack(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().enumerate().fold(0, |word, (index, eight)| {
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word | gathered << (8 * index)
    })
}

fn constant<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> Option<T::Native> {
    (array.is_valid(0)).then(|| array.value(0))
}
