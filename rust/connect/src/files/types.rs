//! Types of files against types of the plan: what Polars would call an Arrow type, and how its arrays become ours.
//!
//! Polars' rule for scans: the types of a file must be those declared; a column of type Null fits every type. Not here:
//! which type lies how inside the engine (`dataflare_engine::types`).

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType as Arrow, Field as ArrowField, Schema as ArrowSchema, TimeUnit as ArrowUnit,
};
use dataflare_engine::types::arrow_type;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, TimeUnit};
use std::path::Path;
use std::sync::OnceLock;

/// The Polars type of an Arrow type; `None`: one that the engine does not hold.
pub fn plan_type(arrow: &Arrow) -> Option<DataType> {
    Some(match arrow {
        Arrow::Null => DataType::Null,
        Arrow::Boolean => DataType::Boolean,
        Arrow::Int8 => DataType::Int8,
        Arrow::Int16 => DataType::Int16,
        Arrow::Int32 => DataType::Int32,
        Arrow::Int64 => DataType::Int64,
        Arrow::UInt8 => DataType::UInt8,
        Arrow::UInt16 => DataType::UInt16,
        Arrow::UInt32 => DataType::UInt32,
        Arrow::UInt64 => DataType::UInt64,
        Arrow::Float32 => DataType::Float32,
        Arrow::Float64 => DataType::Float64,
        Arrow::Decimal128(precision, scale) => DataType::Decimal { precision: *precision, scale: *scale },
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => DataType::String,
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView | Arrow::FixedSizeBinary(_) => {
            DataType::Binary
        }
        Arrow::Date32 => DataType::Date,
        Arrow::Date64 => DataType::Datetime { unit: TimeUnit::Milliseconds, zone: None },
        Arrow::Time32(_) | Arrow::Time64(_) => DataType::Time,
        Arrow::Timestamp(unit, zone) => {
            DataType::Datetime { unit: plan_unit(*unit), zone: zone.as_deref().map(zone_name) }
        }
        Arrow::Duration(unit) => DataType::Duration { unit: plan_unit(*unit) },
        Arrow::Dictionary(_, values) if plan_type(values) == Some(DataType::String) => DataType::Categorical,
        Arrow::List(item) | Arrow::LargeList(item) => DataType::List(Box::new(plan_type(item.data_type())?)),
        Arrow::FixedSizeList(item, width) => DataType::Array {
            inner: Box::new(plan_type(item.data_type())?),
            width: usize::try_from(*width).ok()?,
        },
        Arrow::Struct(fields) => {
            let field = |field: &std::sync::Arc<ArrowField>| {
                Some(Field { name: field.name().clone(), dtype: plan_type(field.data_type())? })
            };
            DataType::Struct(fields.iter().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn plan_unit(unit: ArrowUnit) -> TimeUnit {
    match unit {
        ArrowUnit::Second | ArrowUnit::Millisecond => TimeUnit::Milliseconds,
        ArrowUnit::Microsecond => TimeUnit::Microseconds,
        ArrowUnit::Nanosecond => TimeUnit::Nanoseconds,
    }
}

/// Parquet knows only "adjusted to UTC", which Arrow writes as an offset.
fn zone_name(zone: &str) -> String {
    if zone == "+00:00" || zone == "Z" { "UTC".to_owned() } else { zone.to_owned() }
}

/// True if a column of type `found` is what was declared, under Polars' rule.
pub fn fits(declared: &DataType, found: &DataType) -> bool {
    match (declared, found) {
        (_, DataType::Null) => true,
        // An Enum is written as a dictionary: its values are checked when they are cast.
        (DataType::Enum { .. }, DataType::Categorical) => true,
        (DataType::List(declared), DataType::List(found)) => fits(declared, found),
        (DataType::Array { inner: declared, width }, DataType::Array { inner: found, width: other }) => {
            width == other && fits(declared, found)
        }
        (DataType::Struct(declared), DataType::Struct(found)) => {
            declared.len() == found.len()
                && declared.iter().zip(found).all(|(a, b)| a.name == b.name && fits(&a.dtype, &b.dtype))
        }
        _ => declared == found,
    }
}

/// A column of a file as the engine holds it. No copy where the types are equal.
///
/// # Errors
/// [`dataflare_engine::EngineError::Internal`]: Arrow has no cast between two types that `fits` takes for equal.
pub fn convert(column: &ArrayRef, declared: &DataType) -> Result<ArrayRef> {
    let target = arrow_type(declared);
    if column.data_type() == &target {
        return Ok(ArrayRef::clone(column));
    }
    if column.data_type() == &Arrow::Null {
        return Ok(new_null_array(&target, column.len()));
    }
    Ok(cast(column, &target)?)
}

/// The column names of the first file of a scan: no later file may have others.
#[derive(Debug, Default)]
pub struct FirstColumns(OnceLock<Vec<String>>);

impl FirstColumns {
    /// Keeps the names of the first file, and holds the others against them.
    ///
    /// # Errors
    /// [`EngineError::Call`]: a column that the first file lacks.
    pub fn check(&self, path: &Path, schema: &ArrowSchema) -> Result<()> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let first = self.0.get_or_init(|| names.clone());
        match names.iter().find(|name| !first.contains(name)) {
            None => Ok(()),
            Some(extra) => Err(EngineError::call(
                format!("{}, column '{extra}'", path.display()),
                "the columns of the first file",
                "a column that it does not have",
            )),
        }
    }
}

/// Index of a declared column in a file, after a check of its type.
///
/// # Errors
/// [`EngineError::Call`]: the file lacks it, or has it with another type.
pub fn column_of(path: &Path, schema: &ArrowSchema, field: &Field) -> Result<usize> {
    let place = || format!("{}, column '{}'", path.display(), field.name);
    let Some((index, found)) = schema.column_with_name(&field.name) else {
        return Err(EngineError::call(place(), field.dtype.to_string(), "a file without it"));
    };
    match plan_type(found.data_type()) {
        Some(dtype) if fits(&field.dtype, &dtype) => Ok(index),
        Some(dtype) => Err(EngineError::call(place(), field.dtype.to_string(), dtype.to_string())),
        None => Err(EngineError::call(
            place(),
            field.dtype.to_string(),
            format!("Arrow type {}", found.data_type()),
        )),
    }
}
