//! How many rows of a slice are still to be left out and to be emitted: shared by `head` and `earliest`.

use crate::error::{EngineError, Result};
use crate::state::{Scope, StateTable};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::UInt64Type;
use std::sync::Arc;

/// Name of its state table.
pub const COUNTS: &str = "counts";

/// The two counts.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    skip: u64,
    left: u64,
}

impl Wanted {
    /// Leaves out `offset` rows, then wants `rows`.
    pub fn new(offset: u64, rows: u64) -> Self {
        Self { skip: offset, left: rows }
    }

    /// True if no row is wanted any more.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// How many of the next rows matter, left out or not.
    pub fn rows(&self) -> usize {
        usize::try_from(self.skip.saturating_add(self.left)).unwrap_or(usize::MAX)
    }

    /// Counts the next rows and gives back those to emit, if any. No copy.
    pub fn take(&mut self, records: &RecordBatch) -> Option<RecordBatch> {
        let rows = records.num_rows();
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rows);
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rows - skipped);
        self.skip -= skipped as u64;
        self.left -= taken as u64;
        (taken > 0).then(|| records.slice(skipped, taken))
    }

    /// As state.
    ///
    /// # Errors
    /// None but bugs.
    pub fn table(&self) -> Result<StateTable> {
        let counts = [("skip", self.skip), ("left", self.left)];
        let counts = counts.map(|(name, count)| (name, Arc::new(UInt64Array::from(vec![count])) as ArrayRef));
        Ok(StateTable {
            name: COUNTS.into(),
            scope: Scope::Single,
            keys: 0,
            rows: RecordBatch::try_from_iter(counts)?,
        })
    }

    /// From [`Wanted::table`].
    ///
    /// # Errors
    /// A table of another form.
    pub fn restored(table: &StateTable) -> Result<Self> {
        let count = |name: &str| {
            let column = table.rows.column_by_name(name)?.as_primitive_opt::<UInt64Type>()?;
            column.values().first().copied()
        };
        match (count("skip"), count("left")) {
            (Some(skip), Some(left)) => Ok(Self { skip, left }),
            _ => Err(EngineError::internal("head", "its state has no counts")),
        }
    }
}
