//! Plan types onto Arrow types: strings and binaries as views, lists with 64-bit offsets, as Polars exports them.

use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, GenericByteViewArray, StringViewArray};
use arrow::datatypes::{
    ByteViewType, DataType as Arrow, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef,
    TimeUnit as ArrowUnit,
};
use dataflare_plan::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// The Arrow type that holds a plan type inside the engine.
pub fn arrow_type(dtype: &DataType) -> Arrow {
    match dtype {
        DataType::Null => Arrow::Null,
        DataType::Boolean => Arrow::Boolean,
        DataType::Int8 => Arrow::Int8,
        DataType::Int16 => Arrow::Int16,
        DataType::Int32 => Arrow::Int32,
        DataType::Int64 => Arrow::Int64,
        DataType::UInt8 => Arrow::UInt8,
        DataType::UInt16 => Arrow::UInt16,
        DataType::UInt32 => Arrow::UInt32,
        DataType::UInt64 => Arrow::UInt64,
        DataType::Float32 => Arrow::Float32,
        DataType::Float64 => Arrow::Float64,
        DataType::Decimal { precision, scale } => Arrow::Decimal128(*precision, *scale),
        DataType::String => Arrow::Utf8View,
        DataType::Binary => Arrow::BinaryView,
        DataType::Date => Arrow::Date32,
        DataType::Time => Arrow::Time64(ArrowUnit::Nanosecond),
        DataType::Datetime { unit, zone } => {
            Arrow::Timestamp(arrow_unit(*unit), zone.as_deref().map(Arc::from))
        }
        DataType::Duration { unit } => Arrow::Duration(arrow_unit(*unit)),
        DataType::Categorical | DataType::Enum { .. } => {
            Arrow::Dictionary(Box::new(Arrow::UInt32), Box::new(Arrow::Utf8View))
        }
        DataType::List(inner) => Arrow::LargeList(Arc::new(item(inner))),
        DataType::Array { inner, width } => {
            Arrow::FixedSizeList(Arc::new(item(inner)), i32::try_from(*width).unwrap_or(i32::MAX))
        }
        DataType::Struct(fields) => Arrow::Struct(fields.iter().map(arrow_field).collect::<Fields>()),
    }
}

/// The Arrow schema of a frame.
pub fn arrow_schema(fields: &[Field]) -> SchemaRef {
    Arc::new(ArrowSchema::new(fields.iter().map(arrow_field).collect::<Fields>()))
}

fn arrow_field(field: &Field) -> ArrowField {
    ArrowField::new(&field.name, arrow_type(&field.dtype), true)
}

fn item(inner: &DataType) -> ArrowField {
    ArrowField::new("item", arrow_type(inner), true)
}

fn arrow_unit(unit: TimeUnit) -> ArrowUnit {
    match unit {
        TimeUnit::Milliseconds => ArrowUnit::Millisecond,
        TimeUnit::Microseconds => ArrowUnit::Microsecond,
        TimeUnit::Nanoseconds => ArrowUnit::Nanosecond,
    }
}

/// Position of a column in a batch.
///
/// # Errors
/// [`EngineError::Internal`]: the planner named a column that the batch lacks.
pub fn column_index(schema: &ArrowSchema, name: &str) -> Result<usize> {
    schema
        .index_of(name)
        .map_err(|_| EngineError::internal("the plan", format!("no column '{name}' in its input")))
}

/// The column without bytes of texts that other batches refer to: IPC writes the buffers of a view column whole, also
/// when a filter has left only a few rows of them.
pub fn compact(column: &ArrayRef) -> ArrayRef {
    fn is_sparse<T: ByteViewType + ?Sized>(views: &GenericByteViewArray<T>) -> bool {
        let held: usize = views.data_buffers().iter().map(arrow::buffer::Buffer::len).sum();
        held > 2 * views.total_buffer_bytes_used() + 4096
    }
    match column.data_type() {
        Arrow::Utf8View if is_sparse(column.as_string_view()) => {
            Arc::new(StringViewArray::gc(column.as_string_view()))
        }
        Arrow::BinaryView if is_sparse(column.as_binary_view()) => {
            Arc::new(BinaryViewArray::gc(column.as_binary_view()))
        }
        _ => ArrayRef::clone(column),
    }
}
