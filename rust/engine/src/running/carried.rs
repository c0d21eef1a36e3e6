//! Functions that carry a value of the key on: `forward_fill`, `first`, `rle_id`.

use super::cells::{CellType, Flags, Integers};
use super::stepwise::Step;
use super::{column, number};
use crate::error::Result;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

/// `forward_fill(limit)`: the last value, for at most so many nulls in a row.
#[derive(Clone, Debug)]
pub struct ForwardFill<C: CellType> {
    pub cells: C,
    pub limit: Option<u64>,
}

impl<C: CellType> Step for ForwardFill<C> {
    type In = C;
    type Out = C;
    /// The last value, and how many nulls came since.
    type State = (Option<C::Cell>, i64);

    fn input(&self) -> &C {
        &self.cells
    }

    fn output(&self) -> &C {
        &self.cells
    }

    fn step(&self, state: &mut Self::State, value: Option<&C::Cell>, _time: i64) -> Option<C::Cell> {
        match value {
            Some(_) => *state = (value.cloned(), 0),
            None => {
                state.1 += 1;
                if self.limit.is_some_and(|limit| state.1.unsigned_abs() > limit) {
                    return None;
                }
            }
        }
        state.0.clone()
    }

    fn encode(&self, states: &[Self::State]) -> Result<Vec<(&'static str, ArrayRef)>> {
        let values = states.iter().map(|(value, _)| value.clone()).collect();
        let nulls = Int64Array::from_iter_values(states.iter().map(|(_, nulls)| *nulls));
        Ok(vec![("value", self.cells.column(values)?), ("nulls", Arc::new(nulls))])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let values = self.cells.cells(column(columns, 0)?)?;
        Ok(values.into_iter().zip(number::<Int64Type>(columns, 1)?).collect())
    }
}

/// `first().over(key)`: the value of the key's first row, null or not.
#[derive(Clone, Debug)]
pub struct First<C: CellType> {
    pub cells: C,
}

impl<C: CellType> Step for First<C> {
    type In = C;
    type Out = C;
    /// `None`: no row yet.
    type State = Option<Option<C::Cell>>;

    fn input(&self) -> &C {
        &self.cells
    }

    fn output(&self) -> &C {
        &self.cells
    }

    fn step(&self, state: &mut Self::State, value: Option<&C::Cell>, _time: i64) -> Option<C::Cell> {
        state.get_or_insert_with(|| value.cloned()).clone()
    }

    fn encode(&self, states: &[Self::State]) -> Result<Vec<(&'static str, ArrayRef)>> {
        let values = states.iter().map(|state| state.clone().flatten()).collect();
        let seen = states.iter().map(|state| Some(state.is_some())).collect();
        Ok(vec![("value", self.cells.column(values)?), ("seen", Flags.column(seen)?)])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let seen = Flags.cells(column(columns, 1)?)?.into_iter().map(|seen| seen.unwrap_or(false));
        let values = self.cells.cells(column(columns, 0)?)?;
        Ok(values.into_iter().zip(seen).map(|(value, seen)| seen.then_some(value)).collect())
    }
}

/// `rle_id()`: counts the changes of the value; null equals null.
#[derive(Clone, Debug)]
pub struct RunNumber<C: CellType> {
    pub cells: C,
    pub output: Integers,
}

impl<C: CellType> Step for RunNumber<C>
where
    C::Cell: PartialEq,
{
    type In = C;
    type Out = Integers;
    /// Number of the run (-1: no row yet) and its value.
    type State = Run<C::Cell>;

    fn input(&self) -> &C {
        &self.cells
    }

    fn output(&self) -> &Integers {
        &self.output
    }

    fn step(&self, run: &mut Self::State, value: Option<&C::Cell>, _time: i64) -> Option<i64> {
        match &mut run.number {
            Some(number) if run.value.as_ref() != value => {
                *number += 1;
                run.value = value.cloned();
            }
            Some(_) => {}
            None => *run = Run { number: Some(0), value: value.cloned() },
        }
        run.number
    }

    fn compares(&self) -> bool {
        true
    }

    fn encode(&self, states: &[Self::State]) -> Result<Vec<(&'static str, ArrayRef)>> {
        let values = states.iter().map(|run| run.value.clone()).collect();
        let numbers = states.iter().map(|run| run.number).collect();
        let numbers = Integers(DataType::Int64).column(numbers)?;
        Ok(vec![("value", self.cells.column(values)?), ("run", numbers)])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let numbers = super::numbers::<Int64Type>(columns, 1)?;
        let values = self.cells.cells(column(columns, 0)?)?;
        Ok(values.into_iter().zip(numbers).map(|(value, number)| Run { number, value }).collect())
    }
}

/// See [`RunNumber`].
#[derive(Clone, Debug)]
pub struct Run<C> {
    number: Option<i64>,
    value: Option<C>,
}

impl<C> Default for Run<C> {
    fn default() -> Self {
        Self { number: None, value: None }
    }
}
