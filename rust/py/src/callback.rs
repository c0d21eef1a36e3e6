//! Python as a sink: `sink_batches(fn)`.
//!
//! The function runs on its own thread behind a short queue, so a slow one holds back its sink and nothing else. At least
//! once: what it has seen cannot be taken back.

use crate::arrow_capsule::to_frame;
use crate::causes::Causes;
use crate::changes::with_changes;
use arrow::array::RecordBatch;
use crossbeam_channel::{Sender, TrySendError, bounded};
use dataflare_engine::sink::{Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::source::Waker;
use dataflare_engine::{Batch, EngineError, Epoch, Result};
use dataflare_plan::FrameKind;
use pyo3::prelude::*;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Batches that may wait for the function.
const QUEUE: usize = 8;

/// See the module.
pub struct CallbackSink {
    function: Arc<Py<PyAny>>,
    causes: Causes,
    /// At most so many rows a call.
    chunk_rows: Option<usize>,
}

impl CallbackSink {
    pub fn new(function: Py<PyAny>, causes: Causes, chunk_rows: Option<usize>) -> Self {
        Self { function: Arc::new(function), causes, chunk_rows }
    }
}

impl Sink for CallbackSink {
    fn takes(&self, _kind: FrameKind) -> bool {
        true
    }

    fn writer(&self, worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        let (sender, receiver) = bounded::<RecordBatch>(QUEUE);
        let shared = Arc::new(Progress::default());
        let (function, causes, progress) =
            (Arc::clone(&self.function), self.causes.clone(), Arc::clone(&shared));
        let chunk_rows = self.chunk_rows.unwrap_or(usize::MAX).max(1);
        let serve = move || {
            for batch in receiver {
                if !progress.stopped.load(Ordering::Acquire) {
                    progress.call(&function, &causes, &batch, chunk_rows);
                }
                // Freed here, not while the worker waits for room.
                drop(batch);
                progress.waiting.fetch_sub(1, Ordering::AcqRel);
                progress.wake();
            }
        };
        // Attached once for all calls: Python would make and drop its state of the thread, with fresh pages, for each.
        let body = move || Python::attach(|py| py.detach(serve));
        std::thread::Builder::new()
            .name(format!("sink-{worker}"))
            .spawn(body)
            .map_err(|error| EngineError::unavailable("a thread for sink_batches", error))?;
        Ok(Box::new(CallbackWriter { sender, shared }))
    }

    fn confirm(&self, _epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Progress {
    waiting: AtomicUsize,
    /// The function wants no more rows, or failed.
    stopped: AtomicBool,
    error: Mutex<Option<EngineError>>,
    waker: OnceLock<Waker>,
}

impl Progress {
    /// There is room, or something to report.
    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker();
        }
    }

    fn call(&self, function: &Py<PyAny>, causes: &Causes, batch: &RecordBatch, chunk_rows: usize) {
        let mut start = 0;
        while start < batch.num_rows() && !self.stopped.load(Ordering::Acquire) {
            let rows = chunk_rows.min(batch.num_rows() - start);
            let piece = batch.slice(start, rows);
            start += rows;
            let answer = Python::attach(|py| {
                let call = || -> PyResult<bool> {
                    let answer = function.bind(py).call1((to_frame(py, piece)?,))?;
                    Ok(!answer.is_none() && answer.is_truthy()?)
                };
                call().map_err(|error| causes.keep(py, "the function of sink_batches", error))
            });
            match answer {
                Ok(false) => {}
                Ok(true) => self.stopped.store(true, Ordering::Release),
                Err(error) => {
                    self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    self.stopped.store(true, Ordering::Release);
                }
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

struct CallbackWriter {
    sender: Sender<RecordBatch>,
    shared: Arc<Progress>,
}

impl SinkWriter for CallbackWriter {
    fn set_waker(&mut self, waker: Waker) {
        // Called once.
        let _ = self.shared.waker.set(waker);
    }

    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        self.shared.check()?;
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        match self.sender.try_send(with_changes(batch.clone())?) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(_)) => {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
                Ok(Some(batch))
            }
            Err(TrySendError::Disconnected(_)) => {
                Err(EngineError::internal("sink_batches", "its thread is gone"))
            }
        }
    }

    fn is_flushed(&mut self) -> Result<bool> {
        self.shared.check()?;
        Ok(self.shared.waiting.load(Ordering::Acquire) == 0)
    }

    fn is_done(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        Ok(Box::new(|| Ok(Value::Null)))
    }
}
