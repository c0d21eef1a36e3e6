//! What a file format is: [`FileFormat`] cuts and decodes files, [`PartFormat`] writes them; a format is one module.
//!
//! Also how files that cannot be read are named. Not here: which files are read and when one appears (`scan.rs`,
//! `sink.rs`), formats made of lines (`text.rs`).

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dataflare_engine::source::Decoded;
use dataflare_engine::{EngineError, Result};
use serde_json::Value;
use std::fs::File;
use std::path::Path;

/// Most rows of a batch.
pub const BATCH_ROWS: u64 = 65_536;

/// What is inside a file.
pub trait FileFormat: Send + Sync {
    /// Cuts `path` into pieces from `position` on (in the format's own unit) and hands them to `take` in order, until
    /// that says false.
    ///
    /// # Errors
    /// [`EngineError::Data`] naming the file, when it is damaged or does not fit the declared columns.
    fn read(&self, path: &Path, position: u64, take: &mut dyn FnMut(Piece) -> bool) -> Result<()>;

    /// Called with the first file of the scan when reading starts at a later place: rules that the first file sets.
    ///
    /// # Errors
    /// As for `read`.
    fn prime(&self, _first: &Path) -> Result<()> {
        Ok(())
    }

    /// How names of such files end, after the point.
    fn extensions(&self) -> &'static [&'static str];

    /// False while a file of a followed folder is visibly unfinished.
    fn is_complete(&self, _path: &Path) -> bool {
        true
    }
}

/// Rows of one file before decoding.
pub struct Piece {
    pub rows: u64,
    /// The position behind it.
    pub next: u64,
    /// Nothing follows in this file.
    pub last: bool,
    pub bytes: usize,
    /// Positions count from the first row of the piece.
    pub decode: Box<dyn FnOnce() -> Result<Decoded> + Send>,
}

/// A file format that can be written.
pub trait PartFormat: Send + Sync {
    /// What names of parts end in.
    fn extension(&self) -> String;

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

/// Reads the options of a connector.
///
/// # Errors
/// [`EngineError::Call`] in the words of serde: which option, what was expected.
pub fn parse<T: serde::de::DeserializeOwned>(connector: &str, options: &Value) -> Result<T> {
    T::deserialize(options).map_err(|error| {
        EngineError::call(format!("options of {connector}"), "known options", error.to_string())
    })
}

/// A file that cannot be read as what it should be.
pub fn damaged(path: &Path, row: u64, reason: impl ToString) -> EngineError {
    EngineError::Data { place: path.display().to_string(), row, reason: reason.to_string() }
}

/// A file that the system does not give out.
pub fn not_readable(path: &Path, error: &std::io::Error) -> EngineError {
    let place = path.display().to_string();
    match error.kind() {
        std::io::ErrorKind::NotFound => EngineError::call(place, "a file", "nothing there"),
        std::io::ErrorKind::PermissionDenied => {
            EngineError::call(place, "a file that may be read", error.to_string())
        }
        _ => EngineError::unavailable(place, error),
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Piece({} rows, {} bytes)", self.rows, self.bytes)
    }
}
