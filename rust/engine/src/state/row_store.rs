//! Rows by key, several a key: what a join keeps of one input until the other can meet it no more.
//!
//! Batches stay as they came (small ones are put together), each row is linked to the row of the same key before it. Rows
//! leave by event time, a whole chunk at a time, and the index is rebuilt when most of what it links is gone, so that
//! the cost per row does not grow with run time. Not here: which rows meet (`operators/join.rs`).

use super::keys::{KeyType, Keys, PreparedKeys};
use crate::error::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, interleave, take_record_batch};
use std::collections::HashMap;

/// Where a row lies: chunk and row in it.
pub type Link = u64;

/// No row.
pub const NONE: Link = Link::MAX;

/// Chunks are put together up to this many rows.
const CHUNK_ROWS: usize = 65_536;
/// Fewer dead rows are not worth a new index.
const LEAST_DEAD_ROWS: usize = 4_096;

fn link(chunk: usize, row: usize) -> Link {
    (chunk as u64) << 32 | row as u64
}

fn place(link: Link) -> (usize, usize) {
    ((link >> 32) as usize, (link & u64::from(u32::MAX)) as usize)
}

/// See the module.
#[derive(Debug)]
pub struct RowStore {
    key_type: KeyType,
    /// Key columns of the records.
    columns: Vec<usize>,
    /// Only the first row of each key is kept.
    is_unique: bool,
    keys: Keys,
    /// By slot: its newest row.
    heads: Vec<Link>,
    chunks: Vec<Chunk>,
    live_rows: usize,
    dead_rows: usize,
    slots: Vec<u32>,
}

#[derive(Debug)]
struct Chunk {
    /// `None`: its rows are gone, only their links are still there.
    records: Option<RecordBatch>,
    slots: Vec<u32>,
    next: Vec<Link>,
    /// The row has met one of the other input.
    met: Vec<bool>,
    /// Event times; empty without.
    times: Vec<i64>,
    /// The least time of the rows that have met none, and the greatest of all.
    earliest: i64,
    latest: i64,
}

impl RowStore {
    /// `columns`: where the key columns stand in the records; `is_unique`: keep the first row of each key only.
    pub fn new(key_type: KeyType, columns: Vec<usize>, is_unique: bool) -> Self {
        let keys = Keys::new(&key_type);
        Self {
            key_type,
            columns,
            is_unique,
            keys,
            heads: Vec::new(),
            chunks: Vec::new(),
            live_rows: 0,
            dead_rows: 0,
            slots: Vec::new(),
        }
    }

    /// The keys of some records, as [`RowStore::find`] and [`RowStore::insert`] take them.
    ///
    /// # Errors
    /// None but bugs.
    pub fn prepare(&self, records: &RecordBatch) -> Result<PreparedKeys> {
        self.prepare_of(records, &self.columns)
    }

    /// The keys of records of the other input, whose key columns are `columns`.
    ///
    /// # Errors
    /// None but bugs.
    pub fn prepare_of(&self, records: &RecordBatch, columns: &[usize]) -> Result<PreparedKeys> {
        let columns: Vec<ArrayRef> = columns.iter().map(|key| records.column(*key).clone()).collect();
        self.key_type.prepare(&columns)
    }

    /// By row: the newest row of the same key, or [`NONE`].
    pub fn find(&mut self, keys: &PreparedKeys, rows: usize) -> Vec<Link> {
        if let PreparedKeys::None = keys {
            let head = self.heads.first().copied().unwrap_or(NONE);
            return vec![self.live(head); rows];
        }
        let mut slots = std::mem::take(&mut self.slots);
        self.keys.find(keys, 0..rows, &mut slots);
        let heads =
            slots.iter().map(|slot| self.live(self.heads.get(*slot as usize).copied().unwrap_or(NONE)));
        let heads = heads.collect();
        self.slots = slots;
        heads
    }

    /// The row of the same key before this one, or [`NONE`].
    pub fn next(&self, link: Link) -> Link {
        let (chunk, row) = place(link);
        let next = self.chunks.get(chunk).and_then(|chunk| chunk.next.get(row)).copied().unwrap_or(NONE);
        self.live(next)
    }

    /// The first row from this one on that is still there.
    fn live(&self, mut link: Link) -> Link {
        while link != NONE {
            let (chunk, row) = place(link);
            match self.chunks.get(chunk) {
                Some(chunk) if chunk.records.is_some() => return link,
                Some(chunk) => link = chunk.next.get(row).copied().unwrap_or(NONE),
                None => return NONE,
            }
        }
        NONE
    }

    /// Notes that a row has met one of the other input; true if it had before.
    pub fn meet(&mut self, link: Link) -> bool {
        let (chunk, row) = place(link);
        let met = self.chunks.get_mut(chunk).and_then(|chunk| chunk.met.get_mut(row));
        met.is_some_and(|met| std::mem::replace(met, true))
    }

    /// One column of the given rows.
    ///
    /// # Errors
    /// None but bugs.
    pub fn gather(&self, links: &[Link], column: usize) -> Result<ArrayRef> {
        let mut number_of: HashMap<usize, usize> = HashMap::new();
        let mut arrays: Vec<&dyn Array> = Vec::new();
        let mut last = (usize::MAX, 0);
        let mut indices = Vec::with_capacity(links.len());
        for link in links {
            let (chunk, row) = place(*link);
            if chunk != last.0 {
                let number = *number_of.entry(chunk).or_insert_with(|| {
                    if let Some(records) = self.chunks.get(chunk).and_then(|chunk| chunk.records.as_ref()) {
                        arrays.push(records.column(column).as_ref());
                    }
                    arrays.len().saturating_sub(1)
                });
                last = (chunk, number);
            }
            indices.push((last.1, row));
        }
        if let ([array], false) = (arrays.as_slice(), indices.is_empty()) {
            let rows = UInt32Array::from_iter_values(indices.iter().map(|(_, row)| *row as u32));
            return Ok(arrow::compute::take(*array, &rows, None)?);
        }
        Ok(interleave(&arrays, &indices)?)
    }

    /// Keeps rows. `met`: which of them have met a row already; `times`: their event times, empty without.
    ///
    /// # Errors
    /// None but bugs.
    pub fn insert(
        &mut self,
        records: RecordBatch,
        keys: &PreparedKeys,
        met: Vec<bool>,
        times: Vec<i64>,
    ) -> Result<()> {
        let rows = records.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let mut slots = std::mem::take(&mut self.slots);
        match keys {
            PreparedKeys::None => {
                slots.clear();
                slots.resize(rows, 0);
            }
            keys => self.keys.slots(keys, 0..rows, &mut slots),
        }
        self.heads.resize(self.keys.count(), NONE);
        if self.is_unique {
            self.insert_first_of_each(records, &slots, met, times)?;
        } else {
            self.push(records, slots.clone(), met, times)?;
        }
        self.slots = slots;
        self.tidy()
    }

    fn insert_first_of_each(
        &mut self,
        records: RecordBatch,
        slots: &[u32],
        met: Vec<bool>,
        times: Vec<i64>,
    ) -> Result<()> {
        let mut is_first = Vec::with_capacity(slots.len());
        let mut seen: HashMap<u32, ()> = HashMap::new();
        for slot in slots {
            let head = self.heads.get(*slot as usize).copied().unwrap_or(NONE);
            is_first.push(self.live(head) == NONE && seen.insert(*slot, ()).is_none());
        }
        let kept = |row: usize| is_first.get(row).copied().unwrap_or(false);
        let chosen = |values: Vec<i64>| values.into_iter().enumerate().filter(|(row, _)| kept(*row));
        let slots = slots.iter().enumerate().filter(|(row, _)| kept(*row)).map(|(_, slot)| *slot).collect();
        let met = met.into_iter().enumerate().filter(|(row, _)| kept(*row)).map(|(_, met)| met).collect();
        let times = chosen(times).map(|(_, time)| time).collect();
        let records = filter_record_batch(&records, &BooleanArray::from(is_first.clone()))?;
        self.push(records, slots, met, times)
    }

    /// Adds a chunk, or adds to the last one.
    fn push(&mut self, records: RecordBatch, slots: Vec<u32>, met: Vec<bool>, times: Vec<i64>) -> Result<()> {
        if records.num_rows() == 0 {
            return Ok(());
        }
        self.live_rows += records.num_rows();
        let number = self.chunks.len();
        let mut next = Vec::with_capacity(slots.len());
        for (row, slot) in slots.iter().enumerate() {
            if let Some(head) = self.heads.get_mut(*slot as usize) {
                next.push(std::mem::replace(head, link(number, row)));
            }
        }
        let mut chunk =
            Chunk { records: Some(records), slots, next, met, times, earliest: i64::MAX, latest: i64::MIN };
        chunk.measure();
        self.chunks.push(chunk);
        self.join_small()
    }

    /// Puts the last chunks together while they are small: each row is copied a few times at most.
    fn join_small(&mut self) -> Result<()> {
        while let [.., before, last] = self.chunks.as_slice()
            && let (Some(one), Some(two)) = (&before.records, &last.records)
            && one.num_rows() + two.num_rows() <= CHUNK_ROWS
            && two.num_rows() * 2 >= one.num_rows()
        {
            let (shift, old, new) = (one.num_rows(), self.chunks.len() - 1, self.chunks.len() - 2);
            let records = concat_batches(&one.schema(), [one, two])?;
            let moved = |at: Link| if place(at).0 == old { link(new, place(at).1 + shift) } else { at };
            let Some(last) = self.chunks.pop() else { return Ok(()) };
            for (row, slot) in last.slots.iter().enumerate() {
                if let Some(head) = self.heads.get_mut(*slot as usize).filter(|head| **head == link(old, row))
                {
                    *head = moved(*head);
                }
            }
            if let Some(before) = self.chunks.last_mut() {
                before.records = Some(records);
                before.slots.extend(last.slots);
                before.next.extend(last.next.into_iter().map(moved));
                before.met.extend(last.met);
                before.times.extend(last.times);
                before.measure();
            }
        }
        Ok(())
    }

    /// Forgets rows below `threshold`, or all. Gives those of them that have met none (`unmet`), else only memory back.
    ///
    /// # Errors
    /// None but bugs.
    pub fn release(&mut self, threshold: Option<i64>, unmet: bool) -> Result<Vec<RecordBatch>> {
        let mut left = Vec::new();
        for chunk in &mut self.chunks {
            let Some(records) = &chunk.records else { continue };
            let is_below = |row: usize| {
                threshold.is_none_or(|threshold| chunk.times.get(row).is_some_and(|time| *time < threshold))
            };
            let whole = threshold.is_none_or(|threshold| chunk.latest < threshold && !chunk.times.is_empty());
            let some = threshold.is_some_and(|threshold| chunk.earliest < threshold);
            if unmet && (whole || some) {
                let lonely = chunk.met.iter().enumerate().map(|(row, met)| !met && is_below(row));
                let lonely: Vec<bool> = lonely.collect();
                if lonely.contains(&true) {
                    left.push(filter_record_batch(records, &BooleanArray::from(lonely.clone()))?);
                }
                chunk.met.iter_mut().zip(lonely).for_each(|(met, lonely)| *met |= lonely);
            }
            if whole {
                let rows = records.num_rows();
                chunk.records = None;
                (chunk.met, chunk.times) = (Vec::new(), Vec::new());
                self.live_rows -= rows;
                self.dead_rows += rows;
            } else if some && unmet {
                chunk.measure();
            }
        }
        self.tidy()?;
        Ok(left)
    }

    /// Puts all rows into one chunk: nothing will be added.
    ///
    /// # Errors
    /// None but bugs.
    pub fn complete(&mut self) -> Result<()> {
        if self.chunks.len() > 1 { self.rebuild(true) } else { Ok(()) }
    }

    fn tidy(&mut self) -> Result<()> {
        if self.dead_rows > self.live_rows.max(LEAST_DEAD_ROWS) { self.rebuild(false) } else { Ok(()) }
    }

    /// Makes keys and links anew, of the rows that are there.
    fn rebuild(&mut self, in_one: bool) -> Result<()> {
        let mut chunks: Vec<Chunk> = std::mem::take(&mut self.chunks);
        chunks.retain(|chunk| chunk.records.is_some());
        self.keys = Keys::new(&self.key_type);
        (self.heads, self.live_rows, self.dead_rows) = (Vec::new(), 0, 0);
        if in_one {
            let all: Vec<&RecordBatch> = chunks.iter().filter_map(|chunk| chunk.records.as_ref()).collect();
            let Some(schema) = all.first().map(|records| records.schema()) else { return Ok(()) };
            let records = concat_batches(&schema, all)?;
            let met = chunks.iter_mut().flat_map(|chunk| std::mem::take(&mut chunk.met)).collect();
            let times = chunks.iter_mut().flat_map(|chunk| std::mem::take(&mut chunk.times)).collect();
            let keys = self.prepare(&records)?;
            return self.insert(records, &keys, met, times);
        }
        for chunk in chunks {
            if let Some(records) = chunk.records {
                let keys = self.prepare(&records)?;
                self.insert(records, &keys, chunk.met, chunk.times)?;
            }
        }
        Ok(())
    }

    /// The rows that are there, and which of them have met one: a snapshot, without a copy of the rows.
    pub fn rows(&self) -> Vec<(RecordBatch, Vec<bool>)> {
        let live = self.chunks.iter().filter_map(|chunk| Some((chunk.records.clone()?, chunk.met.clone())));
        live.collect()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.live_rows
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.live_rows == 0
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| {
            let records = chunk.records.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            records + chunk.next.len() * 12 + chunk.met.len() + chunk.times.len() * 8
        });
        chunks.sum::<usize>() + self.heads.len() * 8 + self.keys.memory()
    }
}

impl Chunk {
    fn measure(&mut self) {
        let lonely = self.times.iter().zip(&self.met).filter(|(_, met)| !**met);
        self.earliest = lonely.map(|(time, _)| *time).min().unwrap_or(i64::MAX);
        self.latest = self.times.iter().copied().max().unwrap_or(i64::MAX);
    }
}

/// Rows of a batch, by number. No copy if they are all.
///
/// # Errors
/// None but bugs.
pub fn chosen(records: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    if rows.len() == records.num_rows() && rows.iter().zip(0..).all(|(row, number)| *row == number) {
        return Ok(records.clone());
    }
    Ok(take_record_batch(records, &UInt32Array::from(rows.to_vec()))?)
}

#[cfg(test)]
mod tests {
    use super::{NONE, RowStore};
    use crate::state::keys::KeyType;
    use crate::testing::batch;
    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::Int64Type;
    use dataflare_plan::DataType;

    fn store(is_unique: bool) -> RowStore {
        RowStore::new(KeyType::of(&[DataType::Int64]).unwrap(), vec![0], is_unique)
    }

    fn add(store: &mut RowStore, keys: &[i64], times: &[i64]) {
        let column = keys.iter().copied().map(Some).collect();
        let records = batch([("k", column), ("t", times.iter().copied().map(Some).collect())]).records;
        let prepared = store.prepare(&records).unwrap();
        store.insert(records, &prepared, vec![false; keys.len()], times.to_vec()).unwrap();
    }

    /// The times of all rows of a key, newest first.
    fn times(store: &mut RowStore, key: i64) -> Vec<i64> {
        let records = batch([("k", vec![Some(key)])]).records;
        let prepared = store.prepare(&records).unwrap();
        let mut links = Vec::new();
        let mut link = store.find(&prepared, 1)[0];
        while link != NONE {
            links.push(link);
            link = store.next(link);
        }
        if links.is_empty() { Vec::new() } else { integers(&store.gather(&links, 1).unwrap()) }
    }

    fn integers(array: &dyn arrow::array::Array) -> Vec<i64> {
        array.as_primitive::<Int64Type>().values().to_vec()
    }

    fn times_of(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(|records| integers(records.column(1))).collect()
    }

    #[test]
    fn rows_of_a_key_are_found_however_they_came() {
        let mut store = store(false);
        for start in 0..500 {
            add(&mut store, &[start % 7, start % 3], &[start, 1_000 + start]);
        }
        let mut found = times(&mut store, 5);
        found.sort_unstable();
        assert_eq!(found, (0..500).filter(|start| start % 7 == 5).collect::<Vec<_>>());
        assert_eq!(store.chunks.len(), store.chunks.iter().filter(|chunk| chunk.records.is_some()).count());
        assert!(store.chunks.len() < 20, "{} chunks", store.chunks.len());
    }

    #[test]
    fn rows_leave_by_time_and_the_index_follows() {
        let mut store = store(false);
        for start in 0..200_i64 {
            let times: Vec<i64> = (0..1_000).map(|row| start * 1_000 + row).collect();
            let keys: Vec<i64> = times.iter().map(|time| time % 1_003).collect();
            add(&mut store, &keys, &times);
            store.release(Some((start - 2) * 1_000), false).unwrap();
        }
        assert!(store.len() < 80_000, "{} rows", store.len());
        assert!(store.dead_rows <= store.len().max(4_096));
        assert!(times(&mut store, 7).iter().all(|time| time % 1_003 == 7));
        assert!(times(&mut store, 7).contains(&(199 * 1_003 + 7)));
    }

    #[test]
    fn rows_that_met_none_are_given_back_once() {
        let mut store = store(false);
        add(&mut store, &[1, 2, 3], &[10, 20, 30]);
        let keys = store.prepare(&batch([("k", vec![Some(2)])]).records).unwrap();
        let link = store.find(&keys, 1)[0];
        assert!(!store.meet(link));
        assert!(store.meet(link));
        assert_eq!(times_of(&store.release(Some(25), true).unwrap()), [10]);
        assert_eq!(times_of(&store.release(Some(26), true).unwrap()), Vec::<i64>::new());
        assert_eq!(times_of(&store.release(None, true).unwrap()), [30]);
        assert!(store.is_empty());
    }

    #[test]
    fn unique_store_keeps_the_first_row_of_a_key() {
        let mut store = store(true);
        add(&mut store, &[1, 1, 2], &[1, 2, 3]);
        add(&mut store, &[1, 3], &[4, 5]);
        assert_eq!(store.len(), 3);
        assert_eq!(times(&mut store, 1), [1]);
    }
}
