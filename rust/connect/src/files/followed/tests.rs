use super::{part_matches, parts_match};
use crate::files::ndjson::source::ndjson_source;
use crate::testing::{Taken, take};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use dataflare_engine::source::{Offset, Source};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use serde_json::json;
use std::fs;
use std::path::Path;

fn source(path: &Path) -> impl Source + use<> {
    let schema = vec![Field { name: "n".to_owned(), dtype: DataType::Int64 }];
    ndjson_source(&json!({"path": path, "follow": true, "poll_ms": 3}), &schema).unwrap()
}

/// A file of one row; its number names it.
fn put(folder: &Path, name: &str, n: i64) {
    let unfinished = folder.join("_unfinished");
    fs::write(&unfinished, format!("{{\"n\":{n}}}\n")).unwrap();
    fs::rename(unfinished, folder.join(name)).unwrap();
}

fn numbers(taken: &[Taken]) -> Vec<i64> {
    let values = |t: &Taken| t.records.column(0).as_primitive::<Int64Type>().values().to_vec();
    taken.iter().flat_map(values).collect()
}

fn read(source: &impl Source, offset: Option<&Offset>, batches: usize) -> Result<Vec<Taken>> {
    take(source, offset, batches)
}

#[test]
fn files_are_read_by_name_and_hidden_ones_never() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("day=2/.tmp")).unwrap();
    put(folder.path(), "c.ndjson", 3);
    put(folder.path(), "a.ndjson", 1);
    put(folder.path(), "day=2/x.jsonl", 4);
    for hidden in [".b.ndjson", "_b.ndjson", "day=2/.tmp/b.ndjson", "b.txt"] {
        put(folder.path(), hidden, 99);
    }
    let taken = read(&source(folder.path()), None, 3).unwrap();
    assert_eq!((numbers(&taken), taken[2].first), (vec![1, 3, 4], 2));
}

#[test]
fn a_file_that_sorts_before_one_already_read_is_read_next_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "b.ndjson", 2);
    let source = source(folder.path());
    let first = read(&source, None, 1).unwrap();
    put(folder.path(), "a.ndjson", 1);
    put(folder.path(), "c.ndjson", 3);
    let rest = read(&source, Some(&first[0].next), 2).unwrap();
    assert_eq!((numbers(&first), numbers(&rest)), (vec![2], vec![1, 3]));
    let note = source.waits_for().unwrap();
    assert_eq!(note, "'a.ndjson' arrived after 'b.ndjson', which sorts behind it, had been read");
}

#[test]
fn a_restart_reads_each_file_once_and_forgets_those_tidied_away() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..5 {
        put(folder.path(), &format!("{n}.ndjson"), n);
    }
    let taken = read(&source(folder.path()), None, 5).unwrap();
    for (index, t) in taken.iter().enumerate().take(4) {
        let rest = read(&source(folder.path()), Some(&t.next), 4 - index).unwrap();
        assert_eq!(numbers(&rest), numbers(&taken[index + 1..]));
        assert_eq!(rest[0].first, taken[index + 1].first);
    }
    for n in 0..4 {
        fs::remove_file(folder.path().join(format!("{n}.ndjson"))).unwrap();
    }
    put(folder.path(), "5.ndjson", 5);
    let rest = read(&source(folder.path()), Some(&taken[4].next), 1).unwrap();
    assert_eq!((numbers(&rest), &rest[0].next["read"]), (vec![5], &json!("4.ndjson\n")));
}

#[test]
fn a_file_deleted_or_truncated_before_it_was_read_is_an_error_that_names_it() {
    for truncate in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        // More pieces than the ring holds: the reader is still in the first file when the second vanishes.
        fs::write(folder.path().join("a.ndjson"), "{\"n\":1}\n".repeat(1_000_000)).unwrap();
        put(folder.path(), "b.ndjson", 2);
        let victim = folder.path().join("b.ndjson");
        let mut seen = 0;
        let error = crate::testing::each(&source(folder.path()), |_| {
            seen += 1;
            if seen == 1 && truncate {
                fs::OpenOptions::new().write(true).open(&victim).unwrap().set_len(3).unwrap();
            } else if seen == 1 {
                fs::remove_file(&victim).unwrap();
            }
        });
        let reason = if truncate { "truncated before it was read" } else { "deleted before it was read" };
        let expected =
            EngineError::Data { place: victim.display().to_string(), row: 0, reason: reason.to_owned() };
        assert_eq!(error.unwrap_err(), expected);
    }
}

#[test]
fn a_file_at_which_the_checkpoint_stands_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    fs::write(&path, "{\"n\":1}\n".repeat(200_000)).unwrap();
    let taken = read(&source(folder.path()), None, 1).unwrap();
    fs::remove_file(&path).unwrap();
    let error = read(&source(folder.path()), Some(&taken[0].next), 1).unwrap_err();
    assert!(error.to_string().ends_with("deleted before it was read whole"), "{error}");
}

#[test]
fn patterns_are_followed_and_wrong_places_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("x/y")).unwrap();
    put(folder.path(), "x/y/in.log", 1);
    put(folder.path(), "x/out.txt", 2);
    assert_eq!(numbers(&read(&source(&folder.path().join("**/*.log")), None, 1).unwrap()), [1]);
    let refusal = source(&folder.path().join("no")).splits().unwrap_err().to_string();
    assert!(refusal.ends_with("expected a folder to follow, got nothing there"), "{refusal}");
    let matches = |pattern: &str, name: &str| {
        part_matches(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
    };
    assert!(matches("a*b?c*", "axxbxb1cx") && matches("*", "") && matches("**x", "yx"));
    assert!(!matches("a*b", "axbx") && !matches("?", ""));
    assert!(parts_match(&["**".to_owned(), "a".to_owned()], &["a"]));
    assert!(!parts_match(&["*".to_owned(), "a".to_owned()], &["a"]));
}
