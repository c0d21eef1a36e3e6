//! Reads a source of ours split by split, without a job: how plain Polars reads what only the engine can decode.
//!
//! Not here: the readers (`dataflare-connect`). Called by `sources/reading.py`.

use crate::arrow_capsule::ArrowBatch;
use crate::error::{CallError, DataError, PyEngineError};
use crossbeam_channel::{Receiver, bounded};
use dataflare_engine::EngineError;
use dataflare_engine::source::{Poll, Source, Split, SplitReader};
use dataflare_plan::Schema;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long to wait for rows before Python may handle a signal.
const PATIENCE: Duration = Duration::from_millis(100);

/// The names of a source's splits, in logical order.
#[pyfunction]
pub fn source_splits(py: Python<'_>, connector: &str, options: &str, schema: &str) -> PyResult<Vec<String>> {
    let source = open(connector, options, schema)?;
    let splits = py.detach(|| source.splits()).map_err(PyEngineError)?;
    Ok(splits.into_iter().map(|split| split.name).collect())
}

/// The batches of one split of a bounded source.
#[pyfunction]
pub fn read_split(connector: &str, options: &str, schema: &str, split: &str) -> PyResult<SplitBatches> {
    let source = open(connector, options, schema)?;
    let (wake, woken) = bounded(1);
    let waker = Arc::new(move || {
        // Full means that a wake-up is waiting already.
        let _ = wake.try_send(());
    });
    let reader = source.open(&Split { name: split.to_owned() }, None, waker).map_err(PyEngineError)?;
    Ok(SplitBatches { reader: Mutex::new(reader), woken, _source: source })
}

fn open(connector: &str, options: &str, schema: &str) -> PyResult<Arc<dyn Source>> {
    let bad = |error: serde_json::Error| CallError::new_err(format!("{connector}: expected JSON: {error}"));
    let options: serde_json::Value = serde_json::from_str(options).map_err(bad)?;
    let schema: Schema = serde_json::from_str(schema).map_err(bad)?;
    dataflare_connect::source(connector, &options, &schema)
        .map_err(PyEngineError)?
        .ok_or_else(|| CallError::new_err(format!("expected a source of the engine, got '{connector}'")))
}

/// An iterator over the batches of a split.
#[pyclass(frozen, module = "dataflare_fast._core")]
pub struct SplitBatches {
    reader: Mutex<Box<dyn SplitReader>>,
    woken: Receiver<()>,
    /// Readers may rely on it.
    _source: Arc<dyn Source>,
}

impl std::fmt::Debug for SplitBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SplitBatches")
    }
}

#[pymethods]
impl SplitBatches {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<ArrowBatch>> {
        loop {
            match py.detach(|| self.poll())? {
                Some(Poll::Ready(raw)) => {
                    let decoded = py.detach(raw.decode).map_err(PyEngineError)?;
                    if let Some(rejected) = decoded.rejected.first() {
                        return Err(DataError::new_err(format!("{}: {}", rejected.offset, rejected.message)));
                    }
                    return Ok(Some(ArrowBatch::new(decoded.records)));
                }
                Some(Poll::End) => return Ok(None),
                Some(Poll::Pending) | None => py.check_signals()?,
            }
        }
    }
}

impl SplitBatches {
    /// What the reader has; waits a moment if that is nothing.
    fn poll(&self) -> Result<Option<Poll>, PyEngineError> {
        let mut reader = self
            .reader
            .lock()
            .map_err(|_| EngineError::internal("read_split", "a reader panicked before"))?;
        let found = reader.poll()?;
        if matches!(found, Poll::Pending) {
            // Either outcome means: look again.
            let _ = self.woken.recv_timeout(PATIENCE);
            return Ok(None);
        }
        Ok(Some(found))
    }
}
