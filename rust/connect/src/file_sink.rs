//! Files as an exactly-once sink: a folder of parts, or one file that appears at the end.
//!
//! Rows become durable as hidden segments each epoch and visible as whole files: a confirm renames the parts that the
//! committed record names and only then deletes the segments that they replace. Hidden files stand beside the target
//! (`out/` in `.out.unpublished/`), because `pl.scan_parquet("out/")` reads hidden names too. Not here: writing segments
//! (`segments.rs`), the formats (`parquet_sink.rs`, `ndjson_sink.rs`).
//!
//! A folder belongs to one job: part names hold attempt, epoch and worker, and `clean` removes what no record names.

use crate::file_scan::parse;
use crate::segments::{SegmentWriter, read_segment};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dataflare_engine::sink::{Prepared as PreparedJson, Sink, SinkWriter};
use dataflare_engine::time::SystemClock;
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{Clock, EngineError, Epoch, Result};
use dataflare_plan::{FrameKind, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file format that can be written.
pub trait PartFormat: Send + Sync {
    /// What names of parts end in.
    fn extension(&self) -> &'static str;

    /// Begins a file.
    ///
    /// # Errors
    /// A reason in words.
    fn create(&self, file: File, schema: &SchemaRef) -> Result<Box<dyn Rolled>, String>;
}

/// A file of the sink's format that is being written.
pub trait Rolled {
    /// # Errors
    /// A reason in words.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String>;

    /// Ends the file and gives it back, not yet durable.
    ///
    /// # Errors
    /// A reason in words.
    fn finish(self: Box<Self>) -> Result<File, String>;
}

/// What the planner says about the target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSinkOptions {
    pub path: PathBuf,
    layout: Layout,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    mkdir: bool,
    /// Polars' own writer options.
    #[serde(default)]
    pub format: Value,
    #[serde(default)]
    roll_rows: Option<u64>,
    #[serde(default = "roll_bytes")]
    roll_bytes: u64,
    #[serde(default = "roll_after_ns")]
    roll_after_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Layout {
    File,
    Folder,
    Hive,
}

/// When the segments of a worker become parts. Bytes are those of the rows as Arrow columns.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub roll_rows: Option<u64>,
    pub roll_bytes: u64,
    pub roll_after_ns: u64,
}

fn roll_bytes() -> u64 {
    128 << 20
}

fn roll_after_ns() -> u64 {
    60_000_000_000
}

/// What one worker has prepared: kept in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Rows that are in no part yet, oldest first.
    pub segments: Vec<Segment>,
    /// Parts that may be unpublished, oldest first.
    pub rolls: Vec<Roll>,
    /// No rows follow.
    pub last: bool,
}

/// A hidden Arrow IPC stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub name: String,
    pub bytes: u64,
    pub rows: u64,
}

/// Parts that were written together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// The epoch that wrote them; a later one publishes them if it was abandoned.
    pub epoch: Epoch,
    pub parts: Vec<Part>,
    /// Names of the segments that hold the same rows.
    pub replaced: Vec<String>,
}

/// A file of the sink's format; hidden and published it has the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub bytes: u64,
    pub rows: u64,
}

/// Where files go, and how they look: shared by the sink and its writers.
pub struct Target {
    /// The folder of parts, or the file.
    path: PathBuf,
    /// The folder of everything unpublished.
    pub hidden: PathBuf,
    layout: Layout,
    mkdir: bool,
    pub bounds: Bounds,
    pub schema: SchemaRef,
    pub format: Box<dyn PartFormat>,
    /// The newest epoch whose parts are published.
    confirmed: AtomicU64,
}

/// A [`Sink`] of files.
pub struct FileSink {
    target: Arc<Target>,
    clock: Arc<dyn Clock>,
}

impl FileSink {
    /// # Errors
    /// [`EngineError::Call`]: an option that is missing, unknown or out of range.
    pub fn new(
        connector: &str,
        options: &Value,
        schema: &Schema,
        make: impl FnOnce(&FileSinkOptions) -> Result<Box<dyn PartFormat>>,
    ) -> Result<Self> {
        let options: FileSinkOptions = parse(connector, options)?;
        let place = || options.path.display().to_string();
        if options.layout == Layout::Hive || !options.keys.is_empty() {
            return Err(EngineError::call(
                place(),
                "a folder of parts or a file",
                "a hive layout (PartitionBy)",
            ));
        }
        let (Some(name), Some(parent)) = (options.path.file_name(), options.path.parent()) else {
            return Err(EngineError::call(place(), "a path that ends in a name", "none"));
        };
        let hidden = parent.join(format!(".{}.unpublished", name.to_string_lossy()));
        let format = make(&options)?;
        let FileSinkOptions { path, layout, mkdir, roll_rows, roll_bytes, roll_after_ns, .. } = options;
        let bounds = Bounds { roll_rows, roll_bytes, roll_after_ns };
        let (schema, confirmed) = (arrow_schema(schema), AtomicU64::new(0));
        let target = Target { path, hidden, layout, mkdir, bounds, schema, format, confirmed };
        Ok(Self { target: Arc::new(target), clock: Arc::new(SystemClock::default()) })
    }

    /// The same sink with another clock (roll-over by time).
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }
}

impl Sink for FileSink {
    fn takes(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Append
    }

    fn writer(&self, worker: usize, attempt: u64, pending: Vec<PreparedJson>) -> Result<Box<dyn SinkWriter>> {
        self.target.make_folders()?;
        self.target.check_foreign(worker, attempt)?;
        let mut segments = Vec::new();
        for prepared in decode(&pending)? {
            for segment in prepared.segments {
                self.target.check_segment(&segment)?;
                segments.push(segment);
            }
        }
        let (target, clock) = (Arc::clone(&self.target), Arc::clone(&self.clock));
        Ok(Box::new(SegmentWriter::new(target, clock, worker, attempt, segments)))
    }

    fn confirm(&self, epoch: Epoch, prepared: &[PreparedJson]) -> Result<()> {
        let prepared = decode(prepared)?;
        let last = prepared.iter().any(|prepared| prepared.last);
        match self.target.layout {
            Layout::File if last => self.target.join(&prepared)?,
            Layout::File => {}
            Layout::Folder | Layout::Hive => self.target.publish(&prepared)?,
        }
        self.target.confirmed.fetch_max(epoch, Ordering::AcqRel);
        if last {
            // Not empty while another sink or a dead attempt has files there: then it stays.
            let _ = fs::remove_dir(&self.target.hidden);
        }
        Ok(())
    }

    fn clean(&self, prepared: &[PreparedJson]) -> Result<()> {
        let mut keep = HashSet::new();
        for prepared in decode(prepared)? {
            keep.extend(prepared.segments.into_iter().map(|segment| segment.name));
        }
        for name in names_in(&self.target.hidden)? {
            if !keep.contains(&name) && is_ours(&name, self.target.format.extension()) {
                let path = self.target.hidden.join(&name);
                fs::remove_file(&path)
                    .map_err(|error| EngineError::unavailable(path.display().to_string(), error))?;
            }
        }
        Ok(())
    }
}

fn decode(prepared: &[PreparedJson]) -> Result<Vec<Prepared>> {
    prepared.iter().map(|one| parse("a checkpointed file sink", one)).collect()
}

/// Names in a folder; none if there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let unavailable = |error: std::io::Error| EngineError::unavailable(folder.display().to_string(), error);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unavailable(error)),
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(unavailable)?.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}

/// (attempt, epoch or number, worker) of a name that a file sink gives.
fn numbers_of(stem: &str) -> Option<(u64, u64, usize)> {
    let mut numbers = stem.split('-');
    let triple =
        (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    numbers.all(|rest| rest.parse::<u64>().is_ok()).then_some(triple)
}

fn part_numbers(name: &str, extension: &str) -> Option<(u64, u64, usize)> {
    numbers_of(name.strip_prefix("part-")?.strip_suffix(extension)?.strip_suffix('.')?)
}

fn is_ours(name: &str, extension: &str) -> bool {
    let segment = name.strip_suffix(".arrow").and_then(numbers_of);
    segment.or_else(|| part_numbers(name, extension)).is_some() || name == JOINED
}

/// Hidden name of a single file before it is published.
const JOINED: &str = "joined";

fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(|error| EngineError::unavailable(folder.display().to_string(), error))
}

/// A path of one name has the parent "".
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Target {
    /// True if parts appear while the job runs.
    pub fn rolls(&self) -> bool {
        self.layout != Layout::File
    }

    /// The newest epoch whose parts are published.
    pub fn confirmed(&self) -> Epoch {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Makes names in the hidden folder durable.
    ///
    /// # Errors
    /// The folder is unavailable.
    pub fn sync_hidden(&self) -> Result<()> {
        sync_folder(&self.hidden)
    }

    /// Begins a file of the sink's format.
    ///
    /// # Errors
    /// The place is unavailable.
    pub fn create(&self, path: &Path) -> Result<Box<dyn Rolled>> {
        let unavailable = |reason: String| EngineError::unavailable(path.display().to_string(), reason);
        let file = File::create(path).map_err(|error| unavailable(error.to_string()))?;
        self.format.create(file, &self.schema).map_err(unavailable)
    }

    fn make_folders(&self) -> Result<()> {
        let unavailable = |path: &Path, error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => EngineError::call(
                self.path.display().to_string(),
                "a path in a folder that exists, or mkdir=True",
                format!("no folder '{}'", parent_of(&self.path).display()),
            ),
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                EngineError::call(self.path.display().to_string(), "a folder", "a file")
            }
            _ => EngineError::unavailable(path.display().to_string(), error),
        };
        if self.layout == Layout::File && self.path.is_dir() {
            return Err(EngineError::call(
                self.path.display().to_string(),
                "a file, or a folder as 'name/'",
                "a folder",
            ));
        }
        let wanted = if self.rolls() { &self.path } else { parent_of(&self.path) };
        if self.rolls() || self.mkdir {
            fs::create_dir_all(wanted).map_err(|error| unavailable(wanted, error))?;
        }
        match fs::create_dir(&self.hidden) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(unavailable(&self.hidden, error)),
            Ok(()) => sync_folder(parent_of(&self.path)),
        }
    }

    /// Parts of this attempt cannot be there before it begins: somebody else writes to this folder.
    fn check_foreign(&self, worker: usize, attempt: u64) -> Result<()> {
        if !self.rolls() {
            return Ok(());
        }
        let foreign = |name: &String| {
            part_numbers(name, self.format.extension()).is_some_and(|(a, _, w)| a >= attempt && w == worker)
        };
        match names_in(&self.path)?.into_iter().find(foreign) {
            None => Ok(()),
            Some(name) => Err(EngineError::call(
                self.path.display().to_string(),
                "a folder that no other run has written to (empty it, or choose another)",
                format!("'{name}'"),
            )),
        }
    }

    fn check_segment(&self, segment: &Segment) -> Result<()> {
        let path = self.hidden.join(&segment.name);
        let bytes = fs::metadata(&path).map(|metadata| metadata.len());
        match bytes {
            Ok(bytes) if bytes == segment.bytes => Ok(()),
            Ok(bytes) => {
                Err(lost(&path, format!("expected {} bytes of committed rows, got {bytes}", segment.bytes)))
            }
            Err(error) => Err(lost(&path, format!("expected {} committed rows: {error}", segment.rows))),
        }
    }

    /// Renames parts, then drops what they replace.
    fn publish(&self, prepared: &[Prepared]) -> Result<()> {
        let rolls = || prepared.iter().flat_map(|prepared| &prepared.rolls);
        for part in rolls().flat_map(|roll| &roll.parts) {
            self.publish_part(part)?;
        }
        if rolls().next().is_some() {
            sync_folder(&self.path)?;
        }
        rolls().flat_map(|roll| &roll.replaced).try_for_each(|name| self.remove(name))
    }

    fn publish_part(&self, part: &Part) -> Result<()> {
        let (hidden, published) = (self.hidden.join(&part.name), self.path.join(&part.name));
        let size = |path: &Path| match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EngineError::unavailable(path.display().to_string(), error)),
        };
        match (size(&hidden)?, size(&published)?) {
            (Some(bytes), None) if bytes == part.bytes => fs::rename(&hidden, &published)
                .map_err(|error| EngineError::unavailable(published.display().to_string(), error)),
            (None, Some(bytes)) if bytes == part.bytes => Ok(()),
            (Some(bytes), None) => Err(lost(&hidden, format!("expected {} bytes, got {bytes}", part.bytes))),
            (None, Some(bytes)) => {
                Err(lost(&published, format!("expected {} bytes, got {bytes}", part.bytes)))
            }
            (None, None) => Err(lost(
                &published,
                format!("{} committed rows are neither hidden nor published", part.rows),
            )),
            (Some(_), Some(_)) => Err(EngineError::call(
                published.display().to_string(),
                "no file of that name yet: a folder belongs to one job",
                "one that somebody else wrote",
            )),
        }
    }

    /// Makes the single file of all segments, in the order of workers, and drops them. Segments are dropped only after
    /// the file was published: if one is gone, the file is there.
    fn join(&self, prepared: &[Prepared]) -> Result<()> {
        let segments: Vec<&Segment> = prepared.iter().flat_map(|prepared| &prepared.segments).collect();
        let gone = segments.iter().find(|segment| !self.hidden.join(&segment.name).exists());
        match gone {
            Some(segment) if !self.path.exists() => {
                let reason = format!("{} committed rows are neither hidden nor published", segment.rows);
                return Err(lost(&self.hidden.join(&segment.name), reason));
            }
            Some(_) => {}
            None => self.write_joined(&segments)?,
        }
        segments.iter().try_for_each(|segment| self.remove(&segment.name))
    }

    fn write_joined(&self, segments: &[&Segment]) -> Result<()> {
        self.make_folders()?;
        let (joined, place) = (self.hidden.join(JOINED), self.path.display().to_string());
        let mut writer = self.create(&joined)?;
        for segment in segments {
            self.check_segment(segment)?;
            read_segment(&self.hidden.join(&segment.name), &mut |batch| {
                writer.write(batch).map_err(|reason| EngineError::unavailable(&place, reason))
            })?;
        }
        let file = writer.finish().map_err(|reason| EngineError::unavailable(&place, reason))?;
        let published = file.sync_all().and_then(|()| fs::rename(&joined, &self.path));
        published.map_err(|error| EngineError::unavailable(&place, error))?;
        sync_folder(parent_of(&self.path))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.hidden.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(EngineError::unavailable(path.display().to_string(), error))
            }
            _ => Ok(()),
        }
    }
}

fn lost(path: &Path, reason: String) -> EngineError {
    EngineError::Data { place: path.display().to_string(), row: 0, reason }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.path.display())
    }
}

impl std::fmt::Debug for FileSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSink({})", self.target.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::FileSink;
    use crate::parquet_sink::parquet_sink;
    use crate::parquet_source::parquet_source;
    use crate::testing::drain;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use dataflare_engine::sink::{Prepared, Sink, SinkWriter};
    use dataflare_engine::time::ManualClock;
    use dataflare_engine::{Batch, EngineError, Epoch};
    use dataflare_plan::{DataType, Field, FrameKind, Schema};
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use serde_json::{Value, json};
    use std::fs;
    use std::ops::Range;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    fn schema() -> Schema {
        vec![Field { name: "n".to_owned(), dtype: DataType::Int64 }]
    }

    fn batch(rows: Range<i64>) -> Batch {
        let rows = Arc::new(Int64Array::from_iter_values(rows));
        Batch::new(RecordBatch::try_from_iter_with_nullable([("n", rows as _, true)]).unwrap())
    }

    fn sink(options: &Value, clock: &Arc<ManualClock>) -> FileSink {
        parquet_sink(options, &schema()).unwrap().with_clock(Arc::clone(clock) as _)
    }

    fn names(folder: &Path) -> Vec<String> {
        super::names_in(folder).unwrap().into_iter().filter(|name| !name.starts_with('.')).collect()
    }

    /// All rows of some files, sorted.
    fn rows(paths: &[PathBuf]) -> Vec<i64> {
        let source = parquet_source(&json!({"paths": paths}), &schema()).unwrap();
        let taken = drain(&source, None).unwrap();
        let mut rows: Vec<i64> = taken
            .iter()
            .flat_map(|t| t.records.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        rows.sort_unstable();
        rows
    }

    fn published(folder: &Path) -> Vec<i64> {
        let paths: Vec<PathBuf> = names(folder).into_iter().map(|name| folder.join(name)).collect();
        if paths.is_empty() { Vec::new() } else { rows(&paths) }
    }

    /// A job around the sink, with the protocol of checkpoints and a record that survives a crash.
    struct Job {
        sink: FileSink,
        options: Value,
        clock: Arc<ManualClock>,
        writers: Vec<Box<dyn SinkWriter>>,
        attempt: u64,
        epoch: Epoch,
        committed: Epoch,
        next_row: i64,
        /// (epoch, first row not in it, what the sink prepared).
        record: (Epoch, i64, Vec<Prepared>),
    }

    /// How an epoch goes.
    #[derive(Clone, Debug)]
    enum Fate {
        Commit,
        /// Preparations run, or are dropped; no record.
        Abandon {
            run: bool,
        },
        /// Dies after so many preparations.
        CrashInPreparations(usize),
        CrashBeforeConfirm,
        /// Dies when the parts of so many workers are published.
        CrashInConfirm(usize),
        CrashAfterConfirm,
    }

    impl Job {
        fn start(folder: &Path, workers: usize) -> Self {
            let path = folder.join("out/");
            let options = json!({"path": path, "layout": "folder", "roll_rows": 12, "roll_after_ns": 1000});
            let clock = Arc::new(ManualClock::default());
            let sink = sink(&options, &clock);
            let record = (0, 0, Vec::new());
            let (attempt, epoch, committed, next_row, writers) = (0, 0, 0, 0, Vec::new());
            let mut job = Self { sink, options, clock, writers, attempt, epoch, committed, next_row, record };
            job.restore(workers);
            job
        }

        /// A new process: nothing is left but the folder and the record.
        fn restore(&mut self, workers: usize) {
            self.attempt += 1;
            self.writers.clear();
            self.sink = sink(&self.options, &self.clock);
            let (epoch, next_row, prepared) = self.record.clone();
            (self.committed, self.next_row) = (epoch, next_row);
            self.sink.confirm(epoch, &prepared).unwrap();
            self.sink.clean(&prepared).unwrap();
            let mut pending = vec![Vec::new(); workers];
            for (index, one) in prepared.into_iter().enumerate() {
                pending[index % workers].push(one);
            }
            for (worker, pending) in pending.into_iter().enumerate() {
                self.writers.push(self.sink.writer(worker, self.attempt, pending).unwrap());
            }
        }

        fn write(&mut self, worker: usize, rows: i64) {
            let worker = worker % self.writers.len();
            let batch = batch(self.next_row..self.next_row + rows);
            self.next_row += rows;
            assert!(self.writers[worker].write(batch).unwrap().is_none());
        }

        /// False: the process died.
        fn checkpoint(&mut self, fate: &Fate, last: bool) -> bool {
            self.epoch += 1;
            let (epoch, committed) = (self.epoch, self.committed);
            let preparations: Vec<_> = self
                .writers
                .iter_mut()
                .map(|writer| writer.prepare(epoch, committed, last).unwrap())
                .collect();
            let run = match fate {
                Fate::Abandon { run: false } => return true,
                Fate::CrashInPreparations(count) => count % preparations.len(),
                _ => preparations.len(),
            };
            let prepared: Vec<_> =
                preparations.into_iter().take(run).map(|prepare| prepare().unwrap()).collect();
            match fate {
                Fate::Abandon { .. } => return true,
                Fate::CrashInPreparations(_) => return false,
                _ => {}
            }
            self.record = (epoch, self.next_row, prepared.clone());
            self.committed = epoch;
            match fate {
                Fate::CrashBeforeConfirm => return false,
                Fate::CrashInConfirm(count) => {
                    self.sink.confirm(epoch, &prepared[..count % prepared.len()]).unwrap();
                    return false;
                }
                _ => self.sink.confirm(epoch, &prepared).unwrap(),
            }
            !matches!(fate, Fate::CrashAfterConfirm)
        }
    }

    fn fates() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => proptest::strategy::Just(Fate::Commit),
            1 => any::<bool>().prop_map(|run| Fate::Abandon { run }),
            1 => (0..3_usize).prop_map(Fate::CrashInPreparations),
            1 => proptest::strategy::Just(Fate::CrashBeforeConfirm),
            1 => (0..3_usize).prop_map(Fate::CrashInConfirm),
            1 => proptest::strategy::Just(Fate::CrashAfterConfirm),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn published_rows_are_the_committed_rows_exactly_once(
            epochs in proptest::collection::vec(
                (proptest::collection::vec((0..3_usize, 0..9_i64), 0..4), fates(), 1..4_usize, 0..400_u64), 1..25),
            end in fates(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            let mut job = Job::start(folder.path(), 2);
            for (writes, fate, workers, time) in &epochs {
                for (worker, rows) in writes {
                    job.write(*worker, *rows);
                }
                job.clock.advance(*time);
                if !job.checkpoint(fate, false) {
                    job.restore(*workers);
                }
                let visible = published(&out);
                let mut once = visible.clone();
                once.dedup();
                prop_assert_eq!(&visible, &once);
                assert!(visible.iter().all(|row| *row < job.record.1));
            }
            if !job.checkpoint(&end, true) {
                job.restore(3);
            }
            assert!(job.checkpoint(&Fate::Commit, true));
            prop_assert_eq!(published(&out), (0..job.record.1).collect::<Vec<_>>());
            assert!(!folder.path().join(".out.unpublished").exists());
        }
    }

    #[test]
    fn parts_roll_by_rows_and_by_time_and_stay_hidden_until_the_confirm() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut job = Job::start(folder.path(), 1);
        job.write(0, 5);
        assert!(job.checkpoint(&Fate::Commit, false));
        assert_eq!(published(&out), Vec::<i64>::new());
        job.write(0, 7);
        assert!(!job.checkpoint(&Fate::CrashBeforeConfirm, false));
        assert_eq!(published(&out), Vec::<i64>::new());
        job.restore(1);
        assert_eq!(
            (published(&out), names(&out)),
            ((0..12).collect(), vec!["part-1-2-0.parquet".to_owned()])
        );
        job.write(0, 1);
        job.clock.advance(1000);
        assert!(job.checkpoint(&Fate::Commit, false));
        assert_eq!(published(&out), (0..13).collect::<Vec<_>>());
    }

    #[test]
    fn a_large_end_is_cut_into_parts_and_no_rows_leave_one_with_columns() {
        let folder = tempfile::tempdir().unwrap();
        let mut job = Job::start(folder.path(), 1);
        (0..3).for_each(|_| job.write(0, 12));
        assert!(job.checkpoint(&Fate::Commit, true));
        let mut found = names(&folder.path().join("out"));
        found.sort();
        assert_eq!(found, ["part-1-1-0-2.parquet", "part-1-1-0-3.parquet", "part-1-1-0.parquet"]);
        let nothing = tempfile::tempdir().unwrap();
        let mut job = Job::start(nothing.path(), 3);
        assert!(job.checkpoint(&Fate::Commit, true));
        let out = nothing.path().join("out");
        assert_eq!((names(&out), published(&out)), (vec!["part-1-1-0.parquet".to_owned()], Vec::new()));
    }

    #[test]
    fn a_single_file_appears_whole_at_the_end_and_replaces_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        fs::write(&path, "old").unwrap();
        let sink = sink(&json!({"path": path, "layout": "file"}), &Arc::default());
        let mut writer = sink.writer(0, 1, Vec::new()).unwrap();
        writer.write(batch(0..5)).unwrap();
        let first = writer.prepare(1, 0, false).unwrap()().unwrap();
        sink.confirm(1, &[first]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        writer.write(batch(5..9)).unwrap();
        let last = writer.prepare(2, 1, true).unwrap()().unwrap();
        sink.confirm(2, std::slice::from_ref(&last)).unwrap();
        assert_eq!(rows(std::slice::from_ref(&path)), (0..9).collect::<Vec<_>>());
        sink.confirm(2, std::slice::from_ref(&last)).unwrap();
        assert_eq!(names(folder.path()), ["out.parquet"]);
        fs::remove_file(&path).unwrap();
        let lost = sink.confirm(2, &[last]).unwrap_err();
        assert!(lost.to_string().contains("committed rows are neither hidden nor published"), "{lost}");
    }

    #[test]
    fn a_part_that_vanished_and_a_part_of_somebody_else_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut job = Job::start(folder.path(), 1);
        job.write(0, 12);
        assert!(!job.checkpoint(&Fate::CrashBeforeConfirm, false));
        let prepared = job.record.2.clone();
        fs::write(out.join("part-1-1-0.parquet"), "not ours").unwrap();
        assert!(matches!(job.sink.confirm(1, &prepared), Err(EngineError::Call { .. })));
        fs::remove_file(out.join("part-1-1-0.parquet")).unwrap();
        job.sink.confirm(1, &prepared).unwrap();
        job.sink.confirm(1, &prepared).unwrap();
        fs::remove_file(out.join("part-1-1-0.parquet")).unwrap();
        let lost = job.sink.confirm(1, &prepared).unwrap_err();
        assert!(lost.to_string().contains("12 committed rows are neither hidden nor published"), "{lost}");
    }

    #[test]
    fn a_folder_with_parts_of_another_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut job = Job::start(folder.path(), 1);
        job.write(0, 1);
        assert!(job.checkpoint(&Fate::Commit, true));
        let again = sink(&job.options, &job.clock).writer(0, 1, Vec::new()).err().unwrap();
        assert!(again.to_string().contains("no other run has written to"), "{again}");
        assert!(sink(&job.options, &job.clock).writer(0, 2, Vec::new()).is_ok());
    }

    #[test]
    fn a_missing_parent_and_wrong_places_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let open = |options: Value| {
            sink(&options, &Arc::default()).writer(0, 1, Vec::new()).err().map(|e| e.to_string())
        };
        let path = folder.path().join("no/out.parquet");
        let refusal = open(json!({"path": path, "layout": "file"})).unwrap();
        assert!(
            refusal.ends_with(&format!("got no folder '{}'", folder.path().join("no").display())),
            "{refusal}"
        );
        assert_eq!(open(json!({"path": path, "layout": "file", "mkdir": true})), None);
        let refusal = open(json!({"path": folder.path(), "layout": "file"})).unwrap();
        assert!(refusal.ends_with("got a folder"), "{refusal}");
        fs::write(folder.path().join("taken"), "").unwrap();
        let refusal = open(json!({"path": folder.path().join("taken/"), "layout": "folder"})).unwrap();
        assert!(refusal.ends_with("expected a folder, got a file"), "{refusal}");
    }

    #[test]
    fn only_append_frames_are_taken() {
        let sink = sink(&json!({"path": "out/", "layout": "folder"}), &Arc::default());
        let kinds = [FrameKind::Append, FrameKind::Upsert, FrameKind::Retract];
        assert_eq!(kinds.map(|kind| sink.takes(kind)), [true, false, false]);
    }
}
