//! Plan to tasks: which operators run, and how rows go between them. Pure: opens nothing.
//!
//! A logical node becomes zero, one or more tasks (an aggregate is two halves around an exchange; `late` is only a port).
//! Exchanges stand where keys or order demand them. Called by [`super::assembly`] and by `explain`.

use super::identity::identities;
use super::worker::Route;
use crate::error::{EngineError, Result};
use crate::operators::aggregate_plan::AggregatePlan;
use crate::operators::session_state::SessionShape;
use crate::operators::watermark::{AHEAD, LATE};
use crate::types::{arrow_schema, column_index};
use dataflare_plan::{NodeId, Operator, Plan};
use std::sync::Arc;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    Source,
    Watermark,
    Filter,
    Project,
    Union,
    Native,
    MapFrame,
    Explode,
    Metric,
    Partial,
    Final,
    SessionPartial,
    SessionFinal,
    Resequence,
    Head,
    Sort,
    Join,
    JoinAsof,
    TopRows,
    Running,
    Over,
    /// Puts rows into event-time order at the end of a bounded input.
    TimeOrder,
    Sink,
}

/// One task: an operator with an instance on every worker.
#[derive(Clone, Debug)]
pub struct Task {
    pub kind: TaskKind,
    pub node: NodeId,
    /// By input: task, port, route.
    pub inputs: Vec<(usize, usize, Route)>,
    /// Of tasks that keep state, and sinks.
    pub identity: Option<String>,
    /// How messages and metrics call it.
    pub place: String,
}

/// See the module.
#[derive(Debug)]
pub struct Blueprint {
    pub plan: Plan,
    pub tasks: Vec<Task>,
    /// By node: identity in checkpoints.
    pub identities: Vec<String>,
    /// By node: rows carry hidden positions (and times, above a watermark).
    pub ordered: Vec<bool>,
}

/// Where the rows of a node leave.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    task: usize,
    port: usize,
}

impl Blueprint {
    /// # Errors
    /// A node that cannot run as the plan says: what the planner should have refused.
    pub fn new(plan: Plan) -> Result<Self> {
        let ordered = ordered_nodes(&plan)?;
        let identities = identities(&plan);
        let mut blueprint = Self { tasks: Vec::new(), identities, ordered, plan };
        let mut leaving: Vec<Leaving> = Vec::with_capacity(blueprint.plan.nodes.len());
        for id in 0..blueprint.plan.nodes.len() {
            let place = blueprint.add(id, &leaving)?;
            leaving.push(place);
        }
        Ok(blueprint)
    }

    fn add(&mut self, id: NodeId, leaving: &[Leaving]) -> Result<Leaving> {
        let node = self.plan.nodes[id].clone();
        let from: Vec<Leaving> =
            node.inputs.iter().filter_map(|input| leaving.get(*input).copied()).collect();
        let first = || {
            from.first().copied().ok_or_else(|| EngineError::internal("the plan", "a node without an input"))
        };
        let forward = |one: Leaving| (one.task, one.port, Route::Forward);
        let single = |one: Leaving| (one.task, one.port, Route::Single);
        let task = match &node.operator {
            Operator::Source { .. } => self.push(TaskKind::Source, id, Vec::new()),
            Operator::Watermark { .. } => self.push(TaskKind::Watermark, id, vec![forward(first()?)]),
            Operator::Filter { .. } => self.push(TaskKind::Filter, id, vec![forward(first()?)]),
            Operator::Project { .. } => self.push(TaskKind::Project, id, vec![forward(first()?)]),
            Operator::Native { .. } => self.push(TaskKind::Native, id, vec![forward(first()?)]),
            Operator::MapFrame { .. } => self.push(TaskKind::MapFrame, id, vec![forward(first()?)]),
            Operator::Explode { .. } => self.push(TaskKind::Explode, id, vec![forward(first()?)]),
            Operator::Metric { .. } => self.push(TaskKind::Metric, id, vec![forward(first()?)]),
            Operator::Union => self.push(TaskKind::Union, id, from.iter().copied().map(forward).collect()),
            Operator::Late => return Ok(Leaving { port: LATE, ..first()? }),
            Operator::Errors => {
                let below = first()?;
                let kind = self.tasks.get(below.task).map(|task| task.kind);
                return match kind {
                    Some(TaskKind::Source | TaskKind::Filter | TaskKind::Project) => {
                        Ok(Leaving { port: 1, ..below })
                    }
                    Some(TaskKind::Watermark) => Ok(Leaving { port: AHEAD, ..below }),
                    _ => Err(EngineError::call(
                        ".stream.errors()",
                        "a frame whose top operator can fail per row",
                        node.operator.kind(),
                    )),
                };
            }
            Operator::Aggregate { maintain_order, .. } => {
                let plan = self.aggregate_plan(id)?;
                let partial = self.push(TaskKind::Partial, id, vec![forward(first()?)]);
                let route = match plan.keys() {
                    // The order of groups over all workers is known to one that has them all.
                    _ if *maintain_order => Route::Single,
                    0 => Route::Single,
                    keys => Route::Hash((0..keys).collect()),
                };
                self.push(TaskKind::Final, id, vec![(partial, 0, route)])
            }
            Operator::TopRows { keys, .. } => {
                let below = first()?;
                let schema = arrow_schema(&self.plan.nodes[node.inputs[0]].schema);
                let route = match keys.is_empty() {
                    true => Route::Single,
                    false => {
                        Route::Hash(keys.iter().map(|key| column_index(&schema, key)).collect::<Result<_>>()?)
                    }
                };
                self.push(TaskKind::TopRows, id, vec![(below.task, below.port, route)])
            }
            Operator::Session { keys, .. } => {
                let partial = self.push(TaskKind::SessionPartial, id, vec![forward(first()?)]);
                let route =
                    if keys.is_empty() { Route::Single } else { Route::Hash((0..keys.len()).collect()) };
                self.push(TaskKind::SessionFinal, id, vec![(partial, 0, route)])
            }
            Operator::Join { left_on, right_on, broadcast, .. } => {
                let routes = match broadcast {
                    true => [Route::Forward, Route::Broadcast],
                    false => self.join_routes(&node.inputs, left_on, right_on)?,
                };
                self.push(TaskKind::Join, id, pair(&from, routes)?)
            }
            Operator::JoinAsof { left_by, right_by, .. } => {
                let routes = self.join_routes(&node.inputs, left_by, right_by)?;
                self.push(TaskKind::JoinAsof, id, pair(&from, routes)?)
            }
            Operator::Running { keys, .. } | Operator::Over { keys, .. } => {
                let schema = arrow_schema(&self.plan.nodes[node.inputs[0]].schema);
                let columns =
                    keys.iter().map(|key| column_index(&schema, key)).collect::<Result<Vec<_>>>()?;
                let route = if columns.is_empty() { Route::Single } else { Route::Hash(columns) };
                let below = first()?;
                let is_running = matches!(node.operator, Operator::Running { .. });
                let kind = if is_running { TaskKind::Running } else { TaskKind::Over };
                self.push(kind, id, vec![(below.task, below.port, route)])
            }
            Operator::Head { .. } => self.push(TaskKind::Head, id, vec![single(first()?)]),
            Operator::Sort { by_time: true, .. } => self.push(TaskKind::Running, id, vec![single(first()?)]),
            Operator::Sort { .. } => self.push(TaskKind::Sort, id, vec![single(first()?)]),
            Operator::Sink { connector, options, maintain_order } => {
                let below = first()?;
                if !is_single(connector, options, *maintain_order) {
                    self.push(TaskKind::Sink, id, vec![forward(below)])
                } else if *maintain_order && below.port == 0 && self.keeps_place(node.inputs[0]) {
                    let kind = match (self.waited(node.inputs[0]), self.plan.is_bounded(id)) {
                        (true, true) => Some(TaskKind::TimeOrder),
                        (true, false) => None,
                        (false, _) => Some(TaskKind::Resequence),
                    };
                    match kind {
                        Some(kind) => {
                            let order = self.push(kind, id, vec![single(below)]);
                            self.push(TaskKind::Sink, id, vec![(order, 0, Route::Forward)])
                        }
                        None => self.push(TaskKind::Sink, id, vec![single(below)]),
                    }
                } else {
                    self.push(TaskKind::Sink, id, vec![single(below)])
                }
            }
        };
        Ok(Leaving { task, port: 0 })
    }

    fn push(&mut self, kind: TaskKind, node: NodeId, inputs: Vec<(usize, usize, Route)>) -> usize {
        let own = self.identities.get(node).cloned().unwrap_or_default();
        let identity = match kind {
            TaskKind::Partial => Some(format!("{own}.partial")),
            TaskKind::Resequence | TaskKind::TimeOrder => Some(format!("{own}.order")),
            TaskKind::Final
            | TaskKind::SessionFinal
            | TaskKind::Head
            | TaskKind::Sort
            | TaskKind::Join
            | TaskKind::JoinAsof
            | TaskKind::TopRows
            | TaskKind::Running
            | TaskKind::Over
            | TaskKind::Sink => Some(own),
            _ => None,
        };
        let label = self.plan.nodes[node].operator.kind();
        let place = match &self.plan.nodes[node].name {
            Some(name) => format!("{label} '{name}'"),
            None => label.to_owned(),
        };
        self.tasks.push(Task { kind, node, inputs, identity, place });
        self.tasks.len() - 1
    }

    /// Both inputs of a join by key, or all rows to one worker without one.
    fn join_routes(&self, inputs: &[NodeId], left: &[String], right: &[String]) -> Result<[Route; 2]> {
        if left.is_empty() {
            return Ok([Route::Single, Route::Single]);
        }
        let route = |input: Option<&NodeId>, keys: &[String]| {
            let node = input.and_then(|input| self.plan.nodes.get(*input));
            let schema = arrow_schema(node.map_or(&Vec::new(), |node| &node.schema));
            let keys = keys.iter().map(|key| column_index(&schema, key)).collect::<Result<Vec<_>>>();
            Ok::<_, EngineError>(Route::Hash(keys?))
        };
        Ok([route(inputs.first(), left)?, route(inputs.get(1), right)?])
    }

    /// The two halves of an aggregate node.
    ///
    /// # Errors
    /// A form that the engine lacks.
    pub fn aggregate_plan(&self, id: NodeId) -> Result<AggregatePlan> {
        aggregate_plan(&self.plan, id)
    }

    /// What the two halves of a session node share.
    ///
    /// # Errors
    /// A form that the engine lacks.
    pub fn session_shape(&self, id: NodeId) -> Result<Arc<SessionShape>> {
        session_shape(&self.plan, id).map(Arc::new)
    }

    /// True if rows of `id` still have their place in the input (input, split, sequence).
    fn keeps_place(&self, id: NodeId) -> bool {
        let node = &self.plan.nodes[id];
        match node.operator {
            Operator::Source { .. } => true,
            Operator::Aggregate { .. }
            | Operator::Session { .. }
            | Operator::Sort { .. }
            | Operator::Join { .. }
            | Operator::JoinAsof { .. }
            | Operator::TopRows { .. }
            | Operator::Head { .. }
            | Operator::Errors
            | Operator::Late => false,
            // Its rows have another time, or none, than those that went in.
            Operator::MapFrame { .. }
                if runs(&self.plan, node.inputs[0])
                    || has_event_time(&self.plan, id) != self.has_event_time(node.inputs[0]) =>
            {
                false
            }
            _ => node.inputs.iter().all(|input| self.keeps_place(*input)),
        }
    }

    /// True if a watermark stands below a node in the row-wise part.
    pub fn has_event_time(&self, id: NodeId) -> bool {
        has_event_time(&self.plan, id)
    }

    /// True if rows below have waited for others, so that only they know their place.
    pub fn waited(&self, id: NodeId) -> bool {
        has_event_time(&self.plan, id) || runs(&self.plan, id)
    }

    /// The sources below a node, as its operators number them (`Order::input`).
    pub fn inputs_of(&self, id: NodeId) -> Vec<NodeId> {
        let node = &self.plan.nodes[id];
        match node.operator {
            Operator::Source { .. } => vec![id],
            _ => node.inputs.iter().flat_map(|input| self.inputs_of(*input)).collect(),
        }
    }
}

/// The inputs of a join.
fn pair(from: &[Leaving], routes: [Route; 2]) -> Result<Vec<(usize, usize, Route)>> {
    let [left, right] = from else {
        return Err(EngineError::internal("the plan", "a join without two inputs"));
    };
    let [one, other] = routes;
    Ok(vec![(left.task, left.port, one), (right.task, right.port, other)])
}

/// True if a watermark stands below in the row-wise part.
fn has_event_time(plan: &Plan, id: NodeId) -> bool {
    let node = &plan.nodes[id];
    match node.operator {
        Operator::Watermark { .. } => true,
        // Late rows stand split by split.
        Operator::Source { .. }
        | Operator::Late
        | Operator::Aggregate { .. }
        | Operator::Session { .. }
        | Operator::Join { .. }
        | Operator::JoinAsof { .. }
        | Operator::TopRows { .. }
        | Operator::Sort { .. } => false,
        Operator::MapFrame { .. } if node.event_time.is_none() => false,
        _ => node.inputs.iter().any(|input| has_event_time(plan, *input)),
    }
}

/// True if rows have waited for others below: batches have no place in a split any more, only their rows have.
fn runs(plan: &Plan, id: NodeId) -> bool {
    let node = &plan.nodes[id];
    match node.operator {
        Operator::Running { .. } | Operator::Over { .. } => true,
        // What a function of Python gives has no place of its own.
        Operator::MapFrame { .. } => false,
        Operator::Source { .. }
        | Operator::Aggregate { .. }
        | Operator::Session { .. }
        | Operator::Join { .. }
        | Operator::JoinAsof { .. }
        | Operator::TopRows { .. }
        | Operator::Sort { .. } => false,
        _ => node.inputs.iter().any(|input| runs(plan, *input)),
    }
}

fn aggregate_plan(plan: &Plan, id: NodeId) -> Result<AggregatePlan> {
    let node = &plan.nodes[id];
    let input = node.inputs.first().map(|input| &plan.nodes[*input]);
    let input = input.ok_or_else(|| EngineError::internal("the plan", "an aggregate without an input"))?;
    AggregatePlan::new(node, &input.schema, input.event_time.as_deref(), plan.is_bounded(id))
}

fn session_shape(plan: &Plan, id: NodeId) -> Result<SessionShape> {
    let node = &plan.nodes[id];
    let input = node.inputs.first().map(|input| &plan.nodes[*input]);
    let input = input.ok_or_else(|| EngineError::internal("the plan", "sessions without an input"))?;
    SessionShape::new(node, &input.schema, input.event_time.as_deref())
}

/// Connectors that write one thing, in one order. A function that takes rows in any order has a writer on each worker.
fn is_single(connector: &str, options: &serde_json::Value, maintain_order: bool) -> bool {
    let path = options.get("path").and_then(serde_json::Value::as_str);
    matches!(connector, "collect" | "console" | "python")
        || (connector == "batches" && maintain_order)
        || path.is_some_and(|path| !path.ends_with('/'))
}

/// Which nodes' rows must carry hidden order columns because somebody above reads them.
fn ordered_nodes(plan: &Plan) -> Result<Vec<bool>> {
    let mut ordered = vec![false; plan.nodes.len()];
    for id in (0..plan.nodes.len()).rev() {
        let node = &plan.nodes[id];
        let needs = match &node.operator {
            Operator::Aggregate { maintain_order, .. } => {
                *maintain_order || aggregate_plan(plan, id)?.needs_order()
            }
            Operator::Running { functions, .. } => {
                ordered[id] || functions.iter().any(|one| one.function.needs_order())
            }
            Operator::Over { aggregates, .. } => {
                ordered[id] || aggregates.iter().any(|one| one.needs_order())
            }
            Operator::Session { .. } => session_shape(plan, id)?.needs_order,
            // A dead letter says where its row stood.
            Operator::Sort { .. }
            | Operator::TopRows { .. }
            | Operator::JoinAsof { .. }
            | Operator::Errors => true,
            Operator::Head { .. } => has_event_time(plan, id) || runs(plan, id) || ordered[id],
            Operator::Sink { connector, options, maintain_order } => {
                *maintain_order
                    && is_single(connector, options, true)
                    && (has_event_time(plan, id) || runs(plan, id))
                    && plan.is_bounded(id)
            }
            Operator::Source { .. } | Operator::Join { .. } => false,
            _ => ordered[id],
        };
        for input in &node.inputs {
            ordered[*input] |= needs;
        }
    }
    Ok(ordered)
}
