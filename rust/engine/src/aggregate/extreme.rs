//! `min` and `max` of values that fit in a word. Nulls do not count; NaN only if there is nothing else.
//!
//! A group starts at the far end of `i64`; a second word tells such a value from none, and is only written for it.

use super::extreme_rows::ExtremeRows;
use super::fused::Fold;
use super::words::WordType;
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, valid};
use crate::error::Result;
use arrow::array::ArrayRef;
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::DataType;
use std::ops::Range;

/// Which extreme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Min,
    Max,
}

/// The accumulator for a column type; `None`: it has neither.
pub fn accumulator(input: &DataType, end: End) -> Result<Option<Box<dyn Accumulator>>> {
    if let Some(word_type) = WordType::of(input) {
        return Ok(Some(Box::new(Extreme { word_type, end })));
    }
    Ok(match input {
        DataType::List(_) | DataType::Array { .. } | DataType::Struct(_) => None,
        _ => Some(Box::new(ExtremeRows::new(input, end)?)),
    })
}

#[derive(Clone, Debug)]
struct Extreme {
    word_type: WordType,
    end: End,
}

impl Extreme {
    /// What a group without values holds.
    fn empty(&self) -> i64 {
        match self.end {
            End::Min => i64::MAX,
            End::Max => i64::MIN,
        }
    }

    /// NaN loses against everything, so for `max` its word moves to the low end.
    fn nan_words(&self) -> Option<(i64, i64)> {
        self.word_type.nan().filter(|_| self.end == End::Max).map(|nan| (nan, i64::MIN + 1))
    }

    fn words(&self, column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
        let words = self.word_type.encode(column)?;
        Ok(match self.nan_words() {
            None => words,
            Some((nan, low)) => words.iter().map(|word| if *word == nan { low } else { *word }).collect(),
        })
    }

    fn take_rows<const MAX: bool>(
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        values: &[i64],
        prepared: &Prepared,
        range: Range<usize>,
    ) {
        let better = |a: i64, b: i64| if MAX { a.max(b) } else { a.min(b) };
        let empty = if MAX { i64::MIN } else { i64::MAX };
        match (slots, &prepared.counts) {
            (Slots::Each(slots), None) => {
                for (slot, value) in slots.iter().zip(&values[range]) {
                    let [best, seen] = cells.group::<2>(*slot as usize);
                    *best = better(*best as i64, *value) as u64;
                    if *value == empty {
                        *seen = 1;
                    }
                }
            }
            (Slots::One, None) => {
                let values = &values[range];
                let (eights, rest) = values.as_chunks::<8>();
                let mut lanes = [empty; 8];
                for eight in eights {
                    for (lane, value) in lanes.iter_mut().zip(eight) {
                        *lane = better(*lane, *value);
                    }
                }
                let chunk_best = lanes.iter().chain(rest).fold(empty, |best, value| better(best, *value));
                let [best, seen] = cells.group::<2>(0);
                *best = better(*best as i64, chunk_best) as u64;
                if chunk_best == empty && !values.is_empty() {
                    *seen = 1;
                }
            }
            (_, counts) => for_each_counted(counts.as_ref(), range, |row, chunk_row| {
                let [best, seen] = cells.group::<2>(slots.slot(chunk_row));
                *best = better(*best as i64, values[row]) as u64;
                if values[row] == empty {
                    *seen = 1;
                }
            }),
        }
    }
}

impl Accumulator for Extreme {
    fn width(&self) -> usize {
        2
    }

    fn start(&self, words: &mut [u64]) {
        words.copy_from_slice(&[self.empty() as u64, 0]);
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let values = Values::Words(self.words(input.column()?)?);
        Ok(Prepared { values, counts: input.counted(), ..Prepared::default() })
    }

    fn update(
        &mut self,
        cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        if let Values::Words(values) = &prepared.values {
            match self.end {
                End::Min => Self::take_rows::<false>(cells, slots, values, prepared, range),
                End::Max => Self::take_rows::<true>(cells, slots, values, prepared, range),
            }
        }
        Ok(())
    }

    fn fold<'a>(&self, prepared: &'a Prepared, range: Range<usize>) -> Option<Fold<'a>> {
        let values = prepared.all_words(range)?;
        Some(match self.end {
            End::Min => Fold::Min(values),
            End::Max => Fold::Max(values),
        })
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("value", self.word_type.arrow().clone())]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(view)?])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared {
            values: Values::Words(self.words(&columns[0])?),
            counts: valid(&columns[0]),
            ..Prepared::default()
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
        let empty = self.empty();
        let has_value = view
            .column(0)
            .into_iter()
            .zip(view.column(1))
            .map(|(best, seen)| best as i64 != empty || seen != 0);
        let nulls = NullBuffer::from_iter(has_value);
        let nan = self.nan_words();
        let words = view.column(0).into_iter().map(|word| match nan {
            Some((nan, low)) if word as i64 == low => nan,
            _ => word as i64,
        });
        self.word_type.decode(words.collect(), (nulls.null_count() > 0).then_some(nulls))
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
