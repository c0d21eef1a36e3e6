//! A query that a test drives: rows are pushed in, the clock moves when it is told to, results are taken at once.
//!
//! Not here: the driver (`dataflare_engine::runtime::stepped`). The Python face is `dataflare_fast.testing.harness`.

use crate::arrow_capsule::{ArrowBatch, read_batches};
use crate::causes::Causes;
use crate::changes::with_changes;
use crate::connectors::JobConnectors;
use crate::error::{InternalError, PyEngineError};
use arrow::array::RecordBatch;
use dataflare_engine::expr::Residual;
use dataflare_engine::operators::error_policy::OnError;
use dataflare_engine::operators::map_frame::FrameFunction;
use dataflare_engine::operators::native::NativeFunction;
use dataflare_engine::runtime::assembly::Connectors;
use dataflare_engine::runtime::stepped::Stepped;
use dataflare_engine::sink::{Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::source::{Decoded, Offset, Poll, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::{Batch, EngineError, Epoch, Result};
use dataflare_plan::{FrameKind, Plan, Schema};
use pyo3::prelude::*;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Rows = Arc<Mutex<Vec<RecordBatch>>>;

/// Rows that a test has pushed and nobody has read yet, by split.
#[pyclass(frozen, module = "dataflare_fast._core")]
pub struct Feed {
    lanes: Arc<Mutex<Lanes>>,
}

struct Lanes {
    waiting: Vec<VecDeque<RecordBatch>>,
    ended: bool,
}

#[pymethods]
impl Feed {
    #[new]
    fn new(splits: usize) -> Self {
        let waiting = (0..splits).map(|_| VecDeque::new()).collect();
        Self { lanes: Arc::new(Mutex::new(Lanes { waiting, ended: false })) }
    }

    fn push(&self, split: usize, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let batches = read_batches(frame)?;
        let mut lanes = lock(&self.lanes);
        let lane = lanes.waiting.get_mut(split).ok_or_else(|| {
            PyEngineError(EngineError::call("push", "a split of the source", split.to_string()))
        })?;
        lane.extend(batches);
        Ok(())
    }

    /// No rows follow.
    fn end(&self) {
        lock(&self.lanes).ended = true;
    }
}

impl Feed {
    /// The source that reads it.
    pub fn source(&self) -> FeedSource {
        FeedSource { lanes: Arc::clone(&self.lanes) }
    }
}

/// See [`Feed`].
pub struct FeedSource {
    lanes: Arc<Mutex<Lanes>>,
}

impl Source for FeedSource {
    fn splits(&self) -> Result<Vec<Split>> {
        Ok((0..lock(&self.lanes).waiting.len()).map(|index| Split { name: index.to_string() }).collect())
    }

    fn open(&self, split: &Split, _offset: Option<&Offset>, _waker: Waker) -> Result<Box<dyn SplitReader>> {
        let split = split.name.parse().map_err(|error| EngineError::internal("a pushed source", error))?;
        Ok(Box::new(FeedReader { lanes: Arc::clone(&self.lanes), split, position: 0 }))
    }
}

struct FeedReader {
    lanes: Arc<Mutex<Lanes>>,
    split: usize,
    position: u64,
}

impl SplitReader for FeedReader {
    fn poll(&mut self) -> Result<Poll> {
        let mut lanes = lock(&self.lanes);
        let Some(batch) = lanes.waiting.get_mut(self.split).and_then(VecDeque::pop_front) else {
            return Ok(if lanes.ended { Poll::End } else { Poll::Pending });
        };
        let first = self.position;
        self.position += batch.num_rows() as u64;
        let bytes = batch.get_array_memory_size();
        let decode = Box::new(move || Ok(Decoded::whole(batch)));
        Ok(Poll::Ready(RawBatch { first, next: Offset::from(self.position), bytes, decode }))
    }
}

/// See the module.
#[pyclass(frozen, module = "dataflare_fast._core")]
pub struct Harness {
    stepped: Mutex<Stepped>,
    rows: Rows,
    causes: Causes,
}

#[pymethods]
impl Harness {
    #[new]
    fn new(
        py: Python<'_>,
        plan_json: &str,
        on_error: &str,
        workers: usize,
        objects: Vec<Py<PyAny>>,
    ) -> PyResult<Self> {
        let plan = Plan::from_json(plan_json).map_err(|error| InternalError::new_err(error.to_string()))?;
        let on_error: OnError = serde_json::from_value(Value::from(on_error))
            .map_err(|error| InternalError::new_err(error.to_string()))?;
        let (causes, rows) = (Causes::default(), Rows::default());
        let inner = JobConnectors::new(objects, usize::MAX, None, causes.clone(), None);
        let connectors = Taking { inner, rows: Arc::clone(&rows) };
        let stepped = py
            .detach(|| Stepped::start(plan, &connectors, on_error, workers))
            .map_err(|error| causes.raise(py, error))?;
        Ok(Self { stepped: Mutex::new(stepped), rows, causes })
    }

    /// Runs all that can run, `nanoseconds` later; true: the query has ended.
    fn advance(&self, py: Python<'_>, nanoseconds: u64) -> PyResult<bool> {
        py.detach(|| lock(&self.stepped).advance(nanoseconds)).map_err(|error| self.causes.raise(py, error))
    }

    /// What has left since the last call.
    fn take(&self) -> Vec<ArrowBatch> {
        std::mem::take(&mut *lock(&self.rows)).into_iter().map(ArrowBatch::new).collect()
    }
}

/// Sinks are replaced by one that shows rows at once.
struct Taking {
    inner: JobConnectors,
    rows: Rows,
}

impl Connectors for Taking {
    fn source(&self, connector: &str, options: &Value, schema: &Schema) -> Result<Arc<dyn Source>> {
        self.inner.source(connector, options, schema)
    }

    fn sink(&self, _connector: &str, _options: &Value, _schema: &Schema) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(TakenSink { rows: Arc::clone(&self.rows) }))
    }

    fn native(&self, function: usize) -> Result<NativeFunction> {
        self.inner.native(function)
    }

    fn frame_function(&self, function: usize) -> Result<Box<dyn FrameFunction>> {
        self.inner.frame_function(function)
    }

    fn residual(&self) -> Option<&dyn Residual> {
        self.inner.residual()
    }
}

#[derive(Clone)]
struct TakenSink {
    rows: Rows,
}

impl Sink for TakenSink {
    fn takes(&self, _kind: FrameKind) -> bool {
        true
    }

    fn writer(&self, _worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(self.clone()))
    }

    fn confirm(&self, _epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

impl SinkWriter for TakenSink {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        lock(&self.rows).push(with_changes(batch)?);
        Ok(None)
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        Ok(Box::new(|| Ok(Value::Null)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed")
    }
}

impl std::fmt::Debug for FeedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FeedSource")
    }
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Harness")
    }
}
