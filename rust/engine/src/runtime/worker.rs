//! The worker loop: one instance of every task, driven from the sinks up to the sources.
//!
//! [`Worker::step`] does one thing and returns, so that a thread ([`super::threaded`]) or a seeded generator
//! ([`super::simulated`]) can drive it. Rules: an operator runs only when its output is empty; full rings and queues are
//! the back-pressure; a barrier waits for its fellows on the other channels and nothing else; control goes to all outputs.
//!
//! What a source was dealt, other workers may have to know before they go on (`with_watermark`). So it is published at
//! once, and nothing more is dealt before that is done: a queue of unpublished batches would let workers take turns.

use super::dealer::Deal;
use super::exchange::partition;
use super::ring::{RingReceiver, RingSender};
use super::shared::{Acknowledgement, PreparationCell, Shared, TaskId};
use super::source_task::SourceTask;
use crate::error::{EngineError, Result};
use crate::event::{Epoch, Event};
use crate::operators::{Flow, Input, Operator, Output, Port};
use crate::time::{Instant, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How soon an operator that waits for something outside is asked again.
const RETRY_NS: u64 = 500_000;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Worked,
    /// Nothing can move before something arrives, or this instant comes.
    Idle(Option<Instant>),
    /// The last barrier has passed everything, or the job was cancelled.
    Finished,
}

/// How rows leave a task.
#[derive(Clone, Debug)]
pub enum Route {
    /// To the same worker.
    Forward,
    /// By key group of these columns.
    Hash(Vec<usize>),
    /// To worker 0.
    Single,
    /// To every worker.
    Broadcast,
}

/// An edge that leaves a task.
#[derive(Debug)]
pub struct Target {
    pub port: Port,
    pub route: Route,
    pub task: TaskId,
    pub input: Input,
    /// By worker; empty for [`Route::Forward`].
    pub rings: Vec<RingSender>,
}

/// One sender's part of an input edge.
#[derive(Debug)]
pub struct Channel {
    receiver: Receiver,
    watermark: Timestamp,
    aligned: bool,
    ended: bool,
}

#[derive(Debug)]
enum Receiver {
    Local(VecDeque<Event>),
    Ring(RingReceiver),
}

impl Channel {
    /// From the task below on the same worker.
    pub fn local() -> Self {
        Self::new(Receiver::Local(VecDeque::new()))
    }

    /// From a worker over an exchange.
    pub fn ring(receiver: RingReceiver) -> Self {
        Self::new(Receiver::Ring(receiver))
    }

    fn new(receiver: Receiver) -> Self {
        Self { receiver, watermark: Timestamp::MIN, aligned: false, ended: false }
    }

    fn take(&mut self) -> Option<Event> {
        match &mut self.receiver {
            Receiver::Local(queue) => queue.pop_front(),
            Receiver::Ring(ring) => ring.receive(),
        }
    }
}

/// What a cell runs.
pub enum Body {
    Source(SourceTask),
    Operator(Box<dyn Operator>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source(_) => "source",
            Self::Operator(_) => "operator",
        })
    }
}

/// One instance of a task.
pub struct Cell {
    pub task: TaskId,
    /// Operator and user's name, for messages.
    pub place: String,
    body: Body,
    /// By input edge, then sender.
    inputs: Vec<Vec<Channel>>,
    /// Least watermark of each input edge.
    watermarks: Vec<Timestamp>,
    targets: Vec<Target>,
    output: Output,
    undelivered: VecDeque<(usize, usize, Event)>,
    calls: VecDeque<Call>,
    more: bool,
    done: bool,
    end_sent: bool,
    barrier: Option<Epoch>,
    passed: Epoch,
    next_channel: usize,
    steps: u64,
}

/// What an input edge still owes its operator.
#[derive(Debug)]
enum Call {
    Watermark(Input),
    End(Input),
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Cell({}, passed {}, more {}, barrier {:?})",
            self.place, self.passed, self.more, self.barrier
        )
    }
}

impl Cell {
    pub fn new(
        task: TaskId,
        place: String,
        body: Body,
        inputs: Vec<Vec<Channel>>,
        targets: Vec<Target>,
    ) -> Self {
        let watermarks = vec![Timestamp::MIN; inputs.len()];
        Self {
            task,
            place,
            body,
            inputs,
            watermarks,
            targets,
            output: Output::default(),
            undelivered: VecDeque::new(),
            calls: VecDeque::new(),
            more: false,
            done: false,
            end_sent: false,
            barrier: None,
            passed: 0,
            next_channel: 0,
            steps: 0,
        }
    }

    fn has_ended(&self) -> bool {
        self.calls.is_empty() && self.inputs.iter().flatten().all(|channel| channel.ended)
    }

    /// True if something waits on an edge from the same worker. What a barrier holds back does not: another source may
    /// have to hand on that barrier first.
    fn has_queued_input(&self) -> bool {
        let is_filled = |channel: &Channel| {
            !channel.aligned && matches!(&channel.receiver, Receiver::Local(queue) if !queue.is_empty())
        };
        self.inputs.iter().flatten().any(is_filled)
    }

    fn sees_all(&self) -> bool {
        matches!(&self.body, Body::Operator(operator) if operator.sees_all())
    }

    fn is_aligned(&self) -> bool {
        self.inputs.iter().flatten().all(|channel| channel.aligned)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    workers: usize,
    /// In topological order: what a cell feeds stands behind it.
    cells: Vec<Cell>,
    shared: Arc<Shared>,
    /// Events that a local queue may hold.
    queue_capacity: usize,
    /// By cell: what publishes the batches of a source, and the cells between.
    publishers: Vec<Vec<usize>>,
}

impl Worker {
    pub fn new(
        index: usize,
        workers: usize,
        cells: Vec<Cell>,
        shared: Arc<Shared>,
        queue_capacity: usize,
    ) -> Self {
        let publishers = (0..cells.len()).map(|cell| match cells[cell].body {
            Body::Source(_) => path_to_publishers(&cells, cell),
            Body::Operator(_) => Vec::new(),
        });
        Self { index, workers, publishers: publishers.collect(), cells, shared, queue_capacity }
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Does one thing.
    ///
    /// # Errors
    /// What an operator, source or sink fails with, with the place put in front. The worker must not be used again.
    pub fn step(&mut self) -> Result<Progress> {
        if self.shared.cancelled.load(Ordering::Acquire) {
            return Ok(Progress::Finished);
        }
        let now = self.shared.clock.now();
        let mut deadline: Option<Instant> = None;
        let mut blocked = false;
        for index in (0..self.cells.len()).rev() {
            let moved = self.deliver(index)?;
            if !self.is_clear(index) {
                if moved {
                    return Ok(Progress::Worked);
                }
                blocked = true;
                continue;
            }
            if self.run(index, now, &mut deadline)? {
                self.deliver(index)?;
                self.count(index, now)?;
                self.publish(index, &mut deadline)?;
                return Ok(Progress::Worked);
            }
            if moved {
                return Ok(Progress::Worked);
            }
        }
        if !blocked && self.shared.leave.load(Ordering::Acquire) {
            return Ok(Progress::Finished);
        }
        Ok(Progress::Idle(deadline))
    }

    /// What each cell waits for, for messages about a job that does not move.
    pub fn describe(&self) -> String {
        self.cells.iter().map(|cell| format!("{cell:?}")).collect::<Vec<_>>().join("; ")
    }

    fn is_clear(&self, index: usize) -> bool {
        self.cells[index].undelivered.is_empty() && self.cells[index].output.is_empty()
    }

    /// Brings what a source was dealt to the operators that publish it.
    fn publish(&mut self, source: usize, deadline: &mut Option<Instant>) -> Result<()> {
        for turn in 0..self.publishers[source].len() {
            let cell = self.publishers[source][turn];
            while self.cells[cell].has_queued_input() && self.is_clear(cell) {
                let now = self.shared.clock.now();
                if !self.run(cell, now, deadline)? {
                    break;
                }
                self.deliver(cell)?;
                self.count(cell, now)?;
            }
        }
        Ok(())
    }

    /// True if all that a source was dealt is published, and handed on.
    fn is_published(&self, source: usize) -> bool {
        self.publishers[source].iter().all(|cell| {
            self.is_clear(*cell) && !self.cells[*cell].more && !self.cells[*cell].has_queued_input()
        })
    }

    /// Lets a cell do one thing; false: it has nothing to do.
    fn run(&mut self, index: usize, now: Instant, deadline: &mut Option<Instant>) -> Result<bool> {
        let cell = &mut self.cells[index];
        if let Body::Source(_) = cell.body {
            return self.run_source(index, now, deadline);
        }
        let Body::Operator(operator) = &mut cell.body else { return Ok(false) };
        let place = cell.place.as_str();
        let located = |error| locate(error, place);
        if cell.more {
            let flow = operator.on_more(&mut cell.output).map_err(located)?;
            let waits = flow == Flow::More && cell.output.is_empty();
            self.after(index, flow);
            // An operator that waits for somebody else (an earlier batch on another worker, a sink) is asked again later.
            if waits {
                *deadline = sooner(*deadline, now.plus(RETRY_NS));
            }
            return Ok(!waits);
        }
        if let Some(call) = cell.calls.pop_front() {
            let flow = match call {
                Call::Watermark(input) => {
                    let (combined, own) = (
                        cell.watermarks.iter().copied().min().unwrap_or(Timestamp::MAX),
                        cell.watermarks[input],
                    );
                    operator.on_watermark(input, combined, own, &mut cell.output).map_err(located)?
                }
                Call::End(input) => operator.on_end(input, &mut cell.output).map_err(located)?,
            };
            self.after(index, flow);
            return Ok(true);
        }
        if let Some(at) = operator.deadline() {
            if now >= at {
                let flow = operator.on_clock(now, &mut cell.output).map_err(located)?;
                self.after(index, flow);
                return Ok(true);
            }
            *deadline = sooner(*deadline, at);
        }
        if operator.is_due() {
            let flow = operator.on_more(&mut cell.output).map_err(located)?;
            let worked = !cell.output.is_empty();
            self.after(index, flow);
            if worked {
                return Ok(true);
            }
        }
        if self.pass_barrier(index)? || self.pass_end(index) {
            return Ok(true);
        }
        if self.cells[index].barrier.is_some() && self.cells[index].is_aligned() {
            // Its sink is still handing rows over.
            *deadline = sooner(*deadline, now.plus(RETRY_NS));
        }
        self.take_input(index)
    }

    fn after(&mut self, index: usize, flow: Flow) {
        let cell = &mut self.cells[index];
        cell.more = flow == Flow::More;
        if flow == Flow::Done && !cell.done {
            cell.done = true;
            self.shared.done[cell.task][self.index].store(true, Ordering::Release);
            self.shared.any_done.store(true, Ordering::Release);
            self.shared.wake_all();
        }
    }

    /// A barrier that all channels have: notes the state and sends it on.
    fn pass_barrier(&mut self, index: usize) -> Result<bool> {
        let cell = &mut self.cells[index];
        let Some(epoch) = cell.barrier else { return Ok(false) };
        if !cell.is_aligned() {
            return Ok(false);
        }
        let Body::Operator(operator) = &mut cell.body else { return Ok(false) };
        let located = |error| locate(error, &cell.place);
        if !operator.is_settled().map_err(located)? {
            return Ok(false);
        }
        let last = self.shared.last_epoch.load(Ordering::Acquire) == epoch
            && self.shared.closes.load(Ordering::Acquire);
        let committed = self.shared.committed.load(Ordering::Acquire);
        let prepared = operator.prepare(epoch, committed, last).map_err(located)?.map(PreparationCell);
        let frozen = operator.freeze(epoch).map_err(located)?;
        let acknowledgement =
            Acknowledgement { task: cell.task, worker: self.index, epoch, frozen, prepared };
        // The coordinator is gone only when the job is being torn down.
        let _ = self.shared.acknowledgements.send(acknowledgement);
        self.shared.wake_coordinator();
        cell.barrier = None;
        cell.passed = epoch;
        cell.inputs.iter_mut().flatten().for_each(|channel| channel.aligned = false);
        cell.output.push_event(0, Event::Barrier(epoch));
        Ok(true)
    }

    fn pass_end(&mut self, index: usize) -> bool {
        let cell = &mut self.cells[index];
        if cell.end_sent || !cell.has_ended() {
            return false;
        }
        cell.end_sent = true;
        cell.output.push_event(0, Event::End);
        true
    }

    /// Takes one event from the next channel that has one and is not held by a barrier.
    fn take_input(&mut self, index: usize) -> Result<bool> {
        let cell = &mut self.cells[index];
        let channels: usize = cell.inputs.iter().map(Vec::len).sum();
        for turn in 0..channels {
            let number = (cell.next_channel + turn) % channels;
            let Some((input, sender, channel)) = nth_channel(&mut cell.inputs, number) else { continue };
            if channel.aligned {
                continue;
            }
            let Some(event) = channel.take() else { continue };
            cell.next_channel = number + 1;
            if let Receiver::Ring(_) = channel.receiver {
                // There is room now.
                if sender != self.index {
                    self.shared.wake(sender);
                }
            }
            return self.take_event(index, input, number, event).map(|()| true);
        }
        Ok(false)
    }

    fn take_event(&mut self, index: usize, input: Input, number: usize, event: Event) -> Result<()> {
        let counters = &self.shared.counters[self.cells[index].task][self.index];
        let cell = &mut self.cells[index];
        match event {
            Event::Batch(batch) => {
                add(&counters.rows_in, batch.rows());
                add(&counters.batches_in, 1);
                if cell.done {
                    return Ok(());
                }
                let Body::Operator(operator) = &mut cell.body else { return Ok(()) };
                let place = cell.place.as_str();
                let flow = operator
                    .on_batch(input, batch, &mut cell.output)
                    .map_err(|error| locate(error, place))?;
                self.after(index, flow);
            }
            Event::Watermark(watermark) => {
                if let Some((_, _, channel)) = nth_channel(&mut cell.inputs, number) {
                    channel.watermark = channel.watermark.max(watermark);
                }
                raise_watermark(cell, input);
            }
            Event::Barrier(epoch) => {
                cell.barrier = Some(epoch);
                if let Some((_, _, channel)) = nth_channel(&mut cell.inputs, number) {
                    channel.aligned = true;
                }
            }
            Event::End => {
                if let Some((_, _, channel)) = nth_channel(&mut cell.inputs, number) {
                    channel.ended = true;
                    channel.watermark = Timestamp::MAX;
                }
                raise_watermark(cell, input);
                if cell.inputs[input].iter().all(|channel| channel.ended) {
                    cell.calls.push_back(Call::End(input));
                }
            }
        }
        Ok(())
    }

    fn run_source(&mut self, index: usize, now: Instant, deadline: &mut Option<Instant>) -> Result<bool> {
        if self.shared.any_done.load(Ordering::Acquire) {
            self.spread_done();
        }
        if !self.is_published(index) {
            return Ok(false);
        }
        let cell = &mut self.cells[index];
        let Body::Source(source) = &mut cell.body else { return Ok(false) };
        let located = |error| locate(error, &cell.place);
        match source.dealer().deal(self.index, now).map_err(located)? {
            Deal::Batch(order, raw) => {
                let counters = &self.shared.counters[cell.task][self.index];
                add(&counters.bytes_in, raw.bytes);
                add(&counters.batches_in, 1);
                let rows = source.decode(order, raw, &mut cell.output).map_err(located)?;
                add(&counters.rows_in, rows);
            }
            Deal::Barrier(epoch) => {
                cell.passed = epoch;
                cell.output.push_event(0, Event::Barrier(epoch));
            }
            Deal::End if !cell.end_sent => {
                cell.end_sent = true;
                cell.output.push_event(0, Event::End);
                self.shared.wake_coordinator();
            }
            Deal::End => return Ok(false),
            Deal::Pending => {
                if let Some(at) = source.dealer().next_look(now) {
                    *deadline = sooner(*deadline, at);
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A cell whose readers all need nothing more needs nothing more either; a source then stops reading.
    fn spread_done(&mut self) {
        let mut seeing_all: Vec<TaskId> = Vec::new();
        for index in (0..self.cells.len()).rev() {
            let cell = &self.cells[index];
            let sees_all =
                cell.sees_all() || cell.targets.iter().any(|target| seeing_all.contains(&target.task));
            if sees_all {
                seeing_all.push(cell.task);
            }
            if cell.done || cell.targets.is_empty() {
                continue;
            }
            let all_done = cell.targets.iter().all(|target| {
                let flags = &self.shared.done[target.task];
                let is_done = |worker: usize| flags[worker].load(Ordering::Acquire);
                match target.route {
                    Route::Forward => is_done(self.index),
                    Route::Single => is_done(0),
                    Route::Hash(_) | Route::Broadcast => (0..self.workers).all(is_done),
                }
            });
            if all_done {
                self.shared.done[cell.task][self.index].store(true, Ordering::Release);
                self.cells[index].done = !sees_all;
            }
        }
        for cell in &self.cells {
            if let Body::Source(source) = &cell.body
                && self.shared.done[cell.task].iter().all(|flag| flag.load(Ordering::Acquire))
            {
                source.dealer().close();
            }
        }
    }

    /// Moves a cell's output on as far as there is room; true: something moved.
    fn deliver(&mut self, index: usize) -> Result<bool> {
        let mut moved = false;
        loop {
            while let Some((target, worker, event)) = self.cells[index].undelivered.pop_front() {
                if let Some(event) = self.offer(index, target, worker, event) {
                    self.cells[index].undelivered.push_front((target, worker, event));
                    return Ok(moved);
                }
                moved = true;
            }
            let Some((port, event)) = self.cells[index].output.pop() else { return Ok(moved) };
            self.address(index, port, event)?;
            moved = true;
        }
    }

    /// Decides who gets an event.
    fn address(&mut self, index: usize, port: Port, event: Event) -> Result<()> {
        let cell = &mut self.cells[index];
        let counters = &self.shared.counters[cell.task][self.index];
        match &event {
            Event::Batch(batch) => {
                add(if port == 0 { &counters.rows_out } else { &counters.rows_aside }, batch.rows());
            }
            Event::Watermark(watermark) => counters.watermark.store(watermark.0, Ordering::Relaxed),
            Event::Barrier(_) | Event::End => {}
        }
        for (number, target) in cell.targets.iter().enumerate() {
            let control = matches!(event, Event::Barrier(_) | Event::End);
            if target.port != port && !control {
                continue;
            }
            match (&event, &target.route) {
                (_, Route::Forward) => cell.undelivered.push_back((number, self.index, event.clone())),
                (Event::Batch(_), Route::Single) => cell.undelivered.push_back((number, 0, event.clone())),
                (Event::Batch(batch), Route::Hash(keys)) => {
                    for (worker, part) in partition(batch.clone(), keys, self.workers)? {
                        cell.undelivered.push_back((number, worker, Event::Batch(part)));
                    }
                }
                _ => {
                    for worker in 0..self.workers {
                        cell.undelivered.push_back((number, worker, event.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives an event to a reader, or back when there is no room.
    fn offer(&mut self, index: usize, target: usize, worker: usize, event: Event) -> Option<Event> {
        let target = self.cells[index].targets.get(target)?;
        if let Some(ring) = target.rings.get(worker) {
            let back = ring.send(event);
            if back.is_none() && worker != self.index {
                self.shared.wake(worker);
            }
            return back;
        }
        let (task, input) = (target.task, target.input);
        let reader = self.cells.iter_mut().find(|cell| cell.task == task)?;
        let channel = reader.inputs.get_mut(input).and_then(|channels| channels.first_mut())?;
        let Receiver::Local(queue) = &mut channel.receiver else { return Some(event) };
        if queue.len() >= self.queue_capacity {
            return Some(event);
        }
        queue.push_back(event);
        None
    }

    /// Adds the step to the cell's time, and its state to the job's.
    fn count(&mut self, index: usize, started: Instant) -> Result<()> {
        let cell = &mut self.cells[index];
        let counters = &self.shared.counters[cell.task][self.index];
        let busy = self.shared.clock.now().since(started).as_nanos();
        counters.busy_ns.fetch_add(u64::try_from(busy).unwrap_or(u64::MAX), Ordering::Relaxed);
        cell.steps += 1;
        let Body::Operator(operator) = &cell.body else { return Ok(()) };
        if cell.steps % 16 != 1 {
            return Ok(());
        }
        counters.state_bytes.store(operator.state_bytes() as u64, Ordering::Relaxed);
        match self.shared.memory_limit {
            Some(limit) if self.shared.state_bytes() > limit => Err(EngineError::call(
                &cell.place,
                format!("state within memory_limit ({limit} bytes over all workers)"),
                format!(
                    "{} bytes, of which this operator holds {} on one worker; raise memory_limit, or bound the state \
                     (a window, a time key, a coarser key)",
                    self.shared.state_bytes(),
                    operator.state_bytes()
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// A channel by its number over all inputs, with its input and its sender.
fn nth_channel(inputs: &mut [Vec<Channel>], number: usize) -> Option<(Input, usize, &mut Channel)> {
    inputs
        .iter_mut()
        .enumerate()
        .flat_map(|(input, channels)| {
            channels.iter_mut().enumerate().map(move |(sender, channel)| (input, sender, channel))
        })
        .nth(number)
}

/// The cells from a source up to those that must see all of its batches.
fn path_to_publishers(cells: &[Cell], from: usize) -> Vec<usize> {
    let mut path = Vec::new();
    for target in cells[from].targets.iter().filter(|target| target.rings.is_empty()) {
        let Some(reader) = cells.iter().position(|cell| cell.task == target.task) else { continue };
        let rest = if cells[reader].sees_all() { Vec::new() } else { path_to_publishers(cells, reader) };
        if cells[reader].sees_all() || !rest.is_empty() {
            path.push(reader);
            path.extend(rest);
        }
    }
    path.dedup();
    path
}

fn raise_watermark(cell: &mut Cell, input: Input) {
    let own = cell.inputs[input].iter().map(|channel| channel.watermark).min().unwrap_or(Timestamp::MIN);
    if own > cell.watermarks[input] {
        cell.watermarks[input] = own;
        if !cell.calls.iter().any(|call| matches!(call, Call::Watermark(one) if *one == input)) {
            cell.calls.push_back(Call::Watermark(input));
        }
    }
}

fn sooner(deadline: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(deadline.map_or(at, |earlier| earlier.min(at)))
}

fn add(counter: &std::sync::atomic::AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// Puts the operator's place in front of an error that does not name one.
fn locate(error: EngineError, place: &str) -> EngineError {
    match error {
        EngineError::Data { place: inner, row, reason } if !inner.contains(place) => {
            EngineError::Data { place: format!("{place}: {inner}"), row, reason }
        }
        EngineError::Internal { place: inner, reason } if !inner.contains(place) => {
            EngineError::Internal { place: format!("{place}: {inner}"), reason }
        }
        other => other,
    }
}
