//! Puts batches that come from several workers back into the order of the input.
//!
//! In: batches with a place (input, split, sequence), one for each of the source, also empty ones. Out: by input, split and
//! sequence. Batches of a later split wait for the end of all earlier ones.
//! Not here: event-time order (`sort`).
//! Forwards: nothing but the end: it stands where order is by place, not by time. State: none at a barrier of a running
//! job but the batches of later splits, which are kept.
//! Runs on worker 0, behind an exchange to it.

use super::logical_order::{tag, untag};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use std::collections::BTreeMap;

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
        if self.splits.values().any(|lane| !lane.early.is_empty()) {
            return Err(EngineError::internal("resequence", "a batch before the barrier is missing"));
        }
        let ready = |(key, lane): (&(u32, u32), &Lane)| {
            let records = lane.ready.iter().map(|batch| batch.records.clone());
            records.map(|records| (*key, records)).collect::<Vec<_>>()
        };
        let held: Vec<((u32, u32), RecordBatch)> = self.splits.iter().flat_map(ready).collect();
        if held.is_empty() {
            return Ok(Frozen::default());
        }
        Ok(Frozen::new(move || {
            let tagged = held.iter().map(|((input, split), records)| tag(records, *input, *split));
            let tagged = tagged.collect::<Result<Vec<_>>>()?;
            let Some(schema) = tagged.first().map(RecordBatch::schema) else { return Ok(Vec::new()) };
            let rows = concat_batches(&schema, &tagged)?;
            Ok(vec![StateTable { name: "held".into(), scope: Scope::Single, keys: 0, rows }])
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            for (order, records) in untag(&table.rows)? {
                self.held_bytes += records.get_array_memory_size();
                let lane = self.splits.entry((order.input, order.split)).or_default();
                lane.ready.push(Batch::new(records));
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Resequence;
    use crate::event::Batch;
    use crate::operators::Operator;
    use crate::testing::{Harness, cut, placed};
    use rand::rngs::SmallRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    fn rows(split: u32) -> Batch {
        placed(split, 0, [("a", (0..40).map(|row| i64::from(split) * 100 + row).collect())])
    }

    fn expected() -> Vec<Option<i64>> {
        (0..3).flat_map(|split| (0..40).map(move |row| Some(split * 100 + row))).collect()
    }

    #[test]
    fn rows_leave_by_split_and_sequence_for_any_cut_and_interleaving() {
        for seed in 0..20 {
            let mut pieces: Vec<Batch> = (0..3).flat_map(|split| cut(&rows(split), split, seed)).collect();
            pieces.shuffle(&mut SmallRng::seed_from_u64(seed));
            let mut order = Harness::new(Resequence::default());
            pieces.into_iter().for_each(|piece| order.push(piece));
            order.end();
            assert_eq!(order.take("a"), expected(), "seed {seed}");
        }
    }

    #[test]
    fn first_split_flows_while_later_ones_wait() {
        let mut order = Harness::new(Resequence::default());
        order.push(placed(1, 0, [("a", vec![3])]));
        order.push(placed(0, 1, [("a", vec![2])]));
        assert!(order.take("a").is_empty());
        order.push(placed(0, 0, [("a", vec![1])]));
        assert_eq!(order.take("a"), [Some(1), Some(2)]);
    }

    #[test]
    fn state_goes_on_in_another_instance() {
        for seed in 0..10 {
            let mut first = Harness::new(Resequence::default());
            let at = SmallRng::seed_from_u64(seed).random_range(0..40);
            let part = |split: u32, start: usize, end: usize| {
                let batch = rows(split);
                let records = batch.records.slice(start, end - start);
                cut(&batch.with_records(records), split, seed)
            };
            (0..3).rev().flat_map(|split| part(split, 0, at)).for_each(|piece| first.push(piece));
            let mut second = Harness::new(Resequence::default());
            let state = first.state();
            second.operator.restore(state).unwrap();
            (0..3).flat_map(|split| part(split, at, 40)).for_each(|piece| second.push(piece));
            second.end();
            let found: Vec<_> = first.take("a").into_iter().chain(second.take("a")).collect();
            assert_eq!(found, expected(), "seed {seed}");
        }
    }
}
