//! A running job: start, watch, stop. The plan is data, so anybody can start it (architecture, section 4).
//!
//! Called by `rust/py`; the Python `Job` is this with names.

use super::assembly::{Connectors, Layout, Restored, assemble, confirm_finished};
use super::blueprint::Blueprint;
use super::identity::fingerprint;
use super::shared::Shared;
use super::threaded::{Outcome, drive};
use crate::checkpoint::coordinator::{CheckpointStatus, Control, Coordinator, Request, Schedule};
use crate::checkpoint::log::{Log, Restore};
use crate::checkpoint::store::{ObjectStorePlace, Store};
use crate::error::{EngineError, Result};
use crate::operators::error_policy::OnError;
use crate::runtime::dealer::Dealer;
use crate::sink::Sink;
use crate::time::{Clock, Instant, SystemClock, Timestamp};
use arrow::array::RecordBatch;
use dataflare_plan::Plan;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Settings of a job, as Python's `Engine` has checked them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    pub parallelism: usize,
    #[serde(default)]
    pub memory_limit: Option<u64>,
    #[serde(default)]
    pub on_error: OnError,
    #[serde(default)]
    pub checkpoint: Option<CheckpointSettings>,
}

/// Where and when to checkpoint. The job lives in `<path>/<name>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckpointSettings {
    pub path: String,
    pub interval_ns: u64,
    #[serde(default)]
    pub min_pause_ns: u64,
    pub timeout_ns: u64,
    pub keep: usize,
    #[serde(default)]
    pub restore: Restore,
}

/// Counters of one task, all workers together.
#[derive(Clone, Debug, Serialize)]
pub struct TaskMetrics {
    pub operator: String,
    pub task: usize,
    pub kind: String,
    pub rows_in: u64,
    pub rows_out: u64,
    /// Late rows, dead letters.
    pub rows_aside: u64,
    pub batches_in: u64,
    pub bytes_in: u64,
    pub busy_ns: u64,
    pub state_bytes: u64,
    /// Least of all workers, in ticks; `None` before the first.
    pub watermark: Option<i64>,
}

/// How far a split of a source is.
#[derive(Clone, Debug, Serialize)]
pub struct SplitProgress {
    pub source: String,
    pub split: String,
    /// Where the next batch begins, as JSON of the source's own making.
    pub offset: Option<String>,
    pub pending_rows: Option<u64>,
    /// How far that is behind the end, in the source's own count (offsets of Kafka).
    pub lag: Option<u64>,
    pub ended: bool,
}

/// One look at a job.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// `running`, `finished`, `stopped`, `cancelled` or `failed`.
    pub state: &'static str,
    pub attempt: u64,
    pub uptime_ns: u64,
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_late: u64,
    /// Rows known to wait at the sources.
    pub pending_rows: Option<u64>,
    /// What sources and sinks wait for.
    pub waits: Vec<String>,
    pub checkpoint_epoch: u64,
    pub checkpoints_committed: u64,
    pub checkpoints_abandoned: u64,
    pub checkpoint_age_ns: Option<u64>,
    pub checkpoint_duration_ns: u64,
    pub checkpoint_bytes: u64,
    pub checkpoint_failure: Option<String>,
    pub restored_epoch: Option<u64>,
}

/// See the module.
pub struct Job {
    running: Option<Running>,
    attempt: u64,
    restored_epoch: Option<u64>,
}

struct Running {
    shared: Arc<Shared>,
    control: Arc<Control>,
    dealers: Vec<(String, Arc<Dealer>)>,
    /// Not owned: a place that a sink has claimed is free when the workers are done, however long this handle lives.
    sinks: Vec<(String, Weak<dyn Sink>)>,
    outcome: Arc<Outcome>,
    tasks: Vec<(String, String)>,
    clock: Arc<dyn Clock>,
    started: Instant,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job(attempt {})", self.attempt)
    }
}

impl Job {
    /// Plans, restores, opens and starts. Everything that can be refused is refused here.
    ///
    /// # Errors
    /// A plan that does not fit, places that cannot be opened, state of another query, a damaged checkpoint.
    pub fn start(plan: Plan, settings: &Settings, connectors: &dyn Connectors) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let blueprint = Blueprint::new(plan)?;
        let opened =
            settings.checkpoint.as_ref().map(|checkpoint| open_log(settings, checkpoint)).transpose()?;
        let (log, checkpoint) = opened.map_or((None, None), |opened| (Some(opened.log), opened.checkpoint));
        let attempt = log.as_ref().map_or(1, Log::attempt);
        let restored_epoch = checkpoint.as_ref().map(|checkpoint| checkpoint.epoch);
        let layout = Layout {
            workers: settings.parallelism.max(1),
            ring_capacity: 8,
            queue_capacity: 8,
            memory_limit: settings.memory_limit,
            on_error: settings.on_error,
        };
        let restored =
            log.as_ref().zip(checkpoint.as_ref()).map(|(log, checkpoint)| Restored { log, checkpoint });
        if let Some(restored) = restored.as_ref().filter(|restored| restored.checkpoint.finished) {
            confirm_finished(&blueprint, &layout, connectors, clock, restored)?;
            return Ok(Self { running: None, attempt, restored_epoch });
        }
        let assembled =
            assemble(&blueprint, &layout, connectors, Arc::clone(&clock), restored.as_ref(), log.as_ref())?;
        if let Some(log) = &log {
            let json = blueprint.plan.to_public_json();
            log.write_plan(&fingerprint(&json), &json)?;
        }
        let control = Arc::new(Control::default());
        let shared = Arc::clone(&assembled.parts.shared);
        let dealers = assembled.parts.dealers.clone();
        let sinks = assembled.parts.roles.iter();
        let sinks =
            sinks.filter_map(|role| role.identity.clone().zip(role.sink.as_ref().map(Arc::downgrade)));
        let sinks = sinks.collect();
        let schedule = schedule(settings.checkpoint.as_ref());
        let started = clock.now();
        let outcome = {
            let control = Arc::clone(&control);
            drive(assembled, move |parts| Coordinator::new(parts, log, schedule, control))
        };
        let tasks = blueprint
            .tasks
            .iter()
            .map(|task| (task.place.clone(), format!("{:?}", task.kind).to_lowercase()))
            .collect();
        let running = Running { shared, control, dealers, sinks, outcome, tasks, clock, started };
        Ok(Self { running: Some(running), attempt, restored_epoch })
    }

    /// The values of users' metrics so far.
    ///
    /// # Errors
    /// None but bugs.
    pub fn metric_values(&self) -> Result<Vec<(String, RecordBatch)>> {
        self.running.as_ref().map_or_else(|| Ok(Vec::new()), |running| running.shared.board.values())
    }

    /// Waits for the end; `None`: still running after `timeout`.
    ///
    /// # Errors
    /// Why the job failed.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let Some(running) = &self.running else { return Ok(true) };
        running.outcome.wait(timeout).map_or(Ok(false), |result| result.map(|()| true))
    }

    /// Leaves at the next commit: `drain` first reads no more and closes every window, else they stay open in the
    /// checkpoint. Returns at once.
    pub fn stop(&self, drain: bool) {
        self.ask(if drain { Request::Drain } else { Request::Savepoint });
    }

    /// Commits now.
    pub fn checkpoint(&self) {
        self.ask(Request::Checkpoint);
    }

    /// Leaves at once, without a commit.
    pub fn cancel(&self) {
        if let Some(running) = &self.running {
            running.shared.cancel();
        }
    }

    fn ask(&self, request: Request) {
        if let Some(running) = &self.running {
            running.control.ask(request);
            running.shared.wake_coordinator();
        }
    }

    /// True if the restored record says that the input had ended: nothing was started.
    pub fn was_finished(&self) -> bool {
        self.running.is_none()
    }

    /// One look.
    pub fn status(&self) -> Status {
        let Some(running) = &self.running else {
            return Status::of_finished(self.attempt, self.restored_epoch);
        };
        let metrics = self.metrics();
        let total = |kind: &str, value: fn(&TaskMetrics) -> u64| -> u64 {
            metrics.iter().filter(|task| task.kind == kind).map(value).sum()
        };
        let (mut pending_rows, mut waits) = (None, Vec::new());
        for (name, dealer) in &running.dealers {
            let (pending, waits_for) = dealer.status();
            pending_rows = pending.map_or(pending_rows, |rows| Some(pending_rows.unwrap_or(0) + rows));
            waits.extend(waits_for.map(|reason| format!("{name}: {reason}")));
        }
        let checkpoint = running.control.status();
        waits.extend(checkpoint.waits.iter().cloned());
        for (name, sink) in &running.sinks {
            let reason = sink.upgrade().and_then(|sink| sink.waits_for());
            waits.extend(reason.map(|reason| format!("{name}: {reason}")));
        }
        let now = running.clock.now();
        Status {
            state: running.state(),
            attempt: self.attempt,
            uptime_ns: nanoseconds(now.since(running.started)),
            rows_in: total("source", |task| task.rows_in),
            rows_out: total("sink", |task| task.rows_in),
            rows_late: total("watermark", |task| task.rows_aside),
            pending_rows,
            waits,
            checkpoint_age_ns: checkpoint.last_commit.map(|commit| nanoseconds(now.since(commit))),
            restored_epoch: self.restored_epoch,
            ..Status::of_checkpoint(&checkpoint)
        }
    }

    /// How far the splits of all sources are.
    pub fn splits(&self) -> Vec<SplitProgress> {
        let dealers = self.running.as_ref().map(|running| running.dealers.as_slice()).unwrap_or_default();
        let progress = |(source, dealer): &(String, Arc<Dealer>)| {
            let source = source.clone();
            dealer.split_status().into_iter().map(move |status| SplitProgress {
                source: source.clone(),
                split: status.split,
                offset: status.offset.map(|offset| offset.to_string()),
                pending_rows: status.pending_rows,
                lag: status.lag,
                ended: status.ended,
            })
        };
        dealers.iter().flat_map(progress).collect()
    }

    /// Counters of all tasks, in the order of the data.
    pub fn metrics(&self) -> Vec<TaskMetrics> {
        let Some(running) = &self.running else { return Vec::new() };
        running
            .tasks
            .iter()
            .zip(&running.shared.counters)
            .enumerate()
            .map(|(id, ((place, kind), counters))| {
                let sum = |value: fn(&super::shared::Counters) -> u64| counters.iter().map(value).sum();
                let watermark = counters.iter().map(|one| one.watermark.load(Ordering::Relaxed)).min();
                TaskMetrics {
                    operator: place.clone(),
                    task: id,
                    kind: kind.clone(),
                    rows_in: sum(|one| one.rows_in.load(Ordering::Relaxed)),
                    rows_out: sum(|one| one.rows_out.load(Ordering::Relaxed)),
                    rows_aside: sum(|one| one.rows_aside.load(Ordering::Relaxed)),
                    batches_in: sum(|one| one.batches_in.load(Ordering::Relaxed)),
                    bytes_in: sum(|one| one.bytes_in.load(Ordering::Relaxed)),
                    busy_ns: sum(|one| one.busy_ns.load(Ordering::Relaxed)),
                    state_bytes: sum(|one| one.state_bytes.load(Ordering::Relaxed)),
                    watermark: watermark.filter(|ticks| *ticks != Timestamp::MIN.0),
                }
            })
            .collect()
    }
}

impl Running {
    fn state(&self) -> &'static str {
        match self.outcome.wait(Some(Duration::ZERO)) {
            None => "running",
            Some(Err(_)) => "failed",
            Some(Ok(())) if self.shared.cancelled.load(Ordering::Acquire) => "cancelled",
            Some(Ok(())) if self.dealers.iter().all(|(_, dealer)| dealer.has_ended()) => "finished",
            Some(Ok(())) => "stopped",
        }
    }
}

impl Status {
    fn of_checkpoint(checkpoint: &CheckpointStatus) -> Self {
        Self {
            checkpoint_epoch: checkpoint.epoch,
            checkpoints_committed: checkpoint.committed,
            checkpoints_abandoned: checkpoint.abandoned,
            checkpoint_duration_ns: checkpoint.last_duration_ns,
            checkpoint_bytes: checkpoint.last_bytes,
            checkpoint_failure: checkpoint.last_failure.clone(),
            ..Self::of_finished(0, None)
        }
    }

    fn of_finished(attempt: u64, restored_epoch: Option<u64>) -> Self {
        Self {
            state: "finished",
            attempt,
            uptime_ns: 0,
            rows_in: 0,
            rows_out: 0,
            rows_late: 0,
            pending_rows: None,
            waits: Vec::new(),
            checkpoint_epoch: 0,
            checkpoints_committed: 0,
            checkpoints_abandoned: 0,
            checkpoint_age_ns: None,
            checkpoint_duration_ns: 0,
            checkpoint_bytes: 0,
            checkpoint_failure: None,
            restored_epoch,
        }
    }
}

fn open_log(settings: &Settings, checkpoint: &CheckpointSettings) -> Result<crate::checkpoint::log::Opened> {
    let folder = Path::new(&checkpoint.path).join(&settings.name);
    let store: Arc<dyn Store> = Arc::new(ObjectStorePlace::folder(&folder)?);
    let uuid =
        format!("{:08x}-{:x}", crc32c::crc32c(folder.display().to_string().as_bytes()), unix_nanoseconds()?);
    Log::open(store, &settings.name, &uuid, checkpoint.keep, checkpoint.restore)
}

/// For the folder's identity only: no answer depends on it.
fn unix_nanoseconds() -> Result<u128> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|since| since.as_nanos()).map_err(|error| EngineError::unavailable("the system clock", error))
}

fn schedule(checkpoint: Option<&CheckpointSettings>) -> Schedule {
    match checkpoint {
        Some(one) => Schedule {
            interval_ns: one.interval_ns,
            min_pause_ns: one.min_pause_ns,
            timeout_ns: one.timeout_ns,
            tolerated_failures: 3,
        },
        None => {
            Schedule { interval_ns: u64::MAX, min_pause_ns: 0, timeout_ns: u64::MAX, tolerated_failures: 0 }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
