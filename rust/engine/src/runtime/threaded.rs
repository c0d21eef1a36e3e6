//! The threaded driver: a thread a worker, one for the coordinator, parked when nothing can move.

use super::assembly::Assembled;
use super::shared::Shared;
use super::worker::{Progress, Worker};
use crate::checkpoint::coordinator::{Coordinator, Progress as Epochs};
use crate::error::{EngineError, Result};
use crate::time::Instant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Idle steps before a worker parks: a hand-over from another core takes a few microseconds, a wake-up tens.
const IDLE_STEPS: u32 = 64;
/// Nothing relies on it: a wake-up that was missed costs this much.
const LONGEST_PARK: Duration = Duration::from_millis(100);

/// How the threads ended: the first error counts.
#[derive(Debug, Default)]
pub struct Outcome {
    ended: Mutex<Option<Result<()>>>,
    changed: Condvar,
}

impl Outcome {
    /// Waits; `None`: still running after `timeout`.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<()>> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = match timeout {
            None => self
                .changed
                .wait_while(ended, |ended| ended.is_none())
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = self.changed.wait_timeout_while(ended, timeout, |ended| ended.is_none());
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        ended.clone()
    }

    fn set(&self, result: Result<()>) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get_or_insert(result);
        self.changed.notify_all();
    }
}

/// Starts all threads. The outcome is set when every one of them has ended.
pub fn drive(
    assembled: Assembled,
    coordinator: impl FnOnce(crate::checkpoint::coordinator::Parts) -> Coordinator,
) -> Arc<Outcome> {
    let outcome = Arc::new(Outcome::default());
    let shared = Arc::clone(&assembled.parts.shared);
    let coordinator = coordinator(assembled.parts);
    let workers = assembled.workers;
    let result = Arc::clone(&outcome);
    let watch = Arc::clone(&shared);
    let main = std::thread::Builder::new().name("dataflare-job".into()).spawn(move || {
        let first_error: Arc<Mutex<Option<EngineError>>> = Arc::default();
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for worker in workers {
            let (own, errors) = (Arc::clone(&shared), Arc::clone(&first_error));
            let name = format!("dataflare-{}", worker.index());
            let body = move || guard(&own, &errors, || run_worker(worker, &own));
            match std::thread::Builder::new().name(name).spawn(body) {
                Ok(thread) => threads.push(thread),
                Err(error) => fail(&shared, &first_error, EngineError::unavailable("a worker thread", error)),
            }
        }
        guard(&shared, &first_error, || run_coordinator(coordinator, &shared));
        for thread in threads {
            // A panic inside was caught and noted by `guard`.
            let _ = thread.join();
        }
        let error = first_error.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.set(error.map_or(Ok(()), Err));
    });
    if let Err(error) = main {
        watch.cancel();
        outcome.set(Err(EngineError::unavailable("the job's thread", error)));
    }
    outcome
}

fn guard(shared: &Shared, errors: &Mutex<Option<EngineError>>, body: impl FnOnce() -> Result<()>) {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => fail(shared, errors, error),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            fail(
                shared,
                errors,
                EngineError::internal("a thread of the job", text.unwrap_or_else(|| "it panicked".into())),
            );
        }
    }
}

fn fail(shared: &Shared, errors: &Mutex<Option<EngineError>>, error: EngineError) {
    errors.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    shared.cancel();
}

fn run_worker(mut worker: Worker, shared: &Shared) -> Result<()> {
    shared.register_thread(worker.index());
    let mut idle = 0;
    loop {
        match worker.step()? {
            Progress::Worked => idle = 0,
            Progress::Finished => return Ok(()),
            Progress::Idle(_) if idle < IDLE_STEPS => {
                idle += 1;
                std::hint::spin_loop();
            }
            Progress::Idle(deadline) => park(shared, deadline),
        }
    }
}

fn run_coordinator(mut coordinator: Coordinator, shared: &Shared) -> Result<()> {
    shared.register_coordinator();
    while !shared.cancelled.load(Ordering::Acquire) {
        match coordinator.step()? {
            Epochs::Worked => {}
            Epochs::Finished => return Ok(()),
            Epochs::Idle(deadline) => park(shared, deadline),
        }
    }
    Ok(())
}

fn park(shared: &Shared, deadline: Option<Instant>) {
    let until = deadline.map_or(LONGEST_PARK, |deadline| deadline.since(shared.clock.now()));
    std::thread::park_timeout(until.min(LONGEST_PARK));
}
