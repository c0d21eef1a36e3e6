//! The best rows of each group: `unique`, `group_by(...).head(n)`, `rank(...).over(key) <= n`.
//!
//! In: append batches with the hidden columns of `logical_order`, on the worker that owns the key. Out: rows of the input
//! as they are (with a number, if asked for), in no order: of a bounded frame at the end, of a group with a time key when
//! the watermark is above it; with updates the best row of each changed group, at most one a group and batch.
//! Not here: the first rows of a whole frame (`head.rs`, `earliest.rs`).
//! Forwards: the watermark with a time key, else nothing but the end. State: the rows that may still be among the best.
//! Cost: one look-up and one comparison a row; a row that gets in walks past the worse rows of its group.

use super::aggregate_plan::slices;
use super::logical_order::{PLACE_TYPES, place_columns, with_place, without_hidden};
use super::project::ticks;
use super::sort_keys::SortKeys;
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Change, Epoch};
use crate::state::keys::{KeyType, Keys, PreparedKeys};
use crate::state::row_store::chosen;
use crate::state::{Frozen, Scope, StateTable, as_they_came, keys_first};
use crate::time::{Instant, Timestamp};
use crate::types::{arrow_schema, column_index};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array, UInt64Array};
use arrow::compute::{SortOptions, cast, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};
use dataflare_plan::{EmitMode, Node, Operator as Plan, Schema as Columns};
use std::collections::BTreeMap;
use std::sync::Arc;

const NONE: u32 = u32::MAX;
/// Rows that are no longer needed are not worth the work below this number.
const LEAST_WASTE_ROWS: usize = 262_144;
const MOST_CHUNKS: usize = 512;
/// Hidden state column: how many rows a group with `alone` has had, and whether an update has left.
const SEEN: &str = "\u{0}seen";

/// What every instance shares.
#[derive(Debug)]
pub struct TopType {
    keys: Vec<usize>,
    key_type: KeyType,
    by: SortKeys,
    order: Arc<RowConverter>,
    rows: usize,
    is_alone: bool,
    rank: Option<DataType>,
    time: Option<usize>,
    updates: bool,
    every_ns: Option<u64>,
    output: SchemaRef,
}

impl TopType {
    /// # Errors
    /// A node of another kind, or keys that cannot be compared.
    pub fn new(node: &Node, input: &Columns) -> Result<Self> {
        let Plan::TopRows { keys, by, rows, last, alone, rank, time_key, emit } = &node.operator else {
            return Err(EngineError::internal("top_rows", format!("a {} node", node.operator.kind())));
        };
        let schema = arrow_schema(input);
        let key_columns = keys.iter().map(|key| column_index(&schema, key)).collect::<Result<Vec<_>>>()?;
        let dtypes: Vec<_> =
            keys.iter().filter_map(|key| input.iter().find(|field| &field.name == key)).collect();
        let dtypes: Vec<_> = dtypes.into_iter().map(|field| field.dtype.clone()).collect();
        let by = SortKeys::new(by, input)?;
        let mut fields = by.fields(&schema)?;
        let options = SortOptions { descending: *last, nulls_first: true };
        fields.extend(PLACE_TYPES.map(|dtype| SortField::new_with_options(dtype, options)));
        let output = arrow_schema(&node.schema);
        let rank = rank.as_ref().map(|name| column_index(&output, name)).transpose()?;
        Ok(Self {
            keys: key_columns,
            key_type: KeyType::of(&dtypes)?,
            by,
            order: Arc::new(RowConverter::new(fields)?),
            rows: usize::try_from(*rows).unwrap_or(usize::MAX),
            is_alone: *alone,
            rank: rank.map(|index| output.field(index).data_type().clone()),
            time: time_key.as_ref().map(|key| column_index(&schema, key)).transpose()?,
            updates: emit.mode == EmitMode::Update,
            every_ns: emit.every_ns.and_then(|every| u64::try_from(every).ok()),
            output,
        })
    }

    fn keys_of(&self, records: &RecordBatch) -> Result<PreparedKeys> {
        let columns: Vec<ArrayRef> = self.keys.iter().map(|key| records.column(*key).clone()).collect();
        self.key_type.prepare(&columns)
    }
}

/// See the module.
#[derive(Debug)]
pub struct TopRows {
    shared: Arc<TopType>,
    groups: Groups,
    changed: Vec<u32>,
    last_emission: Instant,
}

/// The candidates of all groups.
#[derive(Clone, Debug)]
struct Groups {
    keys: Keys,
    /// By slot.
    heads: Vec<Head>,
    /// Lists from the worst row of a group to its best.
    entries: Vec<Entry>,
    free: Vec<u32>,
    chunks: Vec<Arc<Chunk>>,
    stored_rows: usize,
    live_rows: usize,
    /// Slots by time key.
    by_time: BTreeMap<i64, Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    worst: u32,
    count: u32,
    /// Rows that the group has had, as far as it matters.
    seen: u64,
    /// Its best row has left, and has changed since.
    is_shown: bool,
    is_changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    chunk: u32,
    row: u32,
    better: u32,
}

#[derive(Debug)]
struct Chunk {
    records: RecordBatch,
    order: Rows,
}

impl Head {
    const NEW: Self = Self { worst: NONE, count: 0, seen: 0, is_shown: false, is_changed: false };
}

impl Groups {
    fn new(shared: &TopType) -> Self {
        Self {
            keys: Keys::new(&shared.key_type),
            heads: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            chunks: Vec::new(),
            stored_rows: 0,
            live_rows: 0,
            by_time: BTreeMap::new(),
        }
    }

    /// Takes rows; gives the slots of the groups that changed.
    fn add(&mut self, shared: &TopType, records: &RecordBatch, seen: Option<&[u64]>) -> Result<Vec<u32>> {
        let rows = records.num_rows();
        let keys = shared.keys_of(records)?;
        let mut slots = Vec::new();
        match &keys {
            PreparedKeys::None => slots.resize(rows, 0),
            keys => self.keys.slots(keys, 0..rows, &mut slots),
        }
        let known = self.heads.len();
        self.heads.resize(self.keys.count(), Head::NEW);
        let mut columns = shared.by.values(records)?;
        columns.extend(place_columns(records));
        let order = shared.order.convert_columns(&columns)?;
        let mut kept_order = shared.order.empty_rows(0, 0);
        let mut kept = Vec::new();
        let mut changed = Vec::new();
        for (row, slot) in slots.iter().enumerate() {
            let Some(head) = self.heads.get_mut(*slot as usize) else { continue };
            head.seen += seen.map_or(1, |seen| seen.get(row).copied().unwrap_or(1));
            if !self.take(shared, *slot, order.row(row).as_ref(), (&kept_order, kept.len() as u32)) {
                continue;
            }
            kept_order.push(order.row(row));
            kept.push(row as u32);
            let Some(head) = self.heads.get_mut(*slot as usize) else { continue };
            if !std::mem::replace(&mut head.is_changed, true) {
                changed.push(*slot);
            }
        }
        self.note_times(shared, records, &slots, known)?;
        if !kept.is_empty() {
            self.stored_rows += kept.len();
            let records = chosen(records, &kept)?;
            self.chunks.push(Arc::new(Chunk { records, order: kept_order }));
        }
        Ok(changed)
    }

    /// Puts a row into its group if it is among the best. `building`: the rows of the chunk that is being made.
    fn take(&mut self, shared: &TopType, slot: u32, order: &[u8], building: (&Rows, u32)) -> bool {
        let Some(head) = self.heads.get(slot as usize).copied() else { return false };
        let is_full = head.count as usize >= shared.rows;
        if shared.rows == 0 || (is_full && !self.is_better(order, head.worst, building)) {
            return false;
        }
        let mut before = NONE;
        let mut at = head.worst;
        while at != NONE && self.is_better(order, at, building) {
            before = at;
            at = self.entries.get(at as usize).map_or(NONE, |entry| entry.better);
        }
        let entry = Entry { chunk: self.chunks.len() as u32, row: building.1, better: at };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(old) = self.entries.get_mut(id as usize) {
                    *old = entry;
                }
                id
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        let worst = if before == NONE {
            id
        } else {
            if let Some(before) = self.entries.get_mut(before as usize) {
                before.better = id;
            }
            head.worst
        };
        self.live_rows += 1;
        let mut head = Head { worst, count: head.count + 1, ..head };
        if is_full {
            let better = self.entries.get(worst as usize).map_or(NONE, |entry| entry.better);
            self.free.push(worst);
            self.live_rows -= 1;
            head = Head { worst: better, count: head.count - 1, ..head };
        }
        if let Some(held) = self.heads.get_mut(slot as usize) {
            *held = head;
        }
        true
    }

    /// True if a row is better than an entry.
    fn is_better(&self, order: &[u8], entry: u32, building: (&Rows, u32)) -> bool {
        let Some(entry) = self.entries.get(entry as usize) else { return true };
        let held = match self.chunks.get(entry.chunk as usize) {
            Some(chunk) => chunk.order.row(entry.row as usize),
            None => building.0.row(entry.row as usize),
        };
        order < held.as_ref()
    }

    /// Files new groups under their time.
    fn note_times(
        &mut self,
        shared: &TopType,
        records: &RecordBatch,
        slots: &[u32],
        known: usize,
    ) -> Result<()> {
        let Some(column) = shared.time else { return Ok(()) };
        let times = ticks(records.column(column))?;
        let times = times.values().iter().copied();
        let mut next = known as u32;
        for (slot, time) in slots.iter().zip(times) {
            // New groups have the next slots, in order of their first rows.
            if *slot == next {
                self.by_time.entry(time).or_default().push(*slot);
                next += 1;
            }
        }
        Ok(())
    }

    /// Where the rows of some groups lie, best first, and the number of each in its group.
    fn places(&self, slots: impl Iterator<Item = u32>, most: usize) -> (Vec<(usize, usize)>, Vec<u64>) {
        let (mut places, mut numbers) = (Vec::new(), Vec::new());
        let mut group = Vec::new();
        for slot in slots {
            let mut at = self.heads.get(slot as usize).map_or(NONE, |head| head.worst);
            group.clear();
            while let Some(entry) = self.entries.get(at as usize).filter(|_| at != NONE) {
                group.push((entry.chunk as usize, entry.row as usize));
                at = entry.better;
            }
            places.extend(group.iter().rev().take(most));
            numbers.extend(1..=group.len().min(most) as u64);
        }
        (places, numbers)
    }

    /// The rows at some places; `None` without a chunk.
    fn gather(&self, places: &[(usize, usize)]) -> Result<Option<RecordBatch>> {
        let chunks: Vec<&RecordBatch> = self.chunks.iter().map(|chunk| &chunk.records).collect();
        if chunks.is_empty() { Ok(None) } else { Ok(Some(interleave_record_batch(&chunks, places)?)) }
    }

    /// Drops what is no longer needed, if that is much.
    fn tidy(&mut self, shared: &TopType) -> Result<()> {
        let waste = self.stored_rows - self.live_rows.min(self.stored_rows);
        if waste < self.live_rows.max(LEAST_WASTE_ROWS) && self.chunks.len() < MOST_CHUNKS {
            return Ok(());
        }
        let slots: Vec<u32> = (0..self.heads.len() as u32)
            .filter(|slot| self.heads.get(*slot as usize).is_some_and(|head| head.count > 0))
            .collect();
        let (places, numbers) = self.places(slots.iter().copied(), usize::MAX);
        let heads: Vec<Head> =
            slots.iter().filter_map(|slot| self.heads.get(*slot as usize)).copied().collect();
        let rows = self.gather(&places)?;
        *self = Self::new(shared);
        let Some(rows) = rows else { return Ok(()) };
        self.add(shared, &rows, None)?;
        // Groups have their slots in the order of their best rows now, which is the order of `slots`.
        let firsts = numbers.iter().filter(|number| **number == 1).count();
        if firsts != heads.len() {
            return Err(EngineError::internal("top_rows", "a group lost its rows"));
        }
        for (new, old) in self.heads.iter_mut().zip(heads) {
            *new = Head { worst: new.worst, count: new.count, ..old };
        }
        Ok(())
    }

    fn forget(&mut self, slots: &[u32]) {
        for slot in slots {
            let Some(head) = self.heads.get_mut(*slot as usize) else { continue };
            let mut at = std::mem::replace(head, Head::NEW).worst;
            while let Some(entry) = self.entries.get(at as usize).copied().filter(|_| at != NONE) {
                self.free.push(at);
                self.live_rows -= 1;
                at = entry.better;
            }
        }
    }

    fn memory(&self) -> usize {
        let chunks =
            self.chunks.iter().map(|chunk| chunk.records.get_array_memory_size() + chunk.order.size());
        let lists = self.heads.len() * size_of::<Head>() + self.entries.len() * size_of::<Entry>();
        chunks.sum::<usize>() + lists + self.keys.memory()
    }
}

impl TopRows {
    pub fn new(shared: Arc<TopType>) -> Self {
        let groups = Groups::new(&shared);
        Self { shared, groups, changed: Vec::new(), last_emission: Instant::default() }
    }

    /// The result rows of some groups.
    fn results(&self, slots: &[u32]) -> Result<Option<RecordBatch>> {
        let shared = &self.shared;
        let heads = &self.groups.heads;
        let stays = |slot: &u32| {
            let seen = heads.get(*slot as usize).map_or(0, |head| head.seen);
            !shared.is_alone || seen <= shared.rows as u64
        };
        let (places, numbers) = self.groups.places(slots.iter().copied().filter(stays), shared.rows);
        let Some(rows) = self.groups.gather(&places)? else { return Ok(None) };
        let Some(rank) = &shared.rank else { return Ok(Some(rows)) };
        // The number stands behind the user's columns, in front of hidden ones.
        let width = shared.output.fields().len() - 1;
        let numbers = cast(&UInt64Array::from(numbers), rank)?;
        let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        let mut columns = rows.columns().to_vec();
        fields.insert(width, Arc::new(shared.output.field(width).clone()));
        columns.insert(width, numbers);
        Ok(Some(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?))
    }

    fn emit(&self, slots: &[u32], out: &mut Output) -> Result<()> {
        if let Some(rows) = self.results(slots)? {
            slices(&rows).for_each(|slice| out.push(Batch::new(slice)));
        }
        Ok(())
    }

    /// The best row of each changed group.
    fn emit_changes(&mut self, out: &mut Output) -> Result<()> {
        let changed = std::mem::take(&mut self.changed);
        let kinds = changed.iter().filter_map(|slot| {
            let head = self.groups.heads.get_mut(*slot as usize)?;
            head.is_changed = false;
            let was_shown = std::mem::replace(&mut head.is_shown, true);
            Some(if was_shown { Change::UpdateAfter } else { Change::Insert } as u8)
        });
        let kinds = UInt8Array::from_iter_values(kinds);
        let Some(rows) = self.results(&changed)? else { return Ok(()) };
        let rows = without_hidden(&rows)?;
        let mut start = 0;
        for records in slices(&rows) {
            let changes = Some(kinds.slice(start, records.num_rows()));
            start += records.num_rows();
            out.push(Batch { changes, ..Batch::new(records) });
        }
        Ok(())
    }

    /// Takes the groups whose time key is below the watermark.
    fn final_groups(&mut self, watermark: Timestamp) -> Vec<u32> {
        let mut slots = Vec::new();
        while let Some(first) = self.groups.by_time.first_entry()
            && (Timestamp(*first.key()) < watermark || watermark == Timestamp::MAX)
        {
            slots.extend(first.remove());
        }
        slots
    }
}

impl Operator for TopRows {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let records = with_place(batch)?;
        if records.num_rows() == 0 {
            return Ok(Flow::Ready);
        }
        let shared = self.shared.clone();
        let changed = self.groups.add(&shared, &records, None)?;
        if shared.updates {
            self.changed.extend(changed);
            if shared.every_ns.is_none() {
                self.emit_changes(out)?;
            }
        }
        if self.changed.is_empty() {
            self.groups.tidy(&shared)?;
        }
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if self.shared.time.is_none() {
            return Ok(Flow::Ready);
        }
        let slots = self.final_groups(combined);
        if self.shared.updates {
            self.emit_changes(out)?;
        } else {
            self.emit(&slots, out)?;
        }
        self.groups.forget(&slots);
        let shared = self.shared.clone();
        self.groups.tidy(&shared)?;
        if !shared.updates {
            out.watermark(combined);
        }
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, out: &mut Output) -> Result<Flow> {
        if self.shared.updates {
            self.emit_changes(out)?;
        } else if self.shared.time.is_none() {
            let slots: Vec<u32> = (0..self.groups.heads.len() as u32).collect();
            self.emit(&slots, out)?;
            self.groups = Groups::new(&self.shared);
        }
        Ok(Flow::Ready)
    }

    fn deadline(&self) -> Option<Instant> {
        let every_ns = self.shared.every_ns?;
        (!self.changed.is_empty()).then(|| self.last_emission.plus(every_ns))
    }

    fn on_clock(&mut self, now: Instant, out: &mut Output) -> Result<Flow> {
        self.last_emission = now;
        self.emit_changes(out)?;
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (shared, groups) = (self.shared.clone(), self.groups.clone());
        Ok(Frozen::new(move || {
            let slots = (0..groups.heads.len() as u32)
                .filter(|slot| groups.heads.get(*slot as usize).is_some_and(|head| head.count > 0));
            let slots: Vec<u32> = slots.collect();
            let (places, numbers) = groups.places(slots.iter().copied(), usize::MAX);
            let Some(rows) = groups.gather(&places)? else { return Ok(Vec::new()) };
            // The best row of a group tells how many more it has had, and whether one has left.
            let mut heads = slots.iter().filter_map(|slot| groups.heads.get(*slot as usize));
            let seen = numbers.iter().map(|number| match number {
                1 => heads.next().map_or(0, |head| {
                    head.seen << 2 | u64::from(head.is_shown) << 1 | u64::from(head.is_changed)
                }),
                _ => 0,
            });
            let seen: ArrayRef = Arc::new(UInt64Array::from_iter_values(seen));
            Ok(vec![shared.table(&rows, seen)?])
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let shared = self.shared.clone();
        for table in tables {
            let (rows, seen) = shared.rows(&table)?;
            let counts: Vec<u64> = seen.iter().map(|seen| seen >> 2).collect();
            self.groups.add(&shared, &rows, Some(&counts))?;
            let keys = shared.keys_of(&rows)?;
            let mut slots = Vec::new();
            match &keys {
                PreparedKeys::None => slots.resize(rows.num_rows(), 0),
                keys => self.groups.keys.find(keys, 0..rows.num_rows(), &mut slots),
            }
            for (slot, seen) in slots.into_iter().zip(seen).filter(|(_, seen)| *seen != 0) {
                if let Some(head) = self.groups.heads.get_mut(slot as usize) {
                    head.is_shown = seen & 2 != 0;
                    head.is_changed = seen & 1 != 0;
                    if head.is_changed && shared.updates {
                        self.changed.push(slot);
                    }
                }
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.groups.memory()
    }
}

impl TopType {
    fn table(&self, rows: &RecordBatch, seen: ArrayRef) -> Result<StateTable> {
        let schema = rows.schema();
        let order = keys_first(schema.fields().len(), &self.keys);
        let fields = order.iter().map(|index| Arc::new(schema.field(*index).clone()));
        let fields = fields.chain([Arc::new(Field::new(SEEN, DataType::UInt64, false))]).collect::<Vec<_>>();
        let columns = order.iter().map(|index| rows.column(*index).clone()).chain([seen]).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let scope = if self.keys.is_empty() { Scope::Single } else { Scope::Keyed };
        Ok(StateTable { name: "rows".to_owned(), scope, keys: self.keys.len(), rows })
    }

    /// The rows of [`TopType::table`] as they came.
    fn rows(&self, table: &StateTable) -> Result<(RecordBatch, Vec<u64>)> {
        let schema = table.rows.schema();
        let count = schema.fields().len();
        let form = || EngineError::internal("top_rows", "a state table of another form");
        let seen = table.rows.column_by_name(SEEN).and_then(|seen| seen.as_primitive_opt::<UInt64Type>());
        let seen = seen.ok_or_else(form)?.values().to_vec();
        let order = as_they_came(count - 1, &self.keys);
        Ok((table.rows.project(&order)?, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::{TopRows, TopType};
    use crate::Operator;
    use crate::event::{Batch, POSITION};
    use crate::testing::{Harness, cut, placed};
    use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
    use dataflare_plan::Plan;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Over columns k and v; `more`: fields of the node beside its keys.
    fn top(more: &Value) -> Harness<TopRows> {
        let int = |name: &str| json!({"name": name, "dtype": "int64"});
        let columns = json!([int("k"), int("v")]);
        let mut node =
            json!({"operator": "top_rows", "inputs": [0], "keys": ["k"], "by": [], "schema": columns});
        for (name, value) in more.as_object().unwrap() {
            node[name] = value.clone();
        }
        let source = json!({"operator": "source", "connector": "batches", "options": {}, "bounded": true, "schema": columns});
        let plan = json!({"version": dataflare_plan::PLAN_VERSION, "nodes": [source, node]});
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        Harness::new(TopRows::new(Arc::new(TopType::new(&plan.nodes[1], &plan.nodes[0].schema).unwrap())))
    }

    /// Rows of a split at the positions that follow `first`.
    fn rows(first: u64, keys: &[i64], values: &[i64]) -> Batch {
        let batch = placed(0, 0, [("k", keys.to_vec()), ("v", values.to_vec())]);
        let positions: UInt64Array = (first..).take(keys.len()).map(Some).collect();
        let names = ["k", "v", POSITION];
        let columns = batch.records.columns().iter().cloned().chain([Arc::new(positions) as ArrayRef]);
        let records = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
        batch.with_records(records)
    }

    fn sorted(values: Vec<Option<i64>>) -> Vec<i64> {
        let mut values: Vec<i64> = values.into_iter().flatten().collect();
        values.sort_unstable();
        values
    }

    #[test]
    fn any_cut_and_order_of_batches_gives_the_first_and_the_last_row() {
        let keys: Vec<i64> = (0..60).map(|row| row % 7).collect();
        let values: Vec<i64> = (0..60).collect();
        for (last, expected) in [(false, (0..7).collect::<Vec<_>>()), (true, (53..60).collect())] {
            for seed in 0..10 {
                let mut top = top(&json!({"rows": 1, "last": last}));
                let mut pieces = cut(&rows(0, &keys, &values), 0, seed);
                pieces.reverse();
                pieces.into_iter().for_each(|piece| top.push(piece));
                top.end();
                assert_eq!(sorted(top.take("v")), expected, "seed {seed}");
            }
        }
    }

    #[test]
    fn best_rows_survive_when_much_is_dropped() {
        let mut top = top(&json!({"rows": 2, "by": [{"column": "v", "descending": true}]}));
        for step in 0..100_u64 {
            let values: Vec<i64> = (0..8_192).map(|row| step as i64 * 8_192 + row).collect();
            let keys: Vec<i64> = values.iter().map(|value| value % 1_000).collect();
            top.push(rows(step * 8_192, &keys, &values));
        }
        assert!(top.operator.groups.stored_rows < 400_000, "{} rows", top.operator.groups.stored_rows);
        top.end();
        assert_eq!(sorted(top.take("v")), (819_200 - 2_000..819_200).collect::<Vec<_>>());
    }

    #[test]
    fn group_with_a_time_key_leaves_when_the_watermark_is_above_it() {
        let mut top = top(&json!({"rows": 1, "time_key": "k"})).with_event_time("k");
        top.push(rows(0, &[10, 20, 10], &[1, 2, 3]));
        top.watermark(10);
        assert_eq!(top.take("v"), []);
        top.watermark(11);
        assert_eq!(top.take("v"), [Some(1)]);
        assert_eq!(top.state()[0].rows.num_rows(), 1);
        top.end();
        assert_eq!(top.take("v"), [Some(2)]);
    }

    #[test]
    fn state_goes_on_in_another_instance() {
        let more = json!({"rows": 1, "alone": true});
        let mut before = top(&more);
        before.push(rows(0, &[1, 2, 2], &[7, 8, 9]));
        let mut after = top(&more);
        after.operator.restore(before.state()).unwrap();
        after.push(rows(3, &[3], &[6]));
        after.end();
        assert_eq!(sorted(after.take("v")), [6, 7]);
    }
}
