//! `median` and `quantile` of numbers, exact: all values of all groups in one log. NaN is the largest value; nulls do not
//! count.
//!
//! For the answers of all groups the log is brought into order of groups by a counting sort, for those of some groups
//! each one's chain is walked; the answer is a selection among the values of the group. So a value costs one append and
//! no group costs an allocation.

use super::value_words::{list_type, lists};
use super::words::{WordType, word_float};
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted};
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::{AggregateOptions, DataType, Interpolation};
use std::ops::Range;
use std::sync::Arc;

/// The median of a column type; `None`: it has none.
pub fn median(input: &DataType, output: &DataType) -> Option<Box<dyn Accumulator>> {
    quantile(input, output, 0.5, Interpolation::Linear)
}

/// The quantile of a column type; `None`: it has none.
pub fn accumulator(
    input: &DataType,
    output: &DataType,
    options: &AggregateOptions,
) -> Option<Box<dyn Accumulator>> {
    quantile(
        input,
        output,
        options.quantile.unwrap_or(0.5),
        options.interpolation.unwrap_or(Interpolation::Nearest),
    )
}

fn quantile(
    input: &DataType,
    output: &DataType,
    at: f64,
    interpolation: Interpolation,
) -> Option<Box<dyn Accumulator>> {
    let number = match input {
        DataType::Boolean => Number::Signed,
        DataType::UInt64 => Number::Unsigned,
        other if other.is_integer() => Number::Signed,
        other if other.is_float() => Number::Float,
        _ => return None,
    };
    let (word_type, output) = (WordType::of(input)?, arrow_type(output));
    Some(Box::new(Quantile {
        word_type,
        number,
        at,
        interpolation,
        output,
        log: Vec::new(),
        slots: Vec::new(),
    }))
}

/// What an ordered word is.
#[derive(Clone, Copy, Debug)]
enum Number {
    Signed,
    Unsigned,
    Float,
}

#[derive(Clone, Debug)]
struct Quantile {
    word_type: WordType,
    number: Number,
    at: f64,
    interpolation: Interpolation,
    output: Arrow,
    /// The ordered word of each value, and the value of its group before it, + 1; 0: it is the first.
    log: Vec<(i64, u32)>,
    /// The group of each value.
    slots: Vec<u32>,
}

/// Words: the newest value + 1, number of values.
const WORDS: usize = 2;

impl Quantile {
    fn add(&mut self, cells: &mut Cells<'_>, slot: usize, word: i64) {
        let [newest, count] = cells.group::<WORDS>(slot);
        self.log.push((word, *newest as u32));
        self.slots.push(slot as u32);
        *newest = self.log.len() as u64;
        *count += 1;
    }

    /// Fails before the numbers of values would wrap.
    fn reserve(&mut self, values: usize) -> Result<()> {
        if self.log.len() + values > u32::MAX as usize {
            let reason = "more than 4 294 967 295 values of one window on one worker".to_owned();
            return Err(EngineError::Data {
                place: "quantile".to_owned(),
                row: self.log.len() as u64,
                reason,
            });
        }
        Ok(())
    }

    /// The words of the groups, one group behind the other, and where each ends.
    fn grouped(&self, view: View<'_>) -> (Vec<i64>, Vec<usize>) {
        let mut end = 0;
        let counts = view.column(1).into_iter();
        let ends: Vec<usize> = counts
            .map(|count| {
                end += count as usize;
                end
            })
            .collect();
        let mut words = vec![0; end];
        if view.chosen.is_none() {
            // Each group is filled from its end.
            let mut next = ends.clone();
            for ((word, _), slot) in self.log.iter().zip(&self.slots) {
                let place = &mut next[*slot as usize];
                *place -= 1;
                words[*place] = *word;
            }
            return (words, ends);
        }
        for (newest, end) in view.column(0).into_iter().zip(&ends) {
            let (mut next, mut place) = (newest as usize, *end);
            while let Some((word, before)) = next.checked_sub(1).and_then(|value| self.log.get(value)) {
                place -= 1;
                words[place] = *word;
                next = *before as usize;
            }
        }
        (words, ends)
    }

    fn float(&self, word: i64) -> f64 {
        match self.number {
            Number::Signed => word as f64,
            Number::Unsigned => (word ^ i64::MIN) as u64 as f64,
            Number::Float => word_float(word),
        }
    }

    /// The answer over the words of one group, which are reordered. The arithmetic is that of Polars, to the last bit.
    fn select(&self, words: &mut [i64]) -> Option<f64> {
        let last = words.len().checked_sub(1)?;
        let place = last as f64 * self.at;
        let nearest = |place: f64| (place.max(0.0) as usize).min(last);
        let (low, high) = match self.interpolation {
            Interpolation::Nearest => (nearest(place.round()), None),
            Interpolation::Lower => (nearest(place), None),
            Interpolation::Higher => (nearest(place.ceil()), None),
            Interpolation::Equiprobable => (nearest((words.len() as f64 * self.at).ceil() - 1.0), None),
            Interpolation::Midpoint | Interpolation::Linear => {
                let (low, high) = (nearest(place), nearest(place.ceil()));
                (low, (high != low).then_some(high))
            }
        };
        let (_, found, above) = words.select_nth_unstable(low);
        let lower = self.float(*found);
        let Some(upper) = high.and(above.iter().min()).map(|word| self.float(*word)) else {
            return Some(lower);
        };
        if lower == upper {
            return Some(lower);
        }
        Some(match self.interpolation {
            Interpolation::Midpoint => (lower + upper) / 2.0,
            _ => (place - low as f64) * (upper - lower) + lower,
        })
    }
}

impl Accumulator for Quantile {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let values = Values::Words(self.word_type.encode(input.column()?)?);
        Ok(Prepared { values, counts: input.counted(), ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Words(words) = &prepared.values else { return Ok(()) };
        self.reserve(range.len())?;
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            self.add(&mut cells, slots.slot(chunk_row), words[row]);
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("values", list_type(self.word_type.arrow()))]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let (words, ends) = self.grouped(view);
        Ok(vec![lists(ends.into_iter(), self.word_type.decode(words, None)?)?])
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
        let lists = columns[0].as_list::<i64>().slice(range.start, range.len());
        let offsets = lists.value_offsets();
        let start = offsets.first().copied().unwrap_or(0);
        let end = offsets.last().copied().unwrap_or(0);
        let words = self.word_type.encode(&lists.values().slice(start as usize, (end - start) as usize))?;
        self.reserve(words.len())?;
        for (chunk_row, list) in offsets.windows(2).enumerate() {
            let slot = slots.slot(chunk_row);
            for word in &words[(list[0] - start) as usize..(list[1] - start) as usize] {
                self.add(&mut cells, slot, *word);
            }
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let (mut words, ends) = self.grouped(view);
        let mut start = 0;
        let results = ends.into_iter().map(|end| {
            let group = start..end;
            start = end;
            self.select(&mut words[group])
        });
        let results: ArrayRef = Arc::new(results.collect::<Float64Array>());
        Ok(if results.data_type() == &self.output { results } else { cast(&results, &self.output)? })
    }

    fn bytes(&self) -> usize {
        self.log.capacity() * size_of::<(i64, u32)>() + self.slots.capacity() * size_of::<u32>()
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
