//! The second half of an aggregate that emits each result once, on the worker that owns the key.
//!
//! In: partial rows. Out: the result rows of a window when the watermark has made it final; of everything at the end. A
//! query without keys gives exactly one row, also for no input; worker 0 gives it.
//! Forwards: the label of the earliest window that is not closed; nothing if event time ends here.
//! State: the groups of panes of open windows, and where windows overlap the earliest one that is open.
//! Cost: one table look-up a partial row; a window of several panes is merged when it closes.

use super::aggregate_plan::{Shape, slices};
use super::pane_state::{PaneState, Partials, table};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::state::groups::Groups;
use crate::state::{Frozen, Scope, StateTable};
use crate::time::Timestamp;
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use std::sync::Arc;

/// The state table of the earliest open window.
const OPEN: &str = "open";

/// See the module.
#[derive(Debug)]
pub struct FinalAggregate {
    state: PaneState,
    forwards: bool,
    worker: usize,
    /// Windows below are closed.
    open: i64,
}

impl FinalAggregate {
    pub fn new(shape: Arc<Shape>, forwards: bool, worker: usize) -> Self {
        Self { state: PaneState::new(shape), forwards, worker, open: i64::MIN }
    }

    /// Emits the windows below `open` in order and drops the panes that no later window needs.
    fn close(&mut self, open: i64, out: &mut Output) -> Result<()> {
        let shape = self.state.shape.clone();
        while let Some(pane) = self.state.panes.keys().next().copied() {
            let windows = shape.panes.windows(pane);
            let window = windows.start.max(self.open);
            if window >= windows.end {
                self.state.panes.remove(&pane);
                continue;
            }
            if window >= open {
                break;
            }
            let groups = self.window(window)?;
            let rows = shape.window_results(window, &groups)?;
            slices(&rows).for_each(|slice| out.push(Batch::new(slice)));
            self.open = window.saturating_add(1);
        }
        self.open = self.open.max(open);
        Ok(())
    }

    /// The groups of a window.
    fn window(&mut self, window: i64) -> Result<Arc<Groups>> {
        let shape = &self.state.shape;
        let mut panes = self.state.panes.range(shape.panes.of_window_index(window));
        let (first, second) = (panes.next(), panes.next());
        if let (Some((_, groups)), None) = (first, second) {
            return Ok(groups.clone());
        }
        let mut merged = Groups::new(&shape.groups);
        for (pane, groups) in self.state.panes.range(shape.panes.of_window_index(window)) {
            let partials = Partials::prepare(shape, &shape.partials(*pane, groups)?)?;
            merged.merge(&partials.keys, &partials.inputs, 0..groups.len())?;
        }
        Ok(Arc::new(merged))
    }
}

impl Operator for FinalAggregate {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        self.state.merge(&batch.records)?;
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        let shape = self.state.shape.clone();
        if !shape.ends || combined == Timestamp::MIN {
            return Ok(Flow::Ready);
        }
        let open = shape.panes.earliest_open(combined);
        self.close(open, out)?;
        if self.forwards {
            out.watermark(if open == i64::MAX { Timestamp::MAX } else { Timestamp(shape.panes.label(open)) });
        }
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, out: &mut Output) -> Result<Flow> {
        let shape = &self.state.shape;
        let one_row = shape.keys.is_empty() && !shape.panes.is_timed();
        if one_row && self.worker == 0 {
            self.state.pane(0);
        }
        self.close(i64::MAX, out)?;
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (shape, panes, open) = (self.state.shape.clone(), self.state.panes.clone(), self.open);
        Ok(Frozen::new(move || {
            let mut tables = vec![table(&shape, "final", &panes)?];
            if shape.panes.overlap() {
                let schema = Schema::new(vec![Field::new(OPEN, DataType::Int64, false)]);
                let rows =
                    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![open]))])?;
                tables.push(StateTable { name: OPEN.to_owned(), scope: Scope::Broadcast, keys: 0, rows });
            }
            Ok(tables)
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name != OPEN {
                self.state.merge(&table.rows)?;
                continue;
            }
            let opens = table.rows.column(0).as_primitive::<Int64Type>().values().clone();
            for open in opens.iter() {
                // Watermarks and barriers reach all workers in one order, so all closed the same windows before it.
                if self.open != i64::MIN && self.open != *open {
                    let reason =
                        format!("one worker had closed windows below {}, another below {open}", self.open);
                    return Err(EngineError::internal(&self.state.shape.place, reason));
                }
                self.open = *open;
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.state.memory()
    }
}
