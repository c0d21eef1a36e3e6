//! `shift(n)`: the value that the key had n rows before; where it had none, null or the fill value.
//!
//! `diff` and `pct_change` are made of it by the planner. State: the last n values of each key.

use super::cells::CellType;
use super::{Kept, Rows, Running, column};
use crate::error::Result;
use arrow::array::ArrayRef;
use std::collections::VecDeque;

/// See the module.
#[derive(Clone, Debug)]
pub struct Shift<C: CellType> {
    cells: C,
    rows: usize,
    /// By key: its last values, oldest first.
    last: Vec<VecDeque<Option<C::Cell>>>,
}

impl<C: CellType> Shift<C> {
    pub fn boxed(cells: C, rows: usize) -> Box<dyn Running> {
        Box::new(Self { cells, rows, last: Vec::new() })
    }
}

impl<C: CellType> Running for Shift<C> {
    fn evaluate(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        self.last.resize_with(self.last.len().max(rows.keys), VecDeque::new);
        let cells = rows.cells(&self.cells)?;
        let mut fill = rows.fill.map(|column| self.cells.cells(column)).transpose()?;
        let mut answers = Vec::with_capacity(cells.len());
        for (row, (slot, cell)) in rows.slots.iter().zip(cells).enumerate() {
            let Some(last) = self.last.get_mut(*slot as usize) else { continue };
            last.push_back(cell);
            answers.push(if last.len() > self.rows {
                last.pop_front().flatten()
            } else {
                fill.as_mut().and_then(|fill| fill.get_mut(row)?.take())
            });
        }
        self.cells.column(answers)
    }

    fn kept(&self) -> Result<Kept> {
        let (mut slots, mut values) = (Vec::new(), Vec::new());
        for (slot, last) in (0u32..).zip(&self.last) {
            slots.extend(std::iter::repeat_n(slot, last.len()));
            values.extend(last.iter().cloned());
        }
        Ok(Kept { slots, columns: vec![("value", self.cells.column(values)?)] })
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (slot, value) in slots.iter().zip(self.cells.cells(column(columns, 0)?)?) {
            let slot = *slot as usize;
            self.last.resize_with(self.last.len().max(slot + 1), VecDeque::new);
            if let Some(last) = self.last.get_mut(slot) {
                last.push_back(value);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let held: usize = self.last.iter().map(VecDeque::capacity).sum();
        held * size_of::<Option<C::Cell>>() + self.last.capacity() * size_of::<VecDeque<C::Cell>>()
    }

    fn boxed(&self) -> Box<dyn Running> {
        Box::new(self.clone())
    }
}
