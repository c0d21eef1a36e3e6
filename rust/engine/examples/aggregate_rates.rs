//! Rates of the aggregate operators alone, without runtime and exchange: the queries w1, w2 and w3 of the benchmark,
//! medians, distinct values and variances.
//!
//! `cargo run --release -p dataflare-engine --example aggregate_rates [threads]`: each thread has both halves and its own
//! input of 64 batches, replayed with shifted event time.

#![expect(clippy::unwrap_used, reason = "a measurement stops at the first error")]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use dataflare_engine::operators::aggregate_plan::AggregatePlan;
use dataflare_engine::{Batch, Event, Operator, Output, Timestamp};
use dataflare_plan::{
    Aggregate, AggregateFunction, AggregateOptions, Closed, DataType, Duration, Emit, Field, Label, Node,
    Operator as PlanOperator, Schema, StartBy, TimeUnit, Window,
};
use std::sync::Arc;

const BATCH_ROWS: usize = 65_536;
const BATCHES: usize = 64;
const ROUNDS: i64 = 4;

struct Case {
    name: &'static str,
    keys: &'static [&'static str],
    aggregates: &'static [AggregateFunction],
    every_s: i64,
    period_s: i64,
}

const CASES: [Case; 6] = [
    Case {
        name: "w1",
        keys: &["auction"],
        aggregates: &[AggregateFunction::Len, AggregateFunction::Sum, AggregateFunction::Max],
        every_s: 10,
        period_s: 10,
    },
    Case { name: "w2", keys: &["auction"], aggregates: &[AggregateFunction::Len], every_s: 2, period_s: 10 },
    Case { name: "w3", keys: &[], aggregates: &[AggregateFunction::Max], every_s: 10, period_s: 10 },
    Case {
        name: "median",
        keys: &["auction"],
        aggregates: &[AggregateFunction::Median],
        every_s: 10,
        period_s: 10,
    },
    Case {
        name: "distinct",
        keys: &[],
        aggregates: &[AggregateFunction::NUnique],
        every_s: 60,
        period_s: 60,
    },
    Case {
        name: "var",
        keys: &["auction"],
        aggregates: &[AggregateFunction::Var, AggregateFunction::Mean],
        every_s: 10,
        period_s: 10,
    },
];

fn main() {
    let threads: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    for (spread, rows_per_second) in
        [("bids", 10_000), ("bids", 100_000), ("zipf", 100_000), ("uniform", 1_000_000)]
    {
        for case in &CASES {
            let best = (0..2).map(|_| measure(case, spread, rows_per_second, threads)).fold(0.0, f64::max);
            println!(
                "{} {spread} {rows_per_second} rows/s of event time, {threads} threads: {best:.1} M rows a CPU second",
                case.name
            );
        }
    }
}

fn measure(case: &Case, spread: &str, rows_per_second: i64, threads: usize) -> f64 {
    let inputs: Vec<Vec<(Vec<i64>, RecordBatch)>> =
        (0..threads).map(|thread| input(spread, rows_per_second, thread)).collect();
    let spent_ns: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = inputs.iter().map(|input| scope.spawn(|| run(case, input))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap_or(0)
    });
    (threads * BATCHES * BATCH_ROWS) as f64 * ROUNDS as f64 / spent_ns as f64 * 1e3
}

/// Nanoseconds that this thread has run, so that a busy machine matters little (Linux only).
fn thread_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn input(spread: &str, rows_per_second: i64, thread: usize) -> Vec<(Vec<i64>, RecordBatch)> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 + thread as u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut row, mut born) = (0, 0);
    (0..BATCHES)
        .map(|_| {
            let keys = (0..BATCH_ROWS).map(|_| {
                born += 3;
                match spread {
                    // As Nexmark: half of the bids on the hot auction, the rest on one of the last hundred.
                    "bids" if random() < 0.5 => born / 46 / 100 * 100,
                    "bids" => born / 46 - (random() * 100.0) as i64,
                    "zipf" => 540_000_f64.powf(random()) as i64 * 7,
                    _ => (random() * 600_000.0) as i64,
                }
            });
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            let prices: ArrayRef =
                Arc::new(Int64Array::from_iter_values((0..BATCH_ROWS).map(|_| (random() * 1e6) as i64)));
            let times = (0..BATCH_ROWS).map(|_| {
                row += 1;
                row * 1_000_000 / rows_per_second
            });
            (times.collect(), RecordBatch::try_from_iter([("auction", keys), ("price", prices)]).unwrap())
        })
        .collect()
}

/// CPU time of one thread.
fn run(case: &Case, input: &[(Vec<i64>, RecordBatch)]) -> u64 {
    let started = thread_ns();
    let plan = plan(case);
    let (mut partial, mut last) = (plan.partial(), plan.last(0));
    let span = input.last().and_then(|(times, _)| times.last()).copied().unwrap_or(0);
    let mut results = 0;
    for round in 0..ROUNDS {
        for (times, records) in input {
            let times =
                TimestampMicrosecondArray::from_iter_values(times.iter().map(|time| time + round * span));
            let latest = times.values().last().copied().unwrap_or(0);
            let columns: [(&str, ArrayRef); 3] = [
                ("ts", Arc::new(times)),
                ("auction", records.column(0).clone()),
                ("price", records.column(1).clone()),
            ];
            let batch = Batch::new(RecordBatch::try_from_iter(columns).unwrap());
            let mut out = Output::default();
            partial.on_batch(0, batch, &mut out).unwrap();
            let watermark = Timestamp(latest - 4_000_000);
            partial.on_watermark(0, watermark, watermark, &mut out).unwrap();
            results += pass(&mut out, last.as_mut());
        }
    }
    let mut out = Output::default();
    partial.on_watermark(0, Timestamp::MAX, Timestamp::MAX, &mut out).unwrap();
    results += pass(&mut out, last.as_mut());
    assert!(results > 0, "no window was emitted");
    thread_ns() - started
}

fn pass(from: &mut Output, last: &mut dyn Operator) -> i64 {
    let mut out = Output::default();
    let mut results = 0;
    while let Some((_, event)) = from.pop() {
        match event {
            Event::Batch(batch) => last.on_batch(0, batch, &mut out).map(|_| ()).unwrap(),
            Event::Watermark(time) => last.on_watermark(0, time, time, &mut out).map(|_| ()).unwrap(),
            Event::Barrier(_) | Event::End => {}
        }
    }
    while let Some((_, event)) = out.pop() {
        if let Event::Batch(batch) = event {
            results += batch.rows() as i64;
        }
    }
    results
}

fn plan(case: &Case) -> AggregatePlan {
    let time = DataType::Datetime { unit: TimeUnit::Microseconds, zone: None };
    let field = |name: &str, dtype: &DataType| Field { name: name.into(), dtype: dtype.clone() };
    let input: Schema =
        vec![field("ts", &time), field("auction", &DataType::Int64), field("price", &DataType::Int64)];
    let aggregates: Vec<Aggregate> = case
        .aggregates
        .iter()
        .map(|function| {
            let is_len = *function == AggregateFunction::Len;
            let dtype = match function {
                AggregateFunction::Len | AggregateFunction::NUnique => DataType::UInt32,
                AggregateFunction::Median | AggregateFunction::Var | AggregateFunction::Mean => {
                    DataType::Float64
                }
                _ => DataType::Int64,
            };
            Aggregate {
                name: function.name().into(),
                function: *function,
                column: (!is_len).then(|| "price".into()),
                other: None,
                options: AggregateOptions::default(),
                filter: None,
                text: function.name().into(),
                dtype,
            }
        })
        .collect();
    let mut schema: Schema = case.keys.iter().map(|key| field(key, &DataType::Int64)).collect();
    schema.push(field("ts", &time));
    schema.extend(aggregates.iter().map(|one| field(&one.name, &one.dtype)));
    let seconds = |count: i64| Duration {
        nanoseconds: count.abs() * 1_000_000_000,
        negative: count < 0,
        ..Duration::default()
    };
    let window = Window {
        column: "ts".into(),
        every: seconds(case.every_s),
        period: seconds(case.period_s),
        offset: seconds(case.every_s - case.period_s),
        closed: Closed::Left,
        label: Label::Left,
        include_boundaries: false,
        start_by: StartBy::Window,
    };
    let node = Node {
        inputs: vec![0],
        operator: PlanOperator::Aggregate {
            keys: case.keys.iter().map(ToString::to_string).collect(),
            aggregates,
            window: Some(window),
            time_key: None,
            emit: Emit::default(),
            maintain_order: false,
        },
        schema,
        event_time: Some("ts".into()),
        event_time_ends: None,
        name: None,
    };
    AggregatePlan::new(&node, &input, Some("ts"), false).unwrap()
}
