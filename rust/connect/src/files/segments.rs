//! Segments: what one worker of a file sink has written and not yet published.
//!
//! Rows of an epoch go into an Arrow IPC stream in the hidden folder; the preparation makes it durable, and, when a roll
//! bound is reached, rewrites all segments as parts of the sink's format. Nothing is deleted here: segments live until
//! the confirm of the record that names the parts (`sink.rs`). Not here: what a part looks like inside
//! (`format.rs`).

use crate::files::format::Rolled;
use crate::files::target::{Part, Prepared, Roll, Segment, Target};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dataflare_engine::sink::{Preparation, SinkWriter};
use dataflare_engine::types::compact;
use dataflare_engine::{Batch, Clock, EngineError, Epoch, Instant, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A [`SinkWriter`] of files.
pub struct SegmentWriter {
    shelf: Arc<Shelf>,
    clock: Arc<dyn Clock>,
    attempt: u64,
    /// Number of the next segment.
    number: u64,
    current: Option<Open>,
}

/// The segment that takes rows now.
struct Open {
    name: String,
    writer: StreamWriter<BufWriter<File>>,
    rows: u64,
    since: Instant,
}

/// A segment that takes no more rows, not yet durable.
struct Closed {
    segment: Segment,
    epoch: Epoch,
    since: Instant,
    file: File,
}

/// What the writer and its preparations share.
struct Shelf {
    target: Arc<Target>,
    attempt: u64,
    worker: usize,
    /// Held for a push or a take only: the worker never waits for IO.
    inbox: Mutex<Vec<Closed>>,
    /// Held by a preparation while it writes.
    stock: Mutex<Stock>,
}

/// Durable and unpublished.
#[derive(Default)]
struct Stock {
    segments: Vec<Segment>,
    /// When the first row came that is in no part.
    since: Option<Instant>,
    rolls: Vec<Roll>,
    /// Any row ever, in this attempt or taken over.
    has_rows: bool,
    /// After a failed fsync nobody knows what is on the disk.
    failed: Option<EngineError>,
}

impl SegmentWriter {
    /// A writer that takes over `segments` of an earlier attempt.
    pub fn new(
        target: Arc<Target>,
        clock: Arc<dyn Clock>,
        worker: usize,
        attempt: u64,
        segments: Vec<Segment>,
    ) -> Self {
        let since = (!segments.is_empty()).then(|| clock.now());
        let stock = Stock { has_rows: since.is_some(), segments, since, ..Stock::default() };
        let shelf = Shelf { target, attempt, worker, inbox: Mutex::default(), stock: Mutex::new(stock) };
        Self { shelf: Arc::new(shelf), clock, attempt, number: 0, current: None }
    }

    fn open(&mut self) -> Result<Open> {
        let name = format!("{}-{}-{}.arrow", self.attempt, self.number, self.shelf.worker);
        self.number += 1;
        let target = &self.shelf.target;
        let path = target.hidden.join(&name);
        let file = File::create(&path)
            .map_err(|error| EngineError::unavailable(path.display().to_string(), error))?;
        let writer = StreamWriter::try_new_buffered(file, &target.schema);
        let writer = writer.map_err(|error| EngineError::unavailable(path.display().to_string(), error))?;
        Ok(Open { name, writer, rows: 0, since: self.clock.now() })
    }

    /// Ends the current segment; its bytes are with the operating system then.
    fn close(&mut self, epoch: Epoch) -> Result<()> {
        let Some(open) = self.current.take() else { return Ok(()) };
        let path = self.shelf.target.hidden.join(&open.name).display().to_string();
        let file = open.writer.into_inner().map_err(|error| EngineError::unavailable(&path, error))?;
        let mut file = file.into_inner().map_err(|error| EngineError::unavailable(&path, error.error()))?;
        let bytes = file.stream_position().map_err(|error| EngineError::unavailable(&path, error))?;
        let segment = Segment { name: open.name, bytes, rows: open.rows };
        let closed = Closed { segment, epoch, since: open.since, file };
        self.shelf.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(closed);
        Ok(())
    }
}

impl SinkWriter for SegmentWriter {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        if batch.rows() == 0 {
            return Ok(None);
        }
        let records = user_columns(&batch.records, &self.shelf.target)?;
        if self.current.is_none() {
            self.current = Some(self.open()?);
        }
        if let Some(open) = &mut self.current {
            let place = || self.shelf.target.hidden.join(&open.name).display().to_string();
            open.writer.write(&records).map_err(|error| EngineError::unavailable(place(), error))?;
            open.rows += records.num_rows() as u64;
        }
        Ok(None)
    }

    fn prepare(&mut self, epoch: Epoch, _committed: Epoch, last: bool) -> Result<Preparation> {
        self.close(epoch)?;
        let (shelf, now) = (Arc::clone(&self.shelf), self.clock.now());
        Ok(Box::new(move || shelf.prepare(epoch, now, last)))
    }
}

/// The columns of the plan, without those of the runtime, and without bytes of strings that are in other batches.
fn user_columns(records: &RecordBatch, target: &Target) -> Result<RecordBatch> {
    let columns = records.columns().iter().take(target.schema.fields().len()).map(compact).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&target.schema), columns, &options)?)
}

impl Shelf {
    /// Makes everything up to `epoch` durable and says what it is.
    fn prepare(&self, epoch: Epoch, now: Instant, last: bool) -> Result<serde_json::Value> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &stock.failed {
            return Err(error.clone());
        }
        self.sync_segments(&mut stock, epoch)?;
        let confirmed = self.target.confirmed();
        stock.rolls.retain(|roll| roll.epoch > confirmed);
        if self.target.rolls() && (last || self.is_due(&stock, now)) {
            self.roll(&mut stock, epoch, last)?;
        }
        let prepared = Prepared { segments: stock.segments.clone(), rolls: stock.rolls.clone(), last };
        serde_json::to_value(prepared).map_err(|error| EngineError::internal("a file sink", error))
    }

    fn sync_segments(&self, stock: &mut Stock, epoch: Epoch) -> Result<()> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, later): (Vec<_>, Vec<_>) = inbox.drain(..).partition(|closed| closed.epoch <= epoch);
        *inbox = later;
        drop(inbox);
        if ours.is_empty() {
            return Ok(());
        }
        for closed in ours {
            if let Err(error) = closed.file.sync_all() {
                let path = self.target.hidden.join(&closed.segment.name).display().to_string();
                let error = EngineError::unavailable(path, error);
                stock.failed = Some(error.clone());
                return Err(error);
            }
            stock.has_rows = true;
            stock.since.get_or_insert(closed.since);
            stock.segments.push(closed.segment);
        }
        self.target.sync_hidden()
    }

    fn is_due(&self, stock: &Stock, now: Instant) -> bool {
        let bounds = &self.target.bounds;
        let bytes: u64 = stock.segments.iter().map(|segment| segment.bytes).sum();
        let rows: u64 = stock.segments.iter().map(|segment| segment.rows).sum();
        let old = |since: Instant| now.since(since).as_nanos() >= u128::from(bounds.roll_after_ns);
        stock.since.is_some_and(old)
            || bytes >= bounds.roll_bytes
            || bounds.roll_rows.is_some_and(|most| rows >= most)
    }

    /// Rewrites all segments as parts. A result without rows still gets one part, so that a reader finds its columns.
    fn roll(&self, stock: &mut Stock, epoch: Epoch, last: bool) -> Result<()> {
        let only_columns = last && self.worker == 0 && !stock.has_rows;
        if stock.segments.is_empty() && !only_columns {
            return Ok(());
        }
        stock.has_rows = true;
        let prefix = format!("part-{}-{epoch}-{}", self.attempt, self.worker);
        let mut parts = Parts::new(&self.target, prefix);
        if only_columns && self.target.keys.depth() == 0 {
            parts.start(String::new())?;
        }
        for segment in &stock.segments {
            read_segment(&self.target.hidden.join(&segment.name), &mut |batch| parts.write(batch))?;
        }
        let parts = parts.finish()?;
        self.target.sync_hidden()?;
        let replaced = stock.segments.drain(..).map(|segment| segment.name).collect();
        stock.since = None;
        stock.rolls.push(Roll { epoch, parts, replaced });
        Ok(())
    }
}

/// Hands the batches of a segment to `take`.
///
/// # Errors
/// [`EngineError::Data`]: the segment is not what was written; what `take` says.
pub fn read_segment(path: &Path, take: &mut dyn FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
    let damaged = |reason: String| EngineError::Data { place: path.display().to_string(), row: 0, reason };
    let file = File::open(path).map_err(|error| damaged(error.to_string()))?;
    let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None);
    for batch in reader.map_err(|error| damaged(error.to_string()))? {
        take(&batch.map_err(|error| damaged(error.to_string()))?)?;
    }
    Ok(())
}

/// Most files that are open at once: one for each key of a hive layout, one otherwise.
const OPEN_PARTS: usize = 100;

/// Writes parts, one after the other or one for each key.
struct Parts<'a> {
    target: &'a Target,
    prefix: String,
    done: Vec<Part>,
    /// By their folder.
    open: BTreeMap<String, (Part, Box<dyn Rolled>)>,
    begun: usize,
}

impl<'a> Parts<'a> {
    fn new(target: &'a Target, prefix: String) -> Self {
        Self { target, prefix, done: Vec::new(), open: BTreeMap::new(), begun: 0 }
    }

    fn start(&mut self, folder: String) -> Result<()> {
        if self.open.len() >= OPEN_PARTS {
            self.end_all()?;
        }
        self.begun += 1;
        let extra = if self.begun == 1 { String::new() } else { format!("-{}", self.begun) };
        let name = format!("{}{extra}.{}", self.prefix, self.target.format.extension());
        let path = self.target.hidden.join(&name);
        let part = Part { name, folder: folder.clone(), bytes: 0, rows: 0 };
        let writer = self.target.create(&path)?;
        self.open.insert(folder, (part, writer));
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for (folder, rows) in self.target.keys.split(batch)? {
            self.write_to(folder, &rows)?;
        }
        Ok(())
    }

    fn write_to(&mut self, folder: String, batch: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&folder) {
            self.start(folder.clone())?;
        }
        let Some((part, writer)) = self.open.get_mut(&folder) else { return Ok(()) };
        writer.write(batch).map_err(|reason| EngineError::unavailable(&part.name, reason))?;
        part.rows += batch.num_rows() as u64;
        part.bytes += batch.get_array_memory_size() as u64;
        let bounds = &self.target.bounds;
        if part.bytes >= bounds.roll_bytes || bounds.roll_rows.is_some_and(|most| part.rows >= most) {
            self.end(&folder)?;
        }
        Ok(())
    }

    fn end(&mut self, folder: &str) -> Result<()> {
        let Some((mut part, writer)) = self.open.remove(folder) else { return Ok(()) };
        let file = writer.finish().map_err(|reason| EngineError::unavailable(&part.name, reason))?;
        let durable = file.sync_all().and_then(|()| file.metadata());
        part.bytes = durable.map_err(|error| EngineError::unavailable(&part.name, error))?.len();
        self.done.push(part);
        Ok(())
    }

    fn end_all(&mut self) -> Result<()> {
        while let Some(folder) = self.open.keys().next().cloned() {
            self.end(&folder)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Part>> {
        self.end_all()?;
        Ok(self.done)
    }
}

impl std::fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentWriter(worker {}, segment {})", self.shelf.worker, self.number)
    }
}
