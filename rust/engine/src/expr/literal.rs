//! Constants of a plan (JSON) as Arrow arrays of length one.
//!
//! Not here: what the planner writes into them (`Expr::Literal` says). Called by the compiler.

use crate::error::{EngineError, Result};
use crate::types::{arrow_schema, arrow_type};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryViewArray, BooleanArray, Decimal128Array, DictionaryArray,
    FixedSizeListArray, LargeListArray, PrimitiveArray, StringViewArray, StructArray, UInt32Array,
    new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType as Arrow, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type};
use dataflare_plan::DataType;
use serde_json::Value as Json;
use std::sync::Arc;

use super::value::{retype, with_integer};

/// The constant as an array of length one.
///
/// # Errors
/// [`EngineError::Call`]: the value does not belong to the type.
pub(super) fn array(value: &Json, dtype: &DataType) -> Result<ArrayRef> {
    if value.is_null() {
        return Ok(new_null_array(&arrow_type(dtype), 1));
    }
    of_value(value, dtype)?
        .ok_or_else(|| EngineError::call("a literal of the plan", dtype.to_string(), value.to_string()))
}

fn of_value(value: &Json, dtype: &DataType) -> Result<Option<ArrayRef>> {
    let arrow = arrow_type(dtype);
    let built: Option<ArrayRef> = match dtype {
        DataType::Boolean => value.as_bool().map(|flag| Arc::new(BooleanArray::from(vec![flag])) as ArrayRef),
        DataType::Float32 => {
            float(value).map(|x| Arc::new(PrimitiveArray::<Float32Type>::from(vec![x as f32])) as _)
        }
        DataType::Float64 => {
            float(value).map(|x| Arc::new(PrimitiveArray::<Float64Type>::from(vec![x])) as _)
        }
        DataType::Decimal { precision, scale } => match value.as_str().and_then(|text| decimal(text, *scale))
        {
            Some(ticks) => Some(Arc::new(
                Decimal128Array::from(vec![ticks]).with_precision_and_scale(*precision, *scale)?,
            ) as _),
            None => None,
        },
        DataType::String => value.as_str().map(|text| Arc::new(StringViewArray::from(vec![text])) as _),
        DataType::Binary => value
            .as_str()
            .and_then(base64)
            .map(|bytes| Arc::new(BinaryViewArray::from(vec![bytes.as_slice()])) as _),
        DataType::Date => {
            let days = value.as_i64().and_then(|days| i32::try_from(days).ok());
            days.map(|days| Arc::new(PrimitiveArray::<Int32Type>::from(vec![days])) as _)
        }
        DataType::Time | DataType::Datetime { .. } | DataType::Duration { .. } => {
            value.as_i64().map(|ticks| Arc::new(PrimitiveArray::<Int64Type>::from(vec![ticks])) as _)
        }
        DataType::Categorical => value.as_str().map(|text| dictionary(0, StringViewArray::from(vec![text]))),
        DataType::Enum { categories } => {
            let code = value.as_str().and_then(|text| categories.iter().position(|known| known == text));
            code.and_then(|code| u32::try_from(code).ok())
                .map(|code| dictionary(code, categories.iter().map(|text| Some(text.as_str())).collect()))
        }
        DataType::List(inner) => match value.as_array() {
            Some(values) => Some(list(values, inner, &arrow)?),
            None => None,
        },
        DataType::Array { inner, width } => match value.as_array() {
            Some(values) if values.len() == *width => Some(fixed_list(values, inner, &arrow)?),
            _ => None,
        },
        DataType::Struct(fields) => {
            let Some(object) = value.as_object() else { return Ok(None) };
            let columns = fields
                .iter()
                .map(|field| array(object.get(&field.name).unwrap_or(&Json::Null), &field.dtype))
                .collect::<Result<Vec<_>>>()?;
            Some(Arc::new(StructArray::try_new_with_length(
                arrow_schema(fields).fields().clone(),
                columns,
                None,
                1,
            )?) as _)
        }
        other => {
            with_integer!(other, T => integer::<T>(value).map(|x| Arc::new(PrimitiveArray::<T>::from_value(x, 1)) as _), None)
        }
    };
    match built {
        Some(array) if *array.data_type() != arrow && !arrow.is_nested() => Ok(Some(retype(&array, arrow)?)),
        other => Ok(other),
    }
}

/// A number that fits the type; JSON holds all of Int64 and UInt64.
fn integer<T: ArrowPrimitiveType>(value: &Json) -> Option<T::Native>
where
    T::Native: TryFrom<i128>,
{
    let value = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))?;
    T::Native::try_from(value).ok()
}

/// JSON has no NaN and no infinities: they come as text.
fn float(value: &Json) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

/// `"-1.25"` at scale 2 is -125. Digits beyond the scale are refused.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > scale || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ticks: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    Some(if negative { -ticks } else { ticks })
}

fn dictionary(code: u32, values: StringViewArray) -> ArrayRef {
    let keys = PrimitiveArray::<UInt32Type>::from(vec![code]);
    Arc::new(DictionaryArray::new(UInt32Array::from(keys), Arc::new(values)))
}

fn items(values: &[Json], inner: &DataType) -> Result<ArrayRef> {
    let arrays = values.iter().map(|value| array(value, inner)).collect::<Result<Vec<_>>>()?;
    if arrays.is_empty() {
        return Ok(new_empty_array(&arrow_type(inner)));
    }
    Ok(concat(&arrays.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?)
}

fn list(values: &[Json], inner: &DataType, arrow: &Arrow) -> Result<ArrayRef> {
    match arrow {
        Arrow::LargeList(field) => {
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(Arc::new(LargeListArray::try_new(field.clone(), offsets, items(values, inner)?, None)?))
        }
        other => {
            Err(EngineError::internal("a literal of the plan", format!("a list lies in memory as {other}")))
        }
    }
}

fn fixed_list(values: &[Json], inner: &DataType, arrow: &Arrow) -> Result<ArrayRef> {
    match arrow {
        Arrow::FixedSizeList(field, width) => Ok(Arc::new(FixedSizeListArray::try_new_with_length(
            field.clone(),
            *width,
            items(values, inner)?,
            None,
            1,
        )?)),
        other => {
            Err(EngineError::internal("a literal of the plan", format!("an array lies in memory as {other}")))
        }
    }
}

/// Standard alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::array;
    use crate::expr::testing::show;
    use dataflare_plan::TimeUnit::Microseconds;
    use dataflare_plan::{DataType, Field};
    use serde_json::{Value, json};

    fn text(value: Value, dtype: DataType) -> String {
        show(&array(&value, &dtype).unwrap())
    }

    #[test]
    fn each_type_reads_the_value_that_the_planner_writes() {
        assert_eq!(text(json!(u64::MAX), DataType::UInt64), "18446744073709551615");
        assert_eq!(text(json!("-inf"), DataType::Float64), "-inf");
        assert_eq!(text(json!("NaN"), DataType::Float32), "NaN");
        assert_eq!(text(json!("-1.5"), DataType::Decimal { precision: 10, scale: 2 }), "-1.50");
        assert_eq!(text(json!("/wBh"), DataType::Binary), "ff0061");
        assert_eq!(text(json!(18262), DataType::Date), "2020-01-01");
        assert_eq!(
            text(json!(-1), DataType::Datetime { unit: Microseconds, zone: None }),
            "1969-12-31T23:59:59.999999"
        );
        assert_eq!(
            text(json!("b"), DataType::Enum { categories: vec!["a".to_owned(), "b".to_owned()] }),
            "b"
        );
        assert_eq!(text(json!([1, null]), DataType::List(Box::new(DataType::Int8))), "[1, -]");
        assert_eq!(
            text(json!([1, 2]), DataType::Array { inner: Box::new(DataType::Int8), width: 2 }),
            "[1, 2]"
        );
        let fields = vec![Field { name: "x".to_owned(), dtype: DataType::Int8 }];
        assert_eq!(text(json!({"x": 3}), DataType::Struct(fields)), "{x: 3}");
        assert_eq!(text(Value::Null, DataType::String), "-");
    }

    #[test]
    fn value_of_another_type_is_refused() {
        for (value, dtype) in [
            (json!(300), DataType::Int8),
            (json!(-1), DataType::UInt64),
            (json!("x"), DataType::Float64),
            (json!("1.234"), DataType::Decimal { precision: 10, scale: 2 }),
            (json!("?"), DataType::Binary),
            (json!("z"), DataType::Enum { categories: vec!["a".to_owned()] }),
            (json!([1]), DataType::Array { inner: Box::new(DataType::Int8), width: 2 }),
        ] {
            assert!(array(&value, &dtype).is_err(), "{value} {dtype}");
        }
    }
}
