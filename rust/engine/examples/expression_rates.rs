//! Rates of expressions alone, without runtime and sources: those of the Nexmark queries q14, q21 and q22, and their parts.
//!
//! `cargo run --release -p dataflare-engine --example expression_rates`: one thread, 64 batches of bids.

#![expect(clippy::unwrap_used, reason = "a measurement stops at the first error")]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use dataflare_engine::error::RowErrors;
use dataflare_engine::expr::Program;
use dataflare_engine::types::arrow_schema;
use dataflare_plan::{BinaryOperator, DataType, Expr, Field, NamedExpr, Schema, TimeUnit};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const BATCH_ROWS: usize = 65_536;
const BATCHES: usize = 64;
const TIME: DataType = DataType::Datetime { unit: TimeUnit::Microseconds, zone: None };

fn main() {
    let batch = bids();
    let list = DataType::List(Box::new(DataType::String));
    let split = || {
        let options = json!({"inclusive": false, "literal": true});
        function("str.split", vec![column("url"), text("/")], options, list.clone())
    };
    let part = |index: i64| {
        let position = literal(json!(index), DataType::Int32);
        function("list.get", vec![split(), position], json!({"null_on_oob": true}), DataType::String)
    };
    let extract = || {
        let pattern = text("(&|^)channel_id=([^&]*)");
        function("str.extract", vec![column("url"), pattern], json!({"group_index": 2}), DataType::String)
    };
    let lower = || function("str.to_lowercase", vec![column("channel")], json!({}), DataType::String);
    let count = function(
        "str.count_matches",
        vec![column("extra"), text("c")],
        json!({"literal": true}),
        DataType::UInt32,
    );
    let channel_id = ["baidu", "facebook", "google", "apple"].iter().zip(["3", "2", "1", "0"]).fold(
        extract(),
        |otherwise, (name, id)| Expr::When {
            predicate: Box::new(binary(BinaryOperator::Eq, lower(), text(name))),
            then: Box::new(text(id)),
            otherwise: Box::new(otherwise),
        },
    );
    for (name, exprs) in [
        ("q14 count of a character", vec![count]),
        ("q14 hour of a time", vec![function("dt.hour", vec![column("ts")], json!({}), DataType::Int8)]),
        ("q21 lower", vec![lower()]),
        ("q21 extract", vec![extract()]),
        ("q21 case", vec![channel_id]),
        ("q22 split into a list", vec![split()]),
        ("q22 three parts of a split", vec![part(3), part(4), part(5)]),
    ] {
        println!("{name}: {:.1} M rows a second", rate(&exprs, &batch));
    }
}

/// Millions of rows a second, the best of three rounds.
fn rate(exprs: &[Expr], batch: &RecordBatch) -> f64 {
    let exprs: Vec<NamedExpr> = exprs
        .iter()
        .enumerate()
        .map(|(index, expr)| NamedExpr { name: format!("out {index}"), expr: expr.clone() })
        .collect();
    let mut program = Program::new(&exprs, &schema(), None).unwrap();
    (0..3)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..BATCHES {
                let mut errors = RowErrors::new();
                black_box(program.evaluate(black_box(batch), &mut errors).unwrap());
            }
            (BATCHES * BATCH_ROWS) as f64 / started.elapsed().as_secs_f64() / 1e6
        })
        .fold(0.0, f64::max)
}

fn schema() -> Schema {
    [
        ("price", DataType::Int64),
        ("channel", DataType::String),
        ("url", DataType::String),
        ("ts", TIME),
        ("extra", DataType::String),
    ]
    .map(|(name, dtype)| Field { name: name.to_owned(), dtype })
    .into()
}

/// Bids of the shape that Nexmark has: half of them on one of four named channels, whose URL has no channel in it.
fn bids() -> RecordBatch {
    let rows = || 0..BATCH_ROWS as u64;
    let mixed = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let word = |seed: u64| {
        (0..5).map(|place| char::from(b'a' + (mixed(seed * 5 + place) % 26) as u8)).collect::<String>()
    };
    let channel = |row: u64| match mixed(row) % 8 {
        0 => "Apple".to_owned(),
        1 => "Google".to_owned(),
        2 => "Facebook".to_owned(),
        3 => "Baidu".to_owned(),
        _ => format!("channel-{}", mixed(row) % 10_000),
    };
    let url = |row: u64| {
        let path = format!("https://www.nexmark.com/{}/{}/{}", word(row), word(row + 1), word(row + 2));
        match mixed(row) % 8 {
            0..4 => format!("{path}/item.htm?query=1"),
            _ => format!("{path}/item.htm?query=1&channel_id={}", mixed(row)),
        }
    };
    let extra = |row: u64| (0..12).map(|place| word(row + place)).collect::<Vec<_>>().join(" ");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows().map(|row| mixed(row) as i64).collect::<Int64Array>()),
        Arc::new(StringViewArray::from_iter_values(rows().map(channel))),
        Arc::new(StringViewArray::from_iter_values(rows().map(url))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows().map(|row| row as i64 * 100_000))),
        Arc::new(StringViewArray::from_iter_values(rows().map(extra))),
    ];
    RecordBatch::try_new(arrow_schema(&schema()), columns).unwrap()
}

fn column(name: &str) -> Expr {
    Expr::Column { name: name.to_owned() }
}

fn literal(value: Value, dtype: DataType) -> Expr {
    Expr::Literal { value, dtype }
}

fn text(text: &str) -> Expr {
    literal(text.into(), DataType::String)
}

fn function(name: &str, args: Vec<Expr>, options: Value, dtype: DataType) -> Expr {
    Expr::Function { name: name.to_owned(), args, options, dtype }
}

fn binary(op: BinaryOperator, left: Expr, right: Expr) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right) }
}
