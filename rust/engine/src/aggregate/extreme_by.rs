//! `min_by` and `max_by`: the value where another column is least or greatest; the first in logical order among equals.
//!
//! Rows where the other column is null do not count, NaN only if there is nothing else. Nulls are values.

use super::extreme::End;
use super::rows::RowType;
use super::words::WordType;
use super::{
    Accumulator, Cells, Input, OrderColumns, Prepared, Slots, Source, Values, View, both, for_each_counted,
    valid,
};
use crate::error::Result;
use crate::state::canonical::canonical;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as Arrow, Int64Type, UInt64Type};
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// The accumulator for a column type and that of the column it is chosen by.
///
/// # Errors
/// A type without row format.
pub fn accumulator(input: &DataType, by: &DataType, end: End) -> Result<Box<dyn Accumulator>> {
    let (value_type, by) = (RowType::of(input)?, By::of(by)?);
    Ok(Box::new(ExtremeBy { value_type, by, end, best: Vec::new(), bytes: 0 }))
}

#[derive(Clone, Debug)]
struct ExtremeBy {
    value_type: RowType,
    by: By,
    end: End,
    best: Vec<Option<Best>>,
    bytes: usize,
}

/// What rows are compared by: ordered words as rows, where they fit (an `Enum` is ordered by its categories).
#[derive(Clone, Debug)]
struct By {
    words: Option<WordType>,
    rows: RowType,
}

impl By {
    fn of(dtype: &DataType) -> Result<Self> {
        let words = WordType::of(dtype);
        let rows = RowType::of(if words.is_some() { &DataType::Int64 } else { dtype })?;
        Ok(Self { words, rows })
    }

    /// The column as it is compared and sent.
    fn column(&self, by: &ArrayRef) -> Result<ArrayRef> {
        let Some(word_type) = &self.words else { return canonical(by) };
        let words = word_type.canonical(word_type.encode(by)?);
        Ok(Arc::new(Int64Array::new(words, by.logical_nulls())))
    }

    /// The rows of such a column that are NaN; `None`: none.
    fn nans(&self, column: &ArrayRef) -> Option<BooleanBuffer> {
        let nan = self.words.as_ref()?.nan()?;
        let words = column.as_primitive::<Int64Type>().values();
        words.contains(&nan).then(|| words.iter().map(|word| *word == nan).collect())
    }
}

/// The best row of a group so far.
#[derive(Clone, Debug)]
struct Best {
    by: Box<[u8]>,
    is_nan: bool,
    order: [i64; 3],
    value: Box<[u8]>,
}

impl Best {
    fn bytes(&self) -> usize {
        self.by.len() + self.value.len()
    }
}

impl ExtremeBy {
    fn prepared(
        &self,
        values: &ArrayRef,
        by: &ArrayRef,
        counts: Option<BooleanBuffer>,
        order: OrderColumns,
    ) -> Result<Prepared> {
        Ok(Prepared {
            values: Values::RowPairs(self.value_type.encode(values)?, self.by.rows.encode(by)?),
            counts,
            // Here: rows whose other column is NaN.
            valid: self.by.nans(by),
            order: Some(order),
        })
    }
}

impl Accumulator for ExtremeBy {
    fn grow(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let by = input.other()?;
        let counts = both(input.filtered(), valid(by));
        self.prepared(input.column()?, &self.by.column(by)?, counts, input.order()?.clone())
    }

    fn update(
        &mut self,
        _cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let (Values::RowPairs(values, by), Some(orders)) = (&prepared.values, &prepared.order) else {
            return Ok(());
        };
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let held = &mut self.best[slots.slot(chunk_row)];
            let is_nan = prepared.valid.as_ref().is_some_and(|nans| nans.value(row));
            let key = by.row(row).data();
            let order = orders.row(row);
            let better = held.as_ref().is_none_or(|held| {
                let by_value = match self.end {
                    End::Min => key.cmp(&held.by),
                    End::Max => held.by.as_ref().cmp(key),
                };
                is_nan.cmp(&held.is_nan).then(by_value).then(order.cmp(&held.order)).is_lt()
            });
            if better {
                let best = Best { by: key.into(), is_nan, order, value: values.row(row).data().into() };
                self.bytes += best.bytes();
                self.bytes -= held.replace(best).map_or(0, |old| old.bytes());
            }
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![
            ("time", Arrow::Int64),
            ("source", Arrow::UInt64),
            ("position", Arrow::UInt64),
            ("by", self.by.rows.arrow().clone()),
            ("value", self.value_type.arrow().clone()),
        ]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let best = || view.slots().map(|slot| self.best[slot].as_ref());
        let order = |index: usize| best().map(move |best| best.map(|best| best.order[index]));
        let unsigned = |index: usize| order(index).map(|word| word.map(|word| word as u64));
        Ok(vec![
            Arc::new(order(0).collect::<Int64Array>()),
            Arc::new(unsigned(1).collect::<UInt64Array>()),
            Arc::new(unsigned(2).collect::<UInt64Array>()),
            self.by.rows.decode(best().map(|best| best.map(|best| best.by.as_ref())))?,
            self.finish(view)?,
        ])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        let words = |index: usize| columns[index].as_primitive::<UInt64Type>().values().clone();
        let time: ScalarBuffer<i64> = columns[0].as_primitive::<Int64Type>().values().clone();
        let order = OrderColumns { time: Some(time), source: Source::Each(words(1)), position: words(2) };
        self.prepared(&columns[4], &columns[3], valid(&columns[3]), order)
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
        let best = view.slots().map(|slot| self.best[slot].as_ref());
        self.value_type.decode(best.map(|best| best.map(|best| best.value.as_ref())))
    }

    fn bytes(&self) -> usize {
        self.bytes + self.best.capacity() * size_of::<Option<Best>>()
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
