//! A source written in Python (`dff.scan_source`): `splits()` and `read(split, offset)`, an iterator of frame and offset.
//!
//! Each split has a thread that takes the GIL once per batch. Offsets are any JSON value.

use crate::arrow_capsule::read_batches;
use crate::causes::Causes;
use arrow::compute::concat_batches;
use dataflare_connect::blocking::{BlockingReader, Bounds};
use dataflare_engine::source::{Decoded, Offset, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::{EngineError, Result};
use pyo3::prelude::*;
use std::sync::Arc;

/// See the module.
pub struct PythonSource {
    object: Arc<Py<PyAny>>,
    causes: Causes,
}

impl PythonSource {
    pub fn new(object: Py<PyAny>, causes: Causes) -> Self {
        Self { object: Arc::new(object), causes }
    }
}

impl Source for PythonSource {
    fn splits(&self) -> Result<Vec<Split>> {
        Python::attach(|py| {
            let names =
                self.object.bind(py).call_method0("splits").and_then(|names| names.extract::<Vec<String>>());
            let names = names.map_err(|error| self.causes.keep(py, "the source's splits()", error))?;
            Ok(names.into_iter().map(|name| Split { name }).collect())
        })
    }

    fn open(&self, split: &Split, offset: Option<&Offset>, waker: Waker) -> Result<Box<dyn SplitReader>> {
        let place = format!("the source's read('{}')", split.name);
        let rows = Python::attach(|py| {
            let open = || -> PyResult<Py<PyAny>> {
                let offset = match offset {
                    Some(offset) => py.import("json")?.call_method1("loads", (offset.to_string(),))?,
                    None => py.None().into_bound(py),
                };
                let rows = self.object.bind(py).call_method1("read", (&split.name, offset))?;
                Ok(rows.try_iter()?.into_any().unbind())
            };
            open().map_err(|error| self.causes.keep(py, &place, error))
        })?;
        let causes = self.causes.clone();
        let reader = BlockingReader::start(&split.name, Bounds::default(), waker, move |outlet| {
            let mut first = 0;
            while let Some(batch) = Python::attach(|py| {
                next_batch(rows.bind(py), first).map_err(|error| causes.keep(py, &place, error))
            })? {
                first += batch.1;
                if !outlet.send(batch.0) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(Box::new(reader))
    }
}

/// The next batch and its number of rows.
fn next_batch(rows: &Bound<'_, PyAny>, first: u64) -> PyResult<Option<(RawBatch, u64)>> {
    let Some(item) = rows.try_iter()?.next() else { return Ok(None) };
    let (frame, offset): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
    let text: String = rows.py().import("json")?.call_method1("dumps", (offset,))?.extract()?;
    let next = serde_json::from_str(&text)
        .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
    let batches = read_batches(&frame)?;
    let count: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    let bytes = batches.iter().map(arrow::array::RecordBatch::get_array_memory_size).sum();
    let decode = Box::new(move || match batches.as_slice() {
        [] => Err(EngineError::internal("a source in Python", "a frame without a schema")),
        [one] => Ok(Decoded::whole(one.clone())),
        [one, ..] => Ok(Decoded::whole(concat_batches(&one.schema(), &batches)?)),
    });
    Ok(Some((RawBatch { first, next, bytes, decode }, count as u64)))
}
