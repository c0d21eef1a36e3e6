//! `sum` and `mean` of floats in double-double arithmetic (Knuth's two-sum), so that the answer hardly depends on the order
//! of rows. NaN and infinities are counted apart: a retraction can take them back, and nothing else is disturbed.
//! Float32 is rounded once, at the end.

use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Float64Type, UInt64Type};
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// Words: high and low part of the sum, then how many values were finite, NaN, +inf, -inf.
const WORDS: usize = 6;

/// A float sum or mean.
#[derive(Clone, Debug)]
pub struct FloatSum {
    mean: bool,
    output: Arrow,
}

impl FloatSum {
    pub fn sum(output: &DataType) -> Self {
        Self { mean: false, output: arrow_type(output) }
    }

    pub fn mean(output: &DataType) -> Self {
        Self { mean: true, output: arrow_type(output) }
    }

    fn result(&self, [high, low, finite, nan, plus, minus]: [u64; WORDS]) -> Option<f64> {
        let (high, low) = (f64::from_bits(high), f64::from_bits(low));
        let count = finite + nan + plus + minus;
        let sum = match (nan, plus, minus) {
            _ if count == 0 => 0.0,
            (0, 0, 0) if high.is_infinite() => high,
            (0, 0, 0) => high + low,
            (0, _, 0) => f64::INFINITY,
            (0, 0, _) => f64::NEG_INFINITY,
            _ => f64::NAN,
        };
        match (self.mean, count) {
            (false, _) => Some(sum),
            (true, 0) => None,
            (true, _) => Some(sum / count as f64),
        }
    }
}

/// Adds a value to the double-double number (high, low).
fn add(words: &mut [u64; WORDS], value: f64) {
    let high = f64::from_bits(words[0]);
    let sum = high + value;
    let rounded = sum - high;
    let error = (high - (sum - rounded)) + (value - rounded);
    words[0] = sum.to_bits();
    words[1] = (f64::from_bits(words[1]) + error).to_bits();
}

fn take(words: &mut [u64; WORDS], value: f64) {
    if value.is_finite() {
        add(words, value);
        words[2] += 1;
    } else if value.is_nan() {
        words[3] += 1;
    } else {
        words[if value > 0.0 { 4 } else { 5 }] += 1;
    }
}

impl Accumulator for FloatSum {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let values = cast(input.column()?, &Arrow::Float64)?.as_primitive::<Float64Type>().values().clone();
        Ok(Prepared { values: Values::Floats(values), counts: input.counted(), ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Floats(values) = &prepared.values else { return Ok(()) };
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            take(cells.group(slots.slot(chunk_row)), values[row]);
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        let counts = ["finite", "nan", "inf", "minus_inf"].map(|name| (name, Arrow::UInt64));
        [("high", Arrow::Float64), ("low", Arrow::Float64)].into_iter().chain(counts).collect()
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let floats = (0..2).map(|index| {
            Arc::new(Float64Array::from_iter_values(view.column(index).into_iter().map(f64::from_bits)))
                as ArrayRef
        });
        let counts = (2..WORDS).map(|index| Arc::new(UInt64Array::from(view.column(index))) as ArrayRef);
        Ok(floats.chain(counts).collect())
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared { values: Values::Columns(columns.to_vec()), ..Prepared::default() })
    }

    fn merge(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Columns(columns) = &prepared.values else { return Ok(()) };
        let (high, low) =
            (columns[0].as_primitive::<Float64Type>(), columns[1].as_primitive::<Float64Type>());
        for (chunk_row, row) in range.enumerate() {
            let words = cells.group::<WORDS>(slots.slot(chunk_row));
            add(words, high.value(row));
            words[1] = (f64::from_bits(words[1]) + low.value(row)).to_bits();
            for index in 2..WORDS {
                words[index] += columns[index].as_primitive::<UInt64Type>().value(row);
            }
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let groups = view.slots().map(|slot| {
            let mut words = [0; WORDS];
            let start = slot * view.stride + view.at;
            words.copy_from_slice(&view.words[start..start + WORDS]);
            self.result(words)
        });
        Ok(if self.output == Arrow::Float32 {
            Arc::new(groups.map(|value| value.map(|value| value as f32)).collect::<Float32Array>())
        } else {
            Arc::new(groups.collect::<Float64Array>())
        })
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
