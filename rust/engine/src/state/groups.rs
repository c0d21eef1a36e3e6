//! Groups: keys with their accumulators, in one window or pane. A checkpoint reads a shared copy.

use super::cell_store::CellStore;
use super::keys::{KeyType, Keys, PreparedKeys};
use crate::aggregate::words::widened_words;
use crate::aggregate::{Accumulator, CHUNK_ROWS, Prepared, Slots};
use crate::error::Result;
use arrow::array::ArrayRef;
use std::ops::Range;

/// What all groups of an operator have in common.
#[derive(Debug)]
pub struct GroupType {
    pub keys: KeyType,
    pub accumulators: Vec<Box<dyn Accumulator>>,
}

/// Keyed accumulators.
#[derive(Debug)]
pub struct Groups {
    keys: Keys,
    cells: CellStore,
    slots: Vec<u32>,
    rows: u64,
}

impl Clone for Groups {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), cells: self.cells.clone(), slots: Vec::new(), rows: self.rows }
    }
}

impl Groups {
    pub fn new(group_type: &GroupType) -> Self {
        let keys = Keys::new(&group_type.keys);
        let mut cells = CellStore::new(&group_type.accumulators);
        cells.grow(keys.count());
        Self { keys, cells, slots: Vec::new(), rows: 0 }
    }

    /// Takes raw rows.
    pub fn update(&mut self, keys: &PreparedKeys, inputs: &[Prepared], rows: Range<usize>) -> Result<()> {
        self.add(keys, rows, |cells, slots, chunk| cells.update(slots, inputs, chunk))
    }

    /// The slots of the rows taken last; at most [`CHUNK_ROWS`] rows at a time.
    pub fn last_slots(&self) -> &[u32] {
        &self.slots
    }

    /// Takes partial rows.
    pub fn merge(&mut self, keys: &PreparedKeys, partials: &[Prepared], rows: Range<usize>) -> Result<()> {
        self.add(keys, rows, |cells, slots, chunk| cells.merge(slots, partials, chunk))
    }

    fn add(
        &mut self,
        keys: &PreparedKeys,
        rows: Range<usize>,
        take: impl Fn(&mut CellStore, Slots<'_>, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        self.rows += rows.len() as u64;
        let mut start = rows.start;
        while start < rows.end {
            let chunk = start..rows.end.min(start + CHUNK_ROWS);
            start = chunk.end;
            let mut slots = std::mem::take(&mut self.slots);
            self.keys.slots(keys, chunk.clone(), &mut slots);
            self.cells.grow(self.keys.count());
            let chunk_slots = if let PreparedKeys::None = keys { Slots::One } else { Slots::Each(&slots) };
            take(&mut self.cells, chunk_slots, chunk)?;
            self.slots = slots;
        }
        Ok(())
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.keys.count()
    }

    /// True without any group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows have been taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Key columns, then partial columns.
    pub fn partial_columns(&self) -> Result<Vec<ArrayRef>> {
        let mut columns = self.keys.columns(None)?;
        columns.extend(self.cells.partial_columns()?);
        Ok(columns)
    }

    /// Key columns, then one column an aggregate, of all groups or those of `chosen`.
    pub fn result_columns(&self, chosen: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        let mut columns = self.keys.columns(chosen)?;
        columns.extend(self.cells.result_columns(chosen)?);
        Ok(columns)
    }

    /// The slots in logical order of the groups' first rows. The last accumulator is a `first`.
    pub fn in_order_of_appearance(&self) -> Result<Vec<u32>> {
        let columns = match self.cells.views(None).last() {
            Some((accumulator, view)) => accumulator.partial(view)?,
            None => Vec::new(),
        };
        let places = columns.iter().take(3).map(widened_words).collect::<Result<Vec<_>>>()?;
        let mut slots: Vec<u32> = (0..self.len() as u32).collect();
        slots.sort_unstable_by(|a, b| {
            let of = |slot: u32| places.iter().map(move |words| words[slot as usize]);
            of(*a).cmp(of(*b))
        });
        Ok(slots)
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.keys.memory() + self.cells.memory() + self.slots.capacity() * 4
    }
}
