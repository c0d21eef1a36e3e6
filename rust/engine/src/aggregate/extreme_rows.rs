//! `min` and `max` of strings, binaries, decimals and categoricals (by text), one boxed row a group.

use super::extreme::End;
use super::rows::RowType;
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, valid};
use crate::error::Result;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::DataType;
use std::ops::Range;

/// See the module.
#[derive(Clone, Debug)]
pub struct ExtremeRows {
    row_type: RowType,
    end: End,
    best: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

impl ExtremeRows {
    /// # Errors
    /// A type without row format.
    pub fn new(input: &DataType, end: End) -> Result<Self> {
        Ok(Self { row_type: RowType::of(input)?, end, best: Vec::new(), bytes: 0 })
    }
}

impl Accumulator for ExtremeRows {
    fn grow(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        Ok(Prepared {
            values: Values::Rows(self.row_type.encode(input.column()?)?),
            counts: input.counted(),
            ..Prepared::default()
        })
    }

    fn update(
        &mut self,
        _cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Rows(rows) = &prepared.values else { return Ok(()) };
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let row = rows.row(row);
            let best = &mut self.best[slots.slot(chunk_row)];
            let better = match (&best, self.end) {
                (None, _) => true,
                (Some(best), End::Min) => row.data() < best.as_ref(),
                (Some(best), End::Max) => row.data() > best.as_ref(),
            };
            if better {
                self.bytes += row.data().len();
                self.bytes -= best.replace(row.data().into()).map_or(0, |old| old.len());
            }
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("value", self.row_type.arrow().clone())]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(view)?])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        let values = Values::Rows(self.row_type.encode(&columns[0])?);
        Ok(Prepared { values, counts: valid(&columns[0]), ..Prepared::default() })
    }

    fn merge(
        &mut self,
        cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        self.update(cells, slots, prepared, range)
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        self.row_type.decode(view.slots().map(|slot| self.best[slot].as_deref()))
    }

    fn bytes(&self) -> usize {
        self.bytes + self.best.capacity() * size_of::<Option<Box<[u8]>>>()
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
