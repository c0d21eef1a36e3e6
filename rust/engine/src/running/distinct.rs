//! `is_first_distinct()`: true for the first row of each value of a key; null is a value, NaN equals NaN, -0.0 equals 0.0.
//! State: every value that each key has had.

use super::cells::{CellType, Flags};
use super::{Kept, Rows, Running, column};
use crate::error::Result;
use arrow::array::ArrayRef;
use std::collections::HashSet;
use std::hash::Hash;

/// See the module. The cells are those of [`crate::state::canonical`] columns.
#[derive(Clone, Debug)]
pub struct FirstDistinct<C: CellType> {
    cells: C,
    seen: HashSet<(u32, Option<C::Cell>)>,
}

impl<C: CellType> FirstDistinct<C>
where
    C::Cell: Eq + Hash,
{
    pub fn boxed(cells: C) -> Box<dyn Running> {
        Box::new(Self { cells, seen: HashSet::new() })
    }
}

impl<C: CellType> Running for FirstDistinct<C>
where
    C::Cell: Eq + Hash,
{
    fn evaluate(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        let cells = rows.canonical_cells(&self.cells)?;
        let answers = rows.slots.iter().zip(cells).map(|(slot, cell)| Some(self.seen.insert((*slot, cell))));
        Flags.column(answers.collect())
    }

    fn kept(&self) -> Result<Kept> {
        let (slots, values) = self.seen.iter().cloned().unzip();
        Ok(Kept { slots, columns: vec![("value", self.cells.column(values)?)] })
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.seen.extend(slots.iter().copied().zip(self.cells.cells(column(columns, 0)?)?));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.seen.capacity() * (size_of::<(u32, Option<C::Cell>)>() + 1)
    }

    fn boxed(&self) -> Box<dyn Running> {
        Box::new(self.clone())
    }
}
