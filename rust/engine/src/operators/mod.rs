//! The operator contract, and one file an operator.
//!
//! A worker owns one instance of every operator and calls it from one thread; calls never overlap. An operator never
//! blocks, never touches a clock, file or thread, and answers the same for every cut of its input.

pub mod aggregate_plan;
pub mod earliest;
pub mod error_policy;
pub mod explode;
pub mod filter;
pub mod final_aggregate;
pub mod head;
pub mod join;
pub mod join_asof;
pub mod logical_order;
pub mod map_frame;
pub mod metric;
pub mod native;
pub mod over;
pub mod pane_state;
pub mod panes;
pub mod partial_aggregate;
pub mod project;
pub mod resequence;
pub mod running;
pub mod session;
pub mod session_intervals;
pub mod session_state;
pub mod sink;
pub mod sort;
pub mod sort_keys;
pub mod top_rows;
pub mod union;
pub mod update_aggregate;
pub mod waiting;
pub mod wanted;
pub mod watermark;

use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch, Event};
use crate::sink::Preparation;
use crate::state::{Frozen, StateTable};
use crate::time::{Instant, Timestamp};
use std::collections::VecDeque;

/// Which input edge an event came on: 0 for operators with one.
pub type Input = usize;

/// Which output edge: 0 is the main one; the watermark operator has late rows on 1.
pub type Port = usize;

/// What the worker does next with an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Feed it.
    Ready,
    /// It has more to emit: call `on_more` when the output has room. No input and no barrier until it says `Ready`.
    More,
    /// It needs no further input (`head`): the worker drops what still comes, except barriers.
    Done,
}

/// An incremental operator. Each file says what it forwards ("Forwards: …": a lower bound of the event times that it may
/// still emit) and what its state is.
pub trait Operator: Send {
    /// Takes one batch.
    fn on_batch(&mut self, input: Input, batch: Batch, out: &mut Output) -> Result<Flow>;

    /// The combined watermark (minimum over all input edges) rose to `combined`; `own` is the one of `input`.
    /// Default: forwards it.
    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        out.watermark(combined);
        Ok(Flow::Ready)
    }

    /// `input` has ended. After the last one the worker sends End on, once the operator is `Ready`.
    fn on_end(&mut self, _input: Input, _out: &mut Output) -> Result<Flow> {
        Ok(Flow::Ready)
    }

    /// Called again after `More` when the output is empty.
    fn on_more(&mut self, _out: &mut Output) -> Result<Flow> {
        Ok(Flow::Ready)
    }

    /// When it wants `on_clock`.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The clock has passed `deadline`.
    fn on_clock(&mut self, _now: Instant, _out: &mut Output) -> Result<Flow> {
        Ok(Flow::Ready)
    }

    /// True if it has something to do without input (`on_more` is called): a promise that another worker raised.
    fn is_due(&self) -> bool {
        false
    }

    /// True if it must see every batch even when nobody needs its rows any more, because others count on what it notes.
    fn sees_all(&self) -> bool {
        false
    }

    /// Asked at a barrier, before `freeze`, until true: a sink still hands rows over. Never blocks.
    fn is_settled(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// At a barrier, for sinks only: makes what was written since the last one durable (see [`crate::sink`]).
    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Option<Preparation>> {
        Ok(None)
    }

    /// Notes the state at a barrier: cheap, no encoding; [`Frozen::tables`] runs elsewhere.
    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        Ok(Frozen::default())
    }

    /// Takes state back before the first event. Rows of one key may come several times: merge them.
    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        match tables.first() {
            None => Ok(()),
            Some(table) => Err(EngineError::internal(&table.name, "state for an operator that keeps none")),
        }
    }

    /// Bytes of state held now.
    fn state_bytes(&self) -> usize {
        0
    }
}

/// Where an operator puts what it emits. The worker moves it on, and calls the operator only when this is empty, so an
/// operator needs no check for room; one that emits much returns [`Flow::More`] between pieces.
#[derive(Debug, Default)]
pub struct Output {
    queue: VecDeque<(Port, Event)>,
}

impl Output {
    /// Emits on the main port.
    pub fn push(&mut self, batch: Batch) {
        self.push_to(0, batch);
    }

    /// Emits on a given port.
    pub fn push_to(&mut self, port: Port, batch: Batch) {
        self.queue.push_back((port, Event::Batch(batch)));
    }

    /// Promises on the main port that no smaller event time follows.
    pub fn watermark(&mut self, watermark: Timestamp) {
        self.queue.push_back((0, Event::Watermark(watermark)));
    }

    /// The next item to move on.
    pub fn pop(&mut self) -> Option<(Port, Event)> {
        self.queue.pop_front()
    }

    /// True if everything has been moved on.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts an item behind all others; for the worker's own Barrier and End.
    pub fn push_event(&mut self, port: Port, event: Event) {
        self.queue.push_back((port, event));
    }
}
