//! `pl.cov` and `pl.corr` (Pearson): sums of two columns, their squares and products, in double-double arithmetic.
//!
//! A row counts if neither value is null. A NaN or an infinity makes the answer NaN.

use super::double_double::DoubleDouble;
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, both, for_each_counted, valid};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{ArrayRef, AsArray, Float64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Float64Type, UInt64Type};
use dataflare_plan::{AggregateOptions, DataType};
use std::ops::Range;
use std::sync::Arc;

/// Which function.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    Cov { ddof: u8 },
    Corr,
}

impl Of {
    pub fn cov(options: &AggregateOptions) -> Self {
        Self::Cov { ddof: options.ddof.unwrap_or(1) }
    }
}

/// The accumulator for two column types; `None`: one of them is no number.
pub fn accumulator(
    input: &DataType,
    other: &DataType,
    output: &DataType,
    of: Of,
) -> Option<Box<dyn Accumulator>> {
    let fits = |dtype: &DataType| dtype.is_integer() || dtype.is_float();
    (fits(input) && fits(other))
        .then(|| Box::new(Covariance { of, output: arrow_type(output) }) as Box<dyn Accumulator>)
}

#[derive(Clone, Debug)]
struct Covariance {
    of: Of,
    output: Arrow,
}

/// Words: finite pairs, other pairs, then two for each of the sums of x, y, xy, xx, yy.
const COUNTS: usize = 2;
const WORDS: usize = 12;
const NAMES: [&str; WORDS - COUNTS] =
    ["x", "x low", "y", "y low", "xy", "xy low", "xx", "xx low", "yy", "yy low"];

fn add_sums(words: &mut [u64; WORDS], sums: [DoubleDouble; 5]) {
    for (held, addend) in words[COUNTS..].chunks_exact_mut(2).zip(sums) {
        held.copy_from_slice(&(DoubleDouble::from_words([held[0], held[1]]) + addend).words());
    }
}

impl Covariance {
    fn result(&self, words: &[u64]) -> Option<f64> {
        let (count, others) = (words[0], words[1]);
        let n = count as f64;
        let free = match self.of {
            Of::Cov { ddof } => (count + others) as f64 - f64::from(ddof),
            Of::Corr => 1.0,
        };
        if free <= 0.0 {
            return None;
        }
        if others > 0 || count == 0 {
            return Some(f64::NAN);
        }
        let mut sums = words[COUNTS..].chunks_exact(2).map(|two| DoubleDouble::from_words([two[0], two[1]]));
        let mut next = || sums.next().unwrap_or_default();
        let [x, y, xy, xx, yy] = [next(), next(), next(), next(), next()];
        // n times the central moments. Less than the sums can tell apart is nothing.
        let central = |products: DoubleDouble, a: DoubleDouble, b: DoubleDouble, noise: f64| {
            let moment = (products - a.over(n) * b).value();
            if moment.abs() <= noise * n * 2_f64.powi(-98) { 0.0 } else { moment }
        };
        let covariance = central(xy, x, y, (xx.high * yy.high).sqrt());
        Some(match self.of {
            Of::Cov { .. } => covariance / free,
            Of::Corr => covariance / (central(xx, x, x, xx.high).sqrt() * central(yy, y, y, yy.high).sqrt()),
        })
    }
}

impl Accumulator for Covariance {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let floats = |column: &ArrayRef| {
            Ok::<_, crate::EngineError>(
                cast(column, &Arrow::Float64)?.as_primitive::<Float64Type>().values().clone(),
            )
        };
        let other = input.other()?;
        Ok(Prepared {
            values: Values::FloatPairs(floats(input.column()?)?, floats(other)?),
            counts: both(input.counted(), valid(other)),
            ..Prepared::default()
        })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::FloatPairs(xs, ys) = &prepared.values else { return Ok(()) };
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let words = cells.group::<WORDS>(slots.slot(chunk_row));
            let (x, y) = (xs[row], ys[row]);
            if !(x.is_finite() && y.is_finite()) {
                words[1] += 1;
                return;
            }
            words[0] += 1;
            let product = DoubleDouble::product;
            add_sums(
                words,
                [DoubleDouble::new(x), DoubleDouble::new(y), product(x, y), product(x, x), product(y, y)],
            );
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        let counts = [("finite", Arrow::UInt64), ("other", Arrow::UInt64)];
        counts.into_iter().chain(NAMES.map(|name| (name, Arrow::Float64))).collect()
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let counts = (0..COUNTS).map(|index| Arc::new(UInt64Array::from(view.column(index))) as ArrayRef);
        let sums = (COUNTS..WORDS).map(|index| {
            let floats = view.column(index).into_iter().map(f64::from_bits);
            Arc::new(Float64Array::from_iter_values(floats)) as ArrayRef
        });
        Ok(counts.chain(sums).collect())
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
        for (chunk_row, row) in range.enumerate() {
            let words = cells.group::<WORDS>(slots.slot(chunk_row));
            for index in 0..COUNTS {
                words[index] += columns[index].as_primitive::<UInt64Type>().value(row);
            }
            let float = |index: usize| columns[COUNTS + index].as_primitive::<Float64Type>().value(row);
            let sums =
                [0, 1, 2, 3, 4].map(|sum| DoubleDouble { high: float(2 * sum), low: float(2 * sum + 1) });
            add_sums(words, sums);
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let results =
            view.slots().map(|slot| self.result(&view.words[slot * view.stride + view.at..][..WORDS]));
        let results: ArrayRef = Arc::new(results.collect::<Float64Array>());
        Ok(if results.data_type() == &self.output { results } else { cast(&results, &self.output)? })
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
