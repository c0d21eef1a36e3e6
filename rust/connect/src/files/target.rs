//! The place that a file sink writes to: what is hidden, what is published, and the step from one to the other.
//!
//! Nothing here knows a format. Called by the sink (`sink.rs`) and its writers (`segments.rs`).

use crate::files::format::{PartFormat, Rolled};
use crate::files::hive::Keys;
use crate::files::segments::read_segment;
use crate::files::sink::Layout;
use arrow::datatypes::SchemaRef;
use dataflare_engine::{EngineError, Epoch, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// When the segments of a worker become parts. Bytes are those of the rows as Arrow columns.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub roll_rows: Option<u64>,
    pub roll_bytes: u64,
    pub roll_after_ns: u64,
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
    /// Where it is published below the target: the folder of its keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    pub bytes: u64,
    pub rows: u64,
}

/// Where files go, and how they look: shared by the sink and its writers.
pub struct Target {
    /// The folder of parts, or the file.
    pub path: PathBuf,
    /// The folder of everything unpublished.
    pub hidden: PathBuf,
    pub layout: Layout,
    pub mkdir: bool,
    pub bounds: Bounds,
    /// Of the rows that come.
    pub schema: SchemaRef,
    pub keys: Keys,
    pub format: Box<dyn PartFormat>,
    /// The newest epoch whose parts are published.
    pub confirmed: AtomicU64,
}

/// Names in a folder; none if there is no folder.
pub fn names_in(folder: &Path) -> Result<Vec<String>> {
    let unavailable = |error: std::io::Error| EngineError::unavailable(folder.display().to_string(), error);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unavailable(error)),
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(unavailable)?.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}

/// Names of files in a folder and in those `depth` levels below it.
fn names_below(folder: &Path, depth: usize) -> Result<Vec<String>> {
    let mut names = names_in(folder)?;
    if depth > 0 {
        for name in names.clone() {
            let below = folder.join(&name);
            if below.is_dir() {
                names.extend(names_below(&below, depth - 1)?);
            }
        }
    }
    Ok(names)
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

pub fn is_ours(name: &str, extension: &str) -> bool {
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
        self.format.create(file, &self.keys.arrow).map_err(unavailable)
    }

    pub fn make_folders(&self) -> Result<()> {
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
    pub fn check_foreign(&self, worker: usize, attempt: u64) -> Result<()> {
        if !self.rolls() {
            return Ok(());
        }
        let extension = self.format.extension();
        let foreign = |name: &String| {
            part_numbers(name, &extension).is_some_and(|(a, _, w)| a >= attempt && w == worker)
        };
        match names_below(&self.path, self.keys.depth())?.into_iter().find(foreign) {
            None => Ok(()),
            Some(name) => Err(EngineError::call(
                self.path.display().to_string(),
                "a folder that no other run has written to (empty it, or choose another)",
                format!("'{name}'"),
            )),
        }
    }

    pub fn check_segment(&self, segment: &Segment) -> Result<()> {
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
    pub fn publish(&self, prepared: &[Prepared]) -> Result<()> {
        let rolls = || prepared.iter().flat_map(|prepared| &prepared.rolls);
        let mut folders = BTreeSet::new();
        for part in rolls().flat_map(|roll| &roll.parts) {
            let folder = self.path.join(&part.folder);
            if !part.folder.is_empty() && folders.insert(folder.clone()) {
                fs::create_dir_all(&folder)
                    .map_err(|error| EngineError::unavailable(folder.display().to_string(), error))?;
            }
            self.publish_part(part)?;
        }
        // A folder is durable when the one that it stands in is: from below to above.
        let above = folders.iter().flat_map(|folder| folder.ancestors().take(self.keys.depth()));
        let all: BTreeSet<&Path> = above.filter(|folder| *folder != self.path).collect();
        all.into_iter().rev().try_for_each(sync_folder)?;
        if rolls().next().is_some() {
            sync_folder(&self.path)?;
        }
        rolls().flat_map(|roll| &roll.replaced).try_for_each(|name| self.remove(name))
    }

    fn publish_part(&self, part: &Part) -> Result<()> {
        let (hidden, published) =
            (self.hidden.join(&part.name), self.path.join(&part.folder).join(&part.name));
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
    pub fn join(&self, prepared: &[Prepared]) -> Result<()> {
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
