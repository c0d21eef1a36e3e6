//! One epoch after the other: cut the sources, collect what instances froze, write, commit, confirm.
//!
//! A state machine without a thread: the threaded driver steps it on an IO thread, the simulated one between workers.
//! Without a log (no checkpoint folder) it only runs the last epoch, so that sinks publish.
//! An epoch that fails or takes too long is abandoned: its barriers still flow, its record is never written, and the next
//! epoch, relative to the last *committed* one, holds everything.

use super::confirming::Confirming;
use super::log::Log;
use super::record::{Checkpoint, Object, WatermarkRecord};
use crate::error::{EngineError, Result};
use crate::event::Epoch;
use crate::runtime::dealer::Dealer;
use crate::runtime::sequencer::{Sequencer, SequencerState};
use crate::runtime::shared::{Acknowledgement, Shared};
use crate::sink::{Prepared, Sink};
use crate::source::Offset;
use crate::time::Instant;
use crossbeam_channel::Receiver;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts of {} tasks on {} workers", self.roles.len(), self.workers)
    }
}

impl std::fmt::Debug for TaskRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskRole({:?})", self.identity)
    }
}

impl std::fmt::Debug for WatermarkNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WatermarkNode({})", self.identity)
    }
}

/// When epochs start and end.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub interval_ns: u64,
    /// From the end of one epoch to the start of the next, at least.
    pub min_pause_ns: u64,
    pub timeout_ns: u64,
    /// Failed or late epochs in a row before the job fails.
    pub tolerated_failures: u32,
}

/// What a task is to the coordinator.
#[derive(Clone)]
pub struct TaskRole {
    /// Of stateful operators and sinks.
    pub identity: Option<String>,
    pub sink: Option<Arc<dyn Sink>>,
    pub is_source: bool,
    /// All its rows go to worker 0.
    pub is_single: bool,
}

/// A watermark node and where its splits come from.
pub struct WatermarkNode {
    pub identity: String,
    pub sequencer: Arc<Sequencer>,
    /// By input number: source identity and dealer.
    pub inputs: Vec<(String, Arc<Dealer>)>,
}

/// What a job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    None,
    /// Commit and leave, windows stay open.
    Savepoint,
    /// Read nothing more, close everything, leave.
    Drain,
    /// Commit now and go on.
    Checkpoint,
}

/// For status and metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointStatus {
    pub epoch: Epoch,
    pub committed: u64,
    pub abandoned: u64,
    pub last_duration_ns: u64,
    pub last_bytes: u64,
    pub last_commit: Option<Instant>,
    /// Why the newest epoch was abandoned.
    pub last_failure: Option<String>,
    /// Sinks whose place is away, with the epoch that is committed and not published.
    pub waits: Vec<String>,
}

/// Job and coordinator talk through this.
#[derive(Debug)]
pub struct Control {
    pub request: Mutex<Request>,
    pub status: Mutex<CheckpointStatus>,
}

impl Default for Control {
    fn default() -> Self {
        Self { request: Mutex::new(Request::None), status: Mutex::default() }
    }
}

impl Control {
    /// Asks; a stronger earlier request stays.
    pub fn ask(&self, request: Request) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = request;
    }

    /// A copy of the status.
    pub fn status(&self) -> CheckpointStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The parts of a running attempt that the coordinator needs.
pub struct Parts {
    pub shared: Arc<Shared>,
    pub acknowledgements: Receiver<Acknowledgement>,
    /// By source identity.
    pub dealers: Vec<(String, Arc<Dealer>)>,
    pub watermarks: Vec<WatermarkNode>,
    pub roles: Vec<TaskRole>,
    pub workers: usize,
    pub plan: String,
}

struct InFlight {
    epoch: Epoch,
    started: Instant,
    sources: BTreeMap<String, BTreeMap<String, Option<Offset>>>,
    missing: usize,
    operators: BTreeMap<String, Vec<Object>>,
    sinks: BTreeMap<String, BTreeMap<usize, Prepared>>,
    is_last: bool,
    /// The input had ended before the cut.
    ended: bool,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Worked,
    Idle(Option<Instant>),
    /// The last epoch is committed and confirmed.
    Finished,
}

/// See the module.
pub struct Coordinator {
    parts: Parts,
    log: Option<Log>,
    schedule: Schedule,
    control: Arc<Control>,
    epoch: Epoch,
    next_start: Instant,
    in_flight: Option<InFlight>,
    failures: u32,
    confirming: Confirming,
    draining: bool,
    /// The last epoch is committed; only sinks may still have to confirm.
    closed: bool,
    finished: bool,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let missing = self.in_flight.as_ref().map(|epoch| (epoch.epoch, epoch.missing));
        write!(
            f,
            "Coordinator(epoch {}, in flight and missing {missing:?}, finished {})",
            self.epoch, self.finished
        )
    }
}

impl Coordinator {
    /// `log`: `None` runs without a checkpoint.
    pub fn new(parts: Parts, log: Option<Log>, schedule: Schedule, control: Arc<Control>) -> Self {
        let epoch = log.as_ref().map_or(0, Log::last_epoch);
        let next_start = parts.shared.clock.now().plus(schedule.interval_ns);
        let confirming = Confirming::new(log.is_some());
        Self {
            parts,
            log,
            schedule,
            control,
            epoch,
            next_start,
            in_flight: None,
            failures: 0,
            confirming,
            draining: false,
            closed: false,
            finished: false,
        }
    }

    /// Does one thing. Writes and syncs block: not for a worker's thread.
    ///
    /// # Errors
    /// A sink that cannot prepare or confirm, a newer attempt, too many failed epochs in a row.
    pub fn step(&mut self) -> Result<Progress> {
        if self.finished {
            return Ok(Progress::Finished);
        }
        let now = self.parts.shared.clock.now();
        if let Ok(acknowledgement) = self.parts.acknowledgements.try_recv() {
            self.take(acknowledgement)?;
            return Ok(Progress::Worked);
        }
        let retry_at = self.confirming.retry_at();
        if retry_at.is_some_and(|at| now >= at) {
            self.confirm(now)?;
            return Ok(if self.finished { Progress::Finished } else { Progress::Worked });
        }
        if self.closed {
            return Ok(self.leave_unless_waiting(retry_at));
        }
        if self.in_flight.as_ref().is_some_and(|epoch| epoch.missing == 0) {
            if self.confirming.blocks() {
                return Ok(Progress::Idle(retry_at));
            }
            self.commit(now)?;
            return Ok(if self.finished { Progress::Finished } else { Progress::Worked });
        }
        if let Some(epoch) = &self.in_flight {
            let timeout = epoch.started.plus(self.schedule.timeout_ns);
            // The last epoch of a job without a log has nothing to fall back on: it may take its time.
            if now < timeout || self.log.is_none() {
                let wake = self.log.as_ref().map(|_| timeout);
                return Ok(Progress::Idle(retry_at.map_or(wake, |at| Some(at.min(timeout)))));
            }
            let reason =
                format!("epoch {}: {} instances had not answered in time", epoch.epoch, epoch.missing);
            self.abandon(reason, now)?;
            return Ok(Progress::Worked);
        }
        self.start_if_due(now)
    }

    /// Gives up the epoch in flight, as a timeout does; for the simulated driver.
    ///
    /// # Errors
    /// Too many in a row.
    pub fn abandon(&mut self, reason: String, now: Instant) -> Result<()> {
        let Some(epoch) = self.in_flight.take() else { return Ok(()) };
        self.parts
            .roles
            .iter()
            .filter_map(|role| role.sink.as_ref())
            .for_each(|sink| sink.abandoned(epoch.epoch));
        self.failures += 1;
        self.next_start = if epoch.is_last { now } else { now.plus(self.schedule.interval_ns) };
        let failures = self.failures;
        self.note(|status| {
            status.abandoned += 1;
            status.last_failure = Some(reason.clone());
        });
        if failures > self.schedule.tolerated_failures {
            return Err(EngineError::unavailable(
                format!("the checkpoint ({failures} epochs failed in a row)"),
                reason,
            ));
        }
        Ok(())
    }

    /// True while an epoch has started and is not committed.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    fn start_if_due(&mut self, now: Instant) -> Result<Progress> {
        let request = *self.control.request.lock().unwrap_or_else(PoisonError::into_inner);
        if request == Request::Drain && !self.draining {
            self.draining = true;
            self.parts.dealers.iter().for_each(|(_, dealer)| dealer.close());
            return Ok(Progress::Worked);
        }
        let ended = self.parts.dealers.iter().all(|(_, dealer)| dealer.has_ended());
        let is_last = ended || request == Request::Savepoint;
        let is_due = self.log.is_some() && (now >= self.next_start || request == Request::Checkpoint);
        if !is_last && !is_due {
            let wake = self.log.as_ref().map(|_| self.next_start);
            return Ok(Progress::Idle(
                self.confirming.retry_at().map_or(wake, |at| Some(at.min(self.next_start))),
            ));
        }
        if request == Request::Checkpoint {
            self.control.ask(Request::None);
        }
        self.start(now, is_last, ended);
        Ok(Progress::Worked)
    }

    fn start(&mut self, now: Instant, is_last: bool, ended: bool) {
        self.epoch += 1;
        let shared = &self.parts.shared;
        if is_last {
            shared.closes.store(ended || self.log.is_none(), Ordering::Release);
            shared.last_epoch.store(self.epoch, Ordering::Release);
        }
        let sources =
            self.parts.dealers.iter().map(|(name, dealer)| (name.clone(), dealer.cut(self.epoch))).collect();
        let tasks = self.parts.roles.iter().filter(|role| !role.is_source).count();
        self.in_flight = Some(InFlight {
            epoch: self.epoch,
            started: now,
            sources,
            missing: tasks * self.parts.workers,
            operators: BTreeMap::new(),
            sinks: BTreeMap::new(),
            is_last,
            ended,
        });
        shared.wake_all();
    }

    /// Makes one instance's part durable. Preparations run even for an abandoned epoch: the next one builds on them.
    fn take(&mut self, acknowledgement: Acknowledgement) -> Result<()> {
        let Acknowledgement { task, worker, epoch, frozen, prepared } = acknowledgement;
        let prepared = prepared.map(|preparation| (preparation.0)()).transpose()?;
        let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.epoch == epoch) else {
            return Ok(());
        };
        in_flight.missing = in_flight.missing.saturating_sub(1);
        let Some(identity) = self.parts.roles.get(task).and_then(|role| role.identity.clone()) else {
            return Ok(());
        };
        if let Some(prepared) = prepared {
            in_flight.sinks.entry(identity.clone()).or_default().insert(worker, prepared);
        }
        let Some(log) = &self.log else { return Ok(()) };
        let mut failure = None;
        // An operator behind an exchange to worker 0 has rows only there; its other instances just pass barriers.
        let is_idle = worker != 0 && self.parts.roles.get(task).is_some_and(|role| role.is_single);
        let tables = if is_idle { Vec::new() } else { frozen.tables()? };
        for table in tables {
            match log.write_table(&identity, epoch, worker, &table) {
                Ok(object) => in_flight.operators.entry(identity.clone()).or_default().push(object),
                Err(error @ EngineError::Unavailable { .. }) => failure = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(reason) => self.abandon(reason, self.parts.shared.clock.now()),
            None => Ok(()),
        }
    }

    fn commit(&mut self, now: Instant) -> Result<()> {
        let Some(epoch) = self.in_flight.take() else { return Ok(()) };
        let sinks: BTreeMap<String, Vec<Prepared>> =
            epoch.sinks.into_iter().map(|(name, parts)| (name, parts.into_values().collect())).collect();
        let bytes = epoch.operators.values().flatten().map(|object| object.size as u64).sum();
        if let Some(log) = &mut self.log {
            let mut watermarks = BTreeMap::new();
            for node in &self.parts.watermarks {
                let state = node.sequencer.state_at(epoch.epoch).ok_or_else(|| {
                    EngineError::internal("the coordinator", "a batch before the cut was never published")
                })?;
                watermarks.insert(node.identity.clone(), watermark_record(node, state));
            }
            let checkpoint = Checkpoint {
                attempt: log.attempt(),
                epoch: epoch.epoch,
                plan: self.parts.plan.clone(),
                parallelism: self.parts.workers,
                finished: epoch.is_last && epoch.ended,
                sources: epoch.sources.clone(),
                watermarks,
                operators: epoch.operators,
                sinks: sinks.clone(),
                unconfirmed: self.confirming.unconfirmed(),
            };
            match log.commit(checkpoint) {
                Ok(()) => {}
                Err(error @ EngineError::Unavailable { .. }) => {
                    // Whether the record exists is unknown, so the epoch cannot be abandoned: only a restart can tell.
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        for role in &self.parts.roles {
            if let (Some(identity), Some(sink)) = (&role.identity, &role.sink)
                && let Some(prepared) = sinks.get(identity)
            {
                self.confirming.add(identity, sink, epoch.epoch, prepared.clone());
            }
        }
        self.closed = epoch.is_last;
        self.confirm(now)?;
        self.parts.shared.committed.store(epoch.epoch, Ordering::Release);
        for (name, dealer) in &self.parts.dealers {
            if let Some(offsets) = epoch.sources.get(name) {
                dealer.committed(offsets);
            }
        }
        self.failures = 0;
        let done = self.parts.shared.clock.now();
        let next = epoch.started.plus(self.schedule.interval_ns);
        self.next_start = next.max(done.plus(self.schedule.min_pause_ns));
        self.note(|status| {
            status.epoch = epoch.epoch;
            status.committed += 1;
            status.last_duration_ns = u64::try_from(now.since(epoch.started).as_nanos()).unwrap_or(u64::MAX);
            status.last_bytes = bytes;
            status.last_commit = Some(done);
        });
        if let Some(log) = &self.log
            && let Err(error) = log.collect_garbage()
        {
            self.note(|status| {
                status.last_failure = Some(format!("old checkpoints were not removed: {error}"))
            });
        }
        if self.closed {
            self.leave_unless_waiting(self.confirming.retry_at());
        }
        Ok(())
    }

    /// Lets sinks publish what is committed, as far as their places can be reached.
    fn confirm(&mut self, now: Instant) -> Result<()> {
        self.confirming.run(now)?;
        let waits = self.confirming.waits();
        self.note(|status| status.waits = waits);
        Ok(())
    }

    /// Ends the job once the last epoch is published. A job that was stopped leaves that to its next start.
    fn leave_unless_waiting(&mut self, retry_at: Option<Instant>) -> Progress {
        let request = *self.control.request.lock().unwrap_or_else(PoisonError::into_inner);
        if retry_at.is_some() && request != Request::Savepoint {
            return Progress::Idle(retry_at);
        }
        self.finished = true;
        self.parts.shared.leave.store(true, Ordering::Release);
        self.parts.shared.wake_all();
        Progress::Finished
    }

    fn note(&self, change: impl FnOnce(&mut CheckpointStatus)) {
        change(&mut self.control.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn watermark_record(node: &WatermarkNode, state: SequencerState) -> WatermarkRecord {
    let names: Vec<Vec<String>> = node.inputs.iter().map(|(_, dealer)| dealer.split_names()).collect();
    let splits = state
        .splits
        .into_iter()
        .filter_map(|((input, split), time)| {
            let (source, _) = node.inputs.get(input as usize)?;
            let name = names.get(input as usize)?.get(split as usize)?;
            Some((format!("{input}:{source}/{name}"), time))
        })
        .collect();
    WatermarkRecord { promise: state.promise, splits }
}
