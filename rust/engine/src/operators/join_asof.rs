//! `join_asof`: each row of the left with the row of the right that is nearest in event time, per key.
//!
//! In: append batches of both inputs, the right one with the hidden columns of `logical_order`, on the worker that owns the
//! key. Out: each left row once, with the columns of its right row or nulls, in no order. A left row leaves when no right
//! row can come that would be nearer. Ties as in Polars: backward the last of equal times, forward the first, nearest
//! the last of the exact time, and at equal distance the later time, its last row.
//! Not here: equality joins (`join.rs`).
//! Forwards: the left input's watermark, less what still waits. State: left rows that wait; of the right, per key, those
//! that a left row may still take.
//! Cost: one search in a sorted list a left row.

use super::logical_order::{Place, places, with_place, without_hidden};
use super::project::ticks;
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::state::keys::{KeyType, Keys, PreparedKeys};
use crate::state::row_store::chosen;
use crate::state::{Frozen, Scope, StateTable, as_they_came, keys_first};
use crate::time::Timestamp;
use crate::types::{arrow_schema, column_index};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, interleave, interleave_record_batch, take};
use arrow::datatypes::SchemaRef;
use dataflare_plan::{AsofStrategy, JoinColumn, Node, Operator as Plan};
use std::sync::Arc;

/// Rows that are no longer needed are not worth the work below this number.
const LEAST_WASTE_ROWS: usize = 65_536;
const MOST_CHUNKS: usize = 512;
const NO_SLOT: u32 = u32::MAX;

/// What every instance shares.
#[derive(Debug)]
pub struct AsofType {
    strategy: AsofStrategy,
    tolerance: Option<i64>,
    takes_exact: bool,
    key_type: KeyType,
    sides: [SideType; 2],
    columns: Vec<(usize, usize)>,
    schema: SchemaRef,
    is_timed: bool,
}

#[derive(Debug)]
struct SideType {
    name: &'static str,
    keys: Vec<usize>,
    time: usize,
}

impl AsofType {
    /// # Errors
    /// A node of another kind, or keys that cannot be compared.
    pub fn new(node: &Node, left: &Node, right: &Node) -> Result<Self> {
        let Plan::JoinAsof { left_on, right_on, left_by, right_by, strategy, tolerance, exact, columns } =
            &node.operator
        else {
            return Err(EngineError::internal("join_asof", format!("a {} node", node.operator.kind())));
        };
        let side = |name, input: &Node, on: &String, by: &[String]| {
            let schema = arrow_schema(&input.schema);
            let keys = by.iter().map(|key| column_index(&schema, key)).collect::<Result<_>>()?;
            Ok::<_, EngineError>(SideType { name, keys, time: column_index(&schema, on)? })
        };
        let sides = [side("left", left, left_on, left_by)?, side("right", right, right_on, right_by)?];
        let dtypes: Vec<_> = left_by
            .iter()
            .filter_map(|key| left.schema.iter().find(|field| &field.name == key))
            .map(|field| field.dtype.clone())
            .collect();
        let (left_schema, right_schema) = (arrow_schema(&left.schema), arrow_schema(&right.schema));
        let source = |column: &JoinColumn| {
            Ok::<_, EngineError>(match column {
                JoinColumn::Left(name) | JoinColumn::Both(name, _) => (0, column_index(&left_schema, name)?),
                JoinColumn::Right(name) => (1, column_index(&right_schema, name)?),
            })
        };
        let is_timed =
            left.event_time.as_ref() == Some(left_on) && right.event_time.as_ref() == Some(right_on);
        Ok(Self {
            strategy: *strategy,
            tolerance: *tolerance,
            takes_exact: *exact,
            key_type: KeyType::of(&dtypes)?,
            sides,
            columns: columns.iter().map(source).collect::<Result<_>>()?,
            schema: arrow_schema(&node.schema),
            is_timed,
        })
    }

    fn keys_of(&self, side: usize, records: &RecordBatch) -> Result<PreparedKeys> {
        let keys = &self.sides[side].keys;
        let columns: Vec<ArrayRef> = keys.iter().map(|key| records.column(*key).clone()).collect();
        self.key_type.prepare(&columns)
    }

    /// True for rows that can meet: no null among time and keys.
    fn valid(&self, side: usize, records: &RecordBatch) -> Vec<bool> {
        let SideType { keys, time, .. } = &self.sides[side];
        let mut valid = vec![true; records.num_rows()];
        for column in keys.iter().chain([time]) {
            if let Some(nulls) = records.column(*column).logical_nulls() {
                valid.iter_mut().zip(&nulls).for_each(|(valid, is_there)| *valid &= is_there);
            }
        }
        valid
    }
}

/// A row of the right.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time: i64,
    place: Place,
    chunk: u32,
    row: u32,
}

/// The right rows by key, each list by time and logical order.
#[derive(Clone, Debug)]
struct Right {
    keys: Keys,
    lists: Vec<Vec<Entry>>,
    chunks: Vec<RecordBatch>,
    rows: usize,
    /// Rows after the last clean-up.
    clean_rows: usize,
}

/// Left rows that wait.
#[derive(Clone, Debug)]
struct Waiting {
    records: RecordBatch,
    times: Vec<i64>,
}

/// See the module.
#[derive(Debug)]
pub struct JoinAsof {
    shared: Arc<AsofType>,
    right: Right,
    waiting: Vec<Waiting>,
    watermarks: [Timestamp; 2],
    has_ended: [bool; 2],
    forwarded: Timestamp,
}

impl Right {
    fn new(shared: &AsofType) -> Self {
        Self {
            keys: Keys::new(&shared.key_type),
            lists: Vec::new(),
            chunks: Vec::new(),
            rows: 0,
            clean_rows: 0,
        }
    }

    fn add(&mut self, shared: &AsofType, records: RecordBatch) -> Result<()> {
        let valid = shared.valid(1, &records);
        let rows: Vec<u32> = (0u32..).zip(&valid).filter(|(_, valid)| **valid).map(|(row, _)| row).collect();
        let records = chosen(&records, &rows)?;
        if records.num_rows() == 0 {
            return Ok(());
        }
        let slots = self.slots(shared, &records, true)?;
        let times = times(records.column(shared.sides[1].time))?;
        let chunk = self.chunks.len() as u32;
        self.lists.resize(self.keys.count(), Vec::new());
        for (row, ((slot, time), place)) in slots.iter().zip(times).zip(places(&records)).enumerate() {
            let Some(list) = self.lists.get_mut(*slot as usize) else { continue };
            let entry = Entry { time, place, chunk, row: row as u32 };
            // Rows come nearly in order: look from the end.
            let mut at = list.len();
            while let Some(before) = at.checked_sub(1).and_then(|before| list.get(before))
                && (before.time, before.place) > (time, place)
            {
                at -= 1;
            }
            list.insert(at, entry);
        }
        self.rows += records.num_rows();
        self.chunks.push(records);
        Ok(())
    }

    fn slots(&mut self, shared: &AsofType, records: &RecordBatch, adds: bool) -> Result<Vec<u32>> {
        let rows = records.num_rows();
        let mut slots = Vec::new();
        match shared.keys_of(usize::from(adds), records)? {
            PreparedKeys::None => slots.resize(rows, 0),
            keys if adds => self.keys.slots(&keys, 0..rows, &mut slots),
            keys => self.keys.find(&keys, 0..rows, &mut slots),
        }
        Ok(slots)
    }

    /// The row that a left row of this key and time takes.
    fn nearest(&self, shared: &AsofType, slot: u32, time: i64) -> Option<&Entry> {
        let list = self.lists.get(slot as usize)?;
        let within = |entry: &&Entry| {
            shared.tolerance.is_none_or(|tolerance| entry.time.abs_diff(time) <= tolerance.unsigned_abs())
        };
        let (below, above) = match shared.takes_exact {
            true => (
                list.partition_point(|entry| entry.time <= time),
                list.partition_point(|entry| entry.time < time),
            ),
            false => (
                list.partition_point(|entry| entry.time < time),
                list.partition_point(|entry| entry.time <= time),
            ),
        };
        let backward = below.checked_sub(1).and_then(|last| list.get(last)).filter(within);
        let forward = list.get(above).filter(within);
        match (shared.strategy, backward, forward) {
            (AsofStrategy::Backward, backward, _) => backward,
            (AsofStrategy::Forward, _, forward) => forward,
            (AsofStrategy::Nearest, Some(backward), _) if backward.time == time => Some(backward),
            (AsofStrategy::Nearest, Some(backward), Some(forward))
                if backward.time.abs_diff(time) < forward.time.abs_diff(time) =>
            {
                Some(backward)
            }
            // The later time, its last row.
            (AsofStrategy::Nearest, _, Some(forward)) => {
                let end = list.partition_point(|entry| entry.time <= forward.time);
                end.checked_sub(1).and_then(|last| list.get(last))
            }
            (AsofStrategy::Nearest, backward, None) => backward,
        }
    }

    /// Drops rows that no left row from `earliest` on can take, if they are many.
    fn tidy(&mut self, shared: &AsofType, earliest: i64) -> Result<()> {
        let is_small = self.rows < 2 * self.clean_rows + LEAST_WASTE_ROWS;
        if is_small && self.chunks.len() < MOST_CHUNKS {
            return Ok(());
        }
        let looks_back = shared.strategy != AsofStrategy::Forward;
        let mut kept = Vec::new();
        for list in &self.lists {
            let above = list.partition_point(|entry| entry.time < earliest);
            // The last row below may still be the nearest; with equal times any of them, without exact ones.
            let time = above.checked_sub(1).and_then(|last| list.get(last)).map(|entry| entry.time);
            let first = match time {
                Some(time) if looks_back => list.partition_point(|entry| entry.time < time),
                _ => above,
            };
            kept.extend(list.iter().skip(first).map(|entry| (entry.chunk as usize, entry.row as usize)));
        }
        let rows = gather(&self.chunks, &kept)?;
        *self = Self::new(shared);
        if let Some(rows) = rows {
            self.add(shared, rows)?;
        }
        self.clean_rows = self.rows;
        Ok(())
    }

    fn memory(&self) -> usize {
        let entries: usize = self.lists.iter().map(|list| list.capacity() * size_of::<Entry>() + 24).sum();
        entries
            + self.keys.memory()
            + self.chunks.iter().map(RecordBatch::get_array_memory_size).sum::<usize>()
    }
}

impl JoinAsof {
    pub fn new(shared: Arc<AsofType>) -> Self {
        let right = Right::new(&shared);
        let watermarks = [Timestamp::MIN; 2];
        Self {
            shared,
            right,
            waiting: Vec::new(),
            watermarks,
            has_ended: [false; 2],
            forwarded: Timestamp::MIN,
        }
    }

    fn wait(&mut self, records: RecordBatch) -> Result<()> {
        if records.num_rows() > 0 {
            let times = times(records.column(self.shared.sides[0].time))?;
            self.waiting.push(Waiting { records, times });
        }
        Ok(())
    }

    /// True if no right row can come that a left row of this time would rather take.
    fn can_answer(&self, time: i64, found: Option<&Entry>) -> bool {
        if self.has_ended[1] {
            return true;
        }
        if !self.shared.is_timed || self.watermarks[1] == Timestamp::MIN {
            return false;
        }
        let watermark = self.watermarks[1].0;
        let reach = |ticks: i64| watermark > time.saturating_add(ticks);
        match (self.shared.strategy, found) {
            (AsofStrategy::Backward, _) => reach(0),
            (AsofStrategy::Forward, Some(found)) => watermark > found.time,
            (AsofStrategy::Nearest, Some(found)) => {
                reach(i64::try_from(found.time.abs_diff(time)).unwrap_or(i64::MAX))
            }
            (_, None) => self.shared.tolerance.is_some_and(reach),
        }
    }

    /// Emits the left rows that are settled.
    fn settle(&mut self, out: &mut Output) -> Result<()> {
        let shared = self.shared.clone();
        for Waiting { records, times } in std::mem::take(&mut self.waiting) {
            let valid = shared.valid(0, &records);
            let slots = self.right.slots(&shared, &records, false)?;
            let (mut rows, mut rest, mut found) = (Vec::new(), Vec::new(), Vec::new());
            for (row, (time, slot)) in times.iter().zip(slots).enumerate() {
                let is_valid = valid.get(row).copied().unwrap_or(false);
                let slot = if is_valid { slot } else { NO_SLOT };
                let entry = self.right.nearest(&shared, slot, *time);
                if !is_valid || self.can_answer(*time, entry) {
                    rows.push(row as u32);
                    found.push(entry.map(|entry| (entry.chunk as usize, entry.row as usize)));
                } else {
                    rest.push(row as u32);
                }
            }
            if !rows.is_empty() {
                out.push(Batch::new(self.joined(&records, rows, &found)?));
            }
            self.wait(chosen(&records, &rest)?)?;
        }
        // Small rests are put together, so that they are few.
        if self.waiting.len() > MOST_CHUNKS {
            let all: Vec<RecordBatch> =
                std::mem::take(&mut self.waiting).into_iter().map(|one| one.records).collect();
            if let Some(first) = all.first() {
                self.wait(concat_batches(&first.schema(), &all)?)?;
            }
        }
        let earliest = self.earliest();
        self.right.tidy(&shared, earliest)
    }

    /// No left row that is still to be answered is earlier.
    fn earliest(&self) -> i64 {
        let waiting = self.waiting.iter().flat_map(|one| &one.times).copied().min();
        let coming = if self.has_ended[0] { Timestamp::MAX } else { self.watermarks[0] };
        waiting.map_or(coming.0, |waiting| waiting.min(coming.0))
    }

    fn joined(
        &self,
        records: &RecordBatch,
        rows: Vec<u32>,
        found: &[Option<(usize, usize)>],
    ) -> Result<RecordBatch> {
        let count = rows.len();
        let rows = UInt32Array::from(rows);
        let column = |((side, index), field): (&(usize, usize), &Arc<arrow::datatypes::Field>)| {
            if *side == 0 {
                return Ok(take(records.column(*index), &rows, None)?);
            }
            let none = new_null_array(field.data_type(), 1);
            let mut arrays: Vec<&dyn Array> = vec![none.as_ref()];
            arrays.extend(self.right.chunks.iter().map(|chunk| chunk.column(*index).as_ref()));
            let places = found.iter().map(|found| found.map_or((0, 0), |(chunk, row)| (chunk + 1, row)));
            Ok(interleave(&arrays, &places.collect::<Vec<_>>())?)
        };
        let columns =
            self.shared.columns.iter().zip(self.shared.schema.fields()).map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(self.shared.schema.clone(), columns, &options)?)
    }

    fn forward(&mut self, out: &mut Output) {
        let bound = Timestamp(self.earliest());
        if self.shared.is_timed && bound > self.forwarded {
            self.forwarded = bound;
            out.watermark(bound);
        }
    }
}

impl Operator for JoinAsof {
    fn on_batch(&mut self, input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        if input == 0 {
            self.wait(without_hidden(&batch.records)?)?;
        } else {
            let shared = self.shared.clone();
            self.right.add(&shared, with_place(batch)?)?;
        }
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        input: Input,
        _combined: Timestamp,
        own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        self.watermarks[input] = own;
        if self.shared.is_timed && own != Timestamp::MAX {
            self.settle(out)?;
            self.forward(out);
        }
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, input: Input, out: &mut Output) -> Result<Flow> {
        self.has_ended[input] = true;
        self.settle(out)?;
        self.forward(out);
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (shared, chunks, lists) =
            (self.shared.clone(), self.right.chunks.clone(), self.right.lists.clone());
        let waiting: Vec<RecordBatch> = self.waiting.iter().map(|one| one.records.clone()).collect();
        Ok(Frozen::new(move || {
            let mut tables = Vec::with_capacity(2);
            if let Some(first) = waiting.first() {
                tables.push(shared.sides[0].table(&concat_batches(&first.schema(), &waiting)?)?);
            }
            let places: Vec<_> =
                lists.iter().flatten().map(|entry| (entry.chunk as usize, entry.row as usize)).collect();
            if let Some(rows) = gather(&chunks, &places)? {
                tables.push(shared.sides[1].table(&rows)?);
            }
            Ok(tables)
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let shared = self.shared.clone();
        for table in tables {
            if table.name == shared.sides[0].name {
                self.wait(shared.sides[0].rows(&table)?)?;
            } else {
                self.right.add(&shared, shared.sides[1].rows(&table)?)?;
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let waiting =
            self.waiting.iter().map(|one| one.records.get_array_memory_size() + one.times.len() * 8);
        waiting.sum::<usize>() + self.right.memory()
    }
}

impl SideType {
    /// State order: the keys first, then the other columns, then hidden ones.
    fn table(&self, rows: &RecordBatch) -> Result<StateTable> {
        let order = keys_first(rows.num_columns(), &self.keys);
        let scope = if self.keys.is_empty() { Scope::Single } else { Scope::Keyed };
        Ok(StateTable {
            name: self.name.to_owned(),
            scope,
            keys: self.keys.len(),
            rows: rows.project(&order)?,
        })
    }

    /// The rows of [`SideType::table`] as they came.
    fn rows(&self, table: &StateTable) -> Result<RecordBatch> {
        Ok(table.rows.project(&as_they_came(table.rows.num_columns(), &self.keys))?)
    }
}

/// The rows at some places; `None` without a chunk.
fn gather(chunks: &[RecordBatch], places: &[(usize, usize)]) -> Result<Option<RecordBatch>> {
    let chunks: Vec<&RecordBatch> = chunks.iter().collect();
    if chunks.is_empty() { Ok(None) } else { Ok(Some(interleave_record_batch(&chunks, places)?)) }
}

/// Event times as ticks; a null is the least.
fn times(column: &ArrayRef) -> Result<Vec<i64>> {
    Ok(ticks(column)?.iter().map(|tick| tick.unwrap_or(i64::MIN)).collect())
}

#[cfg(test)]
mod tests {
    use super::{AsofType, JoinAsof};
    use crate::Operator;
    use crate::testing::{Harness, placed};
    use crate::time::Timestamp;
    use dataflare_plan::Plan;
    use serde_json::json;
    use std::sync::Arc;

    /// Left (k, t) with right (k, u).
    fn join(strategy: &str, tolerance: Option<i64>) -> Harness<JoinAsof> {
        let int = |name: &str| json!({"name": name, "dtype": "int64"});
        let input = |time: &str| json!({"operator": "source", "connector": "batches", "options": {}, "bounded": true, "schema": [int("k"), int(time)], "event_time": time});
        let node = json!({"operator": "join_asof", "inputs": [0, 1], "left_on": "t", "right_on": "u", "left_by": ["k"], "right_by": ["k"],
            "strategy": strategy, "tolerance": tolerance, "exact": true, "columns": [{"left": "k"}, {"left": "t"}, {"right": "u"}],
            "schema": [int("k"), int("t"), int("u")], "event_time": "t"});
        let plan = json!({"version": dataflare_plan::PLAN_VERSION, "nodes": [input("t"), input("u"), node]});
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        let [left, right, node] = plan.nodes.as_slice() else { panic!("three nodes") };
        let shared = Arc::new(AsofType::new(node, left, right).unwrap());
        Harness::new(JoinAsof::new(shared)).with_inputs(2).with_event_time("t")
    }

    fn left(join: &mut Harness<JoinAsof>, keys: &[i64], times: &[i64]) {
        join.push_to(0, placed(0, 0, [("k", keys.to_vec()), ("t", times.to_vec())]));
    }

    fn right(join: &mut Harness<JoinAsof>, keys: &[i64], times: &[i64]) {
        join.push_to(1, placed(0, 0, [("k", keys.to_vec()), ("u", times.to_vec())]));
    }

    #[test]
    fn row_waits_until_nothing_nearer_can_come() {
        let mut join = join("backward", None);
        left(&mut join, &[1, 1], &[10, 20]);
        right(&mut join, &[1], &[4]);
        join.watermark_of(1, Timestamp(10));
        assert_eq!(join.take("u"), []);
        right(&mut join, &[1], &[10]);
        join.watermark_of(1, Timestamp(11));
        assert_eq!(join.take("u"), [Some(10)]);
        join.end();
        assert_eq!(join.take("u"), [Some(10)]);
    }

    #[test]
    fn forwards_no_more_than_what_waits_allows() {
        let mut join = join("forward", Some(5));
        left(&mut join, &[1], &[10]);
        join.watermark_of(0, Timestamp(50));
        join.watermark_of(1, Timestamp(12));
        assert_eq!(join.forwarded(), Timestamp(10));
        join.watermark_of(1, Timestamp(16));
        assert_eq!(join.take("t"), [Some(10)]);
        assert_eq!(join.forwarded(), Timestamp(50));
    }

    #[test]
    fn state_does_not_grow_while_watermarks_go_on() {
        let mut join = join("nearest", Some(10));
        let mut sizes = Vec::new();
        for step in 0..300_i64 {
            let times: Vec<i64> = (0..1_000).map(|row| step * 20 + row % 20).collect();
            let keys: Vec<i64> = (0..1_000).map(|row| row % 7).collect();
            right(&mut join, &keys, &times);
            left(&mut join, &keys, &times);
            join.watermark_of(0, Timestamp(step * 20));
            join.watermark_of(1, Timestamp(step * 20));
            sizes.push(join.operator.state_bytes());
        }
        let (early, late) = sizes.split_at(150);
        let (early, late) = (early.iter().max().unwrap(), late.iter().max().unwrap());
        assert!(*late < early + early / 4, "at most {early} bytes in the first half, {late} in the second");
    }
}
