//! The way in: a [`Source`] has splits, each an ordered, replayable sequence of rows.
//!
//! Readers hand out batches undecoded, so that decoding runs on all workers while offsets stay in order. Implemented in
//! `dataflare-connect` and, for Python sources, in `rust/py`.

use crate::error::Result;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// Where to read on in a split: JSON of the reader's own making, kept in checkpoints.
pub type Offset = serde_json::Value;

/// Wakes workers: a reader that said [`Poll::Pending`] has something, a sink that was full has room.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// One ordered part of a source. The name is the same after a restart (`bids-3`, a path).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub name: String,
}

/// Something to read: the description of a source, shared by all workers.
pub trait Source: Send + Sync {
    /// All splits there are now, in logical order. Called at the start, and again every second while the source is
    /// [`Source::grows`]; a split never vanishes.
    ///
    /// # Errors
    /// What is wrong with the place: a missing path, an unknown topic.
    fn splits(&self) -> Result<Vec<Split>>;

    /// True if splits may appear while the job runs.
    fn grows(&self) -> bool {
        false
    }

    /// The job goes on from a checkpoint that knows these splits; others are new since then. Called before `splits`.
    fn resumes(&self, _splits: &[&str]) {}

    /// A reader from `offset` on; `None`: from the beginning. Blocking IO belongs on the reader's own thread.
    ///
    /// # Errors
    /// As for `splits`.
    fn open(&self, split: &Split, offset: Option<&Offset>, waker: Waker) -> Result<Box<dyn SplitReader>>;

    /// A checkpoint with these next offsets is durable. Informative.
    fn committed(&self, _offsets: &[(Split, Offset)]) {}

    /// What the source waits for, for status ("broker 127.0.0.1:9092 does not answer since 12 s").
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// Reads one split, called under a lock of its source: it must return at once.
pub trait SplitReader: Send {
    /// The next batch, in order.
    ///
    /// # Errors
    /// [`crate::EngineError::Unavailable`] when the reader has given up, [`crate::EngineError::Data`] for damage that
    /// cannot be skipped.
    fn poll(&mut self) -> Result<Poll>;

    /// How far the next offset is behind the end of the split, in the source's own count; `None`: unknown.
    fn lag(&self) -> Option<u64> {
        None
    }

    /// Rows or messages behind this reader that are known to wait; `None`: unknown.
    fn pending_rows(&self) -> Option<u64> {
        None
    }
}

/// What a reader has.
#[derive(Debug)]
pub enum Poll {
    Ready(RawBatch),
    /// Nothing now; the waker is called when that changes.
    Pending,
    /// Nothing ever.
    End,
}

/// A batch before decoding.
pub struct RawBatch {
    /// Place of the first row in the split; row *i* has `first + i`. Grows from batch to batch, also over restarts.
    pub first: u64,
    /// Where the next batch begins.
    pub next: Offset,
    /// Bytes that it holds.
    pub bytes: usize,
    pub decode: Box<dyn FnOnce() -> Result<Decoded> + Send>,
}

impl std::fmt::Debug for RawBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawBatch(first {}, {} bytes, next {})", self.first, self.bytes, self.next)
    }
}

/// Rows of a batch, and those that could not be read.
#[derive(Debug)]
pub struct Decoded {
    pub records: RecordBatch,
    /// Place of each row in the split where it is not `first + i` (gaps of a log).
    pub positions: Option<Vec<u64>>,
    pub rejected: Vec<Rejected>,
}

impl Decoded {
    /// All rows are good.
    pub fn whole(records: RecordBatch) -> Self {
        Self { records, positions: None, rejected: Vec::new() }
    }
}

/// A row that could not be decoded: follows `on_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub code: &'static str,
    pub message: String,
    /// Where it was, in the user's words: `bids[3] offset 1234`, `a.ndjson line 17`.
    pub offset: String,
}
