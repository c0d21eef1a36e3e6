//! Groups: keys with their accumulators, in one window or pane. A checkpoint reads a shared copy.

use super::keys::{KeyType, Keys, PreparedKeys};
use crate::aggregate::fused::{Fold, fold_rows};
use crate::aggregate::words::widened_words;
use crate::aggregate::{Accumulator, CHUNK_ROWS, Cells, Prepared, Slots, View};
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
    /// The words of a group without rows.
    start: Vec<u64>,
    cells: Vec<u64>,
    accumulators: Vec<Box<dyn Accumulator>>,
    slots: Vec<u32>,
    rows: u64,
}

impl Clone for Groups {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            start: self.start.clone(),
            cells: self.cells.clone(),
            accumulators: self.accumulators.iter().map(|accumulator| accumulator.boxed()).collect(),
            slots: Vec::new(),
            rows: self.rows,
        }
    }
}

impl Groups {
    pub fn new(group_type: &GroupType) -> Self {
        let mut start = Vec::new();
        for accumulator in &group_type.accumulators {
            let at = start.len();
            start.resize(at + accumulator.width(), 0);
            accumulator.start(&mut start[at..]);
        }
        let accumulators = group_type.accumulators.iter().map(|accumulator| accumulator.boxed()).collect();
        let mut groups = Self {
            keys: Keys::new(&group_type.keys),
            start,
            cells: Vec::new(),
            accumulators,
            slots: Vec::new(),
            rows: 0,
        };
        groups.grow();
        groups
    }

    /// Takes raw rows.
    pub fn update(&mut self, keys: &PreparedKeys, inputs: &[Prepared], rows: Range<usize>) -> Result<()> {
        self.add(keys, inputs, rows, true, |accumulator, cells, slots, prepared, chunk| {
            accumulator.update(cells, slots, prepared, chunk)
        })
    }

    /// The slots of the rows taken last; at most [`CHUNK_ROWS`] rows at a time.
    pub fn last_slots(&self) -> &[u32] {
        &self.slots
    }

    /// Takes partial rows.
    pub fn merge(&mut self, keys: &PreparedKeys, partials: &[Prepared], rows: Range<usize>) -> Result<()> {
        self.add(keys, partials, rows, false, |accumulator, cells, slots, prepared, chunk| {
            accumulator.merge(cells, slots, prepared, chunk)
        })
    }

    fn add(
        &mut self,
        keys: &PreparedKeys,
        inputs: &[Prepared],
        rows: Range<usize>,
        raw: bool,
        take: impl Fn(&mut dyn Accumulator, Cells<'_>, Slots<'_>, &Prepared, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        self.rows += rows.len() as u64;
        let mut start = rows.start;
        while start < rows.end {
            let chunk = start..rows.end.min(start + CHUNK_ROWS);
            start = chunk.end;
            let mut slots = std::mem::take(&mut self.slots);
            self.keys.slots(keys, chunk.clone(), &mut slots);
            self.grow();
            let chunk_slots = if let PreparedKeys::None = keys { Slots::One } else { Slots::Each(&slots) };
            if raw && self.fold(inputs, chunk_slots, chunk.clone()) {
                self.slots = slots;
                continue;
            }
            let (stride, mut at) = (self.start.len(), 0);
            for (accumulator, prepared) in self.accumulators.iter_mut().zip(inputs) {
                let cells = Cells::new(&mut self.cells, stride, at);
                take(accumulator.as_mut(), cells, chunk_slots, prepared, chunk.clone())?;
                at += accumulator.width();
            }
            self.slots = slots;
        }
        Ok(())
    }

    /// Takes raw rows in one pass if all aggregates are simple; false: nothing was done.
    fn fold(&mut self, inputs: &[Prepared], slots: Slots<'_>, chunk: Range<usize>) -> bool {
        let Slots::Each(slots) = slots else { return false };
        let accumulators = self.accumulators.iter().zip(inputs);
        let folds: Option<Vec<Fold<'_>>> =
            accumulators.map(|(accumulator, prepared)| accumulator.fold(prepared, chunk.clone())).collect();
        folds.is_some_and(|folds| fold_rows(&folds, &mut self.cells, self.start.len(), slots))
    }

    /// Fills the cells of new groups.
    fn grow(&mut self) {
        let groups = self.keys.count();
        let stride = self.start.len();
        let held = self.cells.len();
        if stride > 0 && held < groups * stride {
            self.cells.reserve(groups * stride - held);
            while self.cells.len() < groups * stride {
                self.cells.extend_from_slice(&self.start);
            }
        }
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.grow(groups));
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
        for (accumulator, view) in self.views(None) {
            columns.extend(accumulator.partial(view)?);
        }
        Ok(columns)
    }

    /// Key columns, then one column an aggregate, of all groups or those of `chosen`.
    pub fn result_columns(&self, chosen: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        let mut columns = self.keys.columns(chosen)?;
        for (accumulator, view) in self.views(chosen) {
            columns.push(accumulator.finish(view)?);
        }
        Ok(columns)
    }

    /// The slots in logical order of the groups' first rows. The last accumulator is a `first`.
    pub fn in_order_of_appearance(&self) -> Result<Vec<u32>> {
        let columns = match self.views(None).last() {
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

    fn views<'a>(
        &'a self,
        chosen: Option<&'a [u32]>,
    ) -> impl Iterator<Item = (&'a dyn Accumulator, View<'a>)> {
        let (stride, groups, mut next) = (self.start.len(), self.len(), 0);
        self.accumulators.iter().map(move |accumulator| {
            let at = next;
            next += accumulator.width();
            (accumulator.as_ref(), View { words: &self.cells, stride, at, groups, chosen })
        })
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let outside: usize = self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum();
        self.keys.memory() + self.cells.capacity() * 8 + self.slots.capacity() * 4 + outside
    }
}
