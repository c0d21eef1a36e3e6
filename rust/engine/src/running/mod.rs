//! Running functions: the answer of a row needs the earlier rows of its key. One family, one file.
//!
//! A [`Running`] holds what one function remembers of *all* keys of an operator. It takes rows in logical order, a batch at
//! a time, and gives a column: `Running::evaluate`. A key is a *slot*, a dense `u32`. What it remembers goes into
//! checkpoints as columns beside the key (`kept`), so any number of workers can take it back. Not here: how rows get into
//! logical order, and when they leave (`operators/running.rs`).

pub mod carried;
pub mod cells;
pub mod count;
pub mod distinct;
pub mod double;
pub mod ewm;
pub mod extreme;
pub mod folds;
mod make;
pub mod moments;
pub mod quantile;
pub mod rolling;
pub mod shift;
pub mod stepwise;
pub mod sum;

pub use make::function;

use crate::error::{EngineError, Result};
use crate::state::canonical::canonical;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::ArrowPrimitiveType;
use cells::CellType;
use std::fmt::Debug;

/// One function of all keys. See the module.
pub trait Running: Send + Sync + Debug {
    /// Takes rows; gives each row's answer.
    ///
    /// # Errors
    /// A counter that its type cannot hold.
    fn evaluate(&mut self, rows: &Rows<'_>) -> Result<ArrayRef>;

    /// What it remembers, for a checkpoint: any number of rows a slot, in order.
    ///
    /// # Errors
    /// None but bugs.
    fn kept(&self) -> Result<Kept>;

    /// Takes such rows back.
    ///
    /// # Errors
    /// Columns of another form.
    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// True if nothing of a key is of use for rows at or above the watermark.
    fn is_forgotten(&self, _slot: u32, _watermark: i64) -> bool {
        false
    }

    /// Only these slots stay, as 0, 1, …; called for functions that forget.
    fn renumber(&mut self, _kept: &[u32]) {}

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// A copy, for state that a checkpoint still reads.
    fn boxed(&self) -> Box<dyn Running>;
}

/// Rows in logical order, as one function sees them.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The key of each row.
    pub slots: &'a [u32],
    /// How many slots there are.
    pub keys: usize,
    /// Event times; empty without.
    pub times: &'a [i64],
    pub column: Option<&'a ArrayRef>,
    pub filter: Option<&'a ArrayRef>,
    pub fill: Option<&'a ArrayRef>,
}

impl Rows<'_> {
    /// The event time of a row, 0 without.
    pub fn time(&self, row: usize) -> i64 {
        self.times.get(row).copied().unwrap_or(0)
    }

    /// The values of the column; all null for a function without one.
    fn cells<C: CellType>(&self, cells: &C) -> Result<Vec<Option<C::Cell>>> {
        match self.column {
            Some(column) => cells.cells(column),
            None => Ok(vec![None; self.slots.len()]),
        }
    }

    /// [`Rows::cells`] with equal values made identical.
    fn canonical_cells<C: CellType>(&self, cells: &C) -> Result<Vec<Option<C::Cell>>> {
        match self.column {
            Some(column) => cells.cells(&canonical(column)?),
            None => self.cells(cells),
        }
    }

    /// The rows where the filter is true; `None`: all.
    fn counts(&self) -> Option<BooleanBuffer> {
        let filter = self.filter?.as_boolean();
        Some(match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        })
    }
}

/// Rows of a state table without their keys.
#[derive(Debug)]
pub struct Kept {
    pub slots: Vec<u32>,
    pub columns: Vec<(&'static str, ArrayRef)>,
}

/// A column of a state table.
fn column(columns: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    columns.get(index).ok_or_else(|| EngineError::internal("a running function", "state of another form"))
}

/// Numbers of a state table.
fn numbers<T: ArrowPrimitiveType>(columns: &[ArrayRef], index: usize) -> Result<Vec<Option<T::Native>>> {
    let numbers = column(columns, index)?.as_primitive_opt::<T>();
    let numbers =
        numbers.ok_or_else(|| EngineError::internal("a running function", "state of another type"))?;
    Ok(numbers.iter().collect())
}

/// Numbers of a state table that are never null.
fn number<T: ArrowPrimitiveType>(columns: &[ArrayRef], index: usize) -> Result<Vec<T::Native>> {
    Ok(numbers::<T>(columns, index)?.into_iter().map(Option::unwrap_or_default).collect())
}
