//! `first` and `last` in logical order (time, input, split, position), whatever order rows come in. Nulls are values.

use super::rows::RowType;
use super::words::WordType;
use super::{
    Accumulator, Cells, Input, OrderColumns, Prepared, Slots, Source, Values, View, for_each_counted, valid,
};
use crate::error::{EngineError, Result};
use arrow::array::{ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as Arrow, Int64Type, UInt64Type};
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// Words: state, time, source, position, value.
const WORDS: usize = 5;
const NONE: u64 = 0;
const NULL: u64 = 1;
const VALUE: u64 = 2;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    First,
    Last,
}

/// The accumulator for a column type.
pub fn accumulator(input: &DataType, end: End) -> Result<Box<dyn Accumulator>> {
    let kind = match WordType::of(input) {
        Some(word_type) => Kind::Word(word_type),
        None => Kind::Row { row_type: RowType::of(input)?, values: Vec::new(), bytes: 0 },
    };
    Ok(Box::new(FirstLast { kind, end }))
}

#[derive(Clone, Debug)]
struct FirstLast {
    kind: Kind,
    end: End,
}

/// Where the value lies.
#[derive(Clone, Debug)]
enum Kind {
    Word(WordType),
    Row { row_type: RowType, values: Vec<Box<[u8]>>, bytes: usize },
}

impl FirstLast {
    fn values(&self, column: &ArrayRef) -> Result<Values> {
        Ok(match &self.kind {
            Kind::Word(word_type) => Values::Words(word_type.encode(column)?),
            Kind::Row { row_type, .. } => Values::Rows(row_type.encode(column)?),
        })
    }

    fn take(
        &mut self,
        cells: &mut Cells<'_>,
        slot: usize,
        order: [i64; 3],
        null: bool,
        values: &Values,
        row: usize,
    ) {
        let words = cells.group::<WORDS>(slot);
        let held = [words[1] as i64, words[2] as i64, words[3] as i64];
        let better = match self.end {
            _ if words[0] == NONE => true,
            End::First => order < held,
            End::Last => order > held,
        };
        if !better {
            return;
        }
        words[0] = if null { NULL } else { VALUE };
        words[1..4].copy_from_slice(&order.map(|word| word as u64));
        match (&mut self.kind, values) {
            (Kind::Word(_), Values::Words(values)) => words[4] = values[row] as u64,
            (Kind::Row { values: held, bytes, .. }, Values::Rows(rows)) => {
                let data = rows.row(row);
                *bytes += data.data().len();
                *bytes -= std::mem::replace(&mut held[slot], data.data().into()).len();
            }
            _ => {}
        }
    }

    fn states(view: View<'_>, is: impl Fn(u64) -> bool) -> NullBuffer {
        NullBuffer::from_iter(view.column(0).into_iter().map(is))
    }
}

impl Accumulator for FirstLast {
    fn width(&self) -> usize {
        WORDS
    }

    fn grow(&mut self, groups: usize) {
        if let Kind::Row { values, .. } = &mut self.kind {
            values.resize(groups, Box::default());
        }
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let order =
            input.order.ok_or_else(|| EngineError::internal("first or last", "its input has no order"))?;
        let values = self.values(input.column()?)?;
        Ok(Prepared {
            values,
            counts: input.filtered(),
            valid: valid(input.column()?),
            order: Some(order.clone()),
        })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Some(order) = &prepared.order else { return Ok(()) };
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let null = prepared.valid.as_ref().is_some_and(|valid| !valid.value(row));
            self.take(&mut cells, slots.slot(chunk_row), order.row(row), null, &prepared.values, row);
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        let value = match &self.kind {
            Kind::Word(word_type) => word_type.arrow(),
            Kind::Row { row_type, .. } => row_type.arrow(),
        };
        vec![
            ("time", Arrow::Int64),
            ("source", Arrow::UInt64),
            ("position", Arrow::UInt64),
            ("value", value.clone()),
        ]
    }

    /// A group without rows has a null position.
    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let has_row = Some(Self::states(view, |state| state != NONE));
        let time = Int64Array::new(view.signed(1).into(), None);
        let source = UInt64Array::from(view.column(2));
        let position = UInt64Array::new(view.column(3).into(), has_row);
        Ok(vec![Arc::new(time), Arc::new(source), Arc::new(position), self.finish(view)?])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        let (time, source) =
            (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<UInt64Type>());
        let order = OrderColumns {
            time: Some(time.values().clone()),
            source: Source::Each(source.values().clone()),
            position: columns[2].as_primitive::<UInt64Type>().values().clone(),
        };
        let counts = valid(&columns[2]);
        Ok(Prepared {
            values: self.values(&columns[3])?,
            counts,
            valid: valid(&columns[3]),
            order: Some(order),
        })
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
        match &self.kind {
            Kind::Word(word_type) => {
                let nulls = Self::states(view, |state| state == VALUE);
                word_type.decode(view.signed(4), Some(nulls))
            }
            Kind::Row { row_type, values, .. } => {
                let values = view.slots().map(|slot| &values[slot]).zip(view.column(0));
                row_type.decode(values.map(|(value, state)| (state == VALUE).then_some(value.as_ref())))
            }
        }
    }

    fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Word(_) => 0,
            Kind::Row { values, bytes, .. } => bytes + values.capacity() * size_of::<Box<[u8]>>(),
        }
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
