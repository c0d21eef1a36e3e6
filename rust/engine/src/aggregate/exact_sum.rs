//! Sums in 128 bits: `sum` of decimals, `mean` of integers, booleans, decimals, dates and times. Exact until the division.

use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, words};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Decimal128Type, UInt64Type};
use dataflare_plan::{DataType, TimeUnit};
use std::ops::Range;
use std::sync::Arc;

/// Words: lower and upper half of the sum, number of values.
const WORDS: usize = 3;

/// What becomes of the sum.
#[derive(Clone, Debug)]
enum Finish {
    DecimalSum,
    /// sum / (count * divisor).
    Float {
        divisor: f64,
    },
    /// sum * factor / count, cut towards zero.
    Time {
        factor: i128,
    },
}

/// A 128-bit sum with its count.
#[derive(Clone, Debug)]
pub struct ExactSum {
    finish: Finish,
    output: Arrow,
}

impl ExactSum {
    /// The sum of a decimal column.
    pub fn decimal_sum(output: &DataType) -> Self {
        Self { finish: Finish::DecimalSum, output: arrow_type(output) }
    }

    /// The mean of a column that is not float; `None`: it has no mean.
    pub fn mean(input: &DataType, output: &DataType) -> Option<Self> {
        let finish = match input {
            DataType::Boolean => Finish::Float { divisor: 1.0 },
            DataType::Decimal { scale, .. } => Finish::Float { divisor: 10_f64.powi(i32::from(*scale)) },
            DataType::Date => {
                let day = 86_400_000_000_000;
                let tick = if let DataType::Datetime { unit, .. } = output {
                    unit.nanoseconds()
                } else {
                    TimeUnit::Microseconds.nanoseconds()
                };
                Finish::Time { factor: i128::from(if *output == DataType::Date { 1 } else { day / tick }) }
            }
            DataType::Time | DataType::Datetime { .. } | DataType::Duration { .. } => {
                Finish::Time { factor: 1 }
            }
            other if other.is_integer() => Finish::Float { divisor: 1.0 },
            _ => return None,
        };
        Some(Self { finish, output: arrow_type(output) })
    }

    fn sums(view: View<'_>) -> impl Iterator<Item = i128> {
        view.column(0)
            .into_iter()
            .zip(view.column(1))
            .map(|(low, high)| ((u128::from(high) << 64) | u128::from(low)) as i128)
    }
}

fn add(words: &mut [u64; WORDS], value: i128, count: u64) {
    let sum = (u128::from(words[1]) << 64 | u128::from(words[0])).wrapping_add(value as u128);
    *words = [sum as u64, (sum >> 64) as u64, words[2] + count];
}

impl Accumulator for ExactSum {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let column = input.column()?;
        let values = match column.data_type() {
            Arrow::Decimal128(..) => Values::Wide(column.as_primitive::<Decimal128Type>().values().clone()),
            Arrow::UInt64 => {
                let values = column.as_primitive::<UInt64Type>().values();
                Values::Wide(values.iter().map(|value| i128::from(*value)).collect())
            }
            _ => Values::Words(words::widened_words(column)?),
        };
        Ok(Prepared { values, counts: input.counted(), ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let counts = prepared.counts.as_ref();
        match &prepared.values {
            Values::Words(values) => for_each_counted(counts, range, |row, chunk_row| {
                add(cells.group(slots.slot(chunk_row)), i128::from(values[row]), 1);
            }),
            Values::Wide(values) => for_each_counted(counts, range, |row, chunk_row| {
                add(cells.group(slots.slot(chunk_row)), values[row], 1);
            }),
            _ => {}
        }
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("sum", Arrow::Decimal128(38, 0)), ("count", Arrow::UInt64)]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let sums = Decimal128Array::from_iter_values(Self::sums(view)).with_precision_and_scale(38, 0)?;
        Ok(vec![Arc::new(sums), Arc::new(UInt64Array::from(view.column(2)))])
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
        let (sums, counts) =
            (columns[0].as_primitive::<Decimal128Type>(), columns[1].as_primitive::<UInt64Type>());
        for (chunk_row, row) in range.enumerate() {
            add(cells.group(slots.slot(chunk_row)), sums.value(row), counts.value(row));
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let groups = Self::sums(view).zip(view.column(2));
        let has_rows = || Some(NullBuffer::from_iter(view.column(2).into_iter().map(|count| count > 0)));
        match &self.finish {
            Finish::DecimalSum => {
                let sums: Decimal128Array = Self::sums(view).map(Some).collect();
                Ok(match self.output {
                    Arrow::Decimal128(precision, scale) => {
                        Arc::new(sums.with_precision_and_scale(precision, scale)?)
                    }
                    _ => cast(&(Arc::new(sums) as ArrayRef), &self.output)?,
                })
            }
            Finish::Float { divisor } => {
                let means =
                    groups.map(|(sum, count)| (count > 0).then(|| sum as f64 / divisor / count as f64));
                let means: ArrayRef = Arc::new(means.collect::<Float64Array>());
                Ok(if means.data_type() == &self.output { means } else { cast(&means, &self.output)? })
            }
            Finish::Time { factor } => {
                let means = groups.map(|(sum, count)| (sum * factor / i128::from(count.max(1))) as i64);
                words::narrowed(means.collect(), has_rows(), &self.output)
            }
        }
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
