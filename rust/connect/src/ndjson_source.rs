//! NDJSON files: `pl.scan_ndjson`.
//!
//! The reader thread cuts a file into chunks of whole lines, however long a line is; a worker parses a chunk. A line that
//! is no object of the declared types is rejected with its number, the others stay. Position in a file: the byte. Not
//! here: the rules of values (`json_columns.rs`), order of files and offsets (`file_scan.rs`). Called by the registry.

use crate::file_scan::{BATCH_ROWS, FileFormat, FileScan, Piece, damaged, not_readable};
use crate::file_types::convert;
use crate::json_columns::{CATEGORIES, PolarsRules};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as Arrow, Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use dataflare_engine::source::{Decoded, Rejected};
use dataflare_engine::types::{arrow_schema, arrow_type};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, Schema};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Bytes of a chunk, if its first line is not longer.
const CHUNK_BYTES: usize = 1 << 20;

/// Polars' reader options that would change the rows.
#[derive(Debug, Default, Deserialize)]
struct ReaderOptions {
    #[serde(default)]
    ignore_errors: bool,
}

/// A scan of NDJSON files.
///
/// # Errors
/// [`EngineError::Call`]: an option or a column type that is not supported.
pub fn ndjson_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    let mut options = options.clone();
    let reader = options
        .as_object_mut()
        .and_then(|options| options.remove("polars"))
        .filter(|reader| !reader.is_null());
    let reader: ReaderOptions = reader
        .map_or_else(|| Ok(ReaderOptions::default()), |reader| crate::file_scan::parse("ndjson", &reader))?;
    if reader.ignore_errors {
        let found = "ignore_errors=True (use on_error of the engine)";
        return Err(EngineError::call("scan_ndjson", "ignore_errors=False", found));
    }
    FileScan::new("ndjson", &options, schema, |columns| {
        let rules = Arc::new(Rules::new(columns)?);
        Ok(Box::new(NdjsonFormat { rules }))
    })
}

struct NdjsonFormat {
    rules: Arc<Rules>,
}

/// The declared columns, and as what they are parsed.
struct Rules {
    columns: Vec<Field>,
    parsed: SchemaRef,
}

/// What the chunks of one opening of a file share, to number their lines if one is bad.
struct Opened {
    path: PathBuf,
    /// Where reading began.
    start: u64,
    lines_before: OnceLock<u64>,
}

impl Rules {
    fn new(columns: Vec<Field>) -> Result<Self> {
        let fields: Vec<_> = columns.iter().map(parsed_field).collect();
        let rules = Self { parsed: Arc::new(ArrowSchema::new(fields)), columns };
        for field in &rules.columns {
            if decoder(&Arc::new(ArrowSchema::new(vec![parsed_field(field)])), 1).is_err() {
                let place = format!("scan_ndjson, column '{}'", field.name);
                return Err(EngineError::call(place, "a type that JSON holds", field.dtype.to_string()));
            }
        }
        Ok(rules)
    }

    fn batch(&self, parsed: &RecordBatch) -> Result<RecordBatch> {
        let columns =
            parsed.columns().iter().zip(&self.columns).map(|(column, field)| convert(column, &field.dtype));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(parsed.num_rows()));
        Ok(RecordBatch::try_new_with_options(arrow_schema(&self.columns), columns, &options)?)
    }
}

/// Dictionaries are parsed as texts.
fn parsed_field(field: &Field) -> ArrowField {
    let text = ArrowField::new(&field.name, Arrow::Utf8View, true);
    match &field.dtype {
        DataType::Categorical => {
            text.with_metadata(HashMap::from([(CATEGORIES.to_owned(), "null".to_owned())]))
        }
        DataType::Enum { categories } => {
            let values = (CATEGORIES.to_owned(), serde_json::json!(categories).to_string());
            text.with_metadata(HashMap::from([values]))
        }
        dtype => ArrowField::new(&field.name, arrow_type(dtype), true),
    }
}

fn decoder(schema: &SchemaRef, rows: usize) -> std::result::Result<Decoder, String> {
    // One more, so that the decoder never stops in the middle of what it is given.
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows.saturating_add(1));
    builder.with_decoder_factory(Arc::new(PolarsRules)).build_decoder().map_err(|error| error.to_string())
}

impl FileFormat for NdjsonFormat {
    fn read(&self, path: &Path, position: u64, take: &mut dyn FnMut(Piece) -> bool) -> Result<()> {
        let mut file = File::open(path).map_err(|error| not_readable(path, &error))?;
        let length = file.metadata().map_err(|error| not_readable(path, &error))?.len();
        if position > length {
            return Err(damaged(
                path,
                0,
                format!("the file is shorter than at the checkpoint, which had read {position} bytes"),
            ));
        }
        file.seek(SeekFrom::Start(position)).map_err(|error| not_readable(path, &error))?;
        let opened =
            Arc::new(Opened { path: path.to_owned(), start: position, lines_before: OnceLock::new() });
        let mut chunks = Chunks { file, at: position, length, kept: Vec::new() };
        while let Some(chunk) = chunks.next(path)? {
            if position == 0 && chunk.from == 0 {
                refuse_compressed(path, &chunk.bytes)?;
            }
            if !pieces(&self.rules, &opened, chunk, length).all(&mut *take) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["ndjson", "jsonl", "json"]
    }
}

fn refuse_compressed(path: &Path, bytes: &[u8]) -> Result<()> {
    let magic: [(&[u8], &str); 2] = [(&[0x1f, 0x8b], "gzip"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd")];
    match magic.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        None => Ok(()),
        Some((_, name)) => Err(EngineError::call(path.display().to_string(), "an uncompressed file", *name)),
    }
}

/// Cuts a file into chunks that end behind a line.
struct Chunks {
    file: File,
    /// Place of the first byte in `kept`.
    at: u64,
    length: u64,
    /// Begins a line that the last chunk did not hold whole.
    kept: Vec<u8>,
}

/// Whole lines.
struct Chunk {
    from: u64,
    bytes: Vec<u8>,
}

impl Chunks {
    fn next(&mut self, path: &Path) -> Result<Option<Chunk>> {
        let mut bytes = std::mem::take(&mut self.kept);
        let from = self.at;
        loop {
            let searched = bytes.len();
            let left = usize::try_from(self.length - from).unwrap_or(usize::MAX) - searched;
            // A line longer than a chunk: the step doubles, so that each byte is moved a few times at most.
            let step = CHUNK_BYTES.max(searched).min(left);
            bytes.resize(searched + step, 0);
            let fresh = bytes.get_mut(searched..).unwrap_or_default();
            self.file
                .read_exact(fresh)
                .map_err(|error| damaged(path, 0, format!("at byte {from}: {error}")))?;
            let last = fresh.iter().rposition(|byte| *byte == b'\n');
            let end = match last {
                Some(last) => searched + last + 1,
                None if step == left => bytes.len(),
                None => continue,
            };
            let end = if step == left { bytes.len() } else { end };
            self.kept = bytes.split_off(end);
            self.at = from + end as u64;
            return Ok((!bytes.is_empty()).then_some(Chunk { from, bytes }));
        }
    }
}

/// A chunk in pieces of at most [`BATCH_ROWS`] lines. Blank lines are no rows.
fn pieces<'a>(
    rules: &'a Arc<Rules>,
    opened: &'a Arc<Opened>,
    chunk: Chunk,
    length: u64,
) -> impl Iterator<Item = Piece> + 'a {
    let bytes: Arc<[u8]> = chunk.bytes.into();
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at;
        let mut rows = 0;
        while at < bytes.len() && rows < BATCH_ROWS {
            let rest = bytes.get(at..).unwrap_or_default();
            let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            rows += u64::from(!is_blank(rest.get(..line).unwrap_or_default()));
            at += line;
        }
        let next = chunk.from + at as u64;
        (from < at).then(|| {
            let (rules, opened, bytes) = (Arc::clone(rules), Arc::clone(opened), Arc::clone(&bytes));
            let place = chunk.from + from as u64;
            let range = from..at;
            Piece {
                rows,
                next,
                last: next == length,
                bytes: at - from,
                decode: Box::new(move || rules.decode(&opened, bytes.get(range).unwrap_or_default(), place)),
            }
        })
    })
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

impl Rules {
    /// Parses the lines of a piece, `place` bytes into the file.
    fn decode(&self, opened: &Opened, bytes: &[u8], place: u64) -> Result<Decoded> {
        let mut lines = Vec::new();
        for (number, line) in (0..).zip(bytes.split(|byte| *byte == b'\n')) {
            if !is_blank(line) {
                lines.push((number, line));
            }
        }
        let mut parts = Vec::new();
        let mut bad = Vec::new();
        self.parse(&lines, 0..lines.len(), &mut parts, &mut bad)?;
        let parsed = match parts.as_slice() {
            [one] => one.clone(),
            several => concat_batches(&self.parsed, several)?,
        };
        let records = self.batch(&parsed)?;
        if bad.is_empty() {
            return Ok(Decoded::whole(records));
        }
        let before = opened.lines_before(place)?;
        let reject = |(row, message): &(usize, String)| {
            let line = lines.get(*row).map_or(0, |(number, _)| before + *number + 1);
            Rejected {
                code: "json",
                message: message.clone(),
                offset: format!("{} line {line}", opened.path.display()),
            }
        };
        let rejected = bad.iter().map(reject).collect();
        let good = (0..lines.len()).filter(|row| bad.binary_search_by_key(row, |(bad, _)| *bad).is_err());
        Ok(Decoded { records, positions: Some(good.map(|row| row as u64).collect()), rejected })
    }

    /// Parses some lines; halves them where one is bad, down to that one.
    fn parse(
        &self,
        lines: &[(u64, &[u8])],
        range: Range<usize>,
        parts: &mut Vec<RecordBatch>,
        bad: &mut Vec<(usize, String)>,
    ) -> Result<()> {
        let reason = match self.parse_all(lines.get(range.clone()).unwrap_or_default()) {
            Ok(batch) => {
                parts.push(batch);
                return Ok(());
            }
            Err(reason) => reason,
        };
        if range.len() <= 1 {
            bad.push((range.start, reason));
            return Ok(());
        }
        let middle = range.start + range.len() / 2;
        self.parse(lines, range.start..middle, parts, bad)?;
        self.parse(lines, middle..range.end, parts, bad)
    }

    /// Each line must be one object, whole.
    fn parse_all(&self, lines: &[(u64, &[u8])]) -> std::result::Result<RecordBatch, String> {
        let mut decoder = decoder(&self.parsed, lines.len())?;
        for (row, (_, line)) in lines.iter().enumerate() {
            let read = decoder.decode(line).map_err(|error| words(&error))?;
            if decoder.has_partial_record() || read < line.len() {
                return Err("the line ends inside an object".to_owned());
            }
            if decoder.len() != row + 1 {
                return Err(format!("expected one object, got {}", decoder.len() - row));
            }
        }
        let batch = decoder.flush().map_err(|error| words(&error))?;
        Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.parsed))))
    }
}

/// Without the name of Arrow's variant.
fn words(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string();
    text.strip_prefix("Json error: ").unwrap_or(&text).to_owned()
}

impl Opened {
    /// Lines of the file before `place`. Reads the file again: called for chunks with bad lines only.
    fn lines_before(&self, place: u64) -> Result<u64> {
        let unreadable = |error: std::io::Error| damaged(&self.path, 0, error);
        let count = |from: u64, to: u64| -> std::io::Result<u64> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut file = file.take(to - from);
            let (mut buffer, mut lines) = (vec![0; 1 << 16], 0);
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    return Ok(lines);
                }
                let read = buffer.get(..read).unwrap_or_default();
                lines += read.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        };
        let before = match self.lines_before.get() {
            Some(before) => *before,
            None => {
                let before = count(0, self.start).map_err(unreadable)?;
                *self.lines_before.get_or_init(|| before)
            }
        };
        Ok(before + count(self.start, place).map_err(unreadable)?)
    }
}

#[cfg(test)]
mod tests {
    use super::ndjson_source;
    use crate::json_text::Lines;
    use crate::testing::{Taken, drain};
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int64Type;
    use dataflare_engine::{EngineError, Result};
    use dataflare_plan::{DataType, Field};
    use serde_json::{Value, json};
    use std::path::{Path, PathBuf};

    fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn field(name: &str, dtype: DataType) -> Field {
        Field { name: name.to_owned(), dtype }
    }

    fn read(text: impl AsRef<[u8]>, schema: &[Field]) -> Result<Vec<Taken>> {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "a.ndjson", text);
        drain(&ndjson_source(&json!({"paths": [path]}), &schema.to_vec())?, None)
    }

    fn numbers(taken: &[Taken]) -> Vec<i64> {
        let values = |t: &Taken| t.records.column(0).as_primitive::<Int64Type>().values().to_vec();
        taken.iter().flat_map(values).collect()
    }

    fn n() -> [Field; 1] {
        [field("n", DataType::Int64)]
    }

    #[test]
    fn values_are_read_and_written_as_polars_does() {
        // Made by Polars 2.1: what `scan_ndjson` with a schema, then `write_ndjson`, makes of one value; null: an error.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ndjson.json");
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(cases.len() > 100);
        let mut wrong = Vec::new();
        for case in &cases {
            let dtype: DataType = serde_json::from_value(case["dtype"].clone()).unwrap();
            let line = format!("{{\"a\":{}}}", case["value"].as_str().unwrap());
            let taken = read(&line, &[field("a", dtype)]).unwrap().remove(0);
            let ours = (taken.rejected.is_empty()).then(|| {
                let mut lines = Lines::new(Vec::new());
                lines.write(&taken.records).unwrap();
                String::from_utf8(lines.finish().unwrap()).unwrap().trim_end().to_owned()
            });
            if ours.as_deref() != case["polars"].as_str() {
                wrong.push(format!("{case}: {ours:?}, {:?}", taken.rejected));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn lines_that_are_no_objects_of_the_schema_are_rejected_with_their_number() {
        let text =
            "{\"n\":1}\n\ngarbage\n{\"n\":\"x\"}\n{\"n\":2} {\"n\":3}\n[{\"n\":4}]\n{\"n\":5}\n{\"n\":6\n";
        let taken = read(text, &n()).unwrap();
        assert_eq!(numbers(&taken), [1, 5]);
        assert_eq!(taken[0].positions, Some(vec![0, 5]));
        let (places, messages): (Vec<_>, Vec<_>) = taken[0]
            .rejected
            .iter()
            .map(|r| (r.offset.rsplit('/').next().unwrap(), r.message.as_str()))
            .unzip();
        assert_eq!(places, [3, 4, 5, 6, 8].map(|line| format!("a.ndjson line {line}")));
        assert_eq!(messages[1], "column 'n': expected Int64, got \"x\"");
        assert_eq!(messages[2], "expected one object, got 2");
        assert_eq!(messages[4], "the line ends inside an object");
        assert!(taken[0].rejected.iter().all(|rejected| rejected.code == "json"));
    }

    #[test]
    fn truncated_last_line_bad_bytes_and_foreign_names_follow_polars() {
        let cut = read("{\"n\":1}\n{\"n\":", &n()).unwrap();
        assert_eq!((numbers(&cut), cut[0].rejected.len()), (vec![1], 1));
        let bytes = read(b"{\"s\":\"\xff\"}\n{\"s\":\"ok\"}\n", &[field("s", DataType::String)]).unwrap();
        assert_eq!((bytes[0].records.num_rows(), bytes[0].rejected.len()), (1, 1));
        let names = read("{\"N\":1,\"other\":[{}]}\r\n  {\"n\":2,\"n\":3}  \n{}", &n()).unwrap();
        let column = names[0].records.column(0).as_primitive::<Int64Type>().clone();
        assert_eq!((column.is_null(0), column.value(1), column.is_null(2)), (true, 2, true));
        assert!(read("", &n()).unwrap().is_empty());
        assert_eq!(read("{}\n \t\n{}\n", &[]).unwrap()[0].records.num_rows(), 2);
    }

    #[test]
    fn values_nested_without_end_are_rejected() {
        let deep = format!("{{\"s\":{}{}}}\n", "[".repeat(100_000), "]".repeat(100_000));
        for dtype in [DataType::String, DataType::Int64] {
            assert_eq!(read(&deep, &[field("s", dtype)]).unwrap()[0].rejected.len(), 1);
        }
    }

    #[test]
    fn lines_of_any_length_are_read_whole() {
        let long = "x".repeat(11_000_000);
        let text = format!("{{\"s\":\"a\"}}\n{{\"s\":\"{long}\"}}\n{{\"s\":\"b\"}}");
        let taken = read(&text, &[field("s", DataType::String)]).unwrap();
        let lengths: Vec<usize> = taken
            .iter()
            .flat_map(|t| {
                t.records.column(0).as_string_view().iter().map(|s| s.unwrap().len()).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(lengths, [1, 11_000_000, 1]);
    }

    #[test]
    fn reading_goes_on_after_every_offset_and_lines_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let line = |n: i64| {
            if n % 50_000 == 7 { "bad\n".to_owned() } else { format!("{{\"n\":{n},\"x\":\"{n:040}\"}}\n") }
        };
        let a = write(folder.path(), "a.ndjson", (0..120_000).map(line).collect::<String>());
        let b = write(folder.path(), "b.ndjson", "{\"n\":120000}");
        let source = ndjson_source(&json!({"paths": [a, b]}), &n().to_vec()).unwrap();
        let taken = drain(&source, None).unwrap();
        assert_eq!(numbers(&taken), (0..120_001).filter(|n| n % 50_000 != 7).collect::<Vec<_>>());
        let rejected = |taken: &[Taken]| -> Vec<String> {
            taken.iter().flat_map(|t| t.rejected.iter().map(|r| r.offset.clone())).collect()
        };
        assert_eq!(rejected(&taken), [8, 50_008, 100_008].map(|line| format!("{} line {line}", a.display())));
        for (index, t) in taken.iter().enumerate() {
            let rest = drain(&source, Some(&t.next)).unwrap();
            assert_eq!(
                (numbers(&rest), rejected(&rest)),
                (numbers(&taken[index + 1..]), rejected(&taken[index + 1..]))
            );
        }
        let mut places = Vec::new();
        for t in &taken {
            let own =
                |row: usize| t.positions.as_ref().map_or(t.first + row as u64, |positions| positions[row]);
            places.extend((0..t.records.num_rows()).map(own));
        }
        assert!(places.is_sorted() && places.last() == Some(&120_000));
    }

    #[test]
    fn types_and_options_without_a_meaning_are_refused() {
        let refused =
            |options: Value, dtype: DataType| ndjson_source(&options, &vec![field("a", dtype)]).unwrap_err();
        for dtype in [DataType::Time, DataType::Binary, DataType::Decimal { precision: 10, scale: 2 }] {
            let expected =
                EngineError::call("scan_ndjson, column 'a'", "a type that JSON holds", dtype.to_string());
            assert_eq!(refused(json!({"paths": []}), dtype), expected);
        }
        let options = json!({"paths": [], "polars": {"ignore_errors": true}});
        assert!(refused(options, DataType::Int64).to_string().contains("use on_error"));
        let gzip = read([0x1f, 0x8b, 8, 0], &n()).unwrap_err();
        assert!(gzip.to_string().ends_with("expected an uncompressed file, got gzip"), "{gzip}");
    }
}
