//! The first half of an aggregate, on the worker that read the rows.
//!
//! In: raw rows. Out: one partial row a (pane, key), when the watermark has passed the pane or the input ends; if results
//! are updated, after each batch, or a few times in the interval in which they are wanted. Not here: results (`final_aggregate.rs`, `update_aggregate.rs`).
//! Forwards: the watermark as it is, behind the partial rows that it releases. State: the groups of open panes.
//! Cost: one table look-up a row; O(groups of the pane) when a pane leaves.

use super::aggregate_plan::{Shape, slices};
use super::pane_state::{PaneState, finals};
use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::{Batch, Epoch};
use crate::state::{Frozen, StateTable};
use crate::time::{Instant, Timestamp};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct PartialAggregate {
    state: PaneState,
    updates: Updates,
    last_sent: Instant,
}

/// When partial rows leave before their pane is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updates {
    Never,
    EachBatch,
    /// At most so often.
    Every(u64),
}

/// A result waits for its interval here and in the other half: most of it there.
const SENDS_AN_INTERVAL: u64 = 4;

impl PartialAggregate {
    pub fn new(shape: Arc<Shape>, updates: Updates) -> Self {
        Self { state: PaneState::new(shape), updates, last_sent: Instant::default() }
    }

    fn send(&mut self, pane: i64, out: &mut Output) -> Result<()> {
        if let Some(groups) = self.state.panes.remove(&pane) {
            let rows = self.state.shape.partials(pane, &groups)?;
            slices(&rows).for_each(|slice| out.push(Batch::new(slice)));
        }
        Ok(())
    }

    fn send_all(&mut self, out: &mut Output) -> Result<()> {
        let panes: Vec<i64> = self.state.panes.keys().copied().collect();
        panes.into_iter().try_for_each(|pane| self.send(pane, out))
    }
}

impl Operator for PartialAggregate {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        self.state.update(&batch)?;
        if self.updates == Updates::EachBatch {
            self.send_all(out)?;
        }
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
        for pane in finals(&shape, &shape.panes, &self.state.panes, combined) {
            self.send(pane, out)?;
        }
        out.watermark(combined);
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, out: &mut Output) -> Result<Flow> {
        self.send_all(out)?;
        Ok(Flow::Ready)
    }

    fn deadline(&self) -> Option<Instant> {
        match self.updates {
            Updates::Every(every_ns) if !self.state.panes.is_empty() => {
                Some(self.last_sent.plus(every_ns / SENDS_AN_INTERVAL))
            }
            _ => None,
        }
    }

    fn on_clock(&mut self, now: Instant, out: &mut Output) -> Result<Flow> {
        self.last_sent = now;
        self.send_all(out)?;
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        Ok(self.state.freeze("partial"))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        tables.iter().try_for_each(|table| self.state.merge(&table.rows))
    }

    fn state_bytes(&self) -> usize {
        self.state.memory()
    }
}
