//! `n_unique`: distinct values, null being one; all NaN are one, both zeros are one.
//!
//! Holds (group, value) pairs in one set. Values that fit in no word get a number from a dictionary shared by all groups.

use super::count::Counter;
use super::rows::RowType;
use super::words::WordType;
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted, valid};
use crate::error::Result;
use crate::state::canonical::canonical;
use crate::state::table::{BytesTable, hash_word};
use arrow::array::{Array, ArrayRef, AsArray, LargeListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as Arrow, Field};
use dataflare_plan::DataType;
use hashbrown::HashTable;
use std::ops::Range;
use std::sync::Arc;

/// The accumulator for a column type; `output` and `text` as in the plan.
pub fn accumulator(input: &DataType, output: &DataType, text: &str) -> Result<Box<dyn Accumulator>> {
    let kind = match WordType::of(input) {
        Some(word_type) => Kind::Word(word_type),
        None => Kind::Row { row_type: RowType::of(input)?, dictionary: BytesTable::default() },
    };
    Ok(Box::new(NUnique { kind, set: HashTable::new(), counter: Counter::new(output, text) }))
}

/// Words of a group: number of values, 1 if null is one more.
const WORDS: usize = 2;

#[derive(Clone, Debug)]
struct NUnique {
    kind: Kind,
    set: HashTable<(u32, i64)>,
    counter: Counter,
}

/// How a value becomes a word.
#[derive(Clone, Debug)]
enum Kind {
    Word(WordType),
    Row { row_type: RowType, dictionary: BytesTable },
}

fn hash((slot, word): &(u32, i64)) -> u64 {
    hash_word(*word ^ i64::from(*slot).rotate_left(40))
}

impl NUnique {
    fn values(&self, column: &ArrayRef) -> Result<Values> {
        Ok(match &self.kind {
            Kind::Word(word_type) => Values::Words(word_type.canonical(word_type.encode(column)?)),
            Kind::Row { row_type, .. } => Values::Rows(row_type.encode(&canonical(column)?)?),
        })
    }

    fn take(&mut self, cells: &mut Cells<'_>, slot: usize, valid: bool, values: &Values, row: usize) {
        let [count, null] = cells.group::<WORDS>(slot);
        if !valid {
            *null = 1;
            return;
        }
        let word = match (&mut self.kind, values) {
            (Kind::Word(_), Values::Words(words)) => words[row],
            (Kind::Row { dictionary, .. }, Values::Rows(rows)) => {
                i64::from(dictionary.slot(rows.row(row).data()))
            }
            _ => return,
        };
        let pair = (slot as u32, word);
        if let hashbrown::hash_table::Entry::Vacant(vacant) =
            self.set.entry(hash(&pair), |held| *held == pair, hash)
        {
            vacant.insert(pair);
            *count += 1;
        }
    }
}

impl Accumulator for NUnique {
    fn width(&self) -> usize {
        WORDS
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let column = input.column()?;
        Ok(Prepared {
            values: self.values(column)?,
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
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            let valid = prepared.valid.as_ref().is_none_or(|valid| valid.value(row));
            self.take(&mut cells, slots.slot(chunk_row), valid, &prepared.values, row);
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        let value = match &self.kind {
            Kind::Word(word_type) => word_type.arrow(),
            Kind::Row { row_type, .. } => row_type.arrow(),
        };
        vec![("values", Arrow::LargeList(Arc::new(Field::new("item", value.clone(), true))))]
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
        for (slot, word) in &self.set {
            let place = &mut next[*slot as usize];
            words[*place as usize] = *word;
            is_value[*place as usize] = true;
            *place += 1;
        }
        let values = match &self.kind {
            Kind::Word(word_type) => word_type.decode(words, Some(NullBuffer::from(is_value)))?,
            Kind::Row { row_type, dictionary } => {
                let rows = words.iter().zip(&is_value);
                row_type
                    .decode(rows.map(|(word, is_value)| is_value.then(|| dictionary.bytes(*word as u32))))?
            }
        };
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(vec![Arc::new(LargeListArray::try_new(field, offsets, values, None)?)])
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
        let (values, valid) = (self.values(&column)?, valid(&column));
        for (chunk_row, list) in offsets.windows(2).enumerate() {
            for row in list[0] as usize - start..list[1] as usize - start {
                let valid = valid.as_ref().is_none_or(|valid| valid.value(row));
                self.take(&mut cells, slots.slot(chunk_row), valid, &values, row);
            }
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let counts = view.signed(0).into_iter().zip(view.signed(1));
        self.counter.column(counts.map(|(count, null)| count + null).collect())
    }

    fn bytes(&self) -> usize {
        let dictionary = match &self.kind {
            Kind::Word(_) => 0,
            Kind::Row { dictionary, .. } => dictionary.memory(),
        };
        // One control byte an entry.
        dictionary + self.set.capacity() * (size_of::<(u32, i64)>() + 1)
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
