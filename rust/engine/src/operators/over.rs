//! Aggregates of a key that holds the event time, beside the rows: `x.max().over("ts", "k")` over windows.
//!
//! In: append batches, on the worker that owns the key. Out: the same rows with a column for each aggregate; the rows of a
//! key leave when the watermark is above its time, for then all of them have come. Not here: running functions, which do not
//! wait for later rows (`running.rs`). Forwards: the watermark as it is. State: the rows that wait.
//! Cost: one table look-up and one update of each aggregate a row; nothing is kept between two times.

use super::logical_order::is_hidden;
use super::waiting::{Piece, Waiting};
use super::{Flow, Input, Operator, Output};
use crate::aggregate::{self, CHUNK_ROWS, OrderColumns, Prepared, accumulator};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::state::groups::{GroupType, Groups};
use crate::state::keys::KeyType;
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use crate::types::{arrow_schema, column_index};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{FieldRef, Schema};
use dataflare_plan::{DataType, Node, Operator as Plan};
use std::sync::Arc;

/// What every instance of a node shares.
#[derive(Debug)]
pub struct OverType {
    keys: Vec<usize>,
    groups: GroupType,
    /// Column and filter of each aggregate.
    inputs: Vec<[Option<usize>; 3]>,
    needs_order: bool,
    time: usize,
    /// Columns of the input.
    width: usize,
    /// Input columns, then aggregates.
    fields: Vec<FieldRef>,
}

impl OverType {
    /// # Errors
    /// A node of another kind, an input without event time, or types that the aggregates do not have.
    pub fn new(node: &Node, input: &Node) -> Result<Self> {
        let Plan::Over { keys, aggregates } = &node.operator else {
            return Err(EngineError::internal("over", format!("a {} node", node.operator.kind())));
        };
        let schema = arrow_schema(&input.schema);
        let index = |name: &String| column_index(&schema, name);
        let dtype =
            |name: &String| input.schema.iter().find(|field| &field.name == name).map(|field| &field.dtype);
        let time = input.event_time.as_ref().filter(|time| keys.contains(time));
        let time = time.ok_or_else(|| EngineError::internal("over", "no key is the event time"))?;
        let key_types: Vec<DataType> = keys.iter().filter_map(dtype).cloned().collect();
        let accumulators = aggregates.iter().map(|one| {
            let of = |name: &Option<String>| name.as_ref().and_then(dtype);
            accumulator(one, of(&one.column), of(&one.other))
        });
        let inputs = aggregates.iter().map(|one| {
            let place = |name: &Option<String>| name.as_ref().map(index).transpose();
            Ok::<_, EngineError>([place(&one.column)?, place(&one.other)?, place(&one.filter)?])
        });
        Ok(Self {
            keys: keys.iter().map(index).collect::<Result<_>>()?,
            groups: GroupType {
                keys: KeyType::of(&key_types)?,
                accumulators: accumulators.collect::<Result<_>>()?,
            },
            inputs: inputs.collect::<Result<_>>()?,
            needs_order: aggregates.iter().any(|one| one.needs_order()),
            time: index(time)?,
            width: input.schema.len(),
            fields: arrow_schema(&node.schema).fields().iter().cloned().collect(),
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Over {
    shared: Arc<OverType>,
    waiting: Waiting,
    watermark: Timestamp,
}

impl Over {
    pub fn new(shared: Arc<OverType>) -> Self {
        Self { waiting: Waiting::new(Some(shared.time)), watermark: Timestamp::MIN, shared }
    }

    fn emit(&mut self, out: &mut Output) -> Result<Flow> {
        if let Some(piece) = self.waiting.next_piece()? {
            out.push(Batch::new(self.evaluate(&piece)?));
            return Ok(Flow::More);
        }
        out.watermark(self.watermark);
        Ok(Flow::Ready)
    }

    /// A piece holds all rows of its times, so all of its keys.
    fn evaluate(&self, piece: &Piece) -> Result<RecordBatch> {
        let shared = &self.shared;
        let records = &piece.records;
        let keys: Vec<ArrayRef> = shared.keys.iter().map(|key| records.column(*key).clone()).collect();
        let keys = shared.groups.keys.prepare(&keys)?;
        let order = match shared.needs_order {
            true => Some(OrderColumns::of(&Batch::new(records.clone()))?),
            false => None,
        };
        let mut prepared: Vec<Prepared> = Vec::with_capacity(shared.inputs.len());
        for (accumulator, [column, other, filter]) in shared.groups.accumulators.iter().zip(&shared.inputs) {
            let place = |index: &Option<usize>| index.map(|index| records.column(index));
            let input = aggregate::Input {
                column: place(column),
                other: place(other),
                filter: place(filter),
                order: order.as_ref(),
            };
            prepared.push(accumulator.prepare(&input)?);
        }
        let mut groups = Groups::new(&shared.groups);
        let mut slots = Vec::with_capacity(records.num_rows());
        let mut start = 0;
        while start < records.num_rows() {
            let end = records.num_rows().min(start + CHUNK_ROWS);
            groups.update(&keys, &prepared, start..end)?;
            slots.extend_from_slice(groups.last_slots());
            start = end;
        }
        let slots = UInt32Array::from(slots);
        let mut columns: Vec<ArrayRef> = records.columns().iter().take(shared.width).cloned().collect();
        for result in groups.result_columns(None)?.iter().skip(shared.keys.len()) {
            columns.push(take(result, &slots, None)?);
        }
        columns.extend(records.columns().iter().skip(shared.width).cloned());
        let input = records.schema();
        let hidden = input.fields().iter().skip(shared.width).cloned();
        let schema = Schema::new(shared.fields.iter().cloned().chain(hidden).collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
    }
}

impl Operator for Over {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        self.waiting.add(batch)?;
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        self.watermark = combined;
        self.waiting.release(combined)?;
        self.emit(out)
    }

    fn on_more(&mut self, out: &mut Output) -> Result<Flow> {
        self.emit(out)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (keys, rows) = (self.shared.keys.clone(), self.waiting.rows());
        Ok(Frozen::new(move || {
            let Some(first) = rows.first() else { return Ok(Vec::new()) };
            let records = concat_batches(&first.schema(), &rows)?;
            let rest = (0..records.num_columns()).filter(|index| !keys.contains(index));
            let order: Vec<usize> = keys.iter().copied().chain(rest).collect();
            let rows = records.project(&order)?;
            Ok(vec![StateTable { name: "waiting".to_owned(), scope: Scope::Keyed, keys: keys.len(), rows }])
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            let schema = table.rows.schema();
            let input = self.shared.fields.iter().take(self.shared.width);
            let mut order =
                input.map(|field| column_index(&schema, field.name())).collect::<Result<Vec<_>>>()?;
            order.extend((0..schema.fields().len()).filter(|index| is_hidden(schema.field(*index))));
            self.waiting.add_placed(table.rows.project(&order)?)?;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.waiting.bytes()
    }
}
