//! The stepped driver: all workers in one thread, a clock that stands still, every move asked for.
//!
//! For tests of whole queries: give rows to a source, let everything run that can, look at what has left, move the clock.
//! Not here: random schedules, checkpoints (`simulated.rs`). Called by `dff.testing.Harness`, through `rust/py`.

use super::assembly::{Connectors, Layout, assemble};
use super::blueprint::Blueprint;
use super::worker::{Progress, Worker};
use crate::checkpoint::coordinator::{Control, Coordinator, Progress as Epochs, Schedule};
use crate::error::Result;
use crate::operators::error_policy::OnError;
use crate::time::{Clock, ManualClock};
use dataflare_plan::Plan;
use std::sync::Arc;

/// An operator that waits for another worker is asked again after this time, so the clock moves so far while they do.
const RETRY_NS: u64 = 500_000;
const RETRIES: u32 = 4;

/// See the module.
#[derive(Debug)]
pub struct Stepped {
    workers: Vec<Worker>,
    coordinator: Coordinator,
    clock: Arc<ManualClock>,
    finished: bool,
}

impl Stepped {
    /// # Errors
    /// What sources and sinks say of their places.
    pub fn start(plan: Plan, connectors: &dyn Connectors, on_error: OnError, workers: usize) -> Result<Self> {
        let blueprint = Blueprint::new(plan)?;
        let clock = Arc::new(ManualClock::default());
        let layout = Layout {
            workers: workers.max(1),
            ring_capacity: 8,
            queue_capacity: 8,
            memory_limit: None,
            on_error,
        };
        let shown: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let assembled = assemble(&blueprint, &layout, connectors, shown, None, None)?;
        let schedule =
            Schedule { interval_ns: u64::MAX, min_pause_ns: 0, timeout_ns: u64::MAX, tolerated_failures: 0 };
        let coordinator = Coordinator::new(assembled.parts, None, schedule, Arc::new(Control::default()));
        Ok(Self { workers: assembled.workers, coordinator, clock, finished: false })
    }

    /// Lets everything run until nothing moves any more. True: the query has ended.
    ///
    /// # Errors
    /// Why the job failed.
    pub fn settle(&mut self) -> Result<bool> {
        let mut still = 0;
        while still < RETRIES && !self.has_ended() {
            if self.step_all()? {
                still = 0;
            } else {
                still += 1;
                self.clock.advance(RETRY_NS);
            }
        }
        Ok(self.has_ended())
    }

    /// Lets time pass, then everything run.
    ///
    /// # Errors
    /// As `settle`.
    pub fn advance(&mut self, nanoseconds: u64) -> Result<bool> {
        self.clock.advance(nanoseconds);
        self.settle()
    }

    fn has_ended(&self) -> bool {
        self.finished && self.workers.is_empty()
    }

    /// One step of each worker and of the coordinator; true if anything moved.
    fn step_all(&mut self) -> Result<bool> {
        let mut moved = false;
        let mut running = Vec::with_capacity(self.workers.len());
        for mut worker in std::mem::take(&mut self.workers) {
            match worker.step()? {
                Progress::Finished => moved = true,
                progress => {
                    moved |= progress == Progress::Worked;
                    running.push(worker);
                }
            }
        }
        self.workers = running;
        if !self.finished {
            match self.coordinator.step()? {
                Epochs::Worked => moved = true,
                Epochs::Idle(_) => {}
                Epochs::Finished => {
                    self.finished = true;
                    moved = true;
                }
            }
        }
        Ok(moved)
    }
}
