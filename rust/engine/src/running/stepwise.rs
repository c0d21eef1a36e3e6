//! Running functions that remember one small value a key and go from row to row: `cum_*`, `forward_fill`, `rle_id`, ….
//!
//! A [`Step`] says what one row does to the value of its key; [`Stepwise`] runs it over a batch and keeps the values.
//! Not here: functions that remember several rows of a key (`shift.rs`, `rolling.rs`).

use super::cells::CellType;
use super::{Kept, Rows, Running};
use crate::error::Result;
use arrow::array::ArrayRef;
use std::fmt::Debug;

/// One function over the rows of one key.
pub trait Step: Clone + Debug + Send + Sync + 'static {
    type In: CellType;
    type Out: CellType;
    /// What is remembered of a key; its default: no row yet.
    type State: Clone + Default + Debug + Send + Sync;

    fn input(&self) -> &Self::In;

    fn output(&self) -> &Self::Out;

    /// True if equal values must be identical: one zero, one NaN.
    fn compares(&self) -> bool {
        false
    }

    /// Takes the value of a row at a time; gives the row's answer.
    fn step(
        &self,
        state: &mut Self::State,
        value: Option<&<Self::In as CellType>::Cell>,
        time: i64,
    ) -> Option<<Self::Out as CellType>::Cell>;

    /// The columns of a state table.
    ///
    /// # Errors
    /// None but bugs.
    fn encode(&self, states: &[Self::State]) -> Result<Vec<(&'static str, ArrayRef)>>;

    /// The states in such columns.
    ///
    /// # Errors
    /// Columns of another form.
    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>>;
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Stepwise<S: Step> {
    step: S,
    states: Vec<S::State>,
}

impl<S: Step> Stepwise<S> {
    pub fn boxed(step: S) -> Box<dyn Running> {
        Box::new(Self { step, states: Vec::new() })
    }

    fn grow(&mut self, keys: usize) {
        if self.states.len() < keys {
            self.states.resize_with(keys, S::State::default);
        }
    }
}

impl<S: Step> Running for Stepwise<S> {
    fn evaluate(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        self.grow(rows.keys);
        let input = self.step.input();
        let cells = if self.step.compares() { rows.canonical_cells(input)? } else { rows.cells(input)? };
        let step = &self.step;
        let mut answers = Vec::with_capacity(rows.slots.len());
        for (row, (slot, cell)) in rows.slots.iter().zip(&cells).enumerate() {
            if let Some(state) = self.states.get_mut(*slot as usize) {
                answers.push(step.step(state, cell.as_ref(), rows.time(row)));
            }
        }
        step.output().column(answers)
    }

    fn kept(&self) -> Result<Kept> {
        let slots = (0..self.states.len() as u32).collect();
        Ok(Kept { slots, columns: self.step.encode(&self.states)? })
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.grow(slots.iter().max().map_or(0, |slot| *slot as usize + 1));
        for (slot, state) in slots.iter().zip(self.step.decode(columns)?) {
            if let Some(place) = self.states.get_mut(*slot as usize) {
                *place = state;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<S::State>()
    }

    fn boxed(&self) -> Box<dyn Running> {
        Box::new(self.clone())
    }
}
