//! `cum_min` and `cum_max`, by the order of the values: NaN gives way to any number, nulls are passed over and stay null.

use super::cells::{CellType, Words};
use super::column;
use super::stepwise::Step;
use crate::error::Result;
use arrow::array::ArrayRef;

/// See the module. `nan`: the cell of NaN, of floats.
#[derive(Clone, Debug)]
pub struct Extreme<C: CellType> {
    pub cells: C,
    pub is_max: bool,
    pub nan: Option<C::Cell>,
}

impl Extreme<Words> {
    /// Of a type of at most 64 bits.
    pub fn of_words(cells: Words, is_max: bool) -> Self {
        Self { nan: cells.0.nan(), cells, is_max }
    }
}

impl<C: CellType> Step for Extreme<C>
where
    C::Cell: Ord,
{
    type In = C;
    type Out = C;
    type State = Option<C::Cell>;

    fn input(&self) -> &C {
        &self.cells
    }

    fn output(&self) -> &C {
        &self.cells
    }

    fn step(&self, best: &mut Option<C::Cell>, value: Option<&C::Cell>, _time: i64) -> Option<C::Cell> {
        let value = value?;
        let is_nan = |cell: &C::Cell| self.nan.as_ref() == Some(cell);
        let is_better = match best {
            None => true,
            Some(best) if is_nan(best) => !is_nan(value),
            Some(best) => !is_nan(value) && if self.is_max { value > best } else { value < best },
        };
        if is_better {
            *best = Some(value.clone());
        }
        best.clone()
    }

    fn encode(&self, states: &[Option<C::Cell>]) -> Result<Vec<(&'static str, ArrayRef)>> {
        Ok(vec![("extreme", self.cells.column(states.to_vec())?)])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Option<C::Cell>>> {
        self.cells.cells(column(columns, 0)?)
    }
}
