//! A sink that a user wrote in Python (`WritableSink`): write, prepare, confirm.
//!
//! Its own thread calls `write` and `prepare` in order, so rows behind a barrier never reach the epoch before it. The
//! planner sends all rows to one worker; the writers of the others stay empty. Exactly once if `confirm` may be called
//! again with the same value, which happens after a restart.

use crate::arrow_capsule::to_frame;
use crate::causes::Causes;
use crate::changes::with_changes;
use crate::error::UnavailableError;
use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use dataflare_engine::sink::{Place, Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::source::Waker;
use dataflare_engine::{Batch, EngineError, Epoch, Result};
use dataflare_plan::FrameKind;
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Batches that may wait for `write`.
const QUEUE: usize = 4;

/// See the module.
pub struct PythonSink {
    calls: Arc<Calls>,
    /// New rows replace earlier ones by key.
    keyed: bool,
}

/// What `prepare` gave for an epoch.
#[derive(Clone, Serialize, Deserialize)]
struct Part {
    epoch: Epoch,
    prepared: Value,
}

/// The user's object.
struct Calls {
    object: Py<PyAny>,
    causes: Causes,
}

impl PythonSink {
    pub fn new(object: Py<PyAny>, causes: Causes, keyed: bool) -> Self {
        Self { calls: Arc::new(Calls { object, causes }), keyed }
    }
}

impl Calls {
    fn call<T>(
        &self,
        method: &str,
        body: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        Python::attach(|py| {
            body(py, self.object.bind(py)).map_err(|error| {
                // The one kind that is tried again, so it is not the cause of anything yet.
                if error.is_instance_of::<UnavailableError>(py) {
                    return EngineError::unavailable(format!("{method} of the sink"), error.value(py));
                }
                self.causes.keep(py, &format!("{method} of the sink"), error)
            })
        })
    }

    fn open(&self, owner: Option<&str>) -> Result<()> {
        self.call("open", |_, object| match object.getattr_opt("open")? {
            Some(open) => open.call1((owner,)).map(drop),
            None => Ok(()),
        })
    }

    fn write(&self, records: RecordBatch) -> Result<()> {
        self.call("write", |py, object| object.call_method1("write", (to_frame(py, records)?,)).map(drop))
    }

    fn prepare(&self, epoch: Epoch) -> Result<Value> {
        let text: String = self.call("prepare", |py, object| {
            let prepared = object.call_method1("prepare", (epoch,))?;
            py.import("json")?.call_method1("dumps", (prepared,))?.extract()
        })?;
        serde_json::from_str(&text).map_err(|error| {
            EngineError::call("prepare of the sink", "a value that JSON has", error.to_string())
        })
    }

    fn confirm(&self, part: &Part) -> Result<()> {
        self.call("confirm", |py, object| {
            let prepared = py.import("json")?.call_method1("loads", (part.prepared.to_string(),))?;
            object.call_method1("confirm", (part.epoch, prepared)).map(drop)
        })
    }
}

impl Sink for PythonSink {
    fn takes(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Append || (self.keyed && kind == FrameKind::Upsert)
    }

    fn open(&self, place: Option<&Place>) -> Result<()> {
        let owner = place.map(|place| format!("{}/{}", place.folder, place.identity));
        self.calls.open(owner.as_deref())
    }

    fn writer(&self, worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        let (sender, receiver) = unbounded();
        let progress = Arc::new(Progress::default());
        let (calls, own) = (Arc::clone(&self.calls), Arc::clone(&progress));
        std::thread::Builder::new()
            .name(format!("sink-{worker}"))
            // Attached once for all calls, as in `callback`.
            .spawn(move || Python::attach(|py| py.detach(|| own.serve(&calls, &receiver))))
            .map_err(|error| EngineError::unavailable("a thread for the sink", error))?;
        Ok(Box::new(PythonWriter { sender, progress, open: Arc::default(), worker }))
    }

    fn confirm(&self, _epoch: Epoch, prepared: &[Prepared]) -> Result<()> {
        for value in prepared {
            let parts: Vec<Part> = serde_json::from_value(value.clone())
                .map_err(|error| EngineError::internal("the record of a Python sink", error))?;
            parts.iter().try_for_each(|part| self.calls.confirm(part))?;
        }
        Ok(())
    }
}

enum Message {
    Write(RecordBatch),
    Prepare(Epoch, Sender<Result<Value>>),
}

#[derive(Default)]
struct Progress {
    waiting: AtomicUsize,
    error: Mutex<Option<EngineError>>,
    /// Wakes the worker: there is room.
    waker: OnceLock<Waker>,
}

impl Progress {
    fn serve(&self, calls: &Calls, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Write(records) => {
                    if self.check().is_ok()
                        && let Err(error) = calls.write(records)
                    {
                        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                    self.waiting.fetch_sub(1, Ordering::AcqRel);
                    if let Some(waker) = self.waker.get() {
                        waker();
                    }
                }
                Message::Prepare(epoch, answer) => {
                    let prepared = self.check().and_then(|()| calls.prepare(epoch));
                    // Nobody waits any more when the job is being torn down.
                    let _ = answer.send(prepared);
                }
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

struct PythonWriter {
    sender: Sender<Message>,
    progress: Arc<Progress>,
    /// Prepared, and not known to be committed.
    open: Arc<Mutex<Vec<Part>>>,
    worker: usize,
}

impl PythonWriter {
    fn send(&self, message: Message) -> Result<()> {
        self.sender.send(message).map_err(|_| EngineError::internal("the sink", "its thread is gone"))
    }
}

impl SinkWriter for PythonWriter {
    fn set_waker(&mut self, waker: Waker) {
        // Called once.
        let _ = self.progress.waker.set(waker);
    }

    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        self.progress.check()?;
        if self.progress.waiting.load(Ordering::Acquire) >= QUEUE {
            return Ok(Some(batch));
        }
        self.progress.waiting.fetch_add(1, Ordering::AcqRel);
        self.send(Message::Write(with_changes(batch)?))?;
        Ok(None)
    }

    fn is_flushed(&mut self) -> Result<bool> {
        self.progress.check()?;
        Ok(self.progress.waiting.load(Ordering::Acquire) == 0)
    }

    fn prepare(&mut self, epoch: Epoch, committed: Epoch, _last: bool) -> Result<Preparation> {
        if self.worker != 0 {
            return Ok(Box::new(|| Ok(Value::Array(Vec::new()))));
        }
        let (answer, answered) = bounded(1);
        self.send(Message::Prepare(epoch, answer))?;
        let open = Arc::clone(&self.open);
        Ok(Box::new(move || {
            let prepared =
                answered.recv().map_err(|_| EngineError::internal("the sink", "its thread is gone"))??;
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|part| part.epoch > committed);
            open.push(Part { epoch, prepared });
            serde_json::to_value(&*open).map_err(|error| EngineError::internal("the sink", error))
        }))
    }
}
