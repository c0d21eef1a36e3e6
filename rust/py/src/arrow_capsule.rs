//! Arrow in and out of Python through the C stream interface (capsule `arrow_array_stream`), without a copy.
//!
//! Not here: what the batches mean. Used wherever a batch crosses into Python or back.

use arrow::array::{RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow::record_batch::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::CStr;

const STREAM: &CStr = c"arrow_array_stream";

/// One batch of the engine, as Python libraries take it.
#[derive(Debug)]
#[pyclass(frozen, module = "dataflare_fast._core")]
pub struct ArrowBatch {
    batch: RecordBatch,
}

impl ArrowBatch {
    pub fn new(batch: RecordBatch) -> Self {
        Self { batch }
    }
}

#[pymethods]
impl ArrowBatch {
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer that cannot convert ignore the wish.
        let _ = requested_schema;
        let batches = RecordBatchIterator::new([Ok(self.batch.clone())], self.batch.schema());
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(batches)), STREAM)
    }
}

/// Reads all batches of an object that has `__arrow_c_stream__`, such as a `pl.DataFrame`; at least one. No copy.
///
/// # Errors
/// `TypeError`: it has no such method, or the method gives something else; and what the stream itself reports.
pub fn read_batches(object: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    match read_stream(object) {
        Ok(batches) => Ok(batches),
        // Polars exports a column of type Null with a buffer, which the interface does not know: read it apart.
        Err(error) => match null_columns(object) {
            Ok(nulls) if !nulls.is_empty() => read_around(object, &nulls),
            _ => Err(error),
        },
    }
}

fn read_stream(object: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    let capsule = object.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let stream = capsule.pointer_checked(Some(STREAM))?.as_ptr().cast::<FFI_ArrowArrayStream>();
    // SAFETY: a capsule of this name holds a valid stream by the rules of the interface. `from_raw` moves it out and
    // leaves a released one behind, so that the capsule's destructor finds nothing to do.
    let reader = unsafe { RecordBatchStreamReader::from_raw(stream) };
    let reader = reader.map_err(not_arrow)?;
    let schema = reader.schema();
    let batches: Vec<_> = reader.collect::<Result<_, _>>().map_err(not_arrow)?;
    Ok(if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches })
}

/// Places and names of the columns of type Null of a `pl.DataFrame`.
fn null_columns(frame: &Bound<'_, PyAny>) -> PyResult<Vec<(usize, String)>> {
    let null = frame.py().import("polars")?.getattr("Null")?;
    let columns = frame.getattr("schema")?.call_method0("items")?.try_iter()?.enumerate();
    let mut found = Vec::new();
    for (place, column) in columns {
        let (name, dtype) = column?.extract::<(String, Bound<'_, PyAny>)>()?;
        if dtype.eq(&null)? {
            found.push((place, name));
        }
    }
    Ok(found)
}

/// Reads a frame without its columns of type Null, and puts these back.
fn read_around(frame: &Bound<'_, PyAny>, nulls: &[(usize, String)]) -> PyResult<Vec<RecordBatch>> {
    let names: Vec<&str> = nulls.iter().map(|(_, name)| name.as_str()).collect();
    let others = frame.call_method1("drop", (names,))?;
    let batches = if others.getattr("width")?.extract::<usize>()? == 0 {
        let rows = RecordBatchOptions::new().with_row_count(Some(frame.getattr("height")?.extract()?));
        vec![
            RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &rows)
                .map_err(not_arrow)?,
        ]
    } else {
        read_stream(&others)?
    };
    batches
        .into_iter()
        .map(|batch| {
            let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
            let mut columns = batch.columns().to_vec();
            for (place, name) in nulls {
                fields.insert(*place, Field::new(name, DataType::Null, true).into());
                columns.insert(*place, new_null_array(&DataType::Null, batch.num_rows()));
            }
            RecordBatch::try_new(Schema::new(fields).into(), columns).map_err(not_arrow)
        })
        .collect()
}

fn not_arrow(error: ArrowError) -> PyErr {
    PyTypeError::new_err(format!("not an Arrow stream: {error}"))
}

/// A `pl.DataFrame` over a batch.
pub fn to_frame<'py>(py: Python<'py>, batch: RecordBatch) -> PyResult<Bound<'py, PyAny>> {
    py.import("polars")?.getattr("DataFrame")?.call1((ArrowBatch::new(batch),))
}
