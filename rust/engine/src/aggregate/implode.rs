//! `implode`: all values of a group as a list, in logical order (time, input, split, position). Nulls are values.
//!
//! Values are copied into a few columns that all groups share; a group holds the numbers of its rows in them. What other
//! functions of a whole group need (`str.join`, `arg_min`, `top_k_by`, …) Polars computes over such a list.

use super::value_words::{list_type, lists};
use super::{
    Accumulator, Cells, Input, OrderColumns, Prepared, Slots, Source, Values, View, for_each_counted,
};
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, StringViewArray, UInt32Array, UInt64Array, new_empty_array,
};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{DataType as Arrow, Int64Type, UInt64Type};
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// The accumulator; `output` is a list; `ordered`: in logical order, else in any.
pub fn accumulator(output: &DataType, ordered: bool) -> Box<dyn Accumulator> {
    let item = match arrow_type(output) {
        Arrow::LargeList(item) => item.data_type().clone(),
        other => other,
    };
    Box::new(Implode { item, ordered, rows: Vec::new(), chunks: Vec::new(), orders: Vec::new() })
}

#[derive(Clone, Debug)]
struct Implode {
    item: Arrow,
    ordered: bool,
    /// The rows of each group, by their numbers in all chunks.
    rows: Vec<Vec<u32>>,
    /// Values; each chunk with the number of its first row.
    chunks: Vec<(usize, ArrayRef)>,
    /// The logical order of each row.
    orders: Vec<[i64; 3]>,
}

impl Implode {
    /// Copies rows of a column into the last chunks; a chunk is at least twice as long as the next.
    fn append(&mut self, column: &ArrayRef, rows: Vec<u32>) -> Result<()> {
        let mut first = self.chunks.last().map_or(0, |(first, chunk)| first + chunk.len());
        if first + rows.len() > u32::MAX as usize {
            let reason = "more than 4 294 967 295 values of one window on one worker".to_owned();
            return Err(EngineError::Data { place: "implode".to_owned(), row: first as u64, reason });
        }
        let mut chunk = own(take(column, &UInt32Array::from(rows), None)?);
        while let Some((before, held)) = self.chunks.pop_if(|(_, held)| held.len() < 2 * chunk.len()) {
            chunk = concat(&[held.as_ref(), chunk.as_ref()])?;
            first = before;
        }
        self.chunks.push((first, chunk));
        Ok(())
    }

    /// The rows of groups, each group's in logical order, with the end of each group.
    fn ordered(&self, view: View<'_>) -> (Vec<u32>, Vec<usize>) {
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        for slot in view.slots() {
            let start = rows.len();
            rows.extend_from_slice(&self.rows[slot]);
            let of = |row: &u32| self.orders[*row as usize];
            if !rows[start..].is_sorted_by_key(of) {
                rows[start..].sort_unstable_by_key(of);
            }
            ends.push(rows.len());
        }
        (rows, ends)
    }

    fn values(&self, rows: &[u32]) -> Result<ArrayRef> {
        let chunks: Vec<&dyn Array> = self.chunks.iter().map(|(_, chunk)| chunk.as_ref()).collect();
        Ok(match chunks[..] {
            _ if rows.is_empty() => new_empty_array(&self.item),
            [one] => take(one, &UInt32Array::from(rows.to_vec()), None)?,
            _ => {
                let places: Vec<(usize, usize)> = rows
                    .iter()
                    .map(|row| {
                        let row = *row as usize;
                        let chunk = self.chunks.partition_point(|(first, _)| *first <= row) - 1;
                        (chunk, row - self.chunks[chunk].0)
                    })
                    .collect();
                interleave(&chunks, &places)?
            }
        })
    }
}

/// The column without the buffers that it shares with rows that are gone.
fn own(column: ArrayRef) -> ArrayRef {
    match column.as_string_view_opt() {
        Some(strings) => Arc::new(StringViewArray::gc(strings)),
        None => match column.as_binary_view_opt() {
            Some(binaries) => Arc::new(binaries.gc()),
            None => column,
        },
    }
}

impl Accumulator for Implode {
    fn grow(&mut self, groups: usize) {
        self.rows.resize(groups, Vec::new());
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        Ok(Prepared {
            values: Values::Columns(vec![input.column()?.clone()]),
            counts: input.filtered(),
            order: if self.ordered { Some(input.order()?.clone()) } else { None },
            ..Prepared::default()
        })
    }

    fn update(
        &mut self,
        _cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Columns(columns) = &prepared.values else { return Ok(()) };
        let orders = prepared.order.as_ref();
        let mut taken = Vec::with_capacity(range.len());
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            self.rows[slots.slot(chunk_row)].push(self.orders.len() as u32);
            self.orders.push(orders.map_or([0; 3], |orders| orders.row(row)));
            taken.push(row as u32);
        });
        if taken.is_empty() { Ok(()) } else { self.append(&columns[0], taken) }
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        vec![
            ("time", list_type(&Arrow::Int64)),
            ("source", list_type(&Arrow::UInt64)),
            ("position", list_type(&Arrow::UInt64)),
            ("values", list_type(&self.item)),
        ]
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let (rows, ends) = self.ordered(view);
        let order = |index: usize| rows.iter().map(move |row| self.orders[*row as usize][index]);
        let unsigned = |index: usize| {
            Arc::new(UInt64Array::from_iter_values(order(index).map(|word| word as u64))) as ArrayRef
        };
        let time: ArrayRef = Arc::new(Int64Array::from_iter_values(order(0)));
        let columns = [time, unsigned(1), unsigned(2), self.values(&rows)?];
        columns.into_iter().map(|column| lists(ends.iter().copied(), column)).collect()
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        let items = |index: usize| columns[index].as_list::<i64>().values();
        let words = |index: usize| items(index).as_primitive::<UInt64Type>().values().clone();
        let order = OrderColumns {
            time: Some(items(0).as_primitive::<Int64Type>().values().clone()),
            source: Source::Each(words(1)),
            position: words(2),
        };
        let values = Values::Columns(vec![columns[3].clone()]);
        Ok(Prepared { values, order: Some(order), ..Prepared::default() })
    }

    fn merge(
        &mut self,
        _cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Columns(columns) = &prepared.values else { return Ok(()) };
        let orders = prepared.order.as_ref();
        let lists = columns[0].as_list::<i64>();
        let offsets = &lists.value_offsets()[range.start..=range.end];
        let mut taken: Vec<u32> = Vec::new();
        for (chunk_row, list) in offsets.windows(2).enumerate() {
            for row in list[0] as usize..list[1] as usize {
                self.rows[slots.slot(chunk_row)].push(self.orders.len() as u32);
                self.orders.push(orders.map_or([0; 3], |orders| orders.row(row)));
                taken.push(row as u32);
            }
        }
        if taken.is_empty() { Ok(()) } else { self.append(lists.values(), taken) }
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let (rows, ends) = self.ordered(view);
        lists(ends.into_iter(), self.values(&rows)?)
    }

    fn bytes(&self) -> usize {
        let values: usize = self.chunks.iter().map(|(_, chunk)| chunk.get_array_memory_size()).sum();
        values
            + self.orders.capacity() * size_of::<[i64; 3]>()
            + self.rows.capacity() * size_of::<Vec<u32>>()
            + self.orders.len() * size_of::<u32>()
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
