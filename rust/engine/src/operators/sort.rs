//! `sort` of a bounded frame, and the rows of a bounded frame put back into logical order (a sort without keys).
//!
//! In: append batches. Out: at the end all rows, or a slice of them, in pieces; ties stand in logical order, or as they
//! came where there is none. Hidden columns end here.
//! Not here: sorts by event time, which the planner takes away; order by place while rows flow (`resequence.rs`).
//! Forwards: nothing but the end, behind all rows. State: the rows. Runs on worker 0.
//! Cost: holds the input in memory; with a slice about twice the rows up to the slice's end.

use super::logical_order::{Place, places, with_place, without_hidden};
use super::sort_keys::SortKeys;
use super::wanted::Wanted;
use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::{Batch, Epoch};
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};

/// Rows of an output batch, and the least number at which a slice drops what it cannot need.
const PIECE_ROWS: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub struct Sort {
    keys: SortKeys,
    slice: Option<Wanted>,
    buffered: Vec<RecordBatch>,
    buffered_rows: usize,
    /// Sorted, not yet emitted.
    sorted: Option<RecordBatch>,
}

impl Sort {
    /// `slice`: (offset, rows) of the sorted frame.
    pub fn new(keys: SortKeys, slice: Option<(u64, u64)>) -> Self {
        let slice = slice.map(|(offset, rows)| Wanted::new(offset, rows));
        Self { keys, slice, buffered: Vec::new(), buffered_rows: 0, sorted: None }
    }

    /// Rows that the slice can reach.
    fn reach(&self) -> usize {
        self.slice.map_or(usize::MAX, |wanted| wanted.rows())
    }

    fn add(&mut self, records: RecordBatch) -> Result<()> {
        if records.num_rows() == 0 {
            return Ok(());
        }
        self.buffered_rows += records.num_rows();
        self.buffered.push(records);
        if self.buffered_rows > self.reach().saturating_mul(2).max(PIECE_ROWS) {
            let kept = self.sort()?;
            self.buffered_rows = kept.as_ref().map_or(0, RecordBatch::num_rows);
            self.buffered.extend(kept);
        }
        Ok(())
    }

    /// Empties the buffer: its rows in order, as many as the slice can reach.
    fn sort(&mut self) -> Result<Option<RecordBatch>> {
        let buffered = std::mem::take(&mut self.buffered);
        let Some(first) = buffered.first() else { return Ok(None) };
        let all = concat_batches(&first.schema(), &buffered)?;
        drop(buffered);
        let keys = self.keys.of(&all)?;
        let places: Vec<Place> = places(&all);
        let mut rows: Vec<usize> = (0..all.num_rows()).collect();
        rows.sort_by(|one, other| {
            keys.compare(*one, *other).then_with(|| places.get(*one).cmp(&places.get(*other)))
        });
        rows.truncate(self.reach());
        let rows: UInt64Array = rows.into_iter().map(|row| Some(row as u64)).collect();
        Ok(Some(take_record_batch(&all, &rows)?))
    }

    fn emit(&mut self, out: &mut Output) -> Flow {
        let Some(sorted) = self.sorted.take() else {
            out.watermark(Timestamp::MAX);
            return Flow::Ready;
        };
        let rows = sorted.num_rows().min(PIECE_ROWS);
        out.push(Batch::new(sorted.slice(0, rows)));
        self.sorted = (rows < sorted.num_rows()).then(|| sorted.slice(rows, sorted.num_rows() - rows));
        Flow::More
    }
}

impl Operator for Sort {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        self.add(with_place(batch)?)?;
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if combined != Timestamp::MAX {
            return Ok(Flow::Ready);
        }
        let sorted = self.sort()?;
        self.buffered_rows = 0;
        let sliced = match (&mut self.slice, sorted) {
            (Some(wanted), Some(rows)) => wanted.take(&rows),
            (_, sorted) => sorted,
        };
        self.sorted = sliced.map(|rows| without_hidden(&rows)).transpose()?;
        Ok(self.emit(out))
    }

    fn on_more(&mut self, out: &mut Output) -> Result<Flow> {
        Ok(self.emit(out))
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        if self.buffered.is_empty() {
            return Ok(Frozen::default());
        }
        let buffered = self.buffered.clone();
        Ok(Frozen::new(move || {
            let Some(first) = buffered.first() else { return Ok(Vec::new()) };
            let rows = concat_batches(&first.schema(), &buffered)?;
            Ok(vec![StateTable { name: "rows".into(), scope: Scope::Single, keys: 0, rows }])
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        tables.into_iter().try_for_each(|table| self.add(table.rows))
    }

    fn state_bytes(&self) -> usize {
        self.buffered.iter().chain(&self.sorted).map(RecordBatch::get_array_memory_size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Sort;
    use crate::event::{Batch, POSITION};
    use crate::operators::Operator;
    use crate::operators::sort_keys::SortKeys;
    use crate::testing::{Harness, batch, cut, placed, strings};
    use crate::time::Timestamp;
    use arrow::array::{
        ArrayRef, AsArray, DictionaryArray, Float64Array, RecordBatch, StringViewArray, UInt32Array,
        UInt64Array,
    };
    use arrow::datatypes::Float64Type;
    use dataflare_plan::{DataType, Field, SortKey};
    use std::sync::Arc;

    fn keys(column: &str, dtype: DataType, descending: bool, nulls_last: bool) -> SortKeys {
        let by = [SortKey { column: column.into(), descending, nulls_last }];
        SortKeys::new(&by, &vec![Field { name: column.into(), dtype }]).unwrap()
    }

    fn by_a() -> SortKeys {
        keys("a", DataType::Int64, false, false)
    }

    #[test]
    fn rows_leave_sorted_at_the_end_and_no_earlier() {
        let mut sort = Harness::new(Sort::new(by_a(), None));
        sort.push(batch([("a", vec![Some(3), None])]));
        sort.push(batch([("a", vec![Some(1)])]));
        sort.watermark(50);
        assert!(sort.take("a").is_empty());
        assert_eq!(sort.forwarded(), Timestamp::MIN);
        sort.end();
        assert_eq!(sort.take("a"), [None, Some(1), Some(3)]);
        assert_eq!(sort.forwarded(), Timestamp::MAX);
    }

    #[test]
    fn ties_stand_in_logical_order_for_any_cut_and_interleaving() {
        let rows = |split: u32| {
            let values = (0..40).map(|row| row * 7 % 3).collect();
            let names = (0..40).map(|row| i64::from(split) * 100 + row).collect();
            let plain = placed(split, 0, [("a", values), ("row", names)]);
            let position: ArrayRef = Arc::new((0..40).map(Some).collect::<UInt64Array>());
            let columns = ["a", "row", POSITION]
                .into_iter()
                .zip(plain.records.columns().iter().cloned().chain([position]));
            let records = RecordBatch::try_from_iter(columns).unwrap();
            plain.with_records(records)
        };
        let mut expected: Vec<(i64, i64)> =
            (0..2).flat_map(|split| (0..40).map(move |row| (row * 7 % 3, split * 100 + row))).collect();
        expected.sort_unstable();
        let expected: Vec<Option<i64>> = expected.into_iter().map(|(_, row)| Some(row)).collect();
        for seed in 0..10 {
            let mut sort = Harness::new(Sort::new(by_a(), None));
            let mut pieces: Vec<Batch> =
                cut(&rows(1), 1, seed).into_iter().chain(cut(&rows(0), 0, seed)).collect();
            pieces.reverse();
            pieces.into_iter().for_each(|piece| sort.push(piece));
            sort.end();
            assert_eq!(sort.take("row"), expected, "seed {seed}");
        }
    }

    #[test]
    fn slice_is_that_of_the_sorted_frame_and_bounds_memory() {
        let mut sort = Harness::new(Sort::new(by_a(), Some((2, 3))));
        for start in 0..30 {
            let values = (0..10_000).map(|row| Some((row * 31 + start * 7) % 299_993)).collect();
            sort.push(batch([("a", values)]));
        }
        assert!(sort.operator.buffered_rows <= 2 * super::PIECE_ROWS);
        let mut all: Vec<i64> =
            (0..30).flat_map(|start| (0..10_000).map(move |row| (row * 31 + start * 7) % 299_993)).collect();
        all.sort_unstable();
        sort.end();
        assert_eq!(sort.take("a").into_iter().flatten().collect::<Vec<_>>(), all[2..5]);
    }

    #[test]
    fn much_output_leaves_in_pieces() {
        let mut sort = Harness::new(Sort::new(by_a(), None));
        sort.push(batch([("a", (0..150_000).rev().map(Some).collect())]));
        sort.end();
        let pieces = sort.take_from(0);
        assert_eq!(pieces.iter().map(Batch::rows).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
    }

    #[test]
    fn nan_is_largest_and_nulls_stand_where_they_are_told() {
        // Polars 2.1: pl.Series([1.0, nan, None, -0.0, 0.0, -nan]).sort(descending=, nulls_last=)
        let values = vec![Some(1.0), Some(f64::NAN), None, Some(-0.0), Some(0.0), Some(-f64::NAN)];
        let column: ArrayRef = Arc::new(Float64Array::from(values));
        let records = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
        for (descending, nulls_last, expected) in [
            (false, false, "[None, Some(-0.0), Some(0.0), Some(1.0), Some(NaN), Some(NaN)]"),
            (true, false, "[None, Some(NaN), Some(NaN), Some(1.0), Some(-0.0), Some(0.0)]"),
            (true, true, "[Some(NaN), Some(NaN), Some(1.0), Some(-0.0), Some(0.0), None]"),
        ] {
            let mut sort =
                Harness::new(Sort::new(keys("a", DataType::Float64, descending, nulls_last), None));
            sort.push(Batch::new(records.clone()));
            sort.end();
            let sorted = sort.take_from(0);
            let found: Vec<Option<f64>> =
                sorted[0].records.column(0).as_primitive::<Float64Type>().iter().collect();
            assert_eq!(format!("{found:?}"), expected);
        }
    }

    #[test]
    fn enum_stands_in_the_order_of_its_categories() {
        let names: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "c"]));
        let column: ArrayRef = Arc::new(DictionaryArray::new(UInt32Array::from(vec![1, 0, 2]), names));
        let categories = ["c", "b", "a"].map(String::from).to_vec();
        let mut sort = Harness::new(Sort::new(keys("e", DataType::Enum { categories }, false, false), None));
        sort.push(Batch::new(RecordBatch::try_from_iter([("e", column)]).unwrap()));
        sort.end();
        let sorted = sort.take_from(0).remove(0).records;
        let keys = sorted.column(0).as_any_dictionary().normalized_keys();
        assert_eq!(keys, [2, 1, 0]);
    }

    #[test]
    fn strings_stand_in_byte_order() {
        let mut sort = Harness::new(Sort::new(keys("s", DataType::String, false, true), None));
        sort.push(strings("s", &[Some("ä"), None, Some("b"), Some("B"), Some("")]));
        sort.end();
        let sorted = sort.take_from(0).remove(0).records;
        let found: Vec<Option<&str>> = sorted.column(0).as_string_view().iter().collect();
        assert_eq!(found, [Some(""), Some("B"), Some("b"), Some("ä"), None]);
    }

    #[test]
    fn state_goes_on_in_another_instance() {
        let mut first = Harness::new(Sort::new(by_a(), None));
        first.push(placed(0, 0, [("a", vec![5, 1])]));
        let mut second = Harness::new(Sort::new(by_a(), None));
        let state = first.state();
        second.operator.restore(state).unwrap();
        second.push(placed(0, 0, [("a", vec![3])]));
        second.end();
        assert_eq!(second.take("a"), [Some(1), Some(3), Some(5)]);
    }
}
