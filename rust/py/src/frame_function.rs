//! `map_batches` and `apply`: a Python callable over frames, as the engine's `FrameFunction`.
//!
//! The GIL is held while the callable runs in this process; one that waits for another process lets it go itself.
//! Not here: the callables (`dataflare_fast/udf/frames.py`).

use crate::arrow_capsule::{ArrowBatch, read_batches};
use crate::causes::Causes;
use crate::residual::as_the_engine_keeps_it;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use dataflare_engine::operators::map_frame::FrameFunction;
use dataflare_engine::{EngineError, Result};
use pyo3::prelude::*;
use std::sync::Arc;

/// What one worker calls.
pub struct PyFrameFunction {
    session: Py<PyAny>,
    causes: Causes,
}

impl PyFrameFunction {
    /// `object`: a `FrameCall`; its `session()` is what this worker calls.
    ///
    /// # Errors
    /// What `session()` raises, such as a process that does not start.
    pub fn new(py: Python<'_>, object: &Bound<'_, PyAny>, causes: Causes) -> Result<Self> {
        match object.call_method0("session") {
            Ok(session) => Ok(Self { session: session.unbind(), causes }),
            Err(error) => Err(causes.keep(py, "map_batches", error)),
        }
    }
}

impl FrameFunction for PyFrameFunction {
    fn call(&mut self, rows: RecordBatch, place: &str) -> Result<RecordBatch> {
        let batches = Python::attach(|py| {
            let call = || -> PyResult<Vec<RecordBatch>> {
                let made = self.session.bind(py).call1((ArrowBatch::new(rows),))?;
                read_batches(&made)
            };
            call().map_err(|error| self.causes.keep(py, place, error))
        })?;
        let Some(first) = batches.first() else {
            return Err(EngineError::internal(place, "a frame without a schema"));
        };
        kept(concat_batches(&first.schema(), &batches)?)
    }
}

/// The batch with columns in the types that the engine keeps.
fn kept(batch: RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().cloned().map(as_the_engine_keeps_it).collect::<Result<Vec<_>>>()?;
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(&columns);
    let fields: Vec<Field> =
        fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}
