//! Exceptions that the user's own code raised: they become the `__cause__` of ours.
//!
//! The engine's error carries only text, so the exception itself waits here until the job's error is raised.

use crate::error::PyEngineError;
use dataflare_engine::EngineError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// The first exception that user code raised in a job.
#[derive(Clone, Default)]
pub struct Causes(Arc<Mutex<Option<PyErr>>>);

impl Causes {
    /// Keeps the exception, and gives the engine's error for it. Needs the GIL for the text.
    pub fn keep(&self, py: Python<'_>, place: &str, error: PyErr) -> EngineError {
        let line = last_line(py, &error).map(|line| format!(" ({line})")).unwrap_or_default();
        let reason = format!("{error}{line}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        EngineError::Data { place: place.to_owned(), row: 0, reason }
    }

    /// The exception for `error`, with the user's own as its cause.
    pub fn raise(&self, py: Python<'_>, error: EngineError) -> PyErr {
        let raised = PyErr::from(PyEngineError(error));
        let cause =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|cause| cause.clone_ref(py));
        if cause.is_some() {
            raised.set_cause(py, cause);
        }
        raised
    }
}

/// File and line where user code raised.
fn last_line(py: Python<'_>, error: &PyErr) -> Option<String> {
    let mut frame = error.traceback(py)?.into_any();
    while let Ok(next) = frame.getattr("tb_next") {
        if next.is_none() {
            break;
        }
        frame = next;
    }
    let line: u32 = frame.getattr("tb_lineno").ok()?.extract().ok()?;
    let file: String = frame
        .getattr("tb_frame")
        .ok()?
        .getattr("f_code")
        .ok()?
        .getattr("co_filename")
        .ok()?
        .extract()
        .ok()?;
    Some(format!("{file}, line {line}"))
}
