//! `cum_count` and row numbers (`int_range(pl.len())`), counted in 64 bits.

use super::cells::{CellType, Counts, Integers};
use super::number;
use super::stepwise::Step;
use crate::error::Result;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

/// The number of values so far (`of_values`), or `start` plus the number of rows before.
#[derive(Clone, Debug)]
pub struct Count<C: CellType> {
    pub input: C,
    pub output: Counts,
    pub of_values: bool,
    pub start: i64,
}

impl<C: CellType> Step for Count<C> {
    type In = C;
    type Out = Counts;
    type State = i64;

    fn input(&self) -> &C {
        &self.input
    }

    fn output(&self) -> &Counts {
        &self.output
    }

    fn step(&self, count: &mut i64, value: Option<&C::Cell>, _time: i64) -> Option<i64> {
        if self.of_values {
            *count += i64::from(value.is_some());
            return Some(*count);
        }
        *count += 1;
        Some(self.start.wrapping_add(*count - 1))
    }

    fn encode(&self, states: &[i64]) -> Result<Vec<(&'static str, ArrayRef)>> {
        Ok(vec![("count", Arc::new(Int64Array::from(states.to_vec())))])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<i64>> {
        number::<Int64Type>(columns, 0)
    }
}

/// Only whether a value is there.
#[derive(Clone, Debug)]
pub struct Presence;

impl CellType for Presence {
    type Cell = ();

    fn cells(&self, column: &ArrayRef) -> Result<Vec<Option<()>>> {
        Ok(match column.logical_nulls() {
            None => vec![Some(()); column.len()],
            Some(nulls) => nulls.iter().map(|valid| valid.then_some(())).collect(),
        })
    }

    fn column(&self, cells: Vec<Option<()>>) -> Result<ArrayRef> {
        Integers(DataType::Int64).column(cells.into_iter().map(|cell| cell.map(|()| 1)).collect())
    }
}
