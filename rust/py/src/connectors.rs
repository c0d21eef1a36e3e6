//! What a plan names, opened: Rust connectors by name, Python objects by their number in the job's list.

use crate::batches::Batches;
use crate::callback::CallbackSink;
use crate::causes::Causes;
use crate::collect::Collector;
use crate::csv_text::PolarsCsv;
use crate::frame_function::PyFrameFunction;
use crate::harness::Feed;
use crate::python_sink::PythonSink;
use crate::python_source::PythonSource;
use crate::residual::PolarsResidual;
use dataflare_connect::claim::{Owner, claimed};
use dataflare_connect::files::csv::sink::csv_sink;
use dataflare_connect::files::csv::source::foreign_csv_source;
use dataflare_engine::expr::Residual;
use dataflare_engine::operators::map_frame::FrameFunction;
use dataflare_engine::operators::native::NativeFunction;
use dataflare_engine::runtime::assembly::Connectors;
use dataflare_engine::sink::Sink;
use dataflare_engine::source::Source;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::Schema;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};
use serde_json::Value;
use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;

/// See the module.
pub struct JobConnectors {
    objects: Vec<Py<PyAny>>,
    batch_rows: usize,
    /// Frames in memory are cut at random places.
    cuts: Option<u64>,
    residual: PolarsResidual,
    causes: Causes,
    /// Who the folders of sinks belong to; `None`: nothing is written.
    owner: Option<Owner>,
}

impl JobConnectors {
    pub fn new(
        objects: Vec<Py<PyAny>>,
        batch_rows: usize,
        cuts: Option<u64>,
        causes: Causes,
        owner: Option<Owner>,
    ) -> Self {
        Self { objects, batch_rows, cuts, residual: PolarsResidual, causes, owner }
    }

    fn causes(&self) -> Causes {
        self.causes.clone()
    }

    fn object(&self, connector: &str, options: &Value) -> Result<&Py<PyAny>> {
        let number =
            options.get("object").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        let object = number.and_then(|number| self.objects.get(number));
        object.ok_or_else(|| {
            EngineError::internal("the plan", format!("connector {connector} names no object"))
        })
    }
}

impl JobConnectors {
    /// Options without the object, the columns that files hold, and the object.
    fn csv(&self, connector: &str, options: &Value, schema: &Schema) -> Result<(Value, Schema, Py<PyAny>)> {
        let object = self.object(connector, options)?;
        let object = Python::attach(|py| object.clone_ref(py));
        let mut options = options.clone();
        if let Some(options) = options.as_object_mut() {
            options.remove("object");
        }
        let is_elsewhere = |name: &str| {
            let is = |value: Option<&Value>| value.and_then(Value::as_str) == Some(name);
            let of_path = options.get("hive").and_then(Value::as_array);
            is(options.get("path_column"))
                || is(options.get("row_index").and_then(|index| index.get("name")))
                || of_path.is_some_and(|names| names.iter().any(|other| is(Some(other))))
        };
        let columns = schema.iter().filter(|field| !is_elsewhere(&field.name)).cloned().collect();
        Ok((options, columns, object))
    }

    /// A sink of this job alone, where its folder must not be shared.
    fn claimed(&self, sink: Arc<dyn Sink>, options: &Value) -> Result<Arc<dyn Sink>> {
        match &self.owner {
            Some(owner) => claimed(sink, options, owner),
            None => Ok(sink),
        }
    }
}

impl Connectors for JobConnectors {
    fn source(&self, connector: &str, options: &Value, schema: &Schema) -> Result<Arc<dyn Source>> {
        match connector {
            "batches" => Python::attach(|py| {
                let object = self.object(connector, options)?.bind(py);
                let batches = Batches::new(object, self.batch_rows, self.cuts);
                Ok(Arc::new(batches.map_err(|error| self.causes().keep(py, "from_batches", error))?)
                    as Arc<dyn Source>)
            }),
            "pushed" => Python::attach(|py| {
                let object = self.object(connector, options)?.bind(py).cast::<Feed>().map_err(|_| {
                    EngineError::internal("the plan", "pushed names an object that is no Feed")
                })?;
                Ok(Arc::new(object.get().source()) as Arc<dyn Source>)
            }),
            "python" => Python::attach(|py| {
                let object = self.object(connector, options)?.clone_ref(py);
                Ok(Arc::new(PythonSource::new(object, self.causes())) as Arc<dyn Source>)
            }),
            "csv" if options.get("object").is_some() => {
                let (options, columns, object) = self.csv(connector, options, schema)?;
                let parser = Arc::new(PolarsCsv::new(object, columns));
                Ok(Arc::new(foreign_csv_source(&options, schema, parser)?) as Arc<dyn Source>)
            }
            _ => dataflare_connect::source(connector, options, schema)?
                .ok_or_else(|| EngineError::call("source", "a connector of this release", connector)),
        }
    }

    fn sink(&self, connector: &str, options: &Value, schema: &Schema) -> Result<Arc<dyn Sink>> {
        match connector {
            "collect" => Python::attach(|py| {
                let object = self.object(connector, options)?.bind(py).cast::<Collector>().map_err(|_| {
                    EngineError::internal("the plan", "collect names an object that is no Collector")
                })?;
                Ok(Arc::new(object.get().sink()) as Arc<dyn Sink>)
            }),
            "batches" => Python::attach(|py| {
                let function = self.object(connector, options)?.clone_ref(py);
                let rows = options
                    .get("chunk_rows")
                    .and_then(Value::as_u64)
                    .and_then(|rows| usize::try_from(rows).ok());
                Ok(Arc::new(CallbackSink::new(function, self.causes(), rows)) as Arc<dyn Sink>)
            }),
            "python" => Python::attach(|py| {
                let object = self.object(connector, options)?.clone_ref(py);
                let keyed = options.get("key").is_some_and(Value::is_array);
                Ok(Arc::new(PythonSink::new(object, self.causes(), keyed)) as Arc<dyn Sink>)
            }),
            "csv" => {
                let (csv, columns, object) = self.csv(connector, options, schema)?;
                let printer = Arc::new(PolarsCsv::new(object, columns));
                self.claimed(Arc::new(csv_sink(&csv, schema, printer)?), options)
            }
            _ => {
                let sink = dataflare_connect::sink(connector, options, schema)?
                    .ok_or_else(|| EngineError::call("sink", "a connector of this release", connector))?;
                self.claimed(sink, options)
            }
        }
    }

    fn native(&self, function: usize) -> Result<NativeFunction> {
        Python::attach(|py| {
            let missing = || EngineError::internal("the plan", format!("no native function {function}"));
            let object = self.objects.get(function).ok_or_else(missing)?.bind(py);
            native_function(object).map_err(|error| self.causes().keep(py, "map_native", error))?
        })
    }

    fn frame_function(&self, function: usize) -> Result<Box<dyn FrameFunction>> {
        Python::attach(|py| {
            let missing = || EngineError::internal("the plan", format!("no function {function}"));
            let object = self.objects.get(function).ok_or_else(missing)?.bind(py);
            Ok(Box::new(PyFrameFunction::new(py, object, self.causes())?) as Box<dyn FrameFunction>)
        })
    }

    fn residual(&self) -> Option<&dyn Residual> {
        Some(&self.residual)
    }
}

const NATIVE: &CStr = c"dataflare_fast.udf.v1";

/// `object`: a `dataflare_fast.udf.NativeFunction`.
fn native_function(object: &Bound<'_, PyAny>) -> PyResult<Result<NativeFunction>> {
    let (capsule, text) = (object.getattr("capsule")?, object.getattr("text")?.extract::<String>()?);
    let pointer = capsule.cast::<PyCapsule>()?.pointer_checked(Some(NATIVE))?;
    let owner: Box<dyn Any + Send + Sync> = Box::new(capsule.clone().unbind());
    // SAFETY: a capsule of this name holds a `dff_udf` that keeps the contract of `dataflare_udf.h`, and the capsule,
    // which owns it, is kept as `owner`.
    Ok(unsafe { NativeFunction::new(pointer.cast(), owner, &text) })
}
