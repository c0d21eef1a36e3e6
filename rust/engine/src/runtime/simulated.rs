//! The simulated driver: all workers and the coordinator in one thread, and a seed decides everything.
//!
//! Who steps next, when an epoch starts or is abandoned, which put or confirm fails (before or after it took effect), who
//! dies, on how many workers the next attempt runs. Rings and queues hold one event, so that every wait that can happen
//! does; a schedule in which nothing can move is an error. Equal seeds give equal runs.
//! Called by tests and by `dff.testing.check`. Method: deterministic simulation testing as FoundationDB describes it.

use super::assembly::{Assembled, Connectors, Layout, Restored, assemble, confirm_finished};
use super::blueprint::Blueprint;
use super::worker::Progress;
use crate::checkpoint::coordinator::{Control, Coordinator, Progress as Epochs, Request, Schedule};
use crate::checkpoint::log::{Log, Restore};
use crate::checkpoint::store::{ObjectStorePlace, Store};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::expr::Residual;
use crate::operators::error_policy::OnError;
use crate::operators::map_frame::FrameFunction;
use crate::operators::native::NativeFunction;
use crate::sink::{Preparation, Prepared, Sink, SinkWriter};
use crate::source::Source;
use crate::time::ManualClock;
use dataflare_plan::{FrameKind, Plan, Schema};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SIMULATED: &str = "a simulated failure";
/// Steps in a row in which nothing moved although the clock did, before it counts as stuck.
const STUCK_STEPS: u32 = 2_000;
const INTERVAL_NS: u64 = 1_000_000;

/// How rough the run is.
#[derive(Clone, Copy, Debug)]
pub struct Roughness {
    /// Deaths and other failures that end an attempt, at most.
    pub kills: u32,
    /// Workers are drawn from 1 to this, anew for each attempt.
    pub most_workers: usize,
}

/// One attempt of a run whose attempts are written out, for tests that need certain steps; the rest stays random.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub struct Scripted {
    pub workers: usize,
    /// It dies right after so many commits; `None`: it runs to the end.
    pub commits: Option<u64>,
    /// So many epochs are abandoned before that.
    pub abandoned: u64,
}

impl Default for Roughness {
    fn default() -> Self {
        Self { kills: 4, most_workers: 4 }
    }
}

/// Runs a bounded plan to its end and gives what each sink has published, in node order. Sinks of the plan are replaced
/// by transactional ones in memory.
///
/// `script`: the attempts, if they are to be certain ones; nothing fails then but what it says.
///
/// # Errors
/// What the job fails with, but not simulated failures; [`EngineError::Internal`] when nothing can move any more, or the
/// input ends before the script does.
pub fn simulate(
    plan: Plan,
    connectors: &dyn Connectors,
    on_error: OnError,
    roughness: Roughness,
    script: &[Scripted],
    seed: u64,
) -> Result<Vec<Vec<Batch>>> {
    let blueprint = Blueprint::new(plan)?;
    let mut random = SmallRng::seed_from_u64(seed);
    let memory: Arc<dyn Store> =
        Arc::new(ObjectStorePlace::new(Arc::new(object_store::memory::InMemory::new()), "memory"));
    let faults = Arc::new(Mutex::new(Faults {
        random: SmallRng::seed_from_u64(random.random()),
        left: if script.is_empty() { roughness.kills } else { 0 },
    }));
    let store: Arc<dyn Store> = Arc::new(RoughStore { inner: memory, faults: Arc::clone(&faults) });
    let parts =
        SimulatedConnectors { inner: connectors, faults: Arc::clone(&faults), sinks: Mutex::default() };
    let mut stages = script.iter();
    loop {
        let attempt = Attempt { blueprint: &blueprint, connectors: &parts, on_error, store: &store };
        let stage = stages.next();
        match attempt.run(&mut random, &faults, roughness, stage) {
            Ok(true) if stages.len() > 0 => {
                return Err(EngineError::internal(
                    "the script of a simulation",
                    format!("the input has ended and {} attempts are left; give more rows", stages.len()),
                ));
            }
            Ok(true) => break,
            Ok(false) => {}
            Err(error) if is_simulated(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(lock(&parts.sinks).iter().map(|sink| lock(&sink.published).rows.clone()).collect())
}

fn is_simulated(error: &EngineError) -> bool {
    matches!(error, EngineError::Unavailable { reason, .. } if reason.contains(SIMULATED))
}

struct Attempt<'a> {
    blueprint: &'a Blueprint,
    connectors: &'a SimulatedConnectors<'a>,
    on_error: OnError,
    store: &'a Arc<dyn Store>,
}

impl Attempt<'_> {
    /// True: the job has finished; false: it died.
    fn run(
        &self,
        random: &mut SmallRng,
        faults: &Mutex<Faults>,
        roughness: Roughness,
        stage: Option<&Scripted>,
    ) -> Result<bool> {
        lock(&self.connectors.sinks).iter().for_each(|sink| *lock(&sink.opened) = false);
        let opened = Log::open(Arc::clone(self.store), "simulation", "simulation", 2, Restore::Latest)?;
        let clock = Arc::new(ManualClock::default());
        let drawn = random.random_range(1..=roughness.most_workers.max(1));
        let layout = Layout {
            workers: stage.map_or(drawn, |stage| stage.workers.max(1)),
            ring_capacity: 1,
            queue_capacity: 1,
            memory_limit: None,
            on_error: self.on_error,
        };
        let restored = opened.checkpoint.as_ref().map(|checkpoint| Restored { log: &opened.log, checkpoint });
        if let Some(restored) = restored.as_ref().filter(|restored| restored.checkpoint.finished) {
            // Died between the last record and its confirms: only those are left.
            let clock = Arc::<ManualClock>::clone(&clock);
            confirm_finished(self.blueprint, &layout, self.connectors, clock, restored)?;
            return Ok(true);
        }
        let assembled = assemble(
            self.blueprint,
            &layout,
            self.connectors,
            Arc::<ManualClock>::clone(&clock),
            restored.as_ref(),
            Some(&opened.log),
        )?;
        drive(assembled, opened.log, &clock, random, faults, stage)
    }
}

fn drive(
    assembled: Assembled,
    log: Log,
    clock: &ManualClock,
    random: &mut SmallRng,
    faults: &Mutex<Faults>,
    stage: Option<&Scripted>,
) -> Result<bool> {
    let schedule = Schedule {
        interval_ns: INTERVAL_NS * random.random_range(1..=64),
        min_pause_ns: 0,
        timeout_ns: INTERVAL_NS * 1_000_000,
        tolerated_failures: u32::MAX,
    };
    let control = Arc::new(Control::default());
    let mut workers = assembled.workers;
    let mut coordinator = Coordinator::new(assembled.parts, Some(log), schedule, Arc::clone(&control));
    let mut finished = false;
    let mut still = 0;
    while !(finished && workers.is_empty()) {
        if random.random_ratio(1, 400) && lock(faults).spend() {
            return Ok(false);
        }
        if coordinator.is_in_flight() && random.random_ratio(1, 300) && lock(faults).spend() {
            coordinator.abandon("abandoned by the seed".into(), crate::time::Clock::now(clock))?;
        }
        if let Some(stage) = stage {
            let status = control.status();
            let is_short = status.abandoned < stage.abandoned;
            if is_short && coordinator.is_in_flight() && random.random_ratio(1, 20) {
                coordinator.abandon("abandoned by the script".into(), crate::time::Clock::now(clock))?;
            }
            if !is_short && stage.commits.is_some_and(|commits| status.committed >= commits) {
                return Ok(false);
            }
        }
        if random.random_ratio(1, 100) {
            control.ask(Request::Checkpoint);
        }
        clock.advance(random.random_range(0..INTERVAL_NS / 8));
        let moved = match random.random_range(0..=workers.len()) {
            0 if finished => false,
            0 => match coordinator.step()? {
                Epochs::Worked => true,
                Epochs::Idle(_) => false,
                Epochs::Finished => {
                    finished = true;
                    true
                }
            },
            chosen => match workers[chosen - 1].step()? {
                Progress::Worked => true,
                Progress::Idle(_) => false,
                Progress::Finished => {
                    workers.remove(chosen - 1);
                    true
                }
            },
        };
        still = if moved { 0 } else { still + 1 };
        if still > STUCK_STEPS {
            let waits: Vec<String> = workers.iter().map(super::worker::Worker::describe).collect();
            return Err(EngineError::internal(
                "the simulation",
                format!("nothing moves: {coordinator:?}; {}", waits.join(" | ")),
            ));
        }
        if still > 64 {
            // Nothing to do but wait: let time pass, for idle splits and the next epoch.
            clock.advance(INTERVAL_NS * 4);
        }
    }
    Ok(true)
}

/// Failures left to hand out.
#[derive(Debug)]
struct Faults {
    random: SmallRng,
    left: u32,
}

impl Faults {
    fn spend(&mut self) -> bool {
        let can = self.left > 0;
        self.left = self.left.saturating_sub(1);
        can
    }

    /// An operation fails: `Some(true)` after it took effect (a lost answer).
    fn strike(&mut self) -> Option<bool> {
        (self.random.random_ratio(1, 40) && self.spend()).then(|| self.random.random())
    }
}

fn failure(what: &str) -> EngineError {
    EngineError::unavailable(what, SIMULATED)
}

struct RoughStore {
    inner: Arc<dyn Store>,
    faults: Arc<Mutex<Faults>>,
}

impl Store for RoughStore {
    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        let strike = lock(&self.faults).strike();
        match strike {
            Some(false) => Err(failure(name)),
            Some(true) => {
                self.inner.create(name, bytes)?;
                Err(failure(name))
            }
            None => self.inner.create(name, bytes),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.inner.read(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(name)
    }
}

struct SimulatedConnectors<'a> {
    inner: &'a dyn Connectors,
    faults: Arc<Mutex<Faults>>,
    /// In the order of their nodes; kept over attempts, as a disk is.
    sinks: Mutex<Vec<Arc<MemorySink>>>,
}

impl Connectors for SimulatedConnectors<'_> {
    fn source(&self, connector: &str, options: &Value, schema: &Schema) -> Result<Arc<dyn Source>> {
        self.inner.source(connector, options, schema)
    }

    fn sink(&self, _connector: &str, _options: &Value, _schema: &Schema) -> Result<Arc<dyn Sink>> {
        let mut sinks = lock(&self.sinks);
        let free = sinks.iter().find(|sink| !*lock(&sink.opened)).cloned();
        let sink = free.unwrap_or_else(|| {
            let sink = Arc::new(MemorySink {
                published: Arc::default(),
                hidden: Arc::default(),
                faults: Arc::clone(&self.faults),
                opened: Mutex::new(false),
            });
            sinks.push(Arc::clone(&sink));
            sink
        });
        *lock(&sink.opened) = true;
        Ok(sink)
    }

    fn residual(&self) -> Option<&dyn Residual> {
        self.inner.residual()
    }

    fn native(&self, function: usize) -> Result<NativeFunction> {
        self.inner.native(function)
    }

    fn frame_function(&self, function: usize) -> Result<Box<dyn FrameFunction>> {
        self.inner.frame_function(function)
    }
}

/// Rows that readers see.
#[derive(Debug, Default)]
struct Published {
    names: BTreeSet<String>,
    rows: Vec<Batch>,
}

/// Prepared rows by name, as hidden files are.
type Hidden = Arc<Mutex<BTreeMap<String, Vec<Batch>>>>;

/// A transactional sink in memory that outlives attempts.
#[derive(Debug)]
struct MemorySink {
    published: Arc<Mutex<Published>>,
    hidden: Hidden,
    faults: Arc<Mutex<Faults>>,
    /// Taken by a node of the running attempt.
    opened: Mutex<bool>,
}

impl Sink for MemorySink {
    fn takes(&self, _kind: FrameKind) -> bool {
        true
    }

    fn writer(&self, worker: usize, attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        let hidden = Arc::clone(&self.hidden);
        Ok(Box::new(MemoryWriter { worker, attempt, hidden, open: Vec::new(), prepared: Vec::new() }))
    }

    fn confirm(&self, _epoch: Epoch, prepared: &[Prepared]) -> Result<()> {
        let strike = lock(&self.faults).strike();
        if strike == Some(false) {
            return Err(failure("a confirm"));
        }
        let mut published = lock(&self.published);
        for name in prepared.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
            if published.names.insert(name.to_owned()) {
                let rows = lock(&self.hidden).remove(name);
                let rows = rows.ok_or_else(|| {
                    EngineError::internal("the simulated sink", format!("{name} was never prepared"))
                })?;
                published.rows.extend(rows);
            }
        }
        if strike == Some(true) { Err(failure("a confirm")) } else { Ok(()) }
    }
}

struct MemoryWriter {
    worker: usize,
    attempt: u64,
    hidden: Hidden,
    open: Vec<Batch>,
    /// What no committed epoch has published: epoch and name.
    prepared: Vec<(Epoch, String)>,
}

impl SinkWriter for MemoryWriter {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        self.open.push(batch);
        Ok(None)
    }

    fn prepare(&mut self, epoch: Epoch, committed: Epoch, _last: bool) -> Result<Preparation> {
        let name = format!("{}-{epoch}-{}", self.attempt, self.worker);
        self.prepared.retain(|(prepared, _)| *prepared > committed);
        self.prepared.push((epoch, name.clone()));
        let names: Vec<&String> = self.prepared.iter().map(|(_, name)| name).collect();
        let (hidden, rows, answer) = (Arc::clone(&self.hidden), std::mem::take(&mut self.open), json!(names));
        Ok(Box::new(move || {
            lock(&hidden).insert(name, rows);
            Ok(answer)
        }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
