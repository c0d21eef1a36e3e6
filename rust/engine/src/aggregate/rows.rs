//! Values of any type as bytes of Arrow's row format: their byte order is the order of the values.

use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType as Arrow;
use arrow::row::{RowConverter, Rows, SortField};
use dataflare_plan::DataType;
use std::sync::Arc;

/// One column type in row format.
#[derive(Clone, Debug)]
pub struct RowType {
    arrow: Arrow,
    /// What the rows decode to: dictionaries are rows of their values.
    inner: Arrow,
    converter: Arc<RowConverter>,
    null: Arc<[u8]>,
}

impl RowType {
    /// # Errors
    /// [`EngineError::Call`] for a type without row format.
    pub fn of(dtype: &DataType) -> Result<Self> {
        let arrow = arrow_type(dtype);
        let inner = match &arrow {
            Arrow::Dictionary(_, values) => values.as_ref().clone(),
            other => other.clone(),
        };
        let converter = RowConverter::new(vec![SortField::new(inner.clone())]).map_err(|error| {
            EngineError::call("an aggregate", "a type that can be compared", format!("{dtype} ({error})"))
        })?;
        let null = converter.convert_columns(&[new_null_array(&inner, 1)])?.row(0).data().into();
        Ok(Self { arrow, inner, converter: Arc::new(converter), null })
    }

    /// The rows of a column.
    pub fn encode(&self, column: &ArrayRef) -> Result<Rows> {
        let column =
            if column.data_type() == &self.inner { column.clone() } else { cast(column, &self.inner)? };
        Ok(self.converter.convert_columns(&[column])?)
    }

    /// The column of rows; `None` is null.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows: Vec<&[u8]> = rows.map(|row| row.unwrap_or(&self.null)).collect();
        let columns = self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?;
        let column = columns
            .into_iter()
            .next()
            .ok_or_else(|| EngineError::internal("the row format", "it gave no column"))?;
        Ok(if column.data_type() == &self.arrow { column } else { cast(&column, &self.arrow)? })
    }

    /// The Arrow type of the values.
    pub fn arrow(&self) -> &Arrow {
        &self.arrow
    }
}
