//! Values of a column one by one: what a running function remembers of a key, and what it answers.
//!
//! A [`CellType`] turns a column into cells and cells into a column, once a batch; in between a function works on plain
//! values. Words serve every type of at most 64 bits, bytes of Arrow's row format the others. Called by the functions of
//! this module only.

use crate::aggregate::rows::RowType;
use crate::aggregate::words::{WordType, narrowed, widened};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Float64Type, Int64Type};
use std::fmt::Debug;
use std::sync::Arc;

/// How the values of one type become cells and back.
pub trait CellType: Clone + Debug + Send + Sync + 'static {
    type Cell: Clone + Debug + Send + Sync + 'static;

    /// # Errors
    /// A column of another type: a bug.
    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<Self::Cell>>>;

    /// # Errors
    /// As above.
    fn column(&self, cells: Vec<Option<Self::Cell>>) -> Result<ArrayRef>;
}

/// Ordered words: equal order, and with [`WordType::canonical`] equal identity, as the values have.
#[derive(Clone, Debug)]
pub struct Words(pub WordType);

/// Rows of Arrow's row format, in the order of the values.
#[derive(Clone, Debug)]
pub struct Wide(pub RowType);

/// Integers, times and booleans as they are; back they are cut to the width of the type, as sums in Polars wrap.
#[derive(Clone, Debug)]
pub struct Integers(pub Arrow);

/// Counts, in an integer type that must hold them.
#[derive(Clone, Debug)]
pub struct Counts(pub Arrow);

/// Any number as Float64; back in the type given, Float32 or Float64.
#[derive(Clone, Debug)]
pub struct Floats(pub Arrow);

/// Booleans.
#[derive(Clone, Debug)]
pub struct Flags;

impl CellType for Words {
    type Cell = i64;

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<i64>>> {
        Ok(with_nulls(self.0.encode(column)?.iter().copied(), column))
    }

    fn column(&self, cells: Vec<Option<i64>>) -> Result<ArrayRef> {
        let (words, nulls) = without_nulls(cells);
        self.0.decode(words, nulls)
    }
}

impl CellType for Wide {
    type Cell = Arc<[u8]>;

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<Arc<[u8]>>>> {
        let rows = self.0.encode(column)?;
        Ok(with_nulls(rows.iter().map(|row| Arc::from(row.data())), column))
    }

    fn column(&self, cells: Vec<Option<Arc<[u8]>>>) -> Result<ArrayRef> {
        self.0.decode(cells.iter().map(Option::as_deref))
    }
}

impl CellType for Integers {
    type Cell = i64;

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<i64>>> {
        let wide = widened(column)?;
        Ok(with_nulls(wide.as_primitive::<Int64Type>().values().iter().copied(), column))
    }

    fn column(&self, cells: Vec<Option<i64>>) -> Result<ArrayRef> {
        let (words, nulls) = without_nulls(cells);
        narrowed(words, nulls, &self.0)
    }
}

impl CellType for Counts {
    type Cell = i64;

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<i64>>> {
        Integers(self.0.clone()).cells(column)
    }

    fn column(&self, cells: Vec<Option<i64>>) -> Result<ArrayRef> {
        let most = cells.iter().flatten().copied().max().unwrap_or(0);
        if self.0 == Arrow::UInt32 && u32::try_from(most).is_err() {
            let found = format!("{most}; count with pl.int_range(pl.len(), dtype=pl.Int64)");
            return Err(EngineError::call("a running count", "at most 4 294 967 295 rows of a key", found));
        }
        Integers(self.0.clone()).column(cells)
    }
}

impl CellType for Floats {
    type Cell = f64;

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<f64>>> {
        let column = match column.data_type() {
            Arrow::Boolean => cast(column, &Arrow::UInt8)?,
            _ => column.clone(),
        };
        let floats = cast(&column, &Arrow::Float64)?;
        Ok(with_nulls(floats.as_primitive::<Float64Type>().values().iter().copied(), &column))
    }

    fn column(&self, cells: Vec<Option<f64>>) -> Result<ArrayRef> {
        Ok(match self.0 {
            Arrow::Float32 => Arc::new(
                cells.into_iter().map(|cell| cell.map(|value| value as f32)).collect::<Float32Array>(),
            ),
            _ => Arc::new(Float64Array::from(cells)),
        })
    }
}

impl CellType for Flags {
    type Cell = bool;

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<bool>>> {
        Ok(column.as_boolean().iter().collect())
    }

    fn column(&self, cells: Vec<Option<bool>>) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::from(cells)))
    }
}

fn with_nulls<C>(values: impl Iterator<Item = C>, column: &ArrayRef) -> Vec<Option<C>> {
    match column.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => values.map(Some).collect(),
        Some(nulls) => values.zip(nulls.iter()).map(|(value, valid)| valid.then_some(value)).collect(),
    }
}

fn without_nulls(cells: Vec<Option<i64>>) -> (Vec<i64>, Option<NullBuffer>) {
    let nulls = cells.contains(&None).then(|| NullBuffer::from_iter(cells.iter().map(Option::is_some)));
    (cells.into_iter().map(Option::unwrap_or_default).collect(), nulls)
}
