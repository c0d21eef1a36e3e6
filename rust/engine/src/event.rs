//! What moves between operators: batches with their place in the input, and control.

use crate::time::Timestamp;
use arrow::array::{Array, ArrayRef, UInt8Array};
use arrow::record_batch::RecordBatch;

/// Number of a checkpoint. Never reused in a folder.
pub type Epoch = u64;

/// Hidden column, `UInt64`: the row's place in its split (row number, byte or log offset: it only has to grow). The
/// runtime adds it at the source where an operator above needs logical order; it stands behind the user's columns.
pub const POSITION: &str = "\u{0}position";

/// Hidden column, `Int64`: the event time in ticks. Added by the watermark operator where order is needed above.
pub const TIME: &str = "\u{0}time";

/// Hidden columns, `UInt32`: input and split of a row, where rows of several splits share a batch (partial aggregates).
pub const INPUT: &str = "\u{0}input";
/// See [`INPUT`].
pub const SPLIT: &str = "\u{0}split";

/// Where a batch of a row-wise chain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Which input of the query, in plan order (a union renumbers).
    pub input: u32,
    /// Split of that input.
    pub split: u32,
    /// Number of the batch in its split since this attempt started: 0, 1, 2, … without gaps. Row-wise operators hand on
    /// one batch for each that they get, also an empty one, so that order can be restored.
    pub sequence: u64,
}

/// Rows that move together. Handing it on moves an `Arc`.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The user's columns, then hidden ones.
    pub records: RecordBatch,
    /// `None` above exchanges and aggregates.
    pub order: Option<Order>,
    /// What happens to each row downstream; `None`: all are inserts. See [`Change`].
    pub changes: Option<UInt8Array>,
}

/// Values of the change column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    Insert = 0,
    UpdateBefore = 1,
    UpdateAfter = 2,
    Delete = 3,
}

impl Batch {
    /// Inserts without a place in an input.
    pub fn new(records: RecordBatch) -> Self {
        Self { records, order: None, changes: None }
    }

    /// The same place and changes with other columns (same rows).
    #[must_use]
    pub fn with_records(self, records: RecordBatch) -> Self {
        Self { records, ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.records.num_rows()
    }

    /// Bytes of its rows, which may be a slice of more; shared buffers of texts and lists are counted whole.
    pub fn bytes(&self) -> usize {
        self.records.columns().iter().map(column_bytes).sum()
    }
}

fn column_bytes(column: &ArrayRef) -> usize {
    match column.data_type().primitive_width() {
        Some(width) => column.len() * width + column.nulls().map_or(0, |_| column.len().div_ceil(8)),
        None => column.get_array_memory_size(),
    }
}

/// One item on an edge.
#[derive(Clone, Debug)]
pub enum Event {
    Batch(Batch),
    /// No row with a smaller event time follows on this edge.
    Watermark(Timestamp),
    /// Rows before it belong to this epoch or earlier ones.
    Barrier(Epoch),
    /// No batch and no watermark follows; barriers still do.
    End,
}
