use super::ndjson_source;
use crate::files::compression::Codec;
use crate::files::ndjson::text::Lines;
use crate::testing::{Taken, drain};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use serde_json::{Value, json};
use std::io::Write;
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
    let text = "{\"n\":1}\n\ngarbage\n{\"n\":\"x\"}\n{\"n\":2} {\"n\":3}\n[{\"n\":4}]\n{\"n\":5}\n{\"n\":6\n";
    let taken = read(text, &n()).unwrap();
    assert_eq!(numbers(&taken), [1, 5]);
    assert_eq!(taken[0].positions, Some(vec![0, 5]));
    let (places, messages): (Vec<_>, Vec<_>) =
        taken[0].rejected.iter().map(|r| (r.offset.rsplit('/').next().unwrap(), r.message.as_str())).unzip();
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
        let own = |row: usize| t.positions.as_ref().map_or(t.first + row as u64, |positions| positions[row]);
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
    let bzip2 = read(b"BZh91AY", &n()).unwrap_err();
    let expected = "expected text, as it is or in gzip, zlib or zstd, got bzip2";
    assert!(bzip2.to_string().ends_with(expected), "{bzip2}");
}

#[test]
fn compressed_lines_are_read_from_every_offset_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let line = |n: i64| if n == 70_000 { "bad\n".to_owned() } else { format!("{{\"n\":{n}}}\n") };
    let text: String = (0..150_000).map(line).collect();
    for codec in [Codec::Gzip(flate2::Compression::fast()), Codec::Zstd(1)] {
        // Two members in a row, as `cat a.gz b.gz` makes them.
        let mut bytes = Vec::new();
        for half in [&text[..500_000], &text[500_000..]] {
            let path = folder.path().join("part");
            let mut writer = codec.writer(std::fs::File::create(&path).unwrap()).unwrap();
            writer.write_all(half.as_bytes()).unwrap();
            writer.finish().unwrap();
            bytes.extend(std::fs::read(&path).unwrap());
        }
        let path = write(folder.path(), "a.ndjson", &bytes);
        let source = ndjson_source(&json!({"paths": [path]}), &n().to_vec()).unwrap();
        let taken = drain(&source, None).unwrap();
        assert_eq!(numbers(&taken), (0..150_000).filter(|n| *n != 70_000).collect::<Vec<_>>());
        let rejected: Vec<_> = taken.iter().flat_map(|t| &t.rejected).collect();
        assert!(rejected[0].offset.ends_with("a.ndjson line 70001"), "{rejected:?}");
        for (index, t) in taken.iter().enumerate() {
            assert_eq!(numbers(&drain(&source, Some(&t.next)).unwrap()), numbers(&taken[index + 1..]));
        }
        write(folder.path(), "a.ndjson", &bytes[..bytes.len() / 2]);
        let error = drain(&source, None).unwrap_err();
        assert!(error.to_string().contains("a.ndjson, row 0: the "), "{error}");
        write(
            folder.path(),
            "a.ndjson",
            [&bytes[..bytes.len() / 2], &[7; 100], &bytes[bytes.len() / 2..]].concat(),
        );
        assert!(matches!(drain(&source, None), Err(EngineError::Data { .. })));
    }
}
