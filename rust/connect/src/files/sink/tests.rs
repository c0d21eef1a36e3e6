use super::FileSink;
use crate::files::parquet::sink::parquet_sink;
use crate::files::parquet::source::parquet_source;
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
    crate::files::target::names_in(folder)
        .unwrap()
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .collect()
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
        let preparations: Vec<_> =
            self.writers.iter_mut().map(|writer| writer.prepare(epoch, committed, last).unwrap()).collect();
        let run = match fate {
            Fate::Abandon { run: false } => return true,
            Fate::CrashInPreparations(count) => count % preparations.len(),
            _ => preparations.len(),
        };
        let prepared: Vec<_> = preparations.into_iter().take(run).map(|prepare| prepare().unwrap()).collect();
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
    assert_eq!((published(&out), names(&out)), ((0..12).collect(), vec!["part-1-2-0.parquet".to_owned()]));
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
