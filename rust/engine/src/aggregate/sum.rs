//! `sum` of integers, booleans and durations: wraps at the width of its result, as in Polars; of nothing it is 0.
//! Floats: `float_sum.rs`, decimals: `exact_sum.rs`.

use super::count::Counter;
use super::exact_sum::ExactSum;
use super::extreme_rows::ExtremeRows;
use super::float_sum::FloatSum;
use super::fused::Fold;
use super::{
    Accumulator, Cells, Input, Prepared, Slots, Values, View, extreme::End, for_each_counted, words,
};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// The accumulator for a column type; `None`: it has no sum.
pub fn accumulator(input: &DataType, output: &DataType, text: &str) -> Result<Option<Box<dyn Accumulator>>> {
    Ok(Some(match input {
        DataType::Boolean => {
            Box::new(IntegerSum { output: arrow_type(output), counter: Some(Counter::new(output, text)) })
        }
        DataType::Duration { .. } => Box::new(IntegerSum { output: arrow_type(output), counter: None }),
        DataType::Float32 | DataType::Float64 => Box::new(FloatSum::sum(output)),
        DataType::Decimal { .. } => Box::new(ExactSum::decimal_sum(output)),
        DataType::Null => Box::new(ExtremeRows::new(input, End::Max)?),
        other if other.is_integer() => Box::new(IntegerSum { output: arrow_type(output), counter: None }),
        _ => return Ok(None),
    }))
}

/// A wrapping 64-bit sum.
#[derive(Clone, Debug)]
struct IntegerSum {
    output: Arrow,
    /// Of booleans: the sum is a count.
    counter: Option<Counter>,
}

impl Accumulator for IntegerSum {
    fn width(&self) -> usize {
        1
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
        match (slots, &prepared.counts) {
            (Slots::Each(slots), None) => {
                for (slot, value) in slots.iter().zip(&values[range]) {
                    let sum = cells.word(*slot as usize, 0);
                    *sum = sum.wrapping_add(*value as u64);
                }
            }
            (Slots::One, None) => {
                let sum = cells.word(0, 0);
                *sum = values[range].iter().fold(*sum, |sum, value| sum.wrapping_add(*value as u64));
            }
            (_, counts) => for_each_counted(counts.as_ref(), range, |row, chunk_row| {
                let sum = cells.word(slots.slot(chunk_row), 0);
                *sum = sum.wrapping_add(values[row] as u64);
            }),
        }
        Ok(())
    }

    fn fold<'a>(&self, prepared: &'a Prepared, range: Range<usize>) -> Option<Fold<'a>> {
        prepared.all_words(range).map(Fold::Sum)
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("sum", Arrow::Int64)]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::from(view.signed(0)))])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared { values: Values::Words(words::widened_words(&columns[0])?), ..Prepared::default() })
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
        match &self.counter {
            Some(counter) => counter.column(view.signed(0)),
            None => words::narrowed(view.signed(0), None, &self.output),
        }
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
