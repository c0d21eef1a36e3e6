//! What all workers of an attempt share: the clock, flags, acknowledgements, counters.
//!
//! Written and read by workers, drivers and the coordinator; atomics only, so no worker ever waits here.

use crate::event::Epoch;
use crate::operators::metric::MetricBoard;
use crate::sink::Preparation;
use crate::state::Frozen;
use crate::time::{Clock, Timestamp};
use crossbeam_channel::Sender;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

/// Index of a task in the graph.
pub type TaskId = usize;

/// One instance passed a barrier.
#[derive(Debug)]
pub struct Acknowledgement {
    pub task: TaskId,
    pub worker: usize,
    pub epoch: Epoch,
    pub frozen: Frozen,
    pub prepared: Option<PreparationCell>,
}

/// A [`Preparation`] that can be shown in messages.
pub struct PreparationCell(pub Preparation);

impl std::fmt::Debug for PreparationCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preparation")
    }
}

/// Counters of one task on one worker. Nanoseconds and watermark as of the last step.
#[derive(Debug)]
pub struct Counters {
    pub rows_in: AtomicU64,
    pub rows_out: AtomicU64,
    pub batches_in: AtomicU64,
    pub bytes_in: AtomicU64,
    /// Rows on side ports: late, ahead, dead letters.
    pub rows_aside: AtomicU64,
    pub busy_ns: AtomicU64,
    pub blocked_ns: AtomicU64,
    pub watermark: AtomicI64,
    pub state_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            rows_in: zero(),
            rows_out: zero(),
            batches_in: zero(),
            bytes_in: zero(),
            rows_aside: zero(),
            busy_ns: zero(),
            blocked_ns: zero(),
            watermark: AtomicI64::new(Timestamp::MIN.0),
            state_bytes: zero(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Shared {
    pub clock: Arc<dyn Clock>,
    pub acknowledgements: Sender<Acknowledgement>,
    /// The newest committed epoch.
    pub committed: AtomicU64,
    /// The epoch that is meant to be the last; 0: none yet. Abandoned, the next one takes its place.
    pub last_epoch: AtomicU64,
    /// True: the last epoch closes the sinks for good (the input has ended, or there is no checkpoint to go on from).
    pub closes: AtomicBool,
    pub cancelled: AtomicBool,
    /// By task, then worker: needs no further input.
    pub done: Vec<Vec<AtomicBool>>,
    pub any_done: AtomicBool,
    pub counters: Vec<Vec<Counters>>,
    /// Bytes of state that all workers may hold together.
    pub memory_limit: Option<u64>,
    /// Values of users' metrics.
    pub board: Arc<MetricBoard>,
    /// True once the last epoch is committed: workers go.
    pub leave: AtomicBool,
    threads: Vec<OnceLock<Thread>>,
    coordinator: OnceLock<Thread>,
}

impl Shared {
    pub fn new(
        clock: Arc<dyn Clock>,
        acknowledgements: Sender<Acknowledgement>,
        tasks: usize,
        workers: usize,
        memory_limit: Option<u64>,
    ) -> Self {
        Self {
            clock,
            acknowledgements,
            committed: AtomicU64::new(0),
            last_epoch: AtomicU64::new(0),
            closes: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            done: (0..tasks).map(|_| (0..workers).map(|_| AtomicBool::new(false)).collect()).collect(),
            any_done: AtomicBool::new(false),
            counters: (0..tasks).map(|_| (0..workers).map(|_| Counters::default()).collect()).collect(),
            memory_limit,
            board: Arc::default(),
            leave: AtomicBool::new(false),
            coordinator: OnceLock::new(),
            threads: (0..workers).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The calling thread runs `worker`: it is unparked when something arrives.
    pub fn register_thread(&self, worker: usize) {
        if let Some(slot) = self.threads.get(worker) {
            let _ = slot.set(std::thread::current());
        }
    }

    /// The calling thread runs the coordinator.
    pub fn register_coordinator(&self) {
        let _ = self.coordinator.set(std::thread::current());
    }

    /// Wakes the coordinator: an instance has answered, a source has ended, somebody asks for something.
    pub fn wake_coordinator(&self) {
        if let Some(thread) = self.coordinator.get() {
            thread.unpark();
        }
    }

    /// Wakes one worker. Cheap when it is awake; a simulated worker has no thread and needs none.
    pub fn wake(&self, worker: usize) {
        if let Some(thread) = self.threads.get(worker).and_then(OnceLock::get) {
            thread.unpark();
        }
    }

    /// Wakes all workers.
    pub fn wake_all(&self) {
        (0..self.threads.len()).for_each(|worker| self.wake(worker));
    }

    /// Ends everything without a further commit.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.wake_all();
        self.wake_coordinator();
    }

    /// Bytes of state of all tasks on all workers.
    pub fn state_bytes(&self) -> u64 {
        self.counters.iter().flatten().map(|counters| counters.state_bytes.load(Ordering::Relaxed)).sum()
    }
}
