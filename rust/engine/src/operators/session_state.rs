//! Sessions of keys with their aggregates: what both halves of a session operator make of rows, freeze and restore.
//!
//! A partial row is the key columns, the first and the last time, then the partial columns of each aggregate. Partial rows
//! of one session may come several times and in any order, so those of two workers, and those of a checkpoint, are merged
//! as raw rows are added. Not here: which rows make a session (`session_intervals.rs`), when results leave.

use super::aggregate_plan::InputNames;
use super::pane_state::{column, times};
use super::session_intervals::{Interval, Intervals};
use crate::aggregate::words::{narrowed, widened_words};
use crate::aggregate::{CHUNK_ROWS, Input, OrderColumns, Prepared, Slots, accumulator};
use crate::error::{EngineError, Result};
use crate::event::Batch;
use crate::state::cell_store::CellStore;
use crate::state::groups::GroupType;
use crate::state::keys::{KeyType, Keys, PreparedKeys};
use crate::state::{Scope, StateTable};
use crate::time::Timestamp;
use crate::types::{arrow_schema, arrow_type};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType as Arrow, Field, Schema as ArrowSchema, SchemaRef};
use dataflare_plan::{DataType, Node, Operator as PlanOperator, Schema};
use std::sync::Arc;

/// The columns of partial rows and state tables that hold the first and last time of a session.
const START: &str = "\u{0}start";
const LAST: &str = "\u{0}last";
/// Fewer unused slots than this are not worth a new table.
const FEW_SLOTS: usize = 4_096;

/// What does not change while a session operator runs.
#[derive(Debug)]
pub struct SessionShape {
    /// What messages call it.
    pub place: String,
    pub keys: Vec<String>,
    pub gap: i64,
    /// The time column.
    pub time: String,
    /// True if it is the event time: sessions become final.
    pub ends: bool,
    pub needs_order: bool,
    inputs: Vec<InputNames>,
    groups: GroupType,
    partial_schema: SchemaRef,
    schema: SchemaRef,
}

impl SessionShape {
    /// `node`: the Session node; `input`: the schema of its input; `event_time`: the event-time column of that.
    ///
    /// # Errors
    /// An aggregate or key of a type that has none, a node of another kind.
    pub fn new(node: &Node, input: &Schema, event_time: Option<&str>) -> Result<Self> {
        let PlanOperator::Session { keys, column, gap, aggregates } = &node.operator else {
            return Err(EngineError::internal(
                "a session operator",
                format!("its node is a {}", node.operator.kind()),
            ));
        };
        let type_of = |name: &str| {
            let field = input.iter().find(|field| field.name == name).map(|field| &field.dtype);
            field.ok_or_else(|| {
                EngineError::internal("the plan", format!("no column '{name}' below sessions"))
            })
        };
        let key_types: Vec<DataType> =
            keys.iter().map(|key| type_of(key).cloned()).collect::<Result<Vec<_>>>()?;
        let accumulators = aggregates
            .iter()
            .map(|one| {
                let of = |name: &Option<String>| name.as_deref().map(type_of).transpose();
                accumulator(one, of(&one.column)?, of(&one.other)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let key_fields = keys.iter().zip(&key_types);
        let mut fields: Vec<Field> =
            key_fields.map(|(name, dtype)| Field::new(name, arrow_type(dtype), true)).collect();
        fields.extend([START, LAST].map(|name| Field::new(name, Arrow::Int64, false)));
        for (one, accumulator) in aggregates.iter().zip(&accumulators) {
            for (part, dtype) in accumulator.partial_types() {
                let mut name = format!("{} {part}", one.text);
                while fields.iter().any(|field| field.name() == &name) {
                    name.push('\'');
                }
                fields.push(Field::new(name, dtype, true));
            }
        }
        Ok(Self {
            place: node.name.clone().unwrap_or_else(|| format!("group_by_session({column})")),
            keys: keys.clone(),
            gap: *gap,
            time: column.clone(),
            ends: event_time == Some(column),
            needs_order: aggregates.iter().any(|one| one.needs_order()),
            inputs: aggregates.iter().map(InputNames::of).collect(),
            groups: GroupType { keys: KeyType::of(&key_types)?, accumulators },
            partial_schema: Arc::new(ArrowSchema::new(fields)),
            schema: arrow_schema(&node.schema),
        })
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SessionState {
    shape: Arc<SessionShape>,
    keys: Keys,
    intervals: Intervals,
    cells: CellStore,
    key_slots: Vec<u32>,
    slots: Vec<u32>,
}

impl SessionState {
    pub fn new(shape: Arc<SessionShape>) -> Self {
        let (keys, cells) = (Keys::new(&shape.groups.keys), CellStore::new(&shape.groups.accumulators));
        let intervals = Intervals::new(shape.gap);
        Self { shape, keys, intervals, cells, key_slots: Vec::new(), slots: Vec::new() }
    }

    /// Adds raw rows.
    pub fn update(&mut self, batch: &Batch) -> Result<()> {
        let shape = self.shape.clone();
        let times = times(&batch.records, &shape.time, &shape.place)?;
        let order = if shape.needs_order { Some(OrderColumns::of(batch)?) } else { None };
        let column = |name: &String| column(&batch.records, name);
        let keys = shape.keys.iter().map(column).collect::<Result<Vec<_>>>()?;
        let keys = shape.groups.keys.prepare(&keys)?;
        let mut inputs = Vec::with_capacity(shape.inputs.len());
        for (names, accumulator) in shape.inputs.iter().zip(&shape.groups.accumulators) {
            let values = names.column.as_ref().map(column).transpose()?;
            let other = names.other.as_ref().map(column).transpose()?;
            let filter = names.filter.as_ref().map(column).transpose()?;
            inputs.push(accumulator.prepare(&Input {
                column: values.as_ref(),
                other: other.as_ref(),
                filter: filter.as_ref(),
                order: order.as_ref(),
            })?);
        }
        self.add(&keys, &times, &times, |cells, slots, chunk| cells.update(slots, &inputs, chunk))
    }

    /// Adds partial rows, those of a state table or of the other half.
    ///
    /// # Errors
    /// Rows that lack a column: a checkpoint of other aggregates.
    pub fn merge(&mut self, records: &RecordBatch) -> Result<()> {
        let shape = self.shape.clone();
        let columns = shape.partial_schema.fields().iter().map(|field| {
            let column = records.column_by_name(field.name()).cloned();
            column.filter(|column| column.data_type() == field.data_type()).ok_or_else(|| {
                let expected = format!("rows with column '{}' of type {}", field.name(), field.data_type());
                let schema = records.schema_ref();
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                EngineError::call(&shape.place, expected, format!("columns {}", names.join(", ")))
            })
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let (keys, rest) = columns.split_at(shape.keys.len());
        let [starts, lasts, partials @ ..] = rest else {
            return Err(EngineError::internal(&shape.place, "partial rows without times"));
        };
        let partials = self.prepare_partials(partials)?;
        let keys = shape.groups.keys.prepare(keys)?;
        let (starts, lasts) = (widened_words(starts)?, widened_words(lasts)?);
        self.add(&keys, &starts, &lasts, |cells, slots, chunk| cells.merge(slots, &partials, chunk))
    }

    fn prepare_partials(&self, mut columns: &[ArrayRef]) -> Result<Vec<Prepared>> {
        let accumulators = &self.shape.groups.accumulators;
        let mut prepared = Vec::with_capacity(accumulators.len());
        for accumulator in accumulators {
            let (own, others) = columns.split_at(accumulator.partial_types().len());
            prepared.push(accumulator.prepare_partial(own)?);
            columns = others;
        }
        Ok(prepared)
    }

    fn add(
        &mut self,
        keys: &PreparedKeys,
        starts: &[i64],
        lasts: &[i64],
        take: impl Fn(&mut CellStore, Slots<'_>, std::ops::Range<usize>) -> Result<()>,
    ) -> Result<()> {
        for from in (0..starts.len()).step_by(CHUNK_ROWS) {
            let chunk = from..starts.len().min(from + CHUNK_ROWS);
            self.keys.slots(keys, chunk.clone(), &mut self.key_slots);
            if let PreparedKeys::None = keys {
                self.key_slots.resize(chunk.len(), 0);
            }
            let rows = starts[chunk.clone()].iter().zip(&lasts[chunk.clone()]).zip(&self.key_slots);
            self.slots.clear();
            self.slots.extend(rows.map(|((start, last), key)| self.intervals.take(*key, *start, *last)));
            self.cells.grow(self.intervals.slots());
            take(&mut self.cells, Slots::Each(&self.slots), chunk)?;
        }
        Ok(())
    }

    /// All that is open as partial rows.
    pub fn partial_rows(&self) -> Result<RecordBatch> {
        let open: Vec<(u32, Interval)> = (0..self.intervals.slots() as u32)
            .filter_map(|slot| Some((slot, self.intervals.interval(slot)?)))
            .collect();
        let sessions: Vec<Interval> = open.iter().map(|(_, session)| *session).collect();
        let mut columns = self.key_columns(&sessions)?;
        columns.push(words(&sessions, |session| session.start, &Arrow::Int64)?);
        columns.push(words(&sessions, |session| session.last, &Arrow::Int64)?);
        let slots = UInt32Array::from_iter_values(open.iter().map(|(slot, _)| *slot));
        for column in self.cells.partial_columns()? {
            let is_all = column.len() == slots.len();
            columns.push(if is_all { column } else { take(&column, &slots, None)? });
        }
        Ok(RecordBatch::try_new(self.shape.partial_schema.clone(), columns)?)
    }

    /// The results of the sessions that are final at a watermark, which are forgotten.
    pub fn close(&mut self, watermark: Timestamp) -> Result<Option<RecordBatch>> {
        let closed = self.intervals.close(watermark);
        if closed.is_empty() {
            return Ok(None);
        }
        self.merge_children()?;
        let mut columns = self.key_columns(&closed)?;
        let (keys, gap) = (columns.len(), self.shape.gap);
        let type_of = |place: usize| self.shape.schema.field(keys + place).data_type();
        columns.push(words(&closed, |session| session.start, type_of(0))?);
        columns.push(words(&closed, |session| session.last.wrapping_add(gap), type_of(1))?);
        let slots: Vec<u32> = closed.iter().map(|session| session.slot).collect();
        columns.extend(self.cells.result_columns(Some(&slots))?);
        let rows = RecordBatch::try_new(self.shape.schema.clone(), columns)?;
        if self.intervals.unused() > self.intervals.open().max(FEW_SLOTS) {
            self.compact()?;
        }
        Ok(Some(rows))
    }

    /// Adds what children hold to the closed sessions that they are part of.
    fn merge_children(&mut self) -> Result<()> {
        let children = self.intervals.take_children_of_closed();
        if children.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(children.iter().map(|(child, _)| *child));
        let partials = self.cells.partial_columns()?;
        let partials =
            partials.iter().map(|column| Ok(take(column, &rows, None)?)).collect::<Result<Vec<_>>>()?;
        let partials = self.prepare_partials(&partials)?;
        let kept: Vec<u32> = children.iter().map(|(_, kept)| *kept).collect();
        for (index, slots) in kept.chunks(CHUNK_ROWS).enumerate() {
            let from = index * CHUNK_ROWS;
            self.cells.merge(Slots::Each(slots), &partials, from..from + slots.len())?;
        }
        Ok(())
    }

    /// Forgets the keys and slots of closed sessions. O(open sessions), after at least as many were closed.
    fn compact(&mut self) -> Result<()> {
        let rows = self.partial_rows()?;
        *self = Self::new(self.shape.clone());
        self.merge(&rows)
    }

    fn key_columns(&self, sessions: &[Interval]) -> Result<Vec<ArrayRef>> {
        let keys: Vec<u32> = sessions.iter().map(|session| session.key).collect();
        self.keys.columns(Some(&keys))
    }

    /// See [`Intervals::earliest_start`].
    pub fn earliest_start(&self) -> Option<i64> {
        self.intervals.earliest_start()
    }

    /// The state as a table.
    pub fn table(&self, name: &str) -> Result<StateTable> {
        let keys = self.shape.keys.len();
        let scope = if keys == 0 { Scope::Single } else { Scope::Keyed };
        Ok(StateTable { name: name.to_owned(), scope, keys, rows: self.partial_rows()? })
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let rows = (self.slots.capacity() + self.key_slots.capacity()) * size_of::<u32>();
        self.keys.memory() + self.intervals.memory() + self.cells.memory() + rows
    }
}

fn words(sessions: &[Interval], word: impl Fn(&Interval) -> i64, dtype: &Arrow) -> Result<ArrayRef> {
    narrowed(sessions.iter().map(word).collect(), None, dtype)
}
