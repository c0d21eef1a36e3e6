//! `len` and `count`: rows, or values that are not null. 64 bits inside; a result that its column cannot hold is an
//! error that names the cast, never a wrap.

use super::fused::Fold;
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, words};
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{ArrayRef, UInt64Array};
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// Counts rows.
#[derive(Clone, Debug)]
pub struct Count {
    nulls_too: bool,
    counter: Counter,
}

impl Count {
    /// `len`; `text` is the user's expression.
    pub fn rows(output: &DataType, text: &str) -> Self {
        Self { nulls_too: true, counter: Counter::new(output, text) }
    }

    /// `count`.
    pub fn values(output: &DataType, text: &str) -> Self {
        Self { nulls_too: false, counter: Counter::new(output, text) }
    }
}

/// The type of a counter's result, and what to say if it is too narrow.
#[derive(Clone, Debug)]
pub struct Counter {
    output: Arrow,
    most: u64,
    text: Arc<str>,
}

impl Counter {
    pub fn new(output: &DataType, text: &str) -> Self {
        let output = arrow_type(output);
        let most = match output {
            Arrow::Int8 => i8::MAX as u64,
            Arrow::UInt8 => u64::from(u8::MAX),
            Arrow::Int16 => i16::MAX as u64,
            Arrow::UInt16 => u64::from(u16::MAX),
            Arrow::Int32 => i32::MAX as u64,
            Arrow::UInt32 => u64::from(u32::MAX),
            Arrow::Int64 => i64::MAX as u64,
            _ => u64::MAX,
        };
        Self { output, most, text: text.into() }
    }

    /// The counts as the output column.
    pub fn column(&self, counts: Vec<i64>) -> Result<ArrayRef> {
        if let Some((row, count)) =
            counts.iter().map(|count| *count as u64).enumerate().find(|(_, count)| *count > self.most)
        {
            let reason =
                format!("{count} does not fit in {}; write `.cast(pl.Int64)` behind it", self.output);
            return Err(EngineError::Data { place: self.text.to_string(), row: row as u64, reason });
        }
        if self.output == Arrow::Float64 {
            let floats = counts.iter().map(|count| *count as f64);
            return Ok(Arc::new(arrow::array::Float64Array::from_iter_values(floats)));
        }
        words::narrowed(counts, None, &self.output)
    }
}

impl Accumulator for Count {
    fn width(&self) -> usize {
        1
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let counts = if self.nulls_too { input.filtered() } else { input.counted() };
        Ok(Prepared { counts, ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        match (slots, &prepared.counts) {
            (Slots::One, None) => *cells.word(0, 0) += range.len() as u64,
            (Slots::One, Some(counts)) => {
                *cells.word(0, 0) += counts.slice(range.start, range.len()).count_set_bits() as u64;
            }
            (Slots::Each(slots), None) => slots.iter().for_each(|slot| *cells.word(*slot as usize, 0) += 1),
            (_, counts) => {
                for_each_counted(counts.as_ref(), range, |_, row| *cells.word(slots.slot(row), 0) += 1)
            }
        }
        Ok(())
    }

    fn fold<'a>(&self, prepared: &'a Prepared, _range: Range<usize>) -> Option<Fold<'a>> {
        prepared.counts.is_none().then_some(Fold::Count)
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("count", Arrow::UInt64)]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(UInt64Array::from(view.column(0)))])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared { values: Values::Words(words::widened_words(&columns[0])?), ..Prepared::default() })
    }

    fn merge(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        if let Values::Words(counts) = &prepared.values {
            for (row, count) in counts[range].iter().enumerate() {
                *cells.word(slots.slot(row), 0) += *count as u64;
            }
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        self.counter.column(view.signed(0))
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
