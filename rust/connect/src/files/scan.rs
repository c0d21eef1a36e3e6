//! A scan of files: one split, the files in the order of their paths, each cut into batches by its format.
//!
//! Reads options, walks the files on a reader thread, keeps the offset, adds the columns that no file holds (path, row
//! index), stops after `n_rows`. Not here: what is inside a file (`format.rs` and the formats), which file
//! of a followed folder comes next (`followed.rs`).

use crate::blocking::{BlockingReader, Bounds, Outlet};
use crate::files::followed::Followed;
use crate::files::format::{FileFormat, not_readable, parse};
use crate::files::hive::hive_column;
use arrow::array::{ArrayRef, RecordBatchOptions, StringViewArray, UInt32Array};
use arrow::record_batch::RecordBatch;
use dataflare_engine::source::{Decoded, Offset, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{Field, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the planner says about the files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanOptions {
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// The folder or pattern that is followed.
    #[serde(default)]
    path: Option<PathBuf>,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    poll_ms: Option<u64>,
    #[serde(default)]
    pub n_rows: Option<u64>,
    /// A UInt32 column that counts the rows of the scan.
    #[serde(default)]
    pub row_index: Option<RowIndex>,
    /// A String column with the path of the row's file.
    #[serde(default)]
    pub path_column: Option<String>,
    /// Columns that the names of folders hold, as in `year=2024/`.
    #[serde(default)]
    hive: Vec<String>,
    #[serde(default)]
    splits: Splits,
    /// Polars' reader options: such a scan is decoded by Polars, not here.
    #[serde(default)]
    polars: Option<Value>,
}

/// What is one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Splits {
    /// The whole scan.
    #[default]
    Scan,
    File,
    /// The files of one folder.
    Hive,
}

/// Name and first value of a row index.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowIndex {
    pub name: String,
    #[serde(default)]
    pub offset: u32,
}

/// Where a scan stands. JSON of an [`Offset`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file of the last row read.
    pub file: String,
    /// Its place among the paths (0 in a followed folder).
    pub index: usize,
    /// The format's position behind that row.
    pub position: u64,
    /// True if nothing follows in it.
    pub done: bool,
    /// Rows of the scan before this place.
    pub row: u64,
    /// In a followed folder: names of the files read before this one, each with a line break behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

/// A [`Source`] of files in one format.
pub struct FileScan {
    walk: Arc<Walk>,
}

/// What the reader thread needs.
pub struct Walk {
    options: ScanOptions,
    schema: Arc<Schema>,
    pub format: Box<dyn FileFormat>,
    followed: Option<Followed>,
    /// What status says.
    notes: Mutex<Notes>,
}

/// What a user should know of a followed folder.
#[derive(Debug, Default)]
pub struct Notes {
    /// What keeps it from reading on.
    pub waits_for: Option<String>,
    /// The last file that was read out of order.
    pub late: Option<String>,
}

impl FileScan {
    /// `make` gets the columns that the files themselves must hold.
    ///
    /// # Errors
    /// [`EngineError::Call`]: an option that is missing, unknown or out of range.
    pub fn new(
        connector: &str,
        options: &Value,
        schema: &Schema,
        make: impl FnOnce(Vec<Field>) -> Result<Box<dyn FileFormat>>,
    ) -> Result<Self> {
        let options: ScanOptions = parse(connector, options)?;
        if options.polars.as_ref().is_some_and(|polars| !polars.is_null()) {
            return Err(EngineError::internal(
                connector,
                "a scan with Polars' reader options came to the native reader",
            ));
        }
        let own = |field: &&Field| {
            options.path_column.as_ref() != Some(&field.name)
                && options.row_index.as_ref().is_none_or(|index| index.name != field.name)
                && !options.hive.contains(&field.name)
        };
        if options.splits != Splits::Scan
            && (options.follow || options.row_index.is_some() || options.n_rows.is_some())
        {
            let found = "follow, a row index or n_rows with splits";
            return Err(EngineError::call(
                format!("options of {connector}"),
                "one split for the whole scan",
                found,
            ));
        }
        let format = make(schema.iter().filter(own).cloned().collect())?;
        let followed = followed(connector, &options)?;
        let (schema, notes) = (Arc::new(schema.clone()), Mutex::default());
        Ok(Self { walk: Arc::new(Walk { options, schema, format, followed, notes }) })
    }
}

/// `paths` are read once, `path` is followed.
fn followed(connector: &str, options: &ScanOptions) -> Result<Option<Followed>> {
    let poll = Duration::from_millis(options.poll_ms.unwrap_or(200).max(1));
    match (&options.path, options.follow, options.paths.is_empty()) {
        (None, false, _) => Ok(None),
        (Some(path), true, true) => Followed::new(path, poll).map(Some),
        _ => Err(EngineError::call(
            format!("options of {connector}"),
            "paths, or path with follow",
            "a mixture",
        )),
    }
}

/// Most splits of a scan.
const MOST_SPLITS: usize = 1000;

/// The name of the only split.
const WHOLE_SCAN: &str = "files";

impl ScanOptions {
    /// The name of the split that a file belongs to.
    fn split_of(&self, path: &Path) -> String {
        match self.splits {
            Splits::Scan => WHOLE_SCAN.to_owned(),
            Splits::File => path.display().to_string(),
            Splits::Hive => path.parent().unwrap_or(path).display().to_string(),
        }
    }
}

impl Source for FileScan {
    fn splits(&self) -> Result<Vec<Split>> {
        if let Some(followed) = &self.walk.followed {
            followed.check()?;
        }
        for path in &self.walk.options.paths {
            let metadata = std::fs::metadata(path).map_err(|error| not_readable(path, &error))?;
            if metadata.is_dir() {
                return Err(EngineError::call(path.display().to_string(), "a file", "a folder"));
            }
        }
        if self.walk.options.splits == Splits::Scan {
            return Ok(vec![Split { name: WHOLE_SCAN.to_owned() }]);
        }
        // A folder may hold files before and behind another folder.
        let mut seen = HashSet::new();
        let names = self.walk.options.paths.iter().map(|path| self.walk.options.split_of(path));
        let splits: Vec<Split> =
            names.filter(|name| seen.insert(name.clone())).map(|name| Split { name }).collect();
        match splits.len() {
            count if count <= MOST_SPLITS => Ok(splits),
            count => Err(EngineError::call(
                "a scan of files",
                format!("at most {MOST_SPLITS} splits, each of which has a thread, or splits=\"scan\""),
                format!("{count}"),
            )),
        }
    }

    fn open(&self, split: &Split, offset: Option<&Offset>, waker: Waker) -> Result<Box<dyn SplitReader>> {
        let place: Option<Place> = offset.map(|offset| parse("a checkpointed offset", offset)).transpose()?;
        let walk = Arc::clone(&self.walk);
        let own = |path: &&PathBuf| self.walk.options.split_of(path) == split.name;
        let paths: Vec<PathBuf> = self.walk.options.paths.iter().filter(own).cloned().collect();
        let reader = BlockingReader::start(&split.name, Bounds::default(), waker, move |outlet| match &walk
            .followed
        {
            Some(followed) => followed.run(&walk, place.as_ref(), outlet),
            None => walk.run(&paths, place.as_ref(), outlet),
        })?;
        Ok(Box::new(reader))
    }

    fn waits_for(&self) -> Option<String> {
        let notes = self.walk.notes();
        notes.waits_for.clone().or_else(|| notes.late.clone())
    }
}

impl Walk {
    fn run(&self, paths: &[PathBuf], place: Option<&Place>, outlet: &Outlet) -> Result<()> {
        let mut at = self.start(paths, place)?;
        while let Some(path) = paths.get(at.index) {
            at.file = path.display().to_string();
            if !self.read_file(path, &mut at, outlet)? {
                return Ok(());
            }
            at = Place { index: at.index + 1, position: 0, done: false, ..at };
        }
        Ok(())
    }

    /// Where to begin, after a check that the files before that place are the ones that were read.
    fn start(&self, paths: &[PathBuf], place: Option<&Place>) -> Result<Place> {
        let Some(place) = place else {
            return Ok(Place::default());
        };
        let now = paths.get(place.index).map(|path| path.display().to_string());
        if now.as_deref() != Some(place.file.as_str()) {
            return Err(EngineError::call(
                "the files of a scan",
                format!("'{}' as number {}, as at the checkpoint", place.file, place.index + 1),
                now.map_or_else(|| "fewer files".to_owned(), |name| format!("'{name}'")),
            ));
        }
        if let Some(first) = self.options.paths.first() {
            self.format.prime(first)?;
        }
        let mut place = place.clone();
        if place.done {
            place = Place { index: place.index + 1, position: 0, done: false, ..place };
        }
        Ok(place)
    }

    /// What status says.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a file from `at` on. False: nothing more is wanted.
    ///
    /// # Errors
    /// As for [`FileFormat::read`].
    pub fn read_file(&self, path: &Path, at: &mut Place, outlet: &Outlet) -> Result<bool> {
        let wanted = |row: u64| self.options.n_rows.is_none_or(|most| row < most);
        let mut open = wanted(at.row);
        if !open {
            return Ok(false);
        }
        let name: Arc<str> = Arc::from(path.display().to_string());
        self.format.read(path, at.position, &mut |piece| {
            let first = at.row;
            let rows = self.options.n_rows.map_or(piece.rows, |most| piece.rows.min(most - first));
            *at = Place { position: piece.next, done: piece.last, row: first + rows, ..at.clone() };
            let dress = Dress {
                schema: Arc::clone(&self.schema),
                options: self.extra(),
                hive: self.options.hive.clone(),
                path: Arc::clone(&name),
                first,
            };
            let (decode, cut) = (piece.decode, rows < piece.rows);
            let batch = RawBatch {
                first,
                next: serde_json::to_value(&*at).unwrap_or_default(),
                bytes: piece.bytes,
                decode: Box::new(move || {
                    let mut decoded = decode()?;
                    if cut {
                        let rows =
                            usize::try_from(rows).unwrap_or(usize::MAX).min(decoded.records.num_rows());
                        decoded.records = decoded.records.slice(0, rows);
                    }
                    dress.put_on(decoded)
                }),
            };
            open = outlet.send(batch) && wanted(at.row);
            open
        })?;
        Ok(open)
    }

    fn extra(&self) -> (Option<RowIndex>, Option<String>) {
        (self.options.row_index.clone(), self.options.path_column.clone())
    }
}

/// Puts the columns of a batch into the declared order and adds those that no file holds.
struct Dress {
    schema: Arc<Schema>,
    options: (Option<RowIndex>, Option<String>),
    hive: Vec<String>,
    path: Arc<str>,
    first: u64,
}

impl Dress {
    fn put_on(self, mut decoded: Decoded) -> Result<Decoded> {
        for position in decoded.positions.iter_mut().flatten() {
            *position += self.first;
        }
        let rows = decoded.records.num_rows();
        let column = |field: &Field| -> Result<ArrayRef> {
            if self.options.1.as_ref() == Some(&field.name) {
                return Ok(Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(
                    &self.path, rows,
                ))));
            }
            if self.hive.contains(&field.name) {
                return hive_column(&self.path, field, rows);
            }
            if let Some(index) = self.options.0.as_ref().filter(|index| index.name == field.name) {
                return self.row_index(index, &decoded);
            }
            decoded.records.column_by_name(&field.name).cloned().ok_or_else(|| {
                EngineError::internal(&*self.path, format!("its reader gave no column '{}'", field.name))
            })
        };
        let columns = self.schema.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let records = RecordBatch::try_new_with_options(arrow_schema(&self.schema), columns, &options)?;
        Ok(Decoded { records, ..decoded })
    }

    fn row_index(&self, index: &RowIndex, decoded: &Decoded) -> Result<ArrayRef> {
        let rows = decoded.records.num_rows();
        let numbers: Vec<u32> = (0..rows)
            .map(|row| {
                let place = decoded.positions.as_ref().and_then(|positions| positions.get(row).copied());
                let place = place.unwrap_or_else(|| self.first + row as u64);
                u32::try_from(u64::from(index.offset) + place).ok()
            })
            .collect::<Option<_>>()
            .ok_or_else(|| {
                let found = format!("more, at row {} of the scan", self.first);
                EngineError::call(format!("row index '{}'", index.name), "at most 4294967295 rows", found)
            })?;
        Ok(Arc::new(UInt32Array::from(numbers)))
    }
}

impl std::fmt::Debug for FileScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileScan({:?})", self.walk)
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Walk({} paths, {:?})", self.options.paths.len(), self.followed)
    }
}
