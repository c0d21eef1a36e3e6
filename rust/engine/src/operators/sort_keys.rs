//! Sort keys as Polars orders them, ready to be compared row by row.
//!
//! NaN is the largest number and equal to itself, -0.0 equals 0.0, strings stand in byte order, an `Enum` in the order
//! of its categories, a `Categorical` in that of its texts. Nulls stand first or last whatever the direction; inside a
//! struct or list a null is the smallest value. Not here: what is sorted (`sort.rs`).

use crate::error::{EngineError, Result};
use crate::state::canonical::canonical;
use crate::types::column_index;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, UInt32Type};
use arrow::row::{RowConverter, Rows, SortField};
use dataflare_plan::{DataType, Schema, SortKey};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// The keys of a sort over a frame.
#[derive(Clone, Debug)]
pub struct SortKeys {
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    written: SortKey,
    /// Of an `Enum`: where each category stands.
    ranks: Option<HashMap<String, u32>>,
}

impl SortKeys {
    /// The keys `by` over a frame with the columns `schema`.
    ///
    /// # Errors
    /// A column that the frame lacks: a bug of the planner.
    pub fn new(by: &[SortKey], schema: &Schema) -> Result<Self> {
        let key = |written: &SortKey| {
            let field = schema.iter().find(|field| field.name == written.column).ok_or_else(|| {
                EngineError::internal(
                    "the plan",
                    format!("sort by '{}', which its input lacks", written.column),
                )
            })?;
            let ranks = match &field.dtype {
                DataType::Enum { categories } => Some(categories.iter().cloned().zip(0..).collect()),
                _ => None,
            };
            Ok(Key { written: written.clone(), ranks })
        };
        Ok(Self { keys: by.iter().map(key).collect::<Result<_>>()? })
    }

    /// How [`SortKeys::values`] are encoded, so that bytes compare as rows do (but for nulls inside a struct or list).
    pub fn fields(&self, schema: &arrow::datatypes::Schema) -> Result<Vec<SortField>> {
        let field = |key: &Key| {
            let dtype = match &key.ranks {
                Some(_) => Arrow::UInt32,
                None => schema.field(column_index(schema, &key.written.column)?).data_type().clone(),
            };
            let SortKey { descending, nulls_last, .. } = key.written;
            let options = arrow::compute::SortOptions { descending, nulls_first: !nulls_last };
            Ok(SortField::new_with_options(dtype, options))
        };
        self.keys.iter().map(field).collect()
    }

    /// The columns to encode.
    pub fn values(&self, records: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.keys.iter().map(|key| key.values(records)).collect()
    }

    /// The keys of some rows.
    ///
    /// # Errors
    /// A type without an order.
    pub fn of(&self, records: &RecordBatch) -> Result<KeyedRows> {
        let columns = self.keys.iter().map(|key| key.of(records));
        Ok(KeyedRows { columns: columns.collect::<Result<_>>()? })
    }
}

/// The keys of some rows, to be compared.
#[derive(Debug)]
pub struct KeyedRows {
    columns: Vec<KeyedColumn>,
}

#[derive(Debug)]
struct KeyedColumn {
    values: ArrayRef,
    encoded: Rows,
    descending: bool,
    nulls_last: bool,
}

impl KeyedRows {
    /// How two rows stand to each other.
    pub fn compare(&self, one: usize, other: usize) -> Ordering {
        self.columns
            .iter()
            .map(|column| column.compare(one, other))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl KeyedColumn {
    fn compare(&self, one: usize, other: usize) -> Ordering {
        let nulls = self.values.is_null(one).cmp(&self.values.is_null(other));
        if nulls.is_ne() {
            return if self.nulls_last { nulls } else { nulls.reverse() };
        }
        let order = self.encoded.row(one).cmp(&self.encoded.row(other));
        if self.descending { order.reverse() } else { order }
    }
}

impl Key {
    fn values(&self, records: &RecordBatch) -> Result<ArrayRef> {
        let index = column_index(&records.schema(), &self.written.column)?;
        let column = records.column(index);
        match &self.ranks {
            Some(ranks) => ranked(column, ranks),
            None => canonical(column), // one zero and one NaN, which is larger than infinity
        }
    }

    fn of(&self, records: &RecordBatch) -> Result<KeyedColumn> {
        let values = self.values(records)?;
        let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
        let encoded = converter.convert_columns(std::slice::from_ref(&values))?;
        let SortKey { descending, nulls_last, .. } = self.written;
        Ok(KeyedColumn { values, encoded, descending, nulls_last })
    }
}

/// Categories as their places.
fn ranked(column: &ArrayRef, ranks: &HashMap<String, u32>) -> Result<ArrayRef> {
    let dictionary = column.as_dictionary_opt::<UInt32Type>();
    let dictionary =
        dictionary.ok_or_else(|| EngineError::internal("sort", "an Enum that is no dictionary"))?;
    let names = cast(dictionary.values(), &Arrow::Utf8View)?;
    let rank = |name: Option<&str>| name.and_then(|name| ranks.get(name).copied());
    let places: Vec<Option<u32>> = names.as_string_view().iter().map(rank).collect();
    let place = |key: Option<u32>| places.get(usize::try_from(key?).ok()?).copied().flatten();
    Ok(Arc::new(dictionary.keys().iter().map(place).collect::<UInt32Array>()))
}
