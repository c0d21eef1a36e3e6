//! Compressed files of text: what a file begins with says how it is compressed, its name does not.
//!
//! gzip, zlib and zstd are read as they come, also several members in a row. A position in such a file counts the bytes
//! of its text: going there reads the file from its beginning. Also the compressors of sinks. Called by `text.rs` and by
//! the sinks of text. Not here: Parquet, IPC and Avro, which compress inside.

use crate::files::format::{damaged, not_readable};
use dataflare_engine::{EngineError, Result};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A file of text, from some byte of the text on.
pub struct TextFile {
    text: Box<dyn Read + Send>,
    /// Bytes of the text, where that is known before it is read.
    pub length: Option<u64>,
    /// The compression, for messages.
    pub codec: &'static str,
}

impl std::fmt::Debug for TextFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextFile({})", self.codec)
    }
}

impl Read for TextFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.text.read(buffer)
    }
}

/// Compressions that others use and that are not read here.
const FOREIGN: [(&[u8], &str); 4] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "a zip archive"),
];

impl TextFile {
    /// Opens `path` at byte `position` of its text.
    ///
    /// # Errors
    /// The file is missing, shorter than `position`, or compressed in a way that is not read.
    pub fn open(path: &Path, position: u64) -> Result<Self> {
        let unreadable = |error: std::io::Error| not_readable(path, &error);
        let mut file = File::open(path).map_err(unreadable)?;
        let mut magic = Vec::with_capacity(8);
        Read::by_ref(&mut file).take(8).read_to_end(&mut magic).map_err(unreadable)?;
        if let Some((_, name)) = FOREIGN.iter().find(|(bytes, _)| magic.starts_with(bytes)) {
            let expected = "text, as it is or in gzip, zlib or zstd";
            return Err(EngineError::call(path.display().to_string(), expected, *name));
        }
        file.rewind().map_err(unreadable)?;
        let (text, codec): (Box<dyn Read + Send>, _) = match magic.as_slice() {
            [0x1f, 0x8b, ..] => {
                (Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file))), "gzip")
            }
            // The fourth level byte, 0x5e, is a letter: "x^" begins a text.
            [0x78, 0x01 | 0x9c | 0xda, ..] => (Box::new(ZlibDecoder::new(file)), "zlib"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => (Box::new(zstd::Decoder::new(file).map_err(unreadable)?), "zstd"),
            _ => return Self::plain(path, file, position),
        };
        let mut opened = Self { text, length: None, codec };
        let skipped = std::io::copy(&mut Read::by_ref(&mut opened).take(position), &mut std::io::sink());
        let skipped = skipped.map_err(|error| opened.broken(path, 0, &error))?;
        if skipped < position { Err(shorter(path, position)) } else { Ok(opened) }
    }

    fn plain(path: &Path, mut file: File, position: u64) -> Result<Self> {
        let unreadable = |error: std::io::Error| not_readable(path, &error);
        let length = file.metadata().map_err(unreadable)?.len();
        if position > length {
            return Err(shorter(path, position));
        }
        file.seek(SeekFrom::Start(position)).map_err(unreadable)?;
        // A file that grows meanwhile ends where it ended when it was opened.
        Ok(Self { text: Box::new(file.take(length - position)), length: Some(length), codec: "text" })
    }

    /// An error of `read` at byte `at` of the text.
    pub fn broken(&self, path: &Path, at: u64, error: &std::io::Error) -> EngineError {
        let reason = if error.kind() == std::io::ErrorKind::UnexpectedEof {
            format!("the {} data behind byte {at} of the text is cut off", self.codec)
        } else {
            format!("the {} data behind byte {at} of the text is damaged: {error}", self.codec)
        };
        damaged(path, 0, reason)
    }
}

fn shorter(path: &Path, position: u64) -> EngineError {
    damaged(path, 0, format!("the file is shorter than at the checkpoint, which had read {position} bytes"))
}

/// How a sink of text compresses: Polars' `compression=` and `compression_level=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    #[default]
    None,
    Gzip(flate2::Compression),
    Zstd(i32),
}

impl Codec {
    /// Reads `"Uncompressed"`, `{"Gzip": {"level": null}}` or `{"Zstd": {"level": 3}}`.
    ///
    /// # Errors
    /// [`EngineError::Call`]: another codec, a level out of range.
    pub fn of(place: &str, value: Option<&Value>) -> Result<Self> {
        let (name, level) = match value {
            None | Some(Value::Null) => return Ok(Self::None),
            Some(Value::String(name)) => (name.as_str(), None),
            Some(Value::Object(one)) => match one.iter().next() {
                Some((name, settings)) => (name.as_str(), settings.get("level").and_then(Value::as_i64)),
                None => ("", None),
            },
            Some(_) => ("", None),
        };
        let wrong =
            |expected: &str| EngineError::call(place, expected, format!("{}", level.unwrap_or_default()));
        match name {
            "Uncompressed" => Ok(Self::None),
            "Gzip" => match level {
                None => Ok(Self::Gzip(flate2::Compression::default())),
                Some(level) => u32::try_from(level)
                    .ok()
                    .filter(|level| *level <= 9)
                    .map(|level| Self::Gzip(flate2::Compression::new(level)))
                    .ok_or_else(|| wrong("a compression_level of gzip from 0 to 9")),
            },
            "Zstd" => match level {
                None => Ok(Self::Zstd(3)),
                Some(level) => i32::try_from(level)
                    .ok()
                    .filter(|level| (1..=22).contains(level))
                    .map(Self::Zstd)
                    .ok_or_else(|| wrong("a compression_level of zstd from 1 to 22")),
            },
            other => Err(EngineError::call(
                place,
                "compression uncompressed, gzip or zstd",
                format!("'{}'", other.to_lowercase()),
            )),
        }
    }

    /// What names of such files end in, behind the format's own.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip(_) => ".gz",
            Self::Zstd(_) => ".zst",
        }
    }

    /// Begins a file.
    ///
    /// # Errors
    /// A reason in words.
    pub fn writer(self, file: File) -> Result<TextWriter, String> {
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(match self {
            Self::None => TextWriter::Plain(file),
            Self::Gzip(level) => TextWriter::Gzip(GzEncoder::new(file, level)),
            Self::Zstd(level) => {
                TextWriter::Zstd(zstd::Encoder::new(file, level).map_err(|error| error.to_string())?)
            }
        })
    }
}

/// Takes text, writes a file.
pub enum TextWriter {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl TextWriter {
    /// Ends the file and gives it back, not yet durable.
    ///
    /// # Errors
    /// A reason in words.
    pub fn finish(self) -> Result<File, String> {
        let file = match self {
            Self::Plain(file) => Ok(file),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        };
        let file = file.map_err(|error| error.to_string())?;
        file.into_inner().map_err(|error| error.error().to_string())
    }
}

impl Write for TextWriter {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(text),
            Self::Gzip(encoder) => encoder.write(text),
            Self::Zstd(encoder) => encoder.write(text),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl std::fmt::Debug for TextWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextWriter")
    }
}
