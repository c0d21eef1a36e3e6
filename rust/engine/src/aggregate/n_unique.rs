//! `n_unique`: distinct values, null being one; all NaN are one, both zeros are one.
//!
//! Values of all groups are in one table of bits; values that fit in no word are numbers of a dictionary.

use super::count::Counter;
use super::value_words::{ValueWords, list_type, lists};
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, valid};
use crate::error::Result;
use crate::state::bit_table::BitTable;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType as Arrow;
use dataflare_plan::DataType;
use std::ops::Range;

/// The accumulator for a column type; `output` and `text` as in the plan.
pub fn accumulator(input: &DataType, output: &DataType, text: &str) -> Result<Box<dyn Accumulator>> {
    let (words, counter) = (ValueWords::of(input)?, Counter::new(output, text));
    Ok(Box::new(NUnique { words, set: BitTable::default(), counter, pairs: Vec::new() }))
}

/// Words of a group: number of values, 1 if null is one more.
const WORDS: usize = 2;

#[derive(Clone, Debug)]
struct NUnique {
    words: ValueWords,
    set: BitTable,
    counter: Counter,
    /// Scratch.
    pairs: Vec<(u32, i64)>,
}

impl NUnique {
    /// Notes the value of a row for [`NUnique::insert`].
    fn take(&mut self, cells: &mut Cells<'_>, slot: usize, valid: bool, values: &Values, row: usize) {
        if !valid {
            *cells.word(slot, 1) = 1;
        } else if let Some(word) = self.words.word(values, row) {
            self.pairs.push((slot as u32, word));
        }
    }

    fn insert(&mut self, cells: &mut Cells<'_>) {
        self.set.insert(&self.pairs, |slot| *cells.word(slot as usize, 0) += 1);
        self.pairs.clear();
    }
}

impl Accumulator for NUnique {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let column = input.column()?;
        Ok(Prepared {
            values: self.words.values(column)?,
            counts: input.filtered(),
            valid: valid(column),
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
        let counts = prepared.counts.as_ref();
        match (&prepared.values, &prepared.valid) {
            (Values::Words(words), None) => for_each_counted(counts, range, |row, chunk_row| {
                self.pairs.push((slots.slot(chunk_row) as u32, words[row]));
            }),
            (values, valid) => for_each_counted(counts, range, |row, chunk_row| {
                let valid = valid.as_ref().is_none_or(|valid| valid.value(row));
                self.take(&mut cells, slots.slot(chunk_row), valid, values, row);
            }),
        }
        self.insert(&mut cells);
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("values", list_type(self.words.arrow()))]
    }

    /// One list of distinct values a group, by a counting sort of the set. Always of all groups.
    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let mut offsets = Vec::with_capacity(view.groups + 1);
        let mut end = 0;
        offsets.push(0);
        for (count, null) in view.column(0).into_iter().zip(view.column(1)) {
            end += (count + null) as usize;
            offsets.push(end as i64);
        }
        // Values fill each list from the front, so a null comes last.
        let mut next = offsets.clone();
        let (mut words, mut is_value) = (vec![0; end], vec![false; end]);
        self.set.for_each(|slot, word| {
            let place = &mut next[slot as usize];
            words[*place as usize] = word;
            is_value[*place as usize] = true;
            *place += 1;
        });
        let ends = offsets.into_iter().skip(1).map(|end| end as usize);
        Ok(vec![lists(ends, self.words.decode(words, &is_value)?)?])
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared { values: Values::Columns(vec![columns[0].clone()]), ..Prepared::default() })
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
        let (start, end) = (offsets[0] as usize, offsets[range.len()] as usize);
        let column = lists.values().slice(start, end - start);
        let (values, valid) = (self.words.values(&column)?, valid(&column));
        for (chunk_row, list) in offsets.windows(2).enumerate() {
            for row in list[0] as usize - start..list[1] as usize - start {
                let valid = valid.as_ref().is_none_or(|valid| valid.value(row));
                self.take(&mut cells, slots.slot(chunk_row), valid, &values, row);
            }
        }
        self.insert(&mut cells);
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let counts = view.signed(0).into_iter().zip(view.signed(1));
        self.counter.column(counts.map(|(count, null)| count + null).collect())
    }

    fn bytes(&self) -> usize {
        self.words.memory() + self.set.memory() + self.pairs.capacity() * size_of::<(u32, i64)>()
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
