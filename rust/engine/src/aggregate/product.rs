//! `product`: of integers and booleans it wraps at the width of its result, as in Polars; of nothing it is 1.
//! Float32 is multiplied in Float64 and rounded once.

use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, words};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Float64Type};
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// The accumulator for a column type; `None`: it has no product.
pub fn accumulator(input: &DataType, output: &DataType) -> Option<Box<dyn Accumulator>> {
    let fits = *input == DataType::Boolean || input.is_integer() || input.is_float();
    fits.then(|| {
        Box::new(Product { floats: input.is_float(), output: arrow_type(output) }) as Box<dyn Accumulator>
    })
}

#[derive(Clone, Debug)]
struct Product {
    floats: bool,
    output: Arrow,
}

impl Product {
    fn values(&self, column: &ArrayRef) -> Result<Values> {
        Ok(if self.floats {
            Values::Floats(cast(column, &Arrow::Float64)?.as_primitive::<Float64Type>().values().clone())
        } else {
            Values::Words(words::widened_words(column)?)
        })
    }
}

impl Accumulator for Product {
    fn width(&self) -> usize {
        1
    }

    fn start(&self, words: &mut [u64]) {
        words.fill(if self.floats { 1_f64.to_bits() } else { 1 });
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let values = self.values(input.column()?)?;
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
            Values::Floats(values) => for_each_counted(counts, range, |row, chunk_row| {
                let word = cells.word(slots.slot(chunk_row), 0);
                *word = (f64::from_bits(*word) * values[row]).to_bits();
            }),
            Values::Words(values) => for_each_counted(counts, range, |row, chunk_row| {
                let word = cells.word(slots.slot(chunk_row), 0);
                *word = word.wrapping_mul(values[row] as u64);
            }),
            _ => {}
        }
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("product", if self.floats { Arrow::Float64 } else { Arrow::Int64 })]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        Ok(vec![if self.floats {
            Arc::new(Float64Array::from_iter_values(view.column(0).into_iter().map(f64::from_bits)))
        } else {
            Arc::new(Int64Array::from(view.signed(0)))
        }])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared { values: self.values(&columns[0])?, ..Prepared::default() })
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
        if !self.floats {
            return words::narrowed(view.signed(0), None, &self.output);
        }
        let products: ArrayRef =
            Arc::new(Float64Array::from_iter_values(view.column(0).into_iter().map(f64::from_bits)));
        Ok(if products.data_type() == &self.output { products } else { cast(&products, &self.output)? })
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
