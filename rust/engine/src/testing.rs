//! Drives one operator in unit tests, and checks its promise: no row below the last forwarded watermark.
//!
//! Not here: several operators, workers, barriers between them (the simulated driver). Compiled for tests only.

use crate::event::{Batch, Event, Order};
use crate::operators::{Flow, Input, Operator, Output, Port};
use crate::state::StateTable;
use crate::time::Timestamp;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Int64Type};
use dataflare_plan::{DataType, Field};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One operator and what it emitted.
pub(crate) struct Harness<O> {
    pub(crate) operator: O,
    event_time: Option<String>,
    watermarks: Vec<Timestamp>,
    forwarded: Timestamp,
    emitted: BTreeMap<Port, Vec<Batch>>,
    is_done: bool,
}

impl<O: Operator> Harness<O> {
    pub(crate) fn new(operator: O) -> Self {
        let watermarks = vec![Timestamp::MIN];
        Self {
            operator,
            event_time: None,
            watermarks,
            forwarded: Timestamp::MIN,
            emitted: BTreeMap::new(),
            is_done: false,
        }
    }

    /// The operator has this many input edges.
    pub(crate) fn with_inputs(mut self, inputs: usize) -> Self {
        self.watermarks = vec![Timestamp::MIN; inputs];
        self
    }

    /// The output column that the promise is about.
    pub(crate) fn with_event_time(mut self, column: &str) -> Self {
        self.event_time = Some(column.to_owned());
        self
    }

    pub(crate) fn push(&mut self, batch: Batch) {
        self.push_to(0, batch);
    }

    pub(crate) fn push_to(&mut self, input: Input, batch: Batch) {
        self.step(|operator, out| operator.on_batch(input, batch, out).unwrap());
    }

    /// Raises the watermark of input 0.
    pub(crate) fn watermark(&mut self, time: i64) {
        self.watermark_of(0, Timestamp(time));
    }

    /// Raises the watermark of one input, as the worker does.
    pub(crate) fn watermark_of(&mut self, input: Input, watermark: Timestamp) {
        let before = self.watermarks[input];
        self.watermarks[input] = watermark;
        let combined = self.combined();
        if watermark > before {
            self.step(|operator, out| operator.on_watermark(input, combined, watermark, out).unwrap());
        }
    }

    /// The end of every input that has not ended.
    pub(crate) fn end(&mut self) {
        for input in 0..self.watermarks.len() {
            if self.watermarks[input] < Timestamp::MAX {
                self.end_of(input);
            }
        }
    }

    /// The end of one input.
    pub(crate) fn end_of(&mut self, input: Input) {
        self.watermark_of(input, Timestamp::MAX);
        self.step(|operator, out| operator.on_end(input, out).unwrap());
    }

    /// What was emitted on a port since the last call.
    pub(crate) fn take_from(&mut self, port: Port) -> Vec<Batch> {
        self.emitted.remove(&port).unwrap_or_default()
    }

    /// The Int64 values of a column on the main port since the last call.
    pub(crate) fn take(&mut self, column: &str) -> Vec<Option<i64>> {
        self.take_from(0).iter().flat_map(|batch| integers(&batch.records, column)).collect()
    }

    pub(crate) fn forwarded(&self) -> Timestamp {
        self.forwarded
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The state at a barrier.
    pub(crate) fn state(&mut self) -> Vec<StateTable> {
        self.operator.freeze(1).unwrap().tables().unwrap()
    }

    fn combined(&self) -> Timestamp {
        self.watermarks.iter().copied().min().unwrap_or(Timestamp::MAX)
    }

    fn step(&mut self, call: impl FnOnce(&mut O, &mut Output) -> Flow) {
        if self.is_done {
            return; // the worker drops what still comes
        }
        let mut out = Output::default();
        let mut flow = call(&mut self.operator, &mut out);
        self.collect(&mut out);
        while flow == Flow::More {
            flow = self.operator.on_more(&mut out).unwrap();
            assert!(!out.is_empty() || flow != Flow::More, "it wants to be called again but emits nothing");
            self.collect(&mut out);
        }
        self.is_done = flow == Flow::Done;
    }

    fn collect(&mut self, out: &mut Output) {
        while let Some((port, event)) = out.pop() {
            match event {
                Event::Batch(batch) => {
                    if port == 0 {
                        self.check_promise(&batch.records);
                    }
                    self.emitted.entry(port).or_default().push(batch);
                }
                Event::Watermark(watermark) => {
                    assert!(
                        watermark >= self.forwarded,
                        "watermark fell from {:?} to {watermark:?}",
                        self.forwarded
                    );
                    self.forwarded = watermark;
                }
                Event::Barrier(_) | Event::End => panic!("only the worker emits {event:?}"),
            }
        }
    }

    fn check_promise(&self, records: &RecordBatch) {
        let Some(column) = &self.event_time else { return };
        for time in integers(records, column).into_iter().flatten() {
            assert!(
                Timestamp(time) >= self.forwarded,
                "a row at {time} below the watermark {:?}",
                self.forwarded
            );
        }
    }
}

/// A batch of Int64 columns without a place.
pub(crate) fn batch<const N: usize>(columns: [(&str, Vec<Option<i64>>); N]) -> Batch {
    let columns = columns.map(|(name, values)| (name, Arc::new(Int64Array::from(values)) as ArrayRef, true));
    Batch::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap())
}

/// A batch of Int64 columns at a place.
pub(crate) fn placed<const N: usize>(split: u32, sequence: u64, columns: [(&str, Vec<i64>); N]) -> Batch {
    let columns = columns.map(|(name, values)| (name, values.into_iter().map(Some).collect()));
    Batch { order: Some(Order { input: 0, split, sequence }), ..batch(columns) }
}

/// A column of a plan.
pub(crate) fn field(name: &str, dtype: DataType) -> Field {
    Field { name: name.to_owned(), dtype }
}

/// A batch of one string column.
pub(crate) fn strings(name: &str, values: &[Option<&str>]) -> Batch {
    let column: ArrayRef = Arc::new(StringViewArray::from(values.to_vec()));
    Batch::new(RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap())
}

/// The same rows in batches cut at random, numbered from 0: the rows of one split.
pub(crate) fn cut(batch: &Batch, split: u32, seed: u64) -> Vec<Batch> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < batch.rows() {
        let rows = random.random_range(0..=(batch.rows() - start).min(5));
        let records = batch.records.slice(start, rows);
        let order = Some(Order { input: 0, split, sequence: pieces.len() as u64 });
        pieces.push(Batch { records, order, changes: None });
        start += rows;
    }
    pieces
}

fn integers(records: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    let column = records
        .column_by_name(column)
        .unwrap_or_else(|| panic!("no column '{column}' in {:?}", records.schema()));
    let column =
        if column.data_type() == &Arrow::Date32 { &cast(column, &Arrow::Int32).unwrap() } else { column };
    cast(column, &Arrow::Int64).unwrap().as_primitive::<Int64Type>().iter().collect()
}
