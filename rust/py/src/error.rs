//! The engine's errors as Python's: each kind becomes its class of `errors.py`.

use dataflare_engine::EngineError;
use pyo3::prelude::*;

pyo3::import_exception!(dataflare_fast.errors, CallError);
pyo3::import_exception!(dataflare_fast.errors, ClosedError);
pyo3::import_exception!(dataflare_fast.errors, ConflictError);
pyo3::import_exception!(dataflare_fast.errors, DataError);
pyo3::import_exception!(dataflare_fast.errors, InternalError);
pyo3::import_exception!(dataflare_fast.errors, UnavailableError);

/// An engine error on its way to Python. A type of our own: the orphan rule forbids `From<EngineError> for PyErr`.
#[derive(Debug)]
pub struct PyEngineError(pub EngineError);

impl From<EngineError> for PyEngineError {
    fn from(error: EngineError) -> Self {
        Self(error)
    }
}

impl From<PyEngineError> for PyErr {
    fn from(PyEngineError(error): PyEngineError) -> Self {
        let text = error.to_string();
        match error {
            EngineError::Call { .. } => CallError::new_err(text),
            EngineError::Data { .. } => DataError::new_err(text),
            EngineError::Unavailable { .. } => UnavailableError::new_err(text),
            EngineError::Closed { .. } => ClosedError::new_err(text),
            EngineError::Conflict { .. } => ConflictError::new_err(text),
            EngineError::Internal { .. } => InternalError::new_err(text),
        }
    }
}
