//! Start, wait, stop: the Python `Job` is this with names and types.

use crate::arrow_capsule::ArrowBatch;
use crate::causes::Causes;
use crate::changes::with_changes;
use crate::connectors::JobConnectors;
use crate::error::{InternalError, PyEngineError};
use dataflare_connect::claim::Owner;
use dataflare_engine::runtime::job::{Job, Settings};
use dataflare_engine::runtime::simulated::{Roughness, Scripted, simulate as run_simulated};
use dataflare_engine::{Batch, EngineError};
use dataflare_plan::Plan;
use pyo3::prelude::*;
use serde::Deserialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Settings that only sources see, beside those of the engine.
#[derive(Deserialize)]
struct SourceSettings {
    #[serde(default = "default_batch_rows")]
    batch_rows: usize,
}

fn default_batch_rows() -> usize {
    65_536
}

/// A running job.
#[pyclass(frozen, name = "Job", module = "dataflare_fast._core")]
pub struct PyJob {
    job: Job,
    causes: Causes,
}

/// Starts a job in the background.
#[pyfunction]
pub fn start(
    py: Python<'_>,
    plan_json: &str,
    settings_json: &str,
    objects: Vec<Py<PyAny>>,
) -> PyResult<PyJob> {
    let plan = Plan::from_json(plan_json).map_err(|error| InternalError::new_err(error.to_string()))?;
    let settings: Settings = parse_settings(settings_json)?;
    let source: SourceSettings = parse_settings(settings_json)?;
    let causes = Causes::default();
    let connectors =
        JobConnectors::new(objects, source.batch_rows, None, causes.clone(), Some(owner(&settings)));
    let job =
        py.detach(|| Job::start(plan, &settings, &connectors)).map_err(|error| causes.raise(py, error))?;
    Ok(PyJob { job, causes })
}

/// Runs a bounded job under the seed's schedule of cuts, kills and failures; gives the published batches of each sink.
#[pyfunction]
pub fn simulate(
    py: Python<'_>,
    plan_json: &str,
    settings_json: &str,
    objects: Vec<Py<PyAny>>,
    seed: u64,
) -> PyResult<Vec<Vec<ArrowBatch>>> {
    let plan = Plan::from_json(plan_json).map_err(|error| InternalError::new_err(error.to_string()))?;
    let settings: Settings = parse_settings(settings_json)?;
    let source: SourceSettings = parse_settings(settings_json)?;
    let causes = Causes::default();
    let connectors = JobConnectors::new(objects, source.batch_rows, Some(seed), causes.clone(), None);
    let roughness = Roughness { most_workers: settings.parallelism.max(1), ..Roughness::default() };
    let Script { attempts } = parse_settings(settings_json)?;
    let published =
        py.detach(|| run_simulated(plan, &connectors, settings.on_error, roughness, &attempts, seed));
    let published = published.map_err(|error| causes.raise(py, error))?;
    let shown = |batches: Vec<Batch>| {
        batches.into_iter().map(|batch| with_changes(batch).map(ArrowBatch::new)).collect()
    };
    let shown = published.into_iter().map(shown).collect::<Result<Vec<Vec<_>>, EngineError>>();
    Ok(shown.map_err(PyEngineError::from)?)
}

/// Without a checkpoint no job is the same as any other.
fn owner(settings: &Settings) -> Owner {
    static JOBS: AtomicU64 = AtomicU64::new(0);
    match &settings.checkpoint {
        Some(checkpoint) => {
            let path =
                std::path::absolute(&checkpoint.path).unwrap_or_else(|_| checkpoint.path.clone().into());
            Owner {
                job: format!("job '{}' of checkpoint folder {}", settings.name, path.display()),
                lasting: true,
            }
        }
        None => {
            let (process, number) = (std::process::id(), JOBS.fetch_add(1, Ordering::Relaxed));
            let job = format!(
                "job '{}' without a checkpoint (number {number} of process {process})",
                settings.name
            );
            Owner { job, lasting: false }
        }
    }
}

/// Settings of a simulation alone.
#[derive(Deserialize)]
struct Script {
    /// Without any, the seed decides.
    #[serde(default)]
    attempts: Vec<Scripted>,
}

fn parse_settings<T: for<'a> Deserialize<'a>>(json: &str) -> PyResult<T> {
    serde_json::from_str(json)
        .map_err(|error| PyErr::from(PyEngineError(EngineError::internal("the settings", error))))
}

#[pymethods]
impl PyJob {
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<bool> {
        let timeout = timeout_s.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO));
        py.detach(|| self.job.wait(timeout)).map_err(|error| self.causes.raise(py, error))
    }

    fn stop(&self, drain: bool) {
        self.job.stop(drain);
    }

    fn checkpoint(&self) {
        self.job.checkpoint();
    }

    fn cancel(&self) {
        self.job.cancel();
    }

    #[getter]
    fn was_finished(&self) -> bool {
        self.job.was_finished()
    }

    fn status(&self, py: Python<'_>) -> PyResult<String> {
        to_json(&py.detach(|| self.job.status()))
    }

    fn splits(&self, py: Python<'_>) -> PyResult<String> {
        to_json(&py.detach(|| self.job.splits()))
    }

    fn metric_values(&self, py: Python<'_>) -> PyResult<Vec<(String, ArrowBatch)>> {
        let values = py.detach(|| self.job.metric_values()).map_err(PyEngineError::from)?;
        Ok(values.into_iter().map(|(name, batch)| (name, ArrowBatch::new(batch))).collect())
    }

    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        to_json(&py.detach(|| self.job.metrics()))
    }
}

impl std::fmt::Debug for PyJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.job.fmt(f)
    }
}

impl Drop for PyJob {
    fn drop(&mut self) {
        // A job without a handle would run on unseen.
        self.job.cancel();
    }
}

fn to_json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value)
        .map_err(|error| PyErr::from(PyEngineError(EngineError::internal("the status", error))))
}
