//! `metric`: hands every batch on as it is, and keeps an aggregate of what it saw for `job.metrics()`.
//!
//! In and out: batches of any kind. Not here: who asks for the values (`runtime::job`).
//! Forwards: the watermark as it is. State: none in checkpoints: values count from the start of this attempt.
//! Cost: one aggregate; once a period the groups are shared with who looks, and copied by the next batch.

use super::aggregate_plan::{AggregatePlan, Shape};
use super::pane_state::{PaneState, Partials};
use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::Batch;
use crate::state::groups::Groups;
use crate::time::Instant;
use arrow::array::RecordBatch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How often values are shown.
const PERIOD_NS: u64 = 200_000_000;

/// What the workers of an attempt have shown of their metrics, by name. Nobody holds it for longer than a pointer's change.
#[derive(Debug, Default)]
pub struct MetricBoard {
    shown: Mutex<BTreeMap<String, BTreeMap<usize, Shown>>>,
}

#[derive(Clone, Debug)]
struct Shown {
    shape: Arc<Shape>,
    groups: Arc<Groups>,
}

impl MetricBoard {
    fn show(&self, name: &str, worker: usize, shown: Shown) {
        let mut board = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        board.entry(name.to_owned()).or_default().insert(worker, shown);
    }

    /// The values of each metric, all workers together: the columns of `by`, then the value.
    ///
    /// # Errors
    /// None but bugs.
    pub fn values(&self) -> Result<Vec<(String, RecordBatch)>> {
        let board = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut values = Vec::with_capacity(board.len());
        for (name, workers) in board {
            let Some(shape) = workers.values().next().map(|one| one.shape.clone()) else { continue };
            let mut all = Groups::new(&shape.groups);
            for Shown { groups, .. } in workers.values() {
                let rows = shape.partials(0, groups)?;
                let partials = Partials::prepare(&shape, &rows)?;
                all.merge(&partials.keys, &partials.inputs, 0..rows.num_rows())?;
            }
            values.push((name, shape.results(0, &all, None)?));
        }
        Ok(values)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Metric {
    name: String,
    worker: usize,
    state: PaneState,
    board: Arc<MetricBoard>,
    changed: bool,
    last_shown: Instant,
}

impl Metric {
    /// `plan`: the aggregate without windows that it keeps.
    pub fn new(name: String, worker: usize, plan: &AggregatePlan, board: Arc<MetricBoard>) -> Self {
        let state = PaneState::new(plan.shape());
        Self { name, worker, state, board, changed: true, last_shown: Instant::default() }
    }

    fn show(&mut self) {
        self.changed = false;
        self.state.pane(0);
        if let Some(groups) = self.state.panes.get(&0) {
            let shown = Shown { shape: self.state.shape.clone(), groups: groups.clone() };
            self.board.show(&self.name, self.worker, shown);
        }
    }
}

impl Operator for Metric {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        self.state.update(&batch)?;
        self.changed = true;
        out.push(batch);
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, _out: &mut Output) -> Result<Flow> {
        self.show();
        Ok(Flow::Ready)
    }

    fn deadline(&self) -> Option<Instant> {
        self.changed.then(|| self.last_shown.plus(PERIOD_NS))
    }

    fn on_clock(&mut self, now: Instant, _out: &mut Output) -> Result<Flow> {
        self.last_shown = now;
        self.show();
        Ok(Flow::Ready)
    }

    fn state_bytes(&self) -> usize {
        self.state.memory()
    }
}
