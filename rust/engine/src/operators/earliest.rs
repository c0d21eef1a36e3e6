//! `head(n)`, `limit`, `slice` above `with_watermark` or running functions: the earliest rows by (time, input, split, position).
//!
//! In: append batches with the hidden columns of `logical_order`. Out: the rows that were asked for, in logical order. A
//! row leaves once the watermark is above its time; of the others no more are kept than can be asked for.
//! Not here: frames without event time (`head.rs`).
//! Forwards: the watermark as it is: every row below it has left. State: the kept rows, and how many are still wanted.
//! Runs on worker 0. Cost: one sort of at most twice the wanted rows for each batch that holds a candidate.

use super::logical_order::{Place, places, with_place};
use super::wanted::{COUNTS, Wanted};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch, POSITION};
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};

/// See the module.
#[derive(Debug)]
pub struct Earliest {
    wanted: Wanted,
    /// In logical order; no more rows than are wanted.
    kept: Option<RecordBatch>,
    last_kept: Option<Place>,
}

impl Earliest {
    /// Leaves out `offset` rows, then keeps `rows`.
    pub fn new(offset: u64, rows: u64) -> Self {
        Self { wanted: Wanted::new(offset, rows), kept: None, last_kept: None }
    }

    fn add(&mut self, records: RecordBatch) -> Result<()> {
        let is_full = self.kept.as_ref().is_some_and(|kept| kept.num_rows() >= self.wanted.rows());
        let candidates = match self.last_kept.filter(|_| is_full) {
            Some(last) => {
                let mask: BooleanArray = places(&records).iter().map(|place| Some(*place < last)).collect();
                filter_record_batch(&records, &mask)?
            }
            None => records,
        };
        if candidates.num_rows() == 0 {
            return Ok(());
        }
        let all = match &self.kept {
            Some(kept) => concat_batches(&kept.schema(), [kept, &candidates])?,
            None => candidates,
        };
        let places = places(&all);
        let mut rows: Vec<(Place, u64)> = places.into_iter().zip(0..).collect();
        let wanted = self.wanted.rows();
        if rows.len() > wanted {
            rows.select_nth_unstable(wanted);
            rows.truncate(wanted);
        }
        rows.sort_unstable();
        self.last_kept = rows.last().map(|(place, _)| *place);
        let rows: UInt64Array = rows.into_iter().map(|(_, row)| Some(row)).collect();
        self.kept = Some(take_record_batch(&all, &rows)?);
        Ok(())
    }

    /// Emits the kept rows whose time is below `watermark`.
    fn release(&mut self, watermark: Timestamp, out: &mut Output) {
        let Some(kept) = self.kept.take() else { return };
        let final_rows = places(&kept)
            .partition_point(|place| Timestamp(place.time) < watermark || watermark == Timestamp::MAX);
        if let Some(records) = self.wanted.take(&kept.slice(0, final_rows)) {
            out.push(Batch::new(records));
        }
        self.kept = Some(kept.slice(final_rows, kept.num_rows() - final_rows));
    }

    fn flow(&mut self) -> Flow {
        if !self.wanted.is_over() {
            return Flow::Ready;
        }
        self.kept = None;
        Flow::Done
    }
}

impl Operator for Earliest {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        let records = with_place(batch)?;
        if records.column_by_name(POSITION).is_none() {
            return Err(EngineError::internal("head", "a batch without positions"));
        }
        self.add(records)?;
        Ok(self.flow())
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        self.release(combined, out);
        out.watermark(combined);
        Ok(self.flow())
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (wanted, kept) = (self.wanted, self.kept.clone());
        Ok(Frozen::new(move || {
            let mut tables = vec![wanted.table()?];
            if let Some(rows) = kept.filter(|rows| rows.num_rows() > 0) {
                tables.push(StateTable { name: "kept".into(), scope: Scope::Single, keys: 0, rows });
            }
            Ok(tables)
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            match table.name.as_str() {
                COUNTS => self.wanted = Wanted::restored(&table)?,
                _ => self.add(table.rows)?,
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, RecordBatch::get_array_memory_size)
    }
}

#[cfg(test)]
mod tests {
    use super::Earliest;
    use crate::event::{Batch, POSITION, TIME};
    use crate::operators::Operator;
    use crate::testing::{Harness, cut, placed};
    use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
    use std::sync::Arc;

    /// Rows at `times` of a split, as a watermark operator hands them on.
    fn rows(split: u32, sequence: u64, first_position: u64, times: Vec<i64>) -> Batch {
        let positions: UInt64Array = (first_position..).take(times.len()).map(Some).collect();
        let batch = placed(split, sequence, [("t", times.clone()), (TIME, times)]);
        let schema = batch.records.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str()).chain([POSITION]);
        let columns = batch.records.columns().iter().cloned().chain([Arc::new(positions) as ArrayRef]);
        let records = RecordBatch::try_from_iter(names.zip(columns)).unwrap();
        batch.with_records(records)
    }

    #[test]
    fn row_leaves_when_the_watermark_is_above_it() {
        let mut head = Harness::new(Earliest::new(1, 3)).with_event_time("t");
        head.push(rows(0, 0, 0, vec![5, 3, 9]));
        head.push(rows(1, 0, 0, vec![4, 1]));
        head.watermark(4);
        assert_eq!(head.take("t"), [Some(3)]);
        head.push(rows(0, 1, 3, vec![4, 7]));
        head.watermark(5);
        assert_eq!(head.take("t"), [Some(4), Some(4)]);
        assert!(head.is_done());
    }

    #[test]
    fn any_cut_gives_the_same_rows() {
        let times: Vec<i64> = (0..60).map(|row| (row * 37) % 50).collect();
        let mut expected = times.clone();
        expected.sort_unstable();
        for seed in 0..20 {
            let mut head = Harness::new(Earliest::new(4, 10));
            for piece in cut(&rows(0, 0, 0, times.clone()), 0, seed) {
                head.push(piece);
            }
            head.end();
            let found: Vec<i64> = head.take("t").into_iter().flatten().collect();
            assert_eq!(found, expected[4..14], "seed {seed}");
        }
    }

    #[test]
    fn state_goes_on_in_another_instance() {
        let mut first = Harness::new(Earliest::new(0, 3));
        first.push(rows(0, 0, 0, vec![2, 8, 9, 10]));
        first.watermark(3);
        assert_eq!(first.take("t"), [Some(2)]);
        let mut second = Harness::new(Earliest::new(0, 3));
        let state = first.state();
        second.operator.restore(state).unwrap();
        second.push(rows(0, 0, 4, vec![7]));
        second.end();
        assert_eq!(second.take("t"), [Some(7), Some(8)]);
    }
}
