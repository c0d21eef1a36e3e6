//! Keys and distinct values in one form: one zero, one NaN, also inside structs and lists.

use crate::error::Result;
use crate::state::key_group::float_bits;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, StructArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use std::sync::Arc;

/// The column with equal values made identical. No copy for types without floats.
pub fn canonical(column: &ArrayRef) -> Result<ArrayRef> {
    if !has_floats(column.data_type()) {
        return Ok(column.clone());
    }
    Ok(match column.data_type() {
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            Arc::new(
                values.unary::<_, Float32Type>(|value| f64::from_bits(float_bits(f64::from(value))) as f32),
            )
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|value| f64::from_bits(float_bits(value))))
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns().iter().map(canonical).collect::<Result<_>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, column.nulls().cloned())?)
        }
        DataType::LargeList(field) => {
            let lists = column.as_list::<i64>();
            let values = canonical(lists.values())?;
            Arc::new(LargeListArray::try_new(
                field.clone(),
                lists.offsets().clone(),
                values,
                column.nulls().cloned(),
            )?)
        }
        DataType::FixedSizeList(field, width) => {
            let values = canonical(column.as_fixed_size_list().values())?;
            Arc::new(FixedSizeListArray::try_new(field.clone(), *width, values, column.nulls().cloned())?)
        }
        _ => column.clone(),
    })
}

fn has_floats(dtype: &DataType) -> bool {
    match dtype {
        DataType::Float32 | DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::LargeList(field) | DataType::FixedSizeList(field, _) => has_floats(field.data_type()),
        _ => false,
    }
}
