//! The accumulators of an operator with the cells of all its groups, under slots that the caller gives out.
//!
//! Not here: which rows make a group (`groups.rs` by keys, `operators/sessions.rs` by keys and gaps).

use crate::aggregate::fused::{Fold, fold_rows};
use crate::aggregate::{Accumulator, Cells, Prepared, Slots, View};
use crate::error::Result;
use arrow::array::ArrayRef;
use std::ops::Range;

/// See the module.
#[derive(Debug)]
pub struct CellStore {
    /// The words of a group without rows.
    start: Vec<u64>,
    cells: Vec<u64>,
    accumulators: Vec<Box<dyn Accumulator>>,
    groups: usize,
}

impl Clone for CellStore {
    fn clone(&self) -> Self {
        Self {
            start: self.start.clone(),
            cells: self.cells.clone(),
            accumulators: self.accumulators.iter().map(|accumulator| accumulator.boxed()).collect(),
            groups: self.groups,
        }
    }
}

impl CellStore {
    /// Empty accumulators like these.
    pub fn new(accumulators: &[Box<dyn Accumulator>]) -> Self {
        let mut start = Vec::new();
        for accumulator in accumulators {
            let at = start.len();
            start.resize(at + accumulator.width(), 0);
            accumulator.start(&mut start[at..]);
        }
        let accumulators = accumulators.iter().map(|accumulator| accumulator.boxed()).collect();
        Self { start, cells: Vec::new(), accumulators, groups: 0 }
    }

    /// Fills the cells of new groups.
    pub fn grow(&mut self, groups: usize) {
        self.groups = groups;
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

    /// Takes raw rows; `slots` are those of the rows `chunk`, all below the number of groups.
    pub fn update(&mut self, slots: Slots<'_>, inputs: &[Prepared], chunk: Range<usize>) -> Result<()> {
        if self.fold(slots, inputs, chunk.clone()) {
            return Ok(());
        }
        self.each(inputs, |accumulator, cells, prepared| {
            accumulator.update(cells, slots, prepared, chunk.clone())
        })
    }

    /// Takes raw rows in one pass if all aggregates are simple; false: nothing was done.
    fn fold(&mut self, slots: Slots<'_>, inputs: &[Prepared], chunk: Range<usize>) -> bool {
        let Slots::Each(slots) = slots else { return false };
        let accumulators = self.accumulators.iter().zip(inputs);
        let folds: Option<Vec<Fold<'_>>> =
            accumulators.map(|(accumulator, prepared)| accumulator.fold(prepared, chunk.clone())).collect();
        folds.is_some_and(|folds| fold_rows(&folds, &mut self.cells, self.start.len(), slots))
    }

    /// Takes partial rows, as [`CellStore::update`] takes raw ones.
    pub fn merge(&mut self, slots: Slots<'_>, partials: &[Prepared], chunk: Range<usize>) -> Result<()> {
        self.each(partials, |accumulator, cells, prepared| {
            accumulator.merge(cells, slots, prepared, chunk.clone())
        })
    }

    fn each(
        &mut self,
        inputs: &[Prepared],
        take: impl Fn(&mut dyn Accumulator, Cells<'_>, &Prepared) -> Result<()>,
    ) -> Result<()> {
        let (stride, mut at) = (self.start.len(), 0);
        for (accumulator, prepared) in self.accumulators.iter_mut().zip(inputs) {
            take(accumulator.as_mut(), Cells::new(&mut self.cells, stride, at), prepared)?;
            at += accumulator.width();
        }
        Ok(())
    }

    /// The partial columns of all groups.
    pub fn partial_columns(&self) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for (accumulator, view) in self.views(None) {
            columns.extend(accumulator.partial(view)?);
        }
        Ok(columns)
    }

    /// One column an aggregate, of all groups or those of `chosen`.
    pub fn result_columns(&self, chosen: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        self.views(chosen).map(|(accumulator, view)| accumulator.finish(view)).collect()
    }

    /// Each accumulator with its cells.
    pub fn views<'a>(
        &'a self,
        chosen: Option<&'a [u32]>,
    ) -> impl Iterator<Item = (&'a dyn Accumulator, View<'a>)> {
        let (stride, groups, mut next) = (self.start.len(), self.groups, 0);
        self.accumulators.iter().map(move |accumulator| {
            let at = next;
            next += accumulator.width();
            (accumulator.as_ref(), View { words: &self.cells, stride, at, groups, chosen })
        })
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let outside: usize = self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum();
        self.cells.capacity() * 8 + outside
    }
}
