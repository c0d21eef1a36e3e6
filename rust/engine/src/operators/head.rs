//! `head(n)`, `limit`, `slice` without event time: the first rows in the order (input, split, position).
//!
//! In: append batches, numbered in their splits; they may come in any order. Out: the rows that were asked for, split by
//! split. Of each split no more rows are kept than can be asked for. Where rows have no place (above a sort) the order of
//! arrival counts.
//! Not here: the earliest rows above `with_watermark` (`earliest.rs`).
//! Forwards: nothing but the end. State: the rows of splits that wait for earlier ones, and how many rows are still
//! wanted. Runs on worker 0. Cost: slices, no copy. Done as soon as no row is wanted any more, so that sources stop.

use super::logical_order::{tag, untag};
use super::wanted::{COUNTS, Wanted};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch, Order};
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug)]
pub struct Head {
    wanted: Wanted,
    lanes: BTreeMap<(u32, u32), Lane>,
}

/// One split.
#[derive(Debug, Default)]
struct Lane {
    next_sequence: u64,
    /// Batches whose predecessors are missing.
    early: BTreeMap<u64, RecordBatch>,
    kept: Vec<RecordBatch>,
    kept_rows: usize,
    emitted: u64,
}

impl Lane {
    /// Takes a batch; what is beyond `wanted` rows of the split is dropped.
    fn take(&mut self, sequence: u64, records: RecordBatch, wanted: usize) {
        self.early.insert(sequence, records);
        while let Some(records) = self.early.remove(&self.next_sequence) {
            self.next_sequence += 1;
            self.keep(records, wanted);
        }
    }

    fn keep(&mut self, records: RecordBatch, wanted: usize) {
        let rows = records.num_rows().min(wanted.saturating_sub(self.kept_rows));
        if rows > 0 {
            self.kept_rows += rows;
            self.kept.push(records.slice(0, rows));
        }
    }
}

impl Head {
    /// Leaves out `offset` rows, then keeps `rows`.
    pub fn new(offset: u64, rows: u64) -> Self {
        Self { wanted: Wanted::new(offset, rows), lanes: BTreeMap::new() }
    }

    fn flow(&mut self) -> Flow {
        if !self.wanted.is_over() {
            return Flow::Ready;
        }
        self.lanes.clear();
        Flow::Done
    }

    /// What leaves is numbered without gaps: operators above wait for each number.
    fn release(&mut self, key: (u32, u32), out: &mut Output) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.kept_rows = 0;
        for records in lane.kept.drain(..) {
            if let Some(records) = self.wanted.take(&records) {
                let order = Order { input: key.0, split: key.1, sequence: lane.emitted };
                lane.emitted += 1;
                out.push(Batch { records, order: Some(order), changes: None });
            }
        }
    }
}

impl Operator for Head {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let wanted = self.wanted.rows();
        match batch.order {
            None => {
                if let Some(records) = self.wanted.take(&batch.records) {
                    out.push(Batch { records, order: None, changes: None });
                }
            }
            Some(order) => {
                let key = (order.input, order.split);
                self.lanes.entry(key).or_default().take(order.sequence, batch.records, wanted);
                // Only the first split is known to have none before it.
                if key == (0, 0) {
                    self.release(key, out);
                }
            }
        }
        Ok(self.flow())
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if combined == Timestamp::MAX {
            for key in self.lanes.keys().copied().collect::<Vec<_>>() {
                self.release(key, out);
            }
            out.watermark(combined);
        }
        Ok(self.flow())
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        if self.lanes.values().any(|lane| !lane.early.is_empty()) {
            return Err(EngineError::internal("head", "a batch before the barrier is missing"));
        }
        let lanes =
            self.lanes.iter().flat_map(|(key, lane)| lane.kept.iter().map(move |rows| (*key, rows.clone())));
        let kept: Vec<((u32, u32), RecordBatch)> = lanes.collect();
        let wanted = self.wanted;
        Ok(Frozen::new(move || {
            let mut tables = vec![wanted.table()?];
            let tagged = kept.iter().map(|((input, split), rows)| tag(rows, *input, *split));
            let tagged = tagged.collect::<Result<Vec<_>>>()?;
            if let Some(first) = tagged.first() {
                let rows = concat_batches(&first.schema(), &tagged)?;
                tables.push(StateTable { name: "kept".into(), scope: Scope::Single, keys: 0, rows });
            }
            Ok(tables)
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name == COUNTS {
                self.wanted = Wanted::restored(&table)?;
                continue;
            }
            for (order, rows) in untag(&table.rows)? {
                self.lanes.entry((order.input, order.split)).or_default().keep(rows, usize::MAX);
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let lanes = self.lanes.values();
        lanes
            .flat_map(|lane| lane.kept.iter().chain(lane.early.values()))
            .map(RecordBatch::get_array_memory_size)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Head;
    use crate::operators::Operator;
    use crate::testing::{Harness, batch, placed};
    use crate::time::Timestamp;

    #[test]
    fn rows_leave_split_by_split_whatever_the_order_of_batches() {
        let mut head = Harness::new(Head::new(0, 5));
        head.push(placed(1, 1, [("a", vec![40, 50])]));
        head.push(placed(0, 1, [("a", vec![20])]));
        head.push(placed(1, 0, [("a", vec![30])]));
        head.push(placed(0, 0, [("a", vec![10])]));
        assert_eq!(head.take("a"), [Some(10), Some(20)]);
        head.end();
        assert_eq!(head.take("a"), [Some(30), Some(40), Some(50)]);
        assert_eq!(head.forwarded(), Timestamp::MAX);
    }

    #[test]
    fn full_first_split_is_done() {
        let mut head = Harness::new(Head::new(1, 2));
        head.push(placed(1, 0, [("a", vec![7, 8, 9, 10])]));
        head.push(placed(0, 0, [("a", vec![1, 2])]));
        assert!(!head.is_done());
        head.push(placed(0, 1, [("a", vec![3, 4])]));
        assert!(head.is_done());
        assert_eq!(head.take("a"), [Some(2), Some(3)]);
    }

    #[test]
    fn no_split_keeps_more_than_can_be_asked_for() {
        let mut head = Harness::new(Head::new(0, 3));
        for sequence in 0..50 {
            head.push(placed(1, sequence, [("a", vec![1; 10])]));
        }
        let kept: usize =
            head.state().iter().filter(|table| table.name == "kept").map(|table| table.rows.num_rows()).sum();
        assert_eq!(kept, 3);
    }

    #[test]
    fn rows_without_a_place_count_as_they_come() {
        let mut head = Harness::new(Head::new(1, 1));
        head.push(batch([("a", vec![Some(5)])]));
        head.push(batch([("a", vec![None, Some(6)])]));
        assert!(head.is_done());
        assert_eq!(head.take("a"), [None]);
    }

    #[test]
    fn state_goes_on_in_another_instance() {
        let mut first = Harness::new(Head::new(0, 4));
        first.push(placed(0, 0, [("a", vec![1])]));
        first.push(placed(1, 0, [("a", vec![3, 4])]));
        assert_eq!(first.take("a"), [Some(1)]);
        let mut second = Harness::new(Head::new(0, 4));
        let state = first.state();
        second.operator.restore(state).unwrap();
        second.push(placed(0, 0, [("a", vec![2])]));
        second.end();
        assert_eq!(second.take("a"), [Some(2), Some(3), Some(4)]);
    }
}
