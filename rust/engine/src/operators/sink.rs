//! Hands rows to one worker's end of a sink.
//!
//! In: batches of the kinds that the sink takes; hidden columns are cut off here. Out: nothing.
//! Not here: when rows become visible (`checkpoint::coordinator` calls `Sink::confirm`).
//! Forwards: nothing. State: none of its own; what the sink prepared stands in the record.

use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::{Batch, Epoch};
use crate::sink::{Preparation, SinkWriter};
use crate::time::Timestamp;

/// See the module.
pub struct SinkOperator {
    writer: Box<dyn SinkWriter>,
    /// The sink's own columns stand first in a batch.
    columns: usize,
    refused: Option<Batch>,
}

impl std::fmt::Debug for SinkOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SinkOperator")
    }
}

impl SinkOperator {
    /// `columns`: how many columns belong to the user's frame.
    pub fn new(writer: Box<dyn SinkWriter>, columns: usize) -> Self {
        Self { writer, columns, refused: None }
    }

    fn offer(&mut self, batch: Batch) -> Result<Flow> {
        self.refused = self.writer.write(batch)?;
        Ok(match self.refused {
            Some(_) => Flow::More,
            None if self.writer.is_done() => Flow::Done,
            None => Flow::Ready,
        })
    }
}

impl Operator for SinkOperator {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        if batch.rows() == 0 {
            return Ok(Flow::Ready);
        }
        let shown: Vec<usize> = (0..self.columns.min(batch.records.num_columns())).collect();
        let records = batch.records.project(&shown)?;
        self.offer(batch.with_records(records))
    }

    fn on_watermark(&mut self, _: Input, _: Timestamp, _: Timestamp, _: &mut Output) -> Result<Flow> {
        Ok(Flow::Ready)
    }

    fn on_more(&mut self, _out: &mut Output) -> Result<Flow> {
        match self.refused.take() {
            Some(batch) => self.offer(batch),
            None => Ok(Flow::Ready),
        }
    }

    fn is_settled(&mut self) -> Result<bool> {
        self.writer.is_flushed()
    }

    fn prepare(&mut self, epoch: Epoch, committed: Epoch, last: bool) -> Result<Option<Preparation>> {
        self.writer.prepare(epoch, committed, last).map(Some)
    }

    fn state_bytes(&self) -> usize {
        self.writer.bytes()
    }
}
