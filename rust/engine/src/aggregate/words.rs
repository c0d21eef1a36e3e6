//! Values of at most 64 bits as `i64` words, so that one kernel serves all such types.
//!
//! *Widened*: the value itself, wrapping for `UInt64`. *Ordered*: a one-to-one code whose order as `i64` is the order of
//! the values (NaN last, -0.0 before 0.0; an `Enum` by its categories). Other types go through rows (`rows.rs`).

use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int64Array, StringViewArray,
    UInt32Array, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType as Arrow, Float32Type, Float64Type, Int64Type, UInt32Type};
use dataflare_plan::DataType;
use std::collections::HashMap;
use std::sync::Arc;

const SIGN: i64 = i64::MIN;

/// A type whose values fit in a word.
#[derive(Clone, Debug)]
pub struct WordType {
    arrow: Arrow,
    /// Of an `Enum`.
    categories: Option<Arc<StringViewArray>>,
}

impl WordType {
    /// `None` for wider types.
    pub fn of(dtype: &DataType) -> Option<Self> {
        let categories = match dtype {
            DataType::Enum { categories } => Some(Arc::new(StringViewArray::from_iter_values(categories))),
            DataType::Boolean
            | DataType::Date
            | DataType::Time
            | DataType::Datetime { .. }
            | DataType::Duration { .. } => None,
            other if other.is_integer() || other.is_float() => None,
            _ => return None,
        };
        Some(Self { arrow: arrow_type(dtype), categories })
    }

    /// The ordered words of a column; what stands at nulls is undefined. No copy for signed 64-bit types.
    pub fn encode(&self, column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
        match (column.data_type(), &self.categories) {
            (Arrow::Float64, _) => {
                let values = column.as_primitive::<Float64Type>().values();
                Ok(values.iter().map(|value| float_word(*value)).collect())
            }
            (Arrow::Float32, _) => {
                let values = column.as_primitive::<Float32Type>().values();
                Ok(values.iter().map(|value| float_word(f64::from(*value))).collect())
            }
            (Arrow::UInt64, _) => Ok(words(column).iter().map(|word| word ^ SIGN).collect()),
            (Arrow::Dictionary(..), Some(categories)) => enum_words(column, categories),
            _ => Ok(widened(column)?.as_primitive::<Int64Type>().values().clone()),
        }
    }

    /// The column of ordered words.
    pub fn decode(&self, mut words: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        match (&self.arrow, &self.categories) {
            (Arrow::Float64, _) => {
                words.iter_mut().for_each(|word| *word = word_float(*word).to_bits() as i64)
            }
            (Arrow::Float32, _) => {
                words.iter_mut().for_each(|word| *word = i64::from((word_float(*word) as f32).to_bits()));
            }
            (Arrow::UInt64, _) => words.iter_mut().for_each(|word| *word ^= SIGN),
            (Arrow::Dictionary(..), Some(categories)) => {
                let keys = narrowed(words, nulls, &Arrow::UInt32)?.as_primitive::<UInt32Type>().clone();
                return Ok(Arc::new(DictionaryArray::try_new(keys, categories.clone())?));
            }
            _ => {}
        }
        narrowed(words, nulls, &self.arrow)
    }

    /// The Arrow type of the values.
    pub fn arrow(&self) -> &Arrow {
        &self.arrow
    }

    /// The word that stands for all NaN: above all other floats. `None` for types without.
    pub fn nan(&self) -> Option<i64> {
        matches!(self.arrow, Arrow::Float32 | Arrow::Float64).then(|| float_word(f64::NAN))
    }

    /// Equal values get equal words: one zero, one NaN.
    pub fn canonical(&self, words: ScalarBuffer<i64>) -> ScalarBuffer<i64> {
        let (minus_zero, zero) = (float_word(-0.0), float_word(0.0));
        if self.nan().is_none() || !words.contains(&minus_zero) {
            return words;
        }
        words.iter().map(|word| if *word == minus_zero { zero } else { *word }).collect()
    }
}

/// Bits of a float in an order that `i64` compares; one NaN, above infinity.
pub fn float_word(value: f64) -> i64 {
    let bits = if value.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { value.to_bits() } as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The float of [`float_word`].
pub fn word_float(word: i64) -> f64 {
    f64::from_bits((word ^ (((word >> 63) as u64) >> 1) as i64) as u64)
}

/// The raw words of a column of a 64-bit type.
fn words(column: &dyn Array) -> ScalarBuffer<i64> {
    let data = column.to_data();
    match data.buffers().first() {
        Some(buffer) => ScalarBuffer::new(buffer.clone(), data.offset(), data.len()),
        None => ScalarBuffer::from(vec![0; data.len()]),
    }
}

/// A column of integers, times or booleans as `Int64`, wrapping for `UInt64`. No copy for 64-bit types.
pub fn widened(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        Arrow::Int64 => Ok(column.clone()),
        Arrow::UInt64 | Arrow::Timestamp(..) | Arrow::Duration(_) | Arrow::Time64(_) | Arrow::Date64 => {
            Ok(Arc::new(Int64Array::new(words(column), column.nulls().cloned())))
        }
        Arrow::Date32 | Arrow::Time32(_) => Ok(cast(&cast(column, &Arrow::Int32)?, &Arrow::Int64)?),
        _ => Ok(cast(column, &Arrow::Int64)?),
    }
}

/// The widened words of a column; what stands at nulls is undefined.
pub fn widened_words(column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    Ok(widened(column)?.as_primitive::<Int64Type>().values().clone())
}

/// Words as a column of an integer, time, boolean or float type, cut to its width (floats: their bits). No copy for
/// 64-bit types.
pub fn narrowed(words: Vec<i64>, nulls: Option<NullBuffer>, dtype: &Arrow) -> Result<ArrayRef> {
    let len = words.len();
    let buffer = match dtype {
        Arrow::Boolean => {
            return Ok(Arc::new(BooleanArray::new(words.iter().map(|word| *word != 0).collect(), nulls)));
        }
        _ => match dtype.primitive_width() {
            Some(8) => Buffer::from_vec(words),
            Some(4) => cut::<i32>(&words, |word| word as i32),
            Some(2) => cut::<i16>(&words, |word| word as i16),
            Some(1) => cut::<i8>(&words, |word| word as i8),
            _ => return Err(EngineError::internal("a word column", format!("{dtype} is no word type"))),
        },
    };
    let data = ArrayData::builder(dtype.clone()).len(len).nulls(nulls).add_buffer(buffer).build()?;
    Ok(make_array(data))
}

fn cut<T: ArrowNativeType>(words: &[i64], cut: impl Fn(i64) -> T) -> Buffer {
    Buffer::from_vec(words.iter().map(|word| cut(*word)).collect::<Vec<T>>())
}

fn enum_words(column: &ArrayRef, categories: &StringViewArray) -> Result<ScalarBuffer<i64>> {
    let place: HashMap<&str, i64> = categories.iter().flatten().zip(0..).collect();
    let dictionary = column.as_any_dictionary_opt().ok_or_else(|| {
        EngineError::internal("an Enum column", format!("its array is {}", column.data_type()))
    })?;
    let values = cast(dictionary.values(), &Arrow::Utf8View)?;
    let codes: Vec<i64> = values
        .as_string_view()
        .iter()
        .map(|text| text.and_then(|text| place.get(text).copied()).unwrap_or(0))
        .collect();
    let keys: UInt32Array = cast(dictionary.keys(), &Arrow::UInt32)?.as_primitive::<UInt32Type>().clone();
    Ok(keys.values().iter().map(|key| codes.get(*key as usize).copied().unwrap_or(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_float_words_is_the_order_of_floats() {
        let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        let words: Vec<i64> = floats.iter().map(|float| float_word(*float)).collect();
        assert!(words.is_sorted_by(|a, b| a < b));
        for (float, word) in floats.iter().zip(&words) {
            assert_eq!(word_float(*word).to_bits(), float.to_bits());
        }
        assert_eq!(float_word(-f64::NAN), float_word(f64::NAN));
    }

    #[test]
    fn every_word_type_decodes_to_what_it_encoded() {
        use arrow::array::{Date32Array, Float32Array, Int8Array, UInt64Array};
        let arrays: Vec<(DataType, ArrayRef)> = vec![
            (DataType::Int8, Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)]))),
            (DataType::UInt64, Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]))),
            (DataType::Float32, Arc::new(Float32Array::from(vec![Some(-1.5), None, Some(f32::INFINITY)]))),
            (DataType::Date, Arc::new(Date32Array::from(vec![Some(-3), None, Some(20_000)]))),
            (DataType::Boolean, Arc::new(BooleanArray::from(vec![Some(false), None, Some(true)]))),
        ];
        for (dtype, array) in arrays {
            let word_type = WordType::of(&dtype).unwrap();
            let words = word_type.encode(&array).unwrap();
            assert!(words[0] < words[2]);
            assert_eq!(&word_type.decode(words.to_vec(), array.nulls().cloned()).unwrap(), &array);
        }
    }

    #[test]
    fn enum_is_ordered_by_its_categories() {
        let dtype = DataType::Enum { categories: vec!["low".into(), "high".into()] };
        let word_type = WordType::of(&dtype).unwrap();
        let column = cast(&StringViewArray::from(vec!["high", "low"]), word_type.arrow()).unwrap();
        let words = word_type.encode(&column).unwrap();
        assert_eq!(words.to_vec(), [1, 0]);
        let back = word_type.decode(words.to_vec(), None).unwrap();
        assert_eq!(cast(&back, &Arrow::Utf8View).unwrap().as_string_view().value(0), "high");
    }
}
