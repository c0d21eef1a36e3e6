//! Formats made of lines: NDJSON and CSV. Cuts files into records on the reader thread; workers parse them.
//!
//! A record ends at a line break that is not inside quotes. Chunks hold whole records, however long one is; a record that
//! cannot be parsed is rejected with the number of its line, the others stay. Position in a file: the byte of its
//! text. Not here: where records end (`records.rs`), what they mean (`ndjson/`, `csv/`), compression. A new format of lines implements
//! [`TextFormat`].

use crate::files::compression::TextFile;
use crate::files::format::{BATCH_ROWS, FileFormat, Piece, damaged};
use crate::files::records::{Ends, Scanner};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dataflare_engine::Result;
use dataflare_engine::source::{Decoded, Rejected};
use memchr::memchr_iter;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Bytes of a chunk, if its first record is not longer.
const CHUNK_BYTES: usize = 1 << 20;

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What the records of a format of lines look like, and what they mean.
pub trait TextFormat: Send + Sync + 'static {
    /// How names of such files end, after the point; with those of compressions.
    fn extensions(&self) -> &'static [&'static str];

    /// Where records end.
    fn ends(&self) -> Ends;

    /// True if a record is a row.
    fn is_row(&self, record: &[u8]) -> bool;

    /// One word for a row that cannot be read.
    fn code(&self) -> &'static str;

    /// The rows of some records, which are `rows` of `text`, one after the other.
    ///
    /// # Errors
    /// A reason in words if any of them is no row of the declared columns.
    fn parse(&self, text: &[u8], rows: &[Range<usize>]) -> Result<RecordBatch, String>;

    /// What looks at the first records of a file, which are no rows; `None`: all are.
    fn heading(&self) -> Option<Box<dyn Heading + '_>> {
        None
    }
}

/// Looks at the beginning of a file.
pub trait Heading {
    /// Takes the next record. False: it is the first row.
    ///
    /// # Errors
    /// The beginning is not what it should be.
    fn take(&mut self, path: &Path, record: &[u8]) -> Result<bool>;

    /// The file has ended before a row came.
    ///
    /// # Errors
    /// It should have had a beginning.
    fn end(&mut self, path: &Path) -> Result<()>;
}

/// Cuts a text into chunks of whole records.
struct Chunks {
    file: TextFile,
    scanner: Scanner,
    /// Place of the first byte in `kept`.
    at: u64,
    /// Begins a record that the last chunk did not hold whole.
    kept: Vec<u8>,
    is_over: bool,
}

/// Whole records.
struct Chunk {
    from: u64,
    text: Bytes,
    /// The place behind each record.
    ends: Arc<[usize]>,
    /// Nothing follows.
    is_last: bool,
}

impl Chunks {
    fn open(path: &Path, position: u64, mut ends: Ends) -> Result<Self> {
        if position > 0 {
            ends.plain_lines = 0;
        }
        let file = TextFile::open(path, position)?;
        let scanner = Scanner::new(ends);
        Ok(Self { file, scanner, at: position, kept: Vec::new(), is_over: false })
    }

    fn next(&mut self, path: &Path) -> Result<Option<Chunk>> {
        let mut text = std::mem::take(&mut self.kept);
        let mut ends = Vec::new();
        while !self.is_over && ends.is_empty() {
            // A record longer than a chunk: the step doubles, so that each byte is moved a few times at most.
            let wanted = text.len() + CHUNK_BYTES.max(text.len());
            self.fill(path, &mut text, wanted)?;
            if self.at == 0 && self.scanner.ends.skips_mark && text.starts_with(MARK) {
                text.drain(..MARK.len());
                self.at = MARK.len() as u64;
            }
            self.scanner.scan(&text, self.is_over, &mut ends);
        }
        if self.is_over && ends.last().copied().unwrap_or(0) < text.len() {
            ends.push(text.len());
        }
        let Some(end) = ends.last().copied() else { return Ok(None) };
        self.kept = text.split_off(end);
        self.scanner.forget(end);
        let from = self.at;
        self.at = from + end as u64;
        let is_last = self.kept.is_empty() && (self.is_over || self.file.length == Some(self.at));
        Ok(Some(Chunk { from, text: Bytes::from(text), ends: ends.into(), is_last }))
    }

    fn fill(&mut self, path: &Path, text: &mut Vec<u8>, wanted: usize) -> Result<()> {
        let mut held = text.len();
        text.resize(wanted, 0);
        while held < wanted {
            match self.file.read(text.get_mut(held..).unwrap_or_default()) {
                Ok(0) => {
                    self.is_over = true;
                    break;
                }
                Ok(read) => held += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.file.broken(path, self.at + held as u64, &error)),
            }
        }
        text.truncate(held);
        Ok(())
    }
}

/// A [`FileFormat`] made of lines.
pub struct TextScan<T>(Arc<T>);

impl<T: TextFormat> TextScan<T> {
    pub fn new(format: T) -> Self {
        Self(Arc::new(format))
    }
}

impl<T> std::fmt::Debug for TextScan<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextScan")
    }
}

impl<T: TextFormat> FileFormat for TextScan<T> {
    fn read(&self, path: &Path, position: u64, take: &mut dyn FnMut(Piece) -> bool) -> Result<()> {
        let mut chunks = Chunks::open(path, position, self.0.ends())?;
        let opened = Opened { path: path.to_owned(), start: position, lines_before: OnceLock::new() };
        let opened = Arc::new(opened);
        let mut heading = if position == 0 { self.0.heading() } else { None };
        while let Some(chunk) = chunks.next(path)? {
            let mut first = 0;
            if let Some(looking) = &mut heading {
                while let Some(record) = record(&chunk.text, &chunk.ends, first) {
                    if !looking.take(path, record)? {
                        heading = None;
                        break;
                    }
                    first += 1;
                }
            }
            if !pieces(&self.0, &opened, chunk, first).all(&mut *take) {
                return Ok(());
            }
        }
        heading.map_or(Ok(()), |mut looking| looking.end(path))
    }

    fn prime(&self, path: &Path) -> Result<()> {
        let Some(mut heading) = self.0.heading() else { return Ok(()) };
        let mut chunks = Chunks::open(path, 0, self.0.ends())?;
        while let Some(chunk) = chunks.next(path)? {
            let mut number = 0;
            while let Some(record) = record(&chunk.text, &chunk.ends, number) {
                if !heading.take(path, record)? {
                    return Ok(());
                }
                number += 1;
            }
        }
        heading.end(path)
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.0.extensions()
    }
}

/// Where record `number` of a chunk lies.
fn range(ends: &[usize], number: usize) -> Option<Range<usize>> {
    let end = *ends.get(number)?;
    let start = number.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    Some(start..end)
}

fn record<'a>(text: &'a [u8], ends: &[usize], number: usize) -> Option<&'a [u8]> {
    text.get(range(ends, number)?)
}

/// A chunk from record `number` on, in pieces of at most [`BATCH_ROWS`] rows.
fn pieces<'a, T: TextFormat>(
    format: &'a Arc<T>,
    opened: &'a Arc<Opened>,
    chunk: Chunk,
    mut number: usize,
) -> impl Iterator<Item = Piece> + 'a {
    std::iter::from_fn(move || {
        let first = number;
        let mut rows = 0;
        while let Some(record) = record(&chunk.text, &chunk.ends, number).filter(|_| rows < BATCH_ROWS) {
            rows += u64::from(format.is_row(record));
            number += 1;
        }
        let (start, end) =
            (range(&chunk.ends, first)?.start, range(&chunk.ends, number.checked_sub(1)?)?.end);
        let records = Records {
            opened: Arc::clone(opened),
            from: chunk.from,
            text: chunk.text.clone(),
            ends: Arc::clone(&chunk.ends),
            numbers: first..number,
        };
        let format = Arc::clone(format);
        (first < number).then(|| Piece {
            rows,
            next: chunk.from + end as u64,
            last: chunk.is_last && number == chunk.ends.len(),
            bytes: end - start,
            decode: Box::new(move || records.decode(&*format)),
        })
    })
}

/// Some records of a chunk.
struct Records {
    opened: Arc<Opened>,
    /// Place of the chunk in the text of the file.
    from: u64,
    text: Bytes,
    ends: Arc<[usize]>,
    numbers: Range<usize>,
}

impl Records {
    fn decode(&self, format: &impl TextFormat) -> Result<Decoded> {
        let ranges = self.numbers.clone().filter_map(|number| range(&self.ends, number));
        let is_row =
            |range: &Range<usize>| self.text.get(range.clone()).is_some_and(|record| format.is_row(record));
        let rows: Vec<_> = ranges.filter(is_row).collect();
        let (mut parts, mut bad) = (Vec::new(), Vec::new());
        self.parse(format, &rows, 0, &mut parts, &mut bad);
        if parts.is_empty() {
            let nothing = format.parse(&self.text, &[]);
            parts.push(nothing.map_err(|reason| damaged(&self.opened.path, 0, reason))?);
        }
        let records = match parts.as_slice() {
            [one] => one.clone(),
            several => {
                let schema = several.first().map(RecordBatch::schema).unwrap_or_else(empty_schema);
                concat_batches(&schema, several)?
            }
        };
        if bad.is_empty() {
            return Ok(Decoded::whole(records));
        }
        let start =
            self.numbers.start.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let before = self.opened.lines_before(self.from + start as u64)?;
        let reject = |(row, message): &(usize, String)| {
            let place = rows.get(*row).map_or(start, |range| range.start);
            let line = before
                + memchr_iter(b'\n', self.text.get(start..place).unwrap_or_default()).count() as u64
                + 1;
            Rejected {
                code: format.code(),
                message: message.clone(),
                offset: format!("{} line {line}", self.opened.path.display()),
            }
        };
        let rejected = bad.iter().map(reject).collect();
        let good = (0..rows.len()).filter(|row| bad.binary_search_by_key(row, |(bad, _)| *bad).is_err());
        Ok(Decoded { records, positions: Some(good.map(|row| row as u64).collect()), rejected })
    }

    /// Parses some rows; halves them where one is bad, down to that one. `first`: the number of the first of them.
    fn parse(
        &self,
        format: &impl TextFormat,
        rows: &[Range<usize>],
        first: usize,
        parts: &mut Vec<RecordBatch>,
        bad: &mut Vec<(usize, String)>,
    ) {
        if rows.is_empty() {
            return;
        }
        let parsed = format.parse(&self.text, rows).and_then(|batch| match batch.num_rows() {
            found if found == rows.len() => Ok(batch),
            found => Err(format!("expected {} rows, got {found}", rows.len())),
        });
        match parsed {
            Ok(batch) => parts.push(batch),
            Err(reason) if rows.len() == 1 => bad.push((first, reason)),
            Err(_) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.parse(format, left, first, parts, bad);
                self.parse(format, right, first + left.len(), parts, bad);
            }
        }
    }
}

fn empty_schema() -> arrow::datatypes::SchemaRef {
    Arc::new(arrow::datatypes::Schema::empty())
}

/// What the chunks of one opening of a file share, to number their lines if one is bad.
struct Opened {
    path: PathBuf,
    /// Where reading began.
    start: u64,
    lines_before: OnceLock<u64>,
}

impl Opened {
    /// Lines of the file before `place`. Reads the file again: called for chunks with bad lines only.
    fn lines_before(&self, place: u64) -> Result<u64> {
        let before = match self.lines_before.get() {
            Some(before) => *before,
            None => {
                let before = self.count(0, self.start)?;
                *self.lines_before.get_or_init(|| before)
            }
        };
        Ok(before + self.count(self.start, place)?)
    }

    fn count(&self, from: u64, to: u64) -> Result<u64> {
        let mut text = TextFile::open(&self.path, from)?;
        let (mut buffer, mut lines, mut left) = (vec![0; 1 << 16], 0, to - from);
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match text.read(buffer.get_mut(..most).unwrap_or_default()) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(text.broken(&self.path, to - left, &error)),
            };
            lines += memchr_iter(b'\n', buffer.get(..read).unwrap_or_default()).count() as u64;
            left -= read as u64;
        }
        Ok(lines)
    }
}
