//! `unique`, `value_counts` and `mode` as lists: the distinct values of a group with how often each occurs. Null is a value.
//!
//! The order of such a list is open in Polars; here it is that of the values, nulls first. Entries of all groups stand in
//! one table, chained by group, so that the list of one group costs its own length. `n_unique.rs` counts them only.

use super::value_words::{ValueWords, list_type, lists};
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, valid};
use crate::error::{EngineError, Result};
use crate::state::table::hash_word;
use crate::types::arrow_type;
use arrow::array::{Array, ArrayRef, AsArray, StructArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, UInt64Type};
use dataflare_plan::DataType;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use std::ops::Range;
use std::sync::Arc;

/// What becomes of the values and their counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Values,
    Counts,
    MostFrequent,
}

/// The accumulator for a column type; `output` is a list.
///
/// # Errors
/// A type without row format.
pub fn accumulator(input: &DataType, output: &DataType, of: Of) -> Result<Box<dyn Accumulator>> {
    let words = ValueWords::of(input)?;
    let output = arrow_type(output);
    Ok(Box::new(Distinct { words, of, output, entries: Vec::new(), places: HashTable::new() }))
}

/// Words: the newest entry + 1, nulls.
const WORDS: usize = 2;

#[derive(Clone, Debug)]
struct Distinct {
    words: ValueWords,
    of: Of,
    output: Arrow,
    entries: Vec<Entry>,
    places: HashTable<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    word: i64,
    count: u64,
    slot: u32,
    /// The entry of the group before this one, + 1; 0: none.
    before: u32,
}

fn hash(slot: u32, word: i64) -> u64 {
    hash_word(word ^ i64::from(slot).rotate_left(40))
}

/// Distinct values of some groups, one list behind the other.
#[derive(Default)]
struct Listed {
    words: Vec<i64>,
    is_value: Vec<bool>,
    counts: Vec<u64>,
    ends: Vec<usize>,
}

impl Distinct {
    fn take(
        &mut self,
        cells: &mut Cells<'_>,
        slot: usize,
        count: u64,
        valid: bool,
        values: &Values,
        row: usize,
    ) {
        let [newest, nulls] = cells.group::<WORDS>(slot);
        if !valid {
            *nulls += count;
            return;
        }
        let Some(word) = self.words.word(values, row) else { return };
        let slot = slot as u32;
        let entries = &mut self.entries;
        let is_same = |place: &u32| {
            let entry = &entries[*place as usize];
            (entry.slot, entry.word) == (slot, word)
        };
        let hash_of = |place: &u32| {
            let entry = &entries[*place as usize];
            hash(entry.slot, entry.word)
        };
        match self.places.entry(hash(slot, word), is_same, hash_of) {
            Place::Occupied(held) => entries[*held.get() as usize].count += count,
            Place::Vacant(vacant) => {
                vacant.insert(entries.len() as u32);
                entries.push(Entry { word, count, slot, before: *newest as u32 });
                *newest = entries.len() as u64;
            }
        }
    }

    fn listed(&self, view: View<'_>) -> Listed {
        let mut listed = Listed::default();
        let mut entries: Vec<(i64, u64)> = Vec::new();
        for (newest, nulls) in view.column(0).into_iter().zip(view.column(1)) {
            entries.clear();
            let mut next = newest as u32;
            while let Some(entry) = next.checked_sub(1).and_then(|place| self.entries.get(place as usize)) {
                entries.push((entry.word, entry.count));
                next = entry.before;
            }
            entries.sort_unstable_by(|a, b| self.words.compare(a.0, b.0));
            if nulls > 0 {
                listed.words.push(0);
                listed.is_value.push(false);
                listed.counts.push(nulls);
            }
            listed.words.extend(entries.iter().map(|(word, _)| *word));
            listed.is_value.resize(listed.words.len(), true);
            listed.counts.extend(entries.iter().map(|(_, count)| *count));
            listed.ends.push(listed.words.len());
        }
        listed
    }

    /// Only the values that occur most often.
    fn most_frequent(all: &Listed) -> Listed {
        let mut kept = Listed::default();
        let mut start = 0;
        for end in &all.ends {
            let rows = start..*end;
            start = *end;
            let most = all.counts[rows.clone()].iter().max().copied().unwrap_or(0);
            for row in rows.filter(|row| all.counts[*row] == most) {
                kept.words.push(all.words[row]);
                kept.is_value.push(all.is_value[row]);
            }
            kept.ends.push(kept.words.len());
        }
        kept
    }
}

impl Accumulator for Distinct {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let column = input.column()?;
        let (values, counts) = (self.words.values(column)?, input.filtered());
        Ok(Prepared { values, counts, valid: valid(column), ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let valid = prepared.valid.as_ref().is_none_or(|valid| valid.value(row));
            self.take(&mut cells, slots.slot(chunk_row), 1, valid, &prepared.values, row);
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![("values", list_type(self.words.arrow())), ("counts", list_type(&Arrow::UInt64))]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let all = self.listed(view);
        let values = self.words.decode(all.words, &all.is_value)?;
        let counts = Arc::new(UInt64Array::from(all.counts));
        Ok(vec![lists(all.ends.iter().copied(), values)?, lists(all.ends.iter().copied(), counts)?])
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
        let (lists, counts) = (columns[0].as_list::<i64>(), columns[1].as_list::<i64>().values());
        let counts = counts.as_primitive::<UInt64Type>();
        let offsets = &lists.value_offsets()[range.start..=range.end];
        let (start, end) = (offsets[0] as usize, offsets[range.len()] as usize);
        let column = lists.values().slice(start, end - start);
        let (values, valid) = (self.words.values(&column)?, valid(&column));
        for (chunk_row, list) in offsets.windows(2).enumerate() {
            for item in list[0] as usize..list[1] as usize {
                let valid = valid.as_ref().is_none_or(|valid| valid.value(item - start));
                let (slot, count) = (slots.slot(chunk_row), counts.value(item));
                self.take(&mut cells, slot, count, valid, &values, item - start);
            }
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let all = self.listed(view);
        let all = if self.of == Of::MostFrequent { Self::most_frequent(&all) } else { all };
        let Listed { words, is_value, counts, ends } = all;
        let values = self.words.decode(words, &is_value)?;
        let (Of::Counts, Arrow::LargeList(item)) = (self.of, &self.output) else {
            return lists(ends.into_iter(), values);
        };
        let Arrow::Struct(fields) = item.data_type() else {
            return Err(EngineError::internal("value_counts", format!("its items are {}", item.data_type())));
        };
        let counts: ArrayRef = Arc::new(UInt64Array::from(counts));
        let counts = match fields.get(1) {
            Some(field) => cast(&counts, field.data_type())?,
            None => counts,
        };
        let items = StructArray::try_new(fields.clone(), vec![values, counts], None)?;
        lists(ends.into_iter(), Arc::new(items))
    }

    fn bytes(&self) -> usize {
        self.words.memory()
            + self.entries.capacity() * size_of::<Entry>()
            + self.places.capacity() * (size_of::<u32>() + 1)
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
