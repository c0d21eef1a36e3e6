//! Rows that wait until the watermark has passed their time, and leave in logical order.
//!
//! Each batch is sorted as it comes (mostly it is already), so that a watermark takes a piece off the front of a few
//! batches and merges those. Rows of equal time leave in one piece. Without event time all rows leave at the end. Not here:
//! what is done with the rows (`running.rs`, `over.rs`).

use super::logical_order::{Place, places, with_place};
use super::sort_keys::SortKeys;
use crate::aggregate::words::widened_words;
use crate::error::Result;
use crate::event::{Batch, TIME};
use crate::time::Timestamp;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};

/// Rows of a piece, and the most that small batches are put together to.
const PIECE_ROWS: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The event-time column of the rows.
    time: Option<usize>,
    /// What decides between rows of equal time, before their places.
    ties: Option<SortKeys>,
    chunks: Vec<Chunk>,
    leaving: Leaving,
}

/// Rows in logical order.
#[derive(Debug)]
struct Chunk {
    records: RecordBatch,
    /// Event times; empty without.
    times: Vec<i64>,
    places: Vec<Place>,
}

/// Rows that have been released.
#[derive(Debug, Default)]
struct Leaving {
    chunks: Vec<Chunk>,
    /// Chunk and row in logical order; empty: the rows of the one chunk as they are.
    order: Vec<(usize, usize)>,
    next: usize,
}

/// Released rows, with their event times (empty without).
#[derive(Debug)]
pub struct Piece {
    pub records: RecordBatch,
    pub times: Vec<i64>,
}

impl Waiting {
    /// `time`: where the event time stands in the rows.
    pub fn new(time: Option<usize>) -> Self {
        Self { time, ..Self::default() }
    }

    /// Rows of equal time leave in the order of `ties`.
    #[must_use]
    pub fn with_ties(self, ties: Option<SortKeys>) -> Self {
        Self { ties, ..self }
    }

    /// Takes rows.
    ///
    /// # Errors
    /// None but bugs.
    pub fn add(&mut self, batch: Batch) -> Result<()> {
        self.add_placed(with_place(batch)?)
    }

    /// Takes rows that already have input and split as columns: those of a checkpoint.
    ///
    /// # Errors
    /// None but bugs.
    pub fn add_placed(&mut self, records: RecordBatch) -> Result<()> {
        if records.num_rows() == 0 {
            return Ok(());
        }
        self.chunks.push(Chunk::new(records, self.time)?);
        while let [.., before, last] = self.chunks.as_slice()
            && before.places.len() + last.places.len() <= PIECE_ROWS
            && last.places.len() * 2 >= before.places.len()
        {
            let both = concat_batches(&before.records.schema(), [&before.records, &last.records])?;
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(Chunk::new(both, self.time)?);
        }
        Ok(())
    }

    /// Lets the rows below a watermark leave; at [`Timestamp::MAX`] all.
    ///
    /// # Errors
    /// None but bugs.
    pub fn release(&mut self, watermark: Timestamp) -> Result<()> {
        let mut leaving = Vec::new();
        let mut staying = Vec::new();
        for chunk in std::mem::take(&mut self.chunks) {
            let rows = chunk.places.len();
            let below = match watermark {
                Timestamp::MAX => rows,
                watermark => chunk.times.partition_point(|time| Timestamp(*time) < watermark),
            };
            if below > 0 {
                leaving.push(chunk.slice(0, below));
            }
            if below < rows {
                staying.push(if below == 0 { chunk } else { chunk.slice(below, rows - below) });
            }
        }
        self.chunks = staying;
        let order = match &self.ties {
            Some(ties) if !leaving.is_empty() => {
                let sources: Vec<&RecordBatch> = leaving.iter().map(|chunk| &chunk.records).collect();
                let records = interleave_record_batch(&sources, &merged(&leaving))?;
                leaving = vec![Chunk::new(records, self.time)?];
                with_ties(&leaving, ties)?
            }
            _ if leaving.len() > 1 => merged(&leaving),
            _ => Vec::new(),
        };
        self.leaving = Leaving { chunks: leaving, order, next: 0 };
        Ok(())
    }

    /// The next released rows.
    ///
    /// # Errors
    /// None but bugs.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        let Leaving { chunks, order, next } = &mut self.leaving;
        let [first, ..] = chunks.as_slice() else { return Ok(None) };
        let rows = if order.is_empty() { first.places.len() } else { order.len() };
        let time = |row: usize| match order.get(row) {
            Some((chunk, row)) => chunks.get(*chunk).and_then(|chunk| chunk.times.get(*row)).copied(),
            None => first.times.get(row).copied(),
        };
        let (start, mut end) = (*next, rows.min(*next + PIECE_ROWS));
        while end < rows && self.time.is_some() && time(end) == time(end - 1) {
            end += 1;
        }
        let times = (start..end).filter_map(time).collect();
        let records = if order.is_empty() {
            first.records.slice(start, end - start)
        } else {
            let sources: Vec<&RecordBatch> = chunks.iter().map(|chunk| &chunk.records).collect();
            interleave_record_batch(&sources, order.get(start..end).unwrap_or_default())?
        };
        *next = end;
        if end == rows {
            self.leaving = Leaving::default();
        }
        Ok(Some(Piece { records, times }))
    }

    /// The rows that wait: a snapshot, without a copy.
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.chunks.iter().map(|chunk| chunk.records.clone()).collect()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().chain(&self.leaving.chunks);
        let of = |chunk: &Chunk| {
            let places = chunk.places.len() * size_of::<Place>() + chunk.times.len() * 8;
            chunk.records.get_array_memory_size() + places
        };
        chunks.map(of).sum()
    }
}

impl Chunk {
    fn new(records: RecordBatch, time: Option<usize>) -> Result<Self> {
        let times = match time {
            Some(column) => widened_words(records.column(column))?.to_vec(),
            None => Vec::new(),
        };
        let mut places = places(&records);
        if records.column_by_name(TIME).is_none() {
            // Rows of windows have no hidden time; that of the user's column is theirs.
            places.iter_mut().zip(&times).for_each(|(place, time)| place.time = *time);
        }
        if places.is_sorted() {
            return Ok(Self { records, times, places });
        }
        let mut order: Vec<(Place, u32)> = places.into_iter().zip(0..).collect();
        order.sort(); // stable by the row number
        let rows = UInt32Array::from_iter_values(order.iter().map(|(_, row)| *row));
        let times = match times.is_empty() {
            true => times,
            false => order.iter().filter_map(|(_, row)| times.get(*row as usize).copied()).collect(),
        };
        let records = take_record_batch(&records, &rows)?;
        Ok(Self { records, times, places: order.into_iter().map(|(place, _)| place).collect() })
    }

    fn slice(&self, start: usize, rows: usize) -> Self {
        let times = self.times.get(start..start + rows).unwrap_or_default().to_vec();
        let places = self.places.get(start..start + rows).unwrap_or_default().to_vec();
        Self { records: self.records.slice(start, rows), times, places }
    }
}

/// The rows of the one chunk, those of equal time by `ties`; what is equal in these too stays as it stands.
fn with_ties(chunks: &[Chunk], ties: &SortKeys) -> Result<Vec<(usize, usize)>> {
    let [chunk] = chunks else { return Ok(Vec::new()) };
    let keyed = ties.of(&chunk.records)?;
    let mut rows: Vec<usize> = (0..chunk.places.len()).collect();
    let time = |row: usize| chunk.places.get(row).map(|place| place.time);
    rows.sort_by(|one, other| time(*one).cmp(&time(*other)).then_with(|| keyed.compare(*one, *other)));
    Ok(rows.into_iter().map(|row| (0, row)).collect())
}

/// The rows of sorted chunks in one order; ties stay as they came.
fn merged(chunks: &[Chunk]) -> Vec<(usize, usize)> {
    let mut rows: Vec<(Place, usize, usize)> = chunks
        .iter()
        .enumerate()
        .flat_map(|(number, chunk)| {
            chunk.places.iter().enumerate().map(move |(row, place)| (*place, number, row))
        })
        .collect();
    rows.sort(); // adaptive: runs that are sorted already are only merged
    rows.into_iter().map(|(_, chunk, row)| (chunk, row)).collect()
}
