//! Tasks to workers: opens sources and sinks, gives every worker its instances, ties the rings, puts state back.
//!
//! Called once per attempt by [`super::job`] and the simulated driver.

use super::blueprint::{Blueprint, Task, TaskKind};
use super::dealer::{Dealer, Listener};
use super::identity::fingerprint;
use super::ring::{RingReceiver, RingSender, ring};
use super::sequencer::{Lateness, Sequencer};
use super::shared::Shared;
use super::source_task::SourceTask;
use super::worker::{Body, Cell, Channel, Route, Target, Worker};
use crate::checkpoint::coordinator::{Parts, TaskRole, WatermarkNode};
use crate::checkpoint::log::Log;
use crate::checkpoint::record::{Checkpoint, Unconfirmed};
use crate::error::{EngineError, Result};
use crate::event::Order;
use crate::expr::{Program, Residual};
use crate::operators::Operator as Instance;
use crate::operators::aggregate_plan::AggregatePlan;
use crate::operators::earliest::Earliest;
use crate::operators::error_policy::{ErrorPolicy, OnError, SplitNames};
use crate::operators::explode::Explode;
use crate::operators::filter::Filter;
use crate::operators::head::Head;
use crate::operators::join::{Join, JoinType};
use crate::operators::join_asof::{AsofType, JoinAsof};
use crate::operators::map_frame::{FrameFunction, MapFrame};
use crate::operators::metric::{Metric, MetricBoard};
use crate::operators::native::{Native, NativeFunction};
use crate::operators::over::{Over, OverType};
use crate::operators::project::{Project, TimeMapping};
use crate::operators::resequence::Resequence;
use crate::operators::running::{RunningOperator, RunningType};
use crate::operators::session::{FinalSession, PartialSession};
use crate::operators::sink::SinkOperator;
use crate::operators::sort::Sort;
use crate::operators::sort_keys::SortKeys;
use crate::operators::top_rows::{TopRows, TopType};
use crate::operators::union::Union;
use crate::operators::watermark::Watermark;
use crate::sink::{Prepared, Sink};
use crate::source::{Source, Waker};
use crate::state::key_group::{key_groups, owner};
use crate::state::{Scope, StateTable};
use crate::time::Clock;
use crate::types::{arrow_schema, column_index};
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use crossbeam_channel::unbounded;
use dataflare_plan::{Aggregate, DataType, Emit, Expr, Field, NamedExpr, Node, NodeId, Operator, Schema};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the engine cannot make itself.
pub trait Connectors: Send + Sync {
    /// The source of a plan node.
    ///
    /// # Errors
    /// An unknown connector, or options that it refuses.
    fn source(
        &self,
        connector: &str,
        options: &serde_json::Value,
        schema: &Schema,
    ) -> Result<Arc<dyn Source>>;

    /// The sink of a plan node.
    ///
    /// # Errors
    /// As for `source`.
    fn sink(&self, connector: &str, options: &serde_json::Value, schema: &Schema) -> Result<Arc<dyn Sink>>;

    /// Polars, for expressions without a kernel.
    fn residual(&self) -> Option<&dyn Residual>;

    /// A user's native function, by its number.
    ///
    /// # Errors
    /// No such function, or one of another ABI.
    fn native(&self, function: usize) -> Result<NativeFunction>;

    /// A user's function of Python over frames, by its number; each worker asks for its own.
    ///
    /// # Errors
    /// No such function, or one that does not start.
    fn frame_function(&self, function: usize) -> Result<Box<dyn FrameFunction>>;
}

/// How an attempt runs.
#[derive(Clone, Debug)]
pub struct Layout {
    pub workers: usize,
    /// Events in a ring between workers, and in a queue between tasks of one.
    pub ring_capacity: usize,
    pub queue_capacity: usize,
    pub memory_limit: Option<u64>,
    pub on_error: OnError,
}

/// An attempt, ready to be driven.
#[derive(Debug)]
pub struct Assembled {
    pub workers: Vec<Worker>,
    pub parts: Parts,
}

/// What all workers share, by node of the plan.
struct Opened {
    sequencers: BTreeMap<NodeId, Arc<Sequencer>>,
    dealers: BTreeMap<NodeId, Arc<Dealer>>,
    sinks: BTreeMap<NodeId, Arc<dyn Sink>>,
    board: Arc<MetricBoard>,
}

/// The record and log that a restore reads; `None`: from the beginning.
#[derive(Debug)]
pub struct Restored<'a> {
    pub log: &'a Log,
    pub checkpoint: &'a Checkpoint,
}

/// See the module.
///
/// # Errors
/// What sources and sinks say of their places; state that does not fit the plan.
pub fn assemble(
    blueprint: &Blueprint,
    layout: &Layout,
    connectors: &dyn Connectors,
    clock: Arc<dyn Clock>,
    restored: Option<&Restored<'_>>,
    log: Option<&Log>,
) -> Result<Assembled> {
    Assembly { blueprint, layout, connectors, clock, restored, log }.build()
}

/// Publishes what the last epoch of a finished job prepared: the job may have died between its last record and that.
///
/// # Errors
/// What sinks say of their places.
pub fn confirm_finished(
    blueprint: &Blueprint,
    layout: &Layout,
    connectors: &dyn Connectors,
    clock: Arc<dyn Clock>,
    restored: &Restored<'_>,
) -> Result<()> {
    let (restored, log) = (Some(restored), Some(restored.log));
    Assembly { blueprint, layout, connectors, clock, restored, log }.sinks().map(drop)
}

struct Assembly<'a> {
    blueprint: &'a Blueprint,
    layout: &'a Layout,
    connectors: &'a dyn Connectors,
    clock: Arc<dyn Clock>,
    restored: Option<&'a Restored<'a>>,
    /// `None`: without a checkpoint.
    log: Option<&'a Log>,
}

type Rings = BTreeMap<(usize, usize), Vec<Vec<Option<(RingSender, RingReceiver)>>>>;

impl Assembly<'_> {
    fn build(&self) -> Result<Assembled> {
        self.check_state_fits()?;
        let workers = self.layout.workers;
        let (sender, acknowledgements) = unbounded();
        let clock = Arc::clone(&self.clock);
        let shared = Arc::new(Shared::new(
            clock,
            sender,
            self.blueprint.tasks.len(),
            workers,
            self.layout.memory_limit,
        ));
        if let Some(restored) = self.restored {
            shared.committed.store(restored.checkpoint.epoch, std::sync::atomic::Ordering::Release);
        }
        let waker = waker_of(&shared, Shared::wake_all);
        let sequencers = self.sequencers(&waker);
        let dealers = self.dealers(&sequencers, &waker)?;
        let sinks = self.sinks()?;
        let board = Arc::clone(&shared.board);
        let opened = Opened { sequencers, dealers, sinks, board };
        let mut rings = self.rings();
        let mut built = Vec::with_capacity(workers);
        for worker in 0..workers {
            let mut cells = Vec::with_capacity(self.blueprint.tasks.len());
            let wake_this = waker_of(&shared, move |shared| shared.wake(worker));
            for (id, task) in self.blueprint.tasks.iter().enumerate() {
                let body = self.body(task, worker, &opened, &wake_this)?;
                let inputs = self.channels(id, task, worker, &mut rings);
                let targets = self.targets(id, worker, &mut rings);
                cells.push(Cell::new(id, task.place.clone(), body, inputs, targets));
            }
            built.push(Worker::new(worker, workers, cells, Arc::clone(&shared), self.layout.queue_capacity));
        }
        let Opened { sequencers, dealers, sinks, .. } = opened;
        let parts = Parts {
            shared,
            acknowledgements,
            dealers: dealers.iter().map(|(id, dealer)| (self.identity(*id), Arc::clone(dealer))).collect(),
            watermarks: self.watermark_nodes(&sequencers, &dealers),
            roles: self.roles(&sinks),
            workers,
            plan: fingerprint(&self.blueprint.plan.to_public_json()),
        };
        Ok(Assembled { workers: built, parts })
    }

    fn identity(&self, node: NodeId) -> String {
        self.blueprint.identities.get(node).cloned().unwrap_or_default()
    }

    /// Everything that the record holds must have a taker, and nothing runs before that is sure.
    fn check_state_fits(&self) -> Result<()> {
        let Some(restored) = self.restored else { return Ok(()) };
        let takers: Vec<&str> =
            self.blueprint.tasks.iter().filter_map(|task| task.identity.as_deref()).collect();
        let held = restored.checkpoint.operators.keys().chain(restored.checkpoint.sinks.keys());
        let orphans: Vec<&str> = held.map(String::as_str).filter(|name| !takers.contains(name)).collect();
        if orphans.is_empty() {
            return Ok(());
        }
        Err(EngineError::call(
            "the checkpoint",
            format!("state of the operators of this query ({})", takers.join(", ")),
            format!(
                "also state of {}; give the operator its old name with .stream.name(\"{}\"), or start without state (restore=\"ignore-state\")",
                orphans.join(", "),
                orphans.first().copied().unwrap_or_default().trim_end_matches(".partial")
            ),
        ))
    }

    fn sequencers(&self, waker: &Waker) -> BTreeMap<NodeId, Arc<Sequencer>> {
        let mut sequencers = BTreeMap::new();
        for (id, node) in self.blueprint.plan.nodes.iter().enumerate() {
            if let Operator::Watermark { column, delay, idle_ns, ahead } = &node.operator {
                let tick_ns = node
                    .schema
                    .iter()
                    .find(|field| &field.name == column)
                    .and_then(|field| tick_ns(&field.dtype));
                let idle_ns = idle_ns.and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
                let lateness = Lateness { delay: *delay, ahead: *ahead, idle_ns, tick_ns };
                let record = self.restored.and_then(|one| one.checkpoint.watermarks.get(&self.identity(id)));
                let promise = record.map(|record| record.promise);
                sequencers.insert(id, Arc::new(Sequencer::new(lateness, promise, Arc::clone(waker))));
            }
        }
        sequencers
    }

    fn dealers(
        &self,
        sequencers: &BTreeMap<NodeId, Arc<Sequencer>>,
        waker: &Waker,
    ) -> Result<BTreeMap<NodeId, Arc<Dealer>>> {
        let mut dealers = BTreeMap::new();
        for (id, node) in self.blueprint.plan.nodes.iter().enumerate() {
            let Operator::Source { connector, options, .. } = &node.operator else { continue };
            let source = self.connectors.source(connector, options, &node.schema)?;
            let name = self.identity(id);
            let offsets =
                self.restored.and_then(|one| one.checkpoint.sources.get(&name)).cloned().unwrap_or_default();
            let mut listeners = Vec::new();
            for (watermark, sequencer) in sequencers {
                for (input, below) in (0u32..).zip(self.blueprint.inputs_of(*watermark)) {
                    if below == id {
                        let restored = self.restored_splits(*watermark, input, &name);
                        listeners.push(Listener { sequencer: Arc::clone(sequencer), input, restored });
                    }
                }
            }
            let now = self.clock.now();
            let dealer =
                Dealer::open(source, &offsets, listeners, self.layout.workers, Arc::clone(waker), now)?;
            dealers.insert(id, Arc::new(dealer));
        }
        Ok(dealers)
    }

    /// What the record knows of the splits of one source below a watermark node.
    fn restored_splits(
        &self,
        watermark: NodeId,
        input: u32,
        source: &str,
    ) -> BTreeMap<String, super::sequencer::SplitTime> {
        let record = self.restored.and_then(|one| one.checkpoint.watermarks.get(&self.identity(watermark)));
        let prefix = format!("{input}:{source}/");
        record
            .into_iter()
            .flat_map(|record| &record.splits)
            .filter_map(|(name, time)| Some((name.strip_prefix(&prefix)?.to_owned(), *time)))
            .collect()
    }

    fn sinks(&self) -> Result<BTreeMap<NodeId, Arc<dyn Sink>>> {
        let mut sinks = BTreeMap::new();
        for (id, node) in self.blueprint.plan.nodes.iter().enumerate() {
            let Operator::Sink { connector, options, .. } = &node.operator else { continue };
            let schema =
                self.blueprint.plan.nodes.get(node.inputs[0]).map_or(&node.schema, |input| &input.schema);
            let sink = self.connectors.sink(connector, options, schema)?;
            let prepared = self.prepared(id);
            let identity = self.identity(id);
            sink.open(self.log.map(|log| log.place(&identity, self.layout.workers)).as_ref())?;
            if let Some(restored) = self.restored {
                let mut records = restored.checkpoint.unconfirmed.get(&identity).cloned().unwrap_or_default();
                if !prepared.is_empty() {
                    let epoch = restored.checkpoint.epoch;
                    records.push(Unconfirmed { epoch, prepared: prepared.clone() });
                }
                sink.recover(&records)?;
            }
            sink.clean(&prepared)?;
            sinks.insert(id, sink);
        }
        Ok(sinks)
    }

    fn prepared(&self, node: NodeId) -> Vec<Prepared> {
        self.restored
            .and_then(|one| one.checkpoint.sinks.get(&self.identity(node)))
            .cloned()
            .unwrap_or_default()
    }

    /// One ring for each exchange edge and pair of workers.
    fn rings(&self) -> Rings {
        let workers = self.layout.workers;
        let mut rings = Rings::new();
        for (id, task) in self.blueprint.tasks.iter().enumerate() {
            for (input, (_, _, route)) in task.inputs.iter().enumerate() {
                if !matches!(route, Route::Forward) {
                    let one = || Some(ring(self.layout.ring_capacity));
                    rings.insert(
                        (id, input),
                        (0..workers).map(|_| (0..workers).map(|_| one()).collect()).collect(),
                    );
                }
            }
        }
        rings
    }

    fn channels(&self, id: usize, task: &Task, worker: usize, rings: &mut Rings) -> Vec<Vec<Channel>> {
        let receivers = |rings: &mut Rings, input: usize| -> Vec<Channel> {
            let Some(pairs) = rings.get_mut(&(id, input)) else { return vec![Channel::local()] };
            pairs
                .iter_mut()
                .filter_map(|row| {
                    row.get_mut(worker)?.as_mut().map(|(_, receiver)| Channel::ring(receiver.clone()))
                })
                .collect()
        };
        (0..task.inputs.len()).map(|input| receivers(rings, input)).collect()
    }

    fn targets(&self, id: usize, worker: usize, rings: &mut Rings) -> Vec<Target> {
        let mut targets = Vec::new();
        for (reader, task) in self.blueprint.tasks.iter().enumerate() {
            for (input, (from, port, route)) in task.inputs.iter().enumerate() {
                if *from != id {
                    continue;
                }
                let senders = rings.get(&(reader, input)).and_then(|pairs| pairs.get(worker)).map(|row| {
                    row.iter().filter_map(|pair| pair.as_ref().map(|(sender, _)| sender.clone())).collect()
                });
                targets.push(Target {
                    port: *port,
                    route: route.clone(),
                    task: reader,
                    input,
                    rings: senders.unwrap_or_default(),
                });
            }
        }
        targets
    }

    fn watermark_nodes(
        &self,
        sequencers: &BTreeMap<NodeId, Arc<Sequencer>>,
        dealers: &BTreeMap<NodeId, Arc<Dealer>>,
    ) -> Vec<WatermarkNode> {
        let inputs = |id: NodeId| {
            let sources = self.blueprint.inputs_of(id);
            sources
                .into_iter()
                .filter_map(|source| Some((self.identity(source), Arc::clone(dealers.get(&source)?))))
                .collect()
        };
        sequencers
            .iter()
            .map(|(id, sequencer)| WatermarkNode {
                identity: self.identity(*id),
                sequencer: Arc::clone(sequencer),
                inputs: inputs(*id),
            })
            .collect()
    }

    /// How users know the splits of the rows at a node: their names, behind that of the source where there are several.
    fn split_names(&self, node: NodeId, dealers: &BTreeMap<NodeId, Arc<Dealer>>) -> SplitNames {
        let sources: Vec<(String, Arc<Dealer>)> = self
            .blueprint
            .inputs_of(node)
            .into_iter()
            .filter_map(|source| Some((self.identity(source), Arc::clone(dealers.get(&source)?))))
            .collect();
        SplitNames::new(move |order: Order| {
            let (source, dealer) = sources.get(order.input as usize)?;
            let name = dealer.split_names().get(order.split as usize)?.clone();
            Some(if sources.len() > 1 { format!("{source}/{name}") } else { name })
        })
    }

    fn roles(&self, sinks: &BTreeMap<NodeId, Arc<dyn Sink>>) -> Vec<TaskRole> {
        let tasks = self.blueprint.tasks.iter();
        tasks
            .map(|task| TaskRole {
                identity: task.identity.clone(),
                sink: if task.kind == TaskKind::Sink { sinks.get(&task.node).cloned() } else { None },
                is_source: task.kind == TaskKind::Source,
                is_single: !task.inputs.is_empty()
                    && task.inputs.iter().all(|(_, _, route)| matches!(route, Route::Single)),
            })
            .collect()
    }

    fn body(&self, task: &Task, worker: usize, opened: &Opened, waker: &Waker) -> Result<Body> {
        let Opened { sequencers, dealers, sinks, board } = opened;
        let missing = || EngineError::internal(&task.place, "a part of it was not opened");
        let node = &self.blueprint.plan.nodes[task.node];
        let policy = || {
            ErrorPolicy::new(self.layout.on_error, task.place.clone())
                .with_splits(self.split_names(task.node, dealers))
        };
        let mut instance: Box<dyn Instance> = match (task.kind, &node.operator) {
            (TaskKind::Source, _) => {
                let dealer = Arc::clone(dealers.get(&task.node).ok_or_else(missing)?);
                let positions = self.blueprint.ordered[task.node];
                return Ok(Body::Source(SourceTask::new(
                    dealer,
                    arrow_schema(&node.schema),
                    positions,
                    policy(),
                )));
            }
            (TaskKind::Watermark, Operator::Watermark { column, .. }) => {
                let sequencer = Arc::clone(sequencers.get(&task.node).ok_or_else(missing)?);
                let column = column_index(&arrow_schema(&node.schema), column)?;
                let keep_time = self.blueprint.ordered[task.node];
                let has_late = self.blueprint.plan.nodes.iter().any(|above| {
                    matches!(above.operator, Operator::Late) && above.inputs.contains(&task.node)
                });
                let clock = Arc::clone(&self.clock);
                Box::new(Watermark::new(column, keep_time, has_late, sequencer, clock, policy()))
            }
            (TaskKind::Filter, Operator::Filter { predicate }) => {
                let named = NamedExpr { name: "predicate".into(), expr: predicate.clone() };
                Box::new(Filter::new(self.program(task.node, &[named])?, policy()))
            }
            (TaskKind::Project, Operator::Project { exprs }) => self.project(task.node, exprs, policy())?,
            (TaskKind::Union, _) => {
                let mut base = 0;
                let mut bases = Vec::with_capacity(node.inputs.len());
                for input in &node.inputs {
                    bases.push(base);
                    base += u32::try_from(self.blueprint.inputs_of(*input).len()).unwrap_or(u32::MAX);
                }
                Box::new(Union::new(bases, arrow_schema(&node.schema)))
            }
            (TaskKind::Native, Operator::Native { function, text }) => Box::new(Native::new(
                self.connectors.native(*function)?,
                text.clone(),
                arrow_schema(&node.schema),
            )),
            (TaskKind::MapFrame, Operator::MapFrame { function, text }) => Box::new(MapFrame::new(
                self.connectors.frame_function(*function)?,
                text.clone(),
                arrow_schema(&node.schema),
                node.event_time.clone(),
            )),
            (TaskKind::Explode, Operator::Explode { columns, empty_as_null, keep_nulls }) => Box::new(
                Explode::new(columns.clone(), *empty_as_null, *keep_nulls, arrow_schema(&node.schema)),
            ),
            (TaskKind::Metric, Operator::Metric { metric, by, aggregate }) => {
                let kept = kept_by_metric(self.input_schema(task.node), by, aggregate)?;
                let plan = AggregatePlan::new(&kept, self.input_schema(task.node), None, true)?;
                Box::new(Metric::new(metric.clone(), worker, &plan, Arc::clone(board)))
            }
            (TaskKind::Partial, _) => self.blueprint.aggregate_plan(task.node)?.partial(),
            (TaskKind::Final, _) => self.blueprint.aggregate_plan(task.node)?.last(worker),
            (TaskKind::SessionPartial, _) => {
                Box::new(PartialSession::new(self.blueprint.session_shape(task.node)?))
            }
            (TaskKind::SessionFinal, _) => {
                let shape = self.blueprint.session_shape(task.node)?;
                let forwards = shape.ends && node.event_time.is_some();
                Box::new(FinalSession::new(shape, forwards))
            }
            (TaskKind::Head, Operator::Head { offset, rows }) if self.blueprint.waited(task.node) => {
                Box::new(Earliest::new(*offset, *rows))
            }
            (TaskKind::Head, Operator::Head { offset, rows }) => Box::new(Head::new(*offset, *rows)),
            (TaskKind::Sort, Operator::Sort { by, slice, .. }) => {
                Box::new(Sort::new(SortKeys::new(by, &node.schema)?, *slice))
            }
            (TaskKind::TopRows, Operator::TopRows { .. }) => {
                Box::new(TopRows::new(Arc::new(TopType::new(node, self.input_schema(task.node))?)))
            }
            (TaskKind::Join, Operator::Join { .. }) => {
                let [left, right] = self.join_inputs(node).ok_or_else(missing)?;
                Box::new(Join::new(Arc::new(JoinType::new(node, left, right)?), worker))
            }
            (TaskKind::JoinAsof, Operator::JoinAsof { .. }) => {
                let [left, right] = self.join_inputs(node).ok_or_else(missing)?;
                Box::new(JoinAsof::new(Arc::new(AsofType::new(node, left, right)?)))
            }
            (TaskKind::Over, _) => {
                let input = node.inputs.first().and_then(|input| self.blueprint.plan.nodes.get(*input));
                Box::new(Over::new(Arc::new(OverType::new(node, input.ok_or_else(missing)?)?)))
            }
            (TaskKind::Running, _) => {
                let input = node.inputs.first().and_then(|input| self.blueprint.plan.nodes.get(*input));
                let shared = RunningType::new(node, input.ok_or_else(missing)?)?;
                Box::new(RunningOperator::new(Arc::new(shared))?)
            }
            (TaskKind::TimeOrder, _) => Box::new(Sort::new(SortKeys::new(&[], &node.schema)?, None)),
            (TaskKind::Resequence, _) => Box::new(Resequence::default()),
            (TaskKind::Sink, _) => {
                let sink = sinks.get(&task.node).ok_or_else(missing)?;
                let pending = self.prepared(task.node).into_iter().enumerate();
                let pending = pending
                    .filter(|(index, _)| index % self.layout.workers == worker)
                    .map(|(_, one)| one)
                    .collect();
                let columns =
                    self.blueprint.plan.nodes.get(node.inputs[0]).map_or(0, |input| input.schema.len());
                let mut writer = sink.writer(worker, self.log.map_or(1, Log::attempt), pending)?;
                writer.set_waker(Arc::clone(waker));
                Box::new(SinkOperator::new(writer, columns))
            }
            _ => return Err(EngineError::internal(&task.place, "task and node do not fit")),
        };
        if let Some(identity) = &task.identity {
            let tables = self.tables(identity, worker)?;
            if !tables.is_empty() {
                instance.restore(tables)?;
            }
        }
        Ok(Body::Operator(instance))
    }

    fn join_inputs(&self, node: &Node) -> Option<[&Node; 2]> {
        let [left, right] = node.inputs.as_slice() else { return None };
        let nodes = &self.blueprint.plan.nodes;
        Some([nodes.get(*left)?, nodes.get(*right)?])
    }

    fn program(&self, node: NodeId, exprs: &[NamedExpr]) -> Result<Program> {
        Program::new(exprs, self.input_schema(node), self.connectors.residual())
    }

    fn input_schema(&self, node: NodeId) -> &Schema {
        let nodes = &self.blueprint.plan.nodes;
        nodes[node]
            .inputs
            .first()
            .and_then(|input| nodes.get(*input))
            .map_or(&nodes[node].schema, |input| &input.schema)
    }

    fn project(&self, id: NodeId, exprs: &[NamedExpr], policy: ErrorPolicy) -> Result<Box<dyn Instance>> {
        let nodes = &self.blueprint.plan.nodes;
        let input = nodes[id].inputs.first().and_then(|input| nodes.get(*input));
        let (from, to) = (input.and_then(|input| input.event_time.as_ref()), nodes[id].event_time.as_ref());
        let (input, output) = (arrow_schema(self.input_schema(id)), arrow_schema(&nodes[id].schema));
        let time = match (from, to) {
            (Some(from), Some(to)) => {
                let named = exprs.get(column_index(&output, to)?).cloned().ok_or_else(|| {
                    EngineError::internal("project", format!("no expression for its event time '{to}'"))
                })?;
                Some(match &named.expr {
                    Expr::Column { name } if name == from => TimeMapping::Same,
                    _ => TimeMapping::Through {
                        input: column_index(&input, from)?,
                        program: self.program(id, &[named])?,
                    },
                })
            }
            _ => None,
        };
        Ok(Box::new(Project::new(self.program(id, exprs)?, input, output, time, policy)))
    }

    /// The state of one instance: keyed rows of its key groups, everything of the rest where it belongs.
    fn tables(&self, identity: &str, worker: usize) -> Result<Vec<StateTable>> {
        let Some(restored) = self.restored else { return Ok(Vec::new()) };
        let mut tables = Vec::new();
        for object in restored.checkpoint.operators.get(identity).into_iter().flatten() {
            let is_mine = match object.scope {
                Scope::Keyed | Scope::Broadcast => true,
                Scope::Single => worker == 0,
            };
            if is_mine {
                let table = restored.log.read_table(object)?;
                tables.push(if object.scope == Scope::Keyed { self.own_rows(table, worker)? } else { table });
            }
        }
        Ok(tables)
    }

    fn own_rows(&self, table: StateTable, worker: usize) -> Result<StateTable> {
        let keys: Vec<_> = table.rows.columns().iter().take(table.keys).cloned().collect();
        let groups = key_groups(&keys, table.rows.num_rows())?;
        let mine: BooleanArray =
            groups.into_iter().map(|group| Some(owner(group, self.layout.workers) == worker)).collect();
        Ok(StateTable { rows: filter_record_batch(&table.rows, &mine)?, ..table })
    }
}

/// The aggregate of a metric, as a node of its own.
fn kept_by_metric(input: &Schema, by: &[String], aggregate: &Aggregate) -> Result<Node> {
    let mut schema: Schema = input.iter().filter(|field| by.contains(&field.name)).cloned().collect();
    schema.sort_by_key(|field| by.iter().position(|name| *name == field.name));
    schema.push(Field { name: aggregate.name.clone(), dtype: aggregate.dtype.clone() });
    Ok(Node {
        inputs: Vec::new(),
        operator: Operator::Aggregate {
            keys: by.to_vec(),
            aggregates: vec![aggregate.clone()],
            window: None,
            time_key: None,
            emit: Emit::default(),
            maintain_order: false,
        },
        schema,
        event_time: None,
        event_time_ends: None,
        name: None,
    })
}

/// Does nothing once the attempt is gone.
fn waker_of(shared: &Arc<Shared>, wake: impl Fn(&Shared) + Send + Sync + 'static) -> Waker {
    let shared = Arc::downgrade(shared);
    Arc::new(move || {
        if let Some(shared) = shared.upgrade() {
            wake(&shared);
        }
    })
}

/// Nanoseconds in a tick of a time column; `None` for integers.
fn tick_ns(dtype: &DataType) -> Option<i64> {
    match dtype {
        DataType::Date => Some(86_400_000_000_000),
        DataType::Datetime { unit, .. } => Some(unit.nanoseconds()),
        _ => None,
    }
}
