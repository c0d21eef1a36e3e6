//! Files as an exactly-once sink: a folder of parts, one such folder for each key, or one file that appears at the end.
//!
//! Rows become durable as hidden segments each epoch and visible as whole files: a confirm renames the parts that the
//! committed record names and only then deletes the segments that they replace. Hidden files stand beside the target
//! (`out/` in `.out.unpublished/`), because `pl.scan_parquet("out/")` reads hidden names too. Not here: writing segments
//! (`segments.rs`), publishing (`target.rs`), the formats.
//!
//! A folder belongs to one job: part names hold attempt, epoch and worker, and `clean` removes what no record names.

use crate::files::format::{PartFormat, parse};
use crate::files::hive::Keys;
use crate::files::segments::SegmentWriter;
use crate::files::target::{Bounds, Prepared, Target, is_ours, names_in};
use dataflare_engine::sink::{Prepared as PreparedJson, Sink, SinkWriter};
use dataflare_engine::time::SystemClock;
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{Clock, EngineError, Epoch, Result};
use dataflare_plan::{FrameKind, Schema};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the planner says about the target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSinkOptions {
    pub path: PathBuf,
    layout: Layout,
    #[serde(default)]
    keys: Vec<String>,
    /// Files of a hive layout also hold their keys.
    #[serde(default = "yes")]
    include_keys: bool,
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
pub enum Layout {
    File,
    Folder,
    Hive,
}

fn yes() -> bool {
    true
}

fn roll_bytes() -> u64 {
    128 << 20
}

fn roll_after_ns() -> u64 {
    60_000_000_000
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
        make: impl FnOnce(&FileSinkOptions, &Schema) -> Result<Box<dyn PartFormat>>,
    ) -> Result<Self> {
        let options: FileSinkOptions = parse(connector, options)?;
        let place = || options.path.display().to_string();
        if (options.layout == Layout::Hive) == options.keys.is_empty() {
            return Err(EngineError::call(place(), "keys and a hive layout", "one without the other"));
        }
        let keys = Keys::new(&place(), &options.keys, options.include_keys, schema)?;
        let (Some(name), Some(parent)) = (options.path.file_name(), options.path.parent()) else {
            return Err(EngineError::call(place(), "a path that ends in a name", "none"));
        };
        let hidden = parent.join(format!(".{}.unpublished", name.to_string_lossy()));
        let format = make(&options, &keys.written)?;
        let FileSinkOptions { path, layout, mkdir, roll_rows, roll_bytes, roll_after_ns, .. } = options;
        let bounds = Bounds { roll_rows, roll_bytes, roll_after_ns };
        let (schema, confirmed) = (arrow_schema(schema), AtomicU64::new(0));
        let target = Target { path, hidden, layout, mkdir, bounds, schema, keys, format, confirmed };
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
            if !keep.contains(&name) && is_ours(&name, &self.target.format.extension()) {
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

impl std::fmt::Debug for FileSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSink({})", self.target.path.display())
    }
}

#[cfg(test)]
mod tests;
