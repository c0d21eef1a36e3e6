//! Puts batches that come from several workers back into the order of the input.
//!
//! In: batches with a place (input, split, sequence), one for each of the source, also empty ones. Out: by input, split and
//! sequence. Batches of a later split wait for the end of all earlier ones.
//! Not here: event-time order (`sort`).
//! Forwards: nothing but the end: it stands where order is by place, not by time. State: none at a barrier of a running
//! job but the batches of later splits, which are kept.
//! Runs on worker 0, behind an exchange to it.

use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub struct Resequence {
    splits: BTreeMap<(u32, u32), Lane>,
    ended: bool,
    held_bytes: usize,
}

#[derive(Debug, Default)]
struct Lane {
    next: u64,
    early: BTreeMap<u64, Batch>,
    /// In order, waiting for earlier splits.
    ready: Vec<Batch>,
}

impl Resequence {
    /// Emits what stands first: the first split at once, later ones when all before them are complete.
    fn release(&mut self, out: &mut Output) {
        let mut first = true;
        for lane in self.splits.values_mut() {
            if first || self.ended {
                for batch in lane.ready.drain(..) {
                    self.held_bytes = self.held_bytes.saturating_sub(batch.bytes());
                    out.push(batch);
                }
            }
            first = false;
        }
    }
}

impl Operator for Resequence {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let order = batch
            .order
            .ok_or_else(|| EngineError::internal("resequence", "a batch without a place in the input"))?;
        let is_first = self.splits.keys().next().is_none_or(|first| (order.input, order.split) <= *first);
        let lane = self.splits.entry((order.input, order.split)).or_default();
        self.held_bytes += batch.bytes();
        lane.early.insert(order.sequence, batch);
        while let Some(batch) = lane.early.remove(&lane.next) {
            lane.next += 1;
            lane.ready.push(batch);
        }
        // Only split (0, 0) is known to be the first one; a later split may still be preceded.
        if is_first && (order.input, order.split) == (0, 0) {
            self.release(out);
        }
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if combined == Timestamp::MAX {
            self.ended = true;
            self.release(out);
            out.watermark(combined);
        }
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        // At a barrier every batch before the cut has come, so nothing is early; what is ready waits for earlier splits.
        let held: Vec<((u32, u32), RecordBatch)> = self
            .splits
            .iter()
            .flat_map(|(key, lane)| lane.ready.iter().map(move |batch| (*key, batch.records.clone())))
            .collect();
        if held.is_empty() {
            return Ok(Frozen::default());
        }
        Ok(Frozen::new(move || {
            let tagged =
                held.iter().map(|(key, records)| tagged(*key, records)).collect::<Result<Vec<_>>>()?;
            let Some(schema) = tagged.first().map(RecordBatch::schema) else { return Ok(Vec::new()) };
            let rows = concat_batches(&schema, &tagged)?;
            Ok(vec![StateTable { name: "held".into(), scope: Scope::Single, keys: 0, rows }])
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            let (inputs, splits) = (table.rows.column(0).clone(), table.rows.column(1).clone());
            let place = |column: &arrow::array::ArrayRef, row: usize| {
                column.as_any().downcast_ref::<UInt32Array>().map(|values| values.value(row))
            };
            let mut start = 0;
            while start < table.rows.num_rows() {
                let key = (place(&inputs, start), place(&splits, start));
                let mut end = start;
                while end < table.rows.num_rows() && (place(&inputs, end), place(&splits, end)) == key {
                    end += 1;
                }
                let (Some(input), Some(split)) = key else {
                    return Err(EngineError::internal("resequence", "its state has no place columns"));
                };
                let shown: Vec<usize> = (2..table.rows.num_columns()).collect();
                let records = table.rows.slice(start, end - start).project(&shown)?;
                self.held_bytes += records.get_array_memory_size();
                self.splits.entry((input, split)).or_default().ready.push(Batch::new(records));
                start = end;
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.held_bytes
    }
}

fn tagged((input, split): (u32, u32), records: &RecordBatch) -> Result<RecordBatch> {
    let count = records.num_rows();
    let mut fields = vec![
        Arc::new(Field::new("input", DataType::UInt32, false)),
        Arc::new(Field::new("split", DataType::UInt32, false)),
    ];
    fields.extend(records.schema().fields().iter().cloned());
    let mut columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(UInt32Array::from(vec![input; count])),
        Arc::new(UInt32Array::from(vec![split; count])),
    ];
    columns.extend(records.columns().iter().cloned());
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

#[cfg(test)]
mod tests {
    use super::Resequence;
    use crate::event::{Batch, Event, Order};
    use crate::operators::{Operator, Output};
    use crate::time::Timestamp;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn batch(split: u32, sequence: u64, value: i64) -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        let order = Some(Order { input: 0, split, sequence });
        Batch { records: RecordBatch::try_from_iter([("a", column)]).unwrap(), order, changes: None }
    }

    #[test]
    fn rows_leave_by_split_and_sequence() {
        let (mut operator, mut out) = (Resequence::default(), Output::default());
        for (split, sequence, value) in [(1, 0, 30), (0, 1, 20), (0, 0, 10), (1, 1, 40)] {
            operator.on_batch(0, batch(split, sequence, value), &mut out).unwrap();
        }
        operator.on_watermark(0, Timestamp::MAX, Timestamp::MAX, &mut out).unwrap();
        let mut values = Vec::new();
        while let Some((_, event)) = out.pop() {
            if let Event::Batch(batch) = event {
                values.push(batch.records.column(0).as_primitive::<Int64Type>().value(0));
            }
        }
        assert_eq!(values, [10, 20, 30, 40]);
    }
}
