//! `collect`: rows kept in memory until Python takes them.
//!
//! Rows of an epoch count when it is confirmed; without a checkpoint that is once, at the end. Not exactly once over a
//! restart: the rows die with the process (semantics, section 1).

use crate::arrow_capsule::ArrowBatch;
use crate::changes::with_changes;
use arrow::array::RecordBatch;
use dataflare_engine::sink::{Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::{Batch, Epoch, Result};
use dataflare_plan::FrameKind;
use pyo3::prelude::*;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

type Rows = Arc<Mutex<Vec<RecordBatch>>>;

/// Where a job puts the rows of one `collect`.
#[pyclass(frozen, module = "dataflare_fast._core")]
#[derive(Debug, Default)]
pub struct Collector {
    rows: Rows,
}

#[pymethods]
impl Collector {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The batches so far; they are given once.
    fn take(&self) -> Vec<ArrowBatch> {
        std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner))
            .into_iter()
            .map(ArrowBatch::new)
            .collect()
    }
}

impl Collector {
    /// The sink that fills it.
    pub fn sink(&self) -> CollectSink {
        CollectSink { rows: Arc::clone(&self.rows) }
    }
}

/// See the module.
#[derive(Debug)]
pub struct CollectSink {
    rows: Rows,
}

impl Sink for CollectSink {
    fn takes(&self, _kind: FrameKind) -> bool {
        true
    }

    fn writer(&self, _worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(CollectWriter { rows: Arc::clone(&self.rows), open: Vec::new() }))
    }

    fn confirm(&self, _epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

struct CollectWriter {
    rows: Rows,
    open: Vec<RecordBatch>,
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        self.open.push(with_changes(batch)?);
        Ok(None)
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        let (rows, taken) = (Arc::clone(&self.rows), std::mem::take(&mut self.open));
        Ok(Box::new(move || {
            rows.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
            Ok(Value::Null)
        }))
    }

    fn bytes(&self) -> usize {
        self.open.iter().map(RecordBatch::get_array_memory_size).sum()
    }
}
