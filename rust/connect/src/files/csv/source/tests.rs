use super::csv_source;
use crate::testing::{Taken, drain};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use dataflare_engine::Result;
use dataflare_plan::{DataType, Field, Schema};
use serde_json::{Value, json};

fn schema() -> Schema {
    let field = |name: &str, dtype| Field { name: name.to_owned(), dtype };
    vec![field("n", DataType::Int64), field("s", DataType::String)]
}

fn read_as(text: impl AsRef<[u8]>, options: &Value) -> Result<Vec<Taken>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, text).unwrap();
    let mut csv = json!({"columns": schema()});
    csv.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    drain(&csv_source(&json!({"paths": [path], "csv": csv}), &schema())?, None)
}

fn read(text: impl AsRef<[u8]>) -> Result<Vec<Taken>> {
    read_as(text, &json!({}))
}

fn rows(taken: &[Taken]) -> Vec<(Option<i64>, Option<String>)> {
    let of = |t: &Taken| {
        let (numbers, words) = (
            t.records.column(0).as_primitive::<Int64Type>().clone(),
            t.records.column(1).as_string_view().clone(),
        );
        numbers.iter().zip(words.iter().map(|word| word.map(str::to_owned))).collect::<Vec<_>>()
    };
    taken.iter().flat_map(of).collect()
}

fn row(number: i64, word: &str) -> (Option<i64>, Option<String>) {
    (Some(number), Some(word.to_owned()))
}

#[test]
fn quotes_marks_breaks_and_blank_lines_are_read() {
    let text = b"\xef\xbb\xbfn,s\r\n1,\"a\r\n\"\"b\"\"\"\r\n\r\n2,5\" tall\r\n,\r\n3,last";
    let expected = [row(1, "a\r\n\"b\""), row(2, "5\" tall"), (None, None), row(3, "last")];
    assert_eq!(rows(&read(text).unwrap()), expected);
    let options = json!({"has_header": false, "separator": b';', "comment_prefix": "#", "null_value": "NULL", "quote_char": null});
    assert_eq!(
        rows(&read_as("# it's; \"\n1;\"x\n2;NULL\n", &options).unwrap()),
        [row(1, "\"x"), (Some(2), None)]
    );
}

#[test]
fn rows_that_are_none_are_rejected_with_their_line() {
    let taken = read("n,s\n1,a\nx,b\n2,\"c\nd\"\n3\n4,e,f\n5,g\n").unwrap();
    assert_eq!(rows(&taken), [row(1, "a"), row(2, "c\nd"), row(5, "g")]);
    let shown: Vec<_> = taken[0]
        .rejected
        .iter()
        .map(|r| (r.offset.rsplit(' ').next().unwrap(), r.code, r.message.as_str()))
        .collect();
    assert_eq!(
        shown.iter().map(|(line, code, _)| (*line, *code)).collect::<Vec<_>>(),
        [("3", "csv"), ("6", "csv"), ("7", "csv")]
    );
    assert!(shown[0].2.contains("'x'") && shown[1].2.contains("expected 2"), "{shown:?}");
    assert_eq!(taken[0].positions, Some(vec![0, 2, 5]));
    let bytes = read(b"n,s\n1,\xff\n2,ok\n").unwrap();
    assert_eq!((rows(&bytes), bytes[0].rejected.len()), (vec![row(2, "ok")], 1));
}

#[test]
fn headers_must_be_there_and_right() {
    assert!(read("n,s\n").unwrap().iter().all(|t| t.records.num_rows() == 0));
    let empty = read("").unwrap_err().to_string();
    assert!(empty.ends_with("a.csv: expected a header, got an empty file"), "{empty}");
    let wrong = read("s,n\n1,a\n").unwrap_err().to_string();
    assert!(wrong.ends_with("a.csv: expected a header of the columns n, s, got 's,n'"), "{wrong}");
    assert!(read_as("", &json!({"has_header": false})).unwrap().is_empty());
}

#[test]
fn huge_fields_and_quoted_breaks_cross_chunks_and_every_offset_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let word = |n: i64| {
        if n == 50_000 {
            "x\n\"y,".repeat(700_000)
        } else {
            format!("line {n}\nof \"two\", {}", "z".repeat(20))
        }
    };
    let line = |n: i64| format!("{n},\"{}\"\n", word(n).replace('"', "\"\""));
    std::fs::write(&path, format!("n,s\n{}", (0..100_000).map(line).collect::<String>())).unwrap();
    let source = csv_source(&json!({"paths": [path], "csv": {"columns": schema()}}), &schema()).unwrap();
    let taken = drain(&source, None).unwrap();
    let all = rows(&taken);
    assert!(all.iter().zip(0..).all(|(found, n)| *found == row(n, &word(n))) && all.len() == 100_000);
    for (index, t) in taken.iter().enumerate().step_by(3) {
        assert_eq!(rows(&drain(&source, Some(&t.next)).unwrap()), rows(&taken[index + 1..]));
    }
}
