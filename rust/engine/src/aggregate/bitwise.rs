//! `bitwise_and`, `bitwise_or`, `bitwise_xor` of integers: null without values.

use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, valid, words};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// Which operation.
#[derive(Clone, Copy, Debug)]
pub enum Bits {
    And,
    Or,
    Xor,
}

/// The accumulator for a column type; `None`: it has no bits.
pub fn accumulator(input: &DataType, bits: Bits) -> Option<Box<dyn Accumulator>> {
    input.is_integer().then(|| Box::new(Bitwise { bits, dtype: arrow_type(input) }) as Box<dyn Accumulator>)
}

/// Words: bits, 1 if there is a value.
const WORDS: usize = 2;

#[derive(Clone, Debug)]
struct Bitwise {
    bits: Bits,
    dtype: Arrow,
}

impl Bitwise {
    fn has_value(view: View<'_>) -> Option<NullBuffer> {
        Some(NullBuffer::from_iter(view.column(1).into_iter().map(|seen| seen != 0)))
    }
}

impl Accumulator for Bitwise {
    fn width(&self) -> usize {
        WORDS
    }

    fn start(&self, words: &mut [u64]) {
        words.copy_from_slice(&[if let Bits::And = self.bits { u64::MAX } else { 0 }, 0]);
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let values = Values::Words(words::widened_words(input.column()?)?);
        Ok(Prepared { values, counts: input.counted(), ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Words(values) = &prepared.values else { return Ok(()) };
        let bits = self.bits;
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let [held, seen] = cells.group::<WORDS>(slots.slot(chunk_row));
            let value = values[row] as u64;
            match bits {
                Bits::And => *held &= value,
                Bits::Or => *held |= value,
                Bits::Xor => *held ^= value,
            }
            *seen = 1;
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("bits", Arrow::Int64)]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::new(view.signed(0).into(), Self::has_value(view)))])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        let values = Values::Words(words::widened_words(&columns[0])?);
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
        words::narrowed(view.signed(0), Self::has_value(view), &self.dtype)
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
