//! Frames in memory as a source: `from_batches`, and a user's own `DataFrame`.
//!
//! Arrow data is taken over at the start, without a copy; reading needs no GIL. Frames are cut into batches of at most
//! `batch_rows`. The offset of a split is a row number.

use crate::arrow_capsule::read_batches;
use arrow::array::RecordBatch;
use dataflare_engine::source::{Decoded, Offset, Poll, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::{EngineError, Result};
use pyo3::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;

type Rows = Arc<Vec<RecordBatch>>;

/// See the module.
pub struct Batches {
    splits: Vec<Rows>,
    batch_rows: usize,
    cuts: Option<u64>,
}

impl Batches {
    /// `object`: has `.splits`, a list of lists of frames. `cuts`: a seed that decides where batches end.
    pub fn new(object: &Bound<'_, PyAny>, batch_rows: usize, cuts: Option<u64>) -> PyResult<Self> {
        let mut splits = Vec::new();
        for split in object.getattr("splits")?.try_iter()? {
            let mut batches = Vec::new();
            for frame in split?.try_iter()? {
                batches.extend(read_batches(&frame?)?);
            }
            splits.push(Arc::new(batches));
        }
        Ok(Self { splits, batch_rows: batch_rows.max(1), cuts })
    }
}

impl Source for Batches {
    fn splits(&self) -> Result<Vec<Split>> {
        Ok((0..self.splits.len()).map(|index| Split { name: index.to_string() }).collect())
    }

    fn open(&self, split: &Split, offset: Option<&Offset>, _waker: Waker) -> Result<Box<dyn SplitReader>> {
        let rows = split.name.parse().ok().and_then(|index: usize| self.splits.get(index));
        let rows =
            rows.ok_or_else(|| EngineError::call("from_batches", "a split of the source", &split.name))?;
        let mut reader = Reader {
            rows: Arc::clone(rows),
            batch: 0,
            start: 0,
            position: 0,
            batch_rows: self.batch_rows,
            cuts: self.cuts.map(SmallRng::seed_from_u64),
        };
        reader.skip(offset.and_then(Offset::as_u64).unwrap_or(0));
        Ok(Box::new(reader))
    }
}

struct Reader {
    rows: Rows,
    batch: usize,
    /// First row of the next piece in the current batch.
    start: usize,
    position: u64,
    batch_rows: usize,
    cuts: Option<SmallRng>,
}

impl Reader {
    fn skip(&mut self, mut rows: u64) {
        self.position = rows;
        while let Some(batch) = self.rows.get(self.batch) {
            let count = batch.num_rows() as u64;
            if rows < count {
                self.start = usize::try_from(rows).unwrap_or(usize::MAX);
                return;
            }
            rows -= count;
            self.batch += 1;
        }
    }
}

impl SplitReader for Reader {
    fn poll(&mut self) -> Result<Poll> {
        let Some(batch) = self.rows.get(self.batch) else { return Ok(Poll::End) };
        let left = batch.num_rows() - self.start;
        let rows = match &mut self.cuts {
            // Batches without rows occur too.
            Some(random) => {
                let most = random.random_range(1..=40);
                random.random_range(0..=left.min(most))
            }
            None => self.batch_rows.min(left),
        };
        let piece = batch.slice(self.start, rows);
        let first = self.position;
        self.start += rows;
        self.position += rows as u64;
        if self.start >= batch.num_rows() {
            self.start = 0;
            self.batch += 1;
        }
        let bytes = piece.get_array_memory_size().min(rows.saturating_mul(1 << 10));
        let decode = Box::new(move || Ok(Decoded::whole(piece)));
        Ok(Poll::Ready(RawBatch { first, next: Offset::from(self.position), bytes, decode }))
    }

    fn pending_rows(&self) -> Option<u64> {
        let total: usize = self.rows.iter().map(RecordBatch::num_rows).sum();
        Some((total as u64).saturating_sub(self.position))
    }
}
