//! The way out: a [`Sink`] gives each worker a [`SinkWriter`]; rows become visible by `confirm`, after the record.
//!
//! Per epoch: `write`* on the workers, `prepare` at the barrier (cheap), the [`Preparation`] on an IO thread (durable),
//! the record of the log (the commit point), `confirm`. An abandoned epoch's preparations stay pending: the next
//! `prepare` is told the last committed epoch and lists everything since. A place that loses what a dead process had sent
//! keeps its rows in the checkpoint's store too ([`crate::checkpoint::write_ahead`]).

use crate::checkpoint::record::Unconfirmed;
use crate::checkpoint::store::Store;
use crate::error::Result;
use crate::event::{Batch, Epoch};
use crate::source::Waker;
use dataflare_plan::FrameKind;
use std::sync::Arc;

/// What a sink wrote for an epoch, in its own JSON: kept in the record, given back by a restore.
pub type Prepared = serde_json::Value;

/// Makes rows durable, slowly: runs on an IO thread.
pub type Preparation = Box<dyn FnOnce() -> Result<Prepared> + Send>;

/// What a job with a checkpoint gives each of its sinks: a corner of the store, and names that outlive the process.
#[derive(Clone)]
pub struct Place {
    /// Objects of the sink are named `sink/<identity>/<attempt>-<epoch>…`: the log removes those of old epochs.
    pub store: Arc<dyn Store>,
    pub job: String,
    /// Of this checkpoint folder alone: a new folder under the same job name has another one.
    pub folder: String,
    /// The sink's name in the record.
    pub identity: String,
    pub attempt: u64,
    /// How many writers there will be.
    pub workers: usize,
    /// The newest epoch of the log; the first of this attempt is the next.
    pub epoch: Epoch,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({}/{}, attempt {})", self.job, self.identity, self.attempt)
    }
}

/// A place for rows: the description of a sink, shared by all workers.
pub trait Sink: Send + Sync {
    /// Frame kinds that it takes.
    fn takes(&self, kind: FrameKind) -> bool;

    /// Called first, once. `None`: the job has no checkpoint.
    ///
    /// # Errors
    /// It cannot work without one, or its place is unavailable.
    fn open(&self, _place: Option<&Place>) -> Result<()> {
        Ok(())
    }

    /// After `open`, if a record is restored: publishes what earlier attempts prepared for committed epochs, oldest first;
    /// some of it may be published already. The last one is the restored epoch itself.
    ///
    /// # Errors
    /// As `confirm`; and if it cannot know what is published.
    fn recover(&self, records: &[Unconfirmed]) -> Result<()> {
        records.iter().try_for_each(|record| self.confirm(record.epoch, &record.prepared))
    }

    /// The epoch will never be committed: what was prepared for it counts with a later one.
    fn abandoned(&self, _epoch: Epoch) {}

    /// Why its writers take no rows, for status.
    fn waits_for(&self) -> Option<String> {
        None
    }

    /// The writer of one worker. `attempt` and `worker` go into every hidden name. `pending` is what this worker takes
    /// over from the restored record: prepared earlier, committed, but not yet published whole (open segments).
    ///
    /// # Errors
    /// What is wrong with the place.
    fn writer(&self, worker: usize, attempt: u64, pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>>;

    /// Publishes what `prepared` lists (one value a worker). Idempotent: also called at a restore for the newest record.
    ///
    /// # Errors
    /// A prepared thing is neither hidden nor published; the place is unavailable.
    fn confirm(&self, epoch: Epoch, prepared: &[Prepared]) -> Result<()>;

    /// Removes hidden leftovers of earlier attempts that `prepared` (the restored record, after its confirm) does not
    /// name. Called once, before the first writer.
    ///
    /// # Errors
    /// The place is unavailable.
    fn clean(&self, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

/// One worker's end of a sink.
pub trait SinkWriter: Send {
    /// Called once, before the first `write`. A writer that hands rows to a thread of its own calls `waker` whenever that
    /// has taken some; a worker that nobody wakes asks again after a moment.
    fn set_waker(&mut self, _waker: Waker) {}

    /// Takes a batch, or gives it back when there is no room now (the worker comes again). Never blocks for long.
    ///
    /// # Errors
    /// The place is broken: the job fails.
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>>;

    /// True when everything written is handed over; a barrier waits for it without blocking the worker.
    ///
    /// # Errors
    /// As `write`.
    fn is_flushed(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// True when it wants no further rows (a function of the user's said so).
    fn is_done(&self) -> bool {
        false
    }

    /// The barrier: what was written since the last one belongs to `epoch`. `committed` is the newest committed epoch:
    /// what was prepared after it is listed again. `last`: no rows follow, publish everything.
    ///
    /// # Errors
    /// As `write`.
    fn prepare(&mut self, epoch: Epoch, committed: Epoch, last: bool) -> Result<Preparation>;

    /// Bytes held in memory.
    fn bytes(&self) -> usize {
        0
    }
}
