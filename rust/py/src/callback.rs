//! Python as a sink: `sink_batches(fn)`.
//!
//! The function runs on a thread behind a short queue, so a slow one holds back its sink and nothing else. If rows may come
//! in any order each worker has such a thread, and they take turns: the function is never called twice at a time. At
//! least once: what it has seen cannot be taken back.

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
    function: Arc<Function>,
    /// At most so many rows a call.
    chunk_rows: Option<usize>,
}

impl CallbackSink {
    pub fn new(function: Py<PyAny>, causes: Causes, chunk_rows: Option<usize>) -> Self {
        let function = Function {
            called: function,
            turn: Mutex::default(),
            causes,
            stopped: AtomicBool::default(),
            error: Mutex::default(),
            wakers: Mutex::default(),
        };
        Self { function: Arc::new(function), chunk_rows }
    }
}

impl Sink for CallbackSink {
    fn takes(&self, _kind: FrameKind) -> bool {
        true
    }

    fn writer(&self, worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        let (sender, receiver) = bounded::<RecordBatch>(QUEUE);
        let queue = Arc::new(Queue::default());
        let (function, shared) = (Arc::clone(&self.function), Arc::clone(&queue));
        let chunk_rows = self.chunk_rows.unwrap_or(usize::MAX).max(1);
        let serve = move || {
            for batch in receiver {
                function.take(&batch, chunk_rows);
                // Freed here, not while the worker waits for room.
                drop(batch);
                shared.waiting.fetch_sub(1, Ordering::AcqRel);
                shared.wake();
            }
        };
        // Attached once for all calls: Python would make and drop its state of the thread, with fresh pages, for each.
        let body = move || Python::attach(|py| py.detach(serve));
        std::thread::Builder::new()
            .name(format!("sink-{worker}"))
            .spawn(body)
            .map_err(|error| EngineError::unavailable("a thread for sink_batches", error))?;
        Ok(Box::new(CallbackWriter { sender, queue, function: Arc::clone(&self.function) }))
    }

    fn confirm(&self, _epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

/// What the writers of all workers share.
struct Function {
    called: Py<PyAny>,
    /// Held by the thread that calls.
    turn: Mutex<()>,
    causes: Causes,
    /// The function wants no more rows, or failed.
    stopped: AtomicBool,
    error: Mutex<Option<EngineError>>,
    wakers: Mutex<Vec<Waker>>,
}

impl Function {
    fn take(&self, batch: &RecordBatch, chunk_rows: usize) {
        // Taken without Python's lock, which a function may give up in mid-call.
        let _mine = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = 0;
        while start < batch.num_rows() && !self.is_stopped() {
            let rows = chunk_rows.min(batch.num_rows() - start);
            let piece = batch.slice(start, rows);
            start += rows;
            match self.call(piece) {
                Ok(false) => {}
                Ok(true) => self.stop(),
                Err(error) => {
                    self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    self.stop();
                }
            }
        }
    }

    fn call(&self, piece: RecordBatch) -> Result<bool> {
        Python::attach(|py| {
            let call = || -> PyResult<bool> {
                let answer = self.called.bind(py).call1((to_frame(py, piece)?,))?;
                Ok(!answer.is_none() && answer.is_truthy()?)
            };
            call().map_err(|error| self.causes.keep(py, "the function of sink_batches", error))
        })
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for waker in self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            waker();
        }
    }

    fn check(&self) -> Result<()> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

/// Of one worker.
#[derive(Default)]
struct Queue {
    waiting: AtomicUsize,
    waker: OnceLock<Waker>,
}

impl Queue {
    /// There is room.
    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker();
        }
    }
}

struct CallbackWriter {
    sender: Sender<RecordBatch>,
    queue: Arc<Queue>,
    function: Arc<Function>,
}

impl SinkWriter for CallbackWriter {
    fn set_waker(&mut self, waker: Waker) {
        self.function.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&waker));
        // Called once.
        let _ = self.queue.waker.set(waker);
    }

    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        self.function.check()?;
        self.queue.waiting.fetch_add(1, Ordering::AcqRel);
        match self.sender.try_send(with_changes(batch.clone())?) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(_)) => {
                self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
                Ok(Some(batch))
            }
            Err(TrySendError::Disconnected(_)) => {
                Err(EngineError::internal("sink_batches", "its thread is gone"))
            }
        }
    }

    fn is_flushed(&mut self) -> Result<bool> {
        self.function.check()?;
        Ok(self.queue.waiting.load(Ordering::Acquire) == 0)
    }

    fn is_done(&self) -> bool {
        self.function.is_stopped()
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        Ok(Box::new(|| Ok(Value::Null)))
    }
}
