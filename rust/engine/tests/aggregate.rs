//! Aggregates over several workers against a naive model: any cut of the input, any split over workers, any checkpoint and
//! change of the number of workers gives the same rows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, UInt64Array,
};
use arrow::compute::filter_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dataflare_engine::event::{self, Change};
use dataflare_engine::operators::aggregate_plan::AggregatePlan;
use dataflare_engine::state::key_group::{key_groups, owner};
use dataflare_engine::state::{Scope, StateTable};
use dataflare_engine::{Batch, Event, Operator, Output, Timestamp};
use dataflare_plan::{
    Aggregate, AggregateFunction, AggregateOptions, Closed, DataType, Duration, Emit, EmitMode, Field, Label,
    Node, Operator as PlanOperator, Schema, StartBy, Window,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const DELAY: i64 = 7;

#[derive(Clone, Debug)]
struct Row {
    t: i64,
    k: Option<i64>,
    s: Option<&'static str>,
    f: Option<f64>,
    v: Option<i64>,
    p: Option<bool>,
}

fn input_schema() -> Schema {
    let columns = [
        ("t", DataType::Int64),
        ("k", DataType::Int64),
        ("s", DataType::String),
        ("f", DataType::Float64),
        ("v", DataType::Int64),
        ("p", DataType::Boolean),
    ];
    columns.into_iter().map(|(name, dtype)| Field { name: name.into(), dtype }).collect()
}

/// A batch as a source would hand it over: split 0, positions counted through.
fn batch(rows: &[Row], first: usize) -> Batch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.t)))),
        ("k", Arc::new(rows.iter().map(|row| row.k).collect::<Int64Array>())),
        ("s", Arc::new(rows.iter().map(|row| row.s).collect::<StringViewArray>())),
        ("f", Arc::new(rows.iter().map(|row| row.f).collect::<Float64Array>())),
        ("v", Arc::new(rows.iter().map(|row| row.v).collect::<Int64Array>())),
        ("p", Arc::new(rows.iter().map(|row| row.p).collect::<BooleanArray>())),
        (event::TIME, Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.t)))),
        (event::POSITION, Arc::new(UInt64Array::from_iter_values((first as u64..).take(rows.len())))),
    ];
    let order = Some(event::Order { input: 0, split: 0, sequence: 0 });
    Batch { order, ..Batch::new(RecordBatch::try_from_iter(columns).unwrap()) }
}

#[derive(Clone, Debug)]
struct Query {
    keys: Vec<&'static str>,
    aggregates: Vec<(AggregateFunction, Option<&'static str>, bool)>,
    window: Option<Window>,
    time_key: bool,
    emit: EmitMode,
    every_ns: Option<i64>,
    bounded: bool,
    maintain_order: bool,
}

fn dtype(column: Option<&str>, function: AggregateFunction) -> DataType {
    let input = column
        .and_then(|name| input_schema().into_iter().find(|field| field.name == name))
        .map(|field| field.dtype);
    match function {
        AggregateFunction::Len | AggregateFunction::Count | AggregateFunction::NUnique => DataType::UInt32,
        AggregateFunction::Mean | AggregateFunction::Median => DataType::Float64,
        AggregateFunction::Implode | AggregateFunction::Unique | AggregateFunction::Mode => {
            DataType::List(Box::new(input.unwrap()))
        }
        _ => input.unwrap(),
    }
}

impl Query {
    fn plan(&self) -> AggregatePlan {
        let input = input_schema();
        let type_of = |name: &str| input.iter().find(|field| field.name == name).unwrap().clone();
        let mut keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        if self.time_key {
            keys.insert(0, "t".into());
        }
        let mut schema: Schema = keys.iter().map(|key| type_of(key)).collect();
        if self.window.is_some() {
            schema.push(type_of("t"));
        }
        let aggregates: Vec<Aggregate> = self
            .aggregates
            .iter()
            .enumerate()
            .map(|(index, (function, column, filter))| Aggregate {
                name: format!("a{index}"),
                function: *function,
                column: column.map(ToOwned::to_owned),
                other: matches!(function, AggregateFunction::MinBy | AggregateFunction::MaxBy)
                    .then(|| "v".into()),
                options: AggregateOptions::default(),
                filter: filter.then(|| "p".to_owned()),
                text: format!("{}({column:?}, {filter})", function.name()),
                dtype: dtype(*column, *function),
            })
            .collect();
        schema
            .extend(aggregates.iter().map(|one| Field { name: one.name.clone(), dtype: one.dtype.clone() }));
        let timed = self.window.is_some() || self.time_key;
        let node = Node {
            inputs: vec![0],
            operator: PlanOperator::Aggregate {
                keys,
                aggregates,
                window: self.window.clone(),
                time_key: self.time_key.then(|| "t".to_owned()),
                emit: Emit { mode: self.emit, every_ns: self.every_ns },
                maintain_order: self.maintain_order,
            },
            schema,
            event_time: timed.then(|| "t".to_owned()),
            event_time_ends: None,
            name: None,
        };
        AggregatePlan::new(&node, &input, Some("t"), self.bounded).unwrap()
    }
}

/// Both halves on some workers, and what came out.
struct Job {
    plan: AggregatePlan,
    partial: Vec<Box<dyn Operator>>,
    last: Vec<Box<dyn Operator>>,
    watermarks: Vec<Timestamp>,
    combined: Timestamp,
    forwarded: Vec<Timestamp>,
    out: Vec<(Vec<String>, Option<u8>)>,
    label_column: Option<usize>,
}

impl Job {
    fn new(query: &Query, workers: usize) -> Self {
        let plan = query.plan();
        let timed = query.window.is_some();
        Self {
            partial: (0..workers).map(|_| plan.partial()).collect(),
            last: (0..workers).map(|worker| plan.last(worker)).collect(),
            watermarks: vec![Timestamp::MIN; workers],
            combined: Timestamp::MIN,
            forwarded: vec![Timestamp::MIN; workers],
            out: Vec::new(),
            label_column: timed.then_some(query.keys.len()).or(query.time_key.then_some(0)),
            plan,
        }
    }

    fn batch(&mut self, worker: usize, batch: Batch) {
        let mut out = Output::default();
        self.partial[worker].on_batch(0, batch, &mut out).unwrap();
        self.exchange(worker, out);
    }

    fn watermark(&mut self, watermark: Timestamp) {
        for worker in 0..self.partial.len() {
            let mut out = Output::default();
            self.partial[worker].on_watermark(0, watermark, watermark, &mut out).unwrap();
            self.exchange(worker, out);
        }
    }

    fn end(&mut self) {
        self.watermark(Timestamp::MAX);
        for worker in 0..self.partial.len() {
            let mut out = Output::default();
            self.partial[worker].on_end(0, &mut out).unwrap();
            self.exchange(worker, out);
        }
        for worker in 0..self.last.len() {
            let mut out = Output::default();
            self.last[worker].on_end(0, &mut out).unwrap();
            self.collect(worker, out);
        }
    }

    fn clock(&mut self, now: u64) {
        for worker in 0..self.partial.len() {
            let now = dataflare_engine::Instant(now);
            if self.partial[worker].deadline().is_some_and(|deadline| deadline <= now) {
                let mut out = Output::default();
                self.partial[worker].on_clock(now, &mut out).unwrap();
                self.exchange(worker, out);
            }
        }
        for worker in 0..self.last.len() {
            let now = dataflare_engine::Instant(now);
            if self.last[worker].deadline().is_some_and(|deadline| deadline <= now) {
                let mut out = Output::default();
                self.last[worker].on_clock(now, &mut out).unwrap();
                self.collect(worker, out);
            }
        }
    }

    fn exchange(&mut self, from: usize, mut out: Output) {
        let workers = self.last.len();
        while let Some((_, event)) = out.pop() {
            match event {
                Event::Batch(batch) => {
                    for (worker, part) in
                        split(&batch.records, self.plan.keys(), workers).into_iter().enumerate()
                    {
                        if part.num_rows() > 0 {
                            let mut out = Output::default();
                            self.last[worker].on_batch(0, Batch::new(part), &mut out).unwrap();
                            self.collect(worker, out);
                        }
                    }
                }
                Event::Watermark(watermark) => {
                    self.watermarks[from] = watermark;
                    let combined = self.watermarks.iter().copied().min().unwrap();
                    if combined > self.combined {
                        self.combined = combined;
                        for worker in 0..workers {
                            let mut out = Output::default();
                            self.last[worker].on_watermark(0, combined, combined, &mut out).unwrap();
                            self.collect(worker, out);
                        }
                    }
                }
                _ => unreachable!(),
            }
        }
    }

    fn collect(&mut self, worker: usize, mut out: Output) {
        while let Some((_, event)) = out.pop() {
            match event {
                Event::Batch(batch) => {
                    let rows = texts(&batch.records);
                    if let Some(label) = self.label_column {
                        for row in &rows {
                            let label: i64 = row[label].parse().unwrap();
                            assert!(
                                Timestamp(label) >= self.forwarded[worker],
                                "a row below the forwarded watermark"
                            );
                        }
                    }
                    let changes =
                        (0..rows.len()).map(|row| batch.changes.as_ref().map(|changes| changes.value(row)));
                    self.out.extend(rows.into_iter().zip(changes.collect::<Vec<_>>()));
                }
                Event::Watermark(watermark) => {
                    assert!(watermark >= self.forwarded[worker], "a watermark went back");
                    self.forwarded[worker] = watermark;
                }
                _ => unreachable!(),
            }
        }
    }

    /// Freezes, forgets everything but the tables, and goes on with another number of workers.
    fn restart(&mut self, query: &Query, workers: usize) {
        let frozen: Vec<_> = [&mut self.partial, &mut self.last]
            .into_iter()
            .map(|half| half.iter_mut().map(|operator| operator.freeze(1).unwrap()).collect::<Vec<_>>())
            .collect();
        let mut next = Self::new(query, workers);
        for (half, frozen) in [&mut next.partial, &mut next.last].into_iter().zip(frozen) {
            let tables: Vec<StateTable> =
                frozen.into_iter().flat_map(|frozen| frozen.tables().unwrap()).collect();
            for (worker, operator) in half.iter_mut().enumerate() {
                let own = tables.iter().filter_map(|table| match table.scope {
                    Scope::Keyed => {
                        let rows = split(&table.rows, table.keys, workers).swap_remove(worker);
                        Some(StateTable { rows, ..table.clone() })
                    }
                    Scope::Broadcast => Some(table.clone()),
                    Scope::Single => (worker == 0).then(|| table.clone()),
                });
                operator.restore(own.collect()).unwrap();
            }
        }
        next.out = std::mem::take(&mut self.out);
        *self = next;
    }
}

fn split(records: &RecordBatch, keys: usize, workers: usize) -> Vec<RecordBatch> {
    let groups = key_groups(&records.columns()[..keys], records.num_rows()).unwrap();
    (0..workers)
        .map(|worker| {
            let mask: BooleanArray =
                groups.iter().map(|group| Some(owner(*group, workers) == worker)).collect();
            filter_record_batch(records, &mask).unwrap()
        })
        .collect()
}

fn texts(records: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> = records
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    (0..records.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect())
        .collect()
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

fn float(value: f64) -> String {
    texts(
        &RecordBatch::try_from_iter([("f", Arc::new(Float64Array::from(vec![value])) as ArrayRef)]).unwrap(),
    )[0][0]
        .clone()
}

fn windows_of(window: &Window, t: i64) -> Vec<i64> {
    let (every, period, offset) =
        (window.every.nanoseconds, window.period.nanoseconds, window.offset.fixed().unwrap());
    let starts = (-60..120).map(|step| step * every + offset);
    starts
        .filter(|start| {
            let end = start + period;
            match window.closed {
                Closed::Left => *start <= t && t < end,
                Closed::Right => *start < t && t <= end,
                Closed::Both => *start <= t && t <= end,
                Closed::None => *start < t && t < end,
            }
        })
        .map(|start| if window.label == Label::Left { start } else { start + period })
        .collect()
}

/// What Polars would give, computed the long way.
fn model(query: &Query, rows: &[Row]) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<Vec<String>, Vec<Row>> = BTreeMap::new();
    if query.keys.is_empty() && query.window.is_none() && !query.time_key {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in rows {
        let key = |name: &&str| match *name {
            "k" => text(row.k),
            "s" => text(row.s),
            _ => row.f.map_or("null".into(), |f| float(if f == 0.0 { 0.0 } else { f })),
        };
        let keys: Vec<String> = query.keys.iter().map(key).collect();
        match &query.window {
            Some(window) => {
                for label in windows_of(window, row.t) {
                    let key = keys.iter().cloned().chain([label.to_string()]).collect();
                    groups.entry(key).or_default().push(row.clone());
                }
            }
            None if query.time_key => {
                groups
                    .entry([row.t.to_string()].into_iter().chain(keys).collect())
                    .or_default()
                    .push(row.clone());
            }
            None => groups.entry(keys).or_default().push(row.clone()),
        }
    }
    groups
        .into_iter()
        .map(|(mut out, mut rows)| {
            rows.sort_by_key(|row| row.t); // stable: position decides ties
            out.extend(query.aggregates.iter().map(|(function, column, filter)| {
                let rows: Vec<&Row> = rows.iter().filter(|row| !filter || row.p == Some(true)).collect();
                value(*function, *column, &rows)
            }));
            out
        })
        .collect()
}

fn value(function: AggregateFunction, column: Option<&str>, rows: &[&Row]) -> String {
    let cell = |row: &&Row| match column {
        Some("v") => text(row.v),
        Some("s") => text(row.s),
        Some("f") => row.f.map_or("null".into(), float),
        _ => "row".into(),
    };
    let ints = || rows.iter().filter_map(|row| row.v);
    let floats = || rows.iter().filter_map(|row| row.f);
    let numbers = || floats().filter(|f| !f.is_nan());
    let extreme = |pick: fn(f64, f64) -> f64| {
        let number = numbers().reduce(pick).map(|f| float(if f == 0.0 { 0.0 } else { f }));
        number.or(floats().next().map(|_| "NaN".into())).unwrap_or("null".into())
    };
    match (function, column) {
        (AggregateFunction::Len, _) => rows.len().to_string(),
        (AggregateFunction::Count, _) => {
            rows.iter().map(cell).filter(|cell| cell != "null").count().to_string()
        }
        (AggregateFunction::Sum, Some("v")) => ints().fold(0_i64, i64::wrapping_add).to_string(),
        (AggregateFunction::Sum, _) => float(floats().sum::<f64>() + 0.0),
        (AggregateFunction::Mean, Some("v")) => {
            let count = ints().count();
            if count == 0 {
                "null".into()
            } else {
                float(ints().map(i128::from).sum::<i128>() as f64 / count as f64)
            }
        }
        (AggregateFunction::Mean, _) => {
            let count = floats().count();
            if count == 0 { "null".into() } else { float(floats().sum::<f64>() / count as f64 + 0.0) }
        }
        (AggregateFunction::Min, Some("v")) => text(ints().min()),
        (AggregateFunction::Max, Some("v")) => text(ints().max()),
        (AggregateFunction::Min, Some("s")) => text(rows.iter().filter_map(|row| row.s).min()),
        (AggregateFunction::Max, Some("s")) => text(rows.iter().filter_map(|row| row.s).max()),
        (AggregateFunction::Min, _) => extreme(f64::min),
        (AggregateFunction::Max, _) => extreme(f64::max),
        (AggregateFunction::First, _) => rows.first().map_or("null".into(), cell),
        (AggregateFunction::Last, _) => rows.last().map_or("null".into(), cell),
        (AggregateFunction::NUnique, _) => {
            let mut cells: Vec<String> =
                rows.iter().map(cell).map(|cell| if cell == "-0.0" { "0.0".into() } else { cell }).collect();
            cells.sort();
            cells.dedup();
            cells.len().to_string()
        }
        (AggregateFunction::Product, _) => ints().fold(1_i64, i64::wrapping_mul).to_string(),
        (AggregateFunction::BitwiseXor, _) => text(ints().reduce(|a, b| a ^ b)),
        (AggregateFunction::BitwiseAnd, _) => text(ints().reduce(|a, b| a & b)),
        (AggregateFunction::Median, _) => {
            let mut sorted: Vec<i64> = ints().collect();
            sorted.sort_unstable();
            let middle = |at: f64| sorted.get(at as usize).map(|value| *value as f64);
            let place = (sorted.len() as f64 - 1.0) / 2.0;
            match (middle(place.floor()), middle(place.ceil())) {
                (Some(low), Some(high)) => float(0.5 * (high - low) + low),
                _ => "null".into(),
            }
        }
        (AggregateFunction::MinBy, _) => {
            let best = rows.iter().filter(|row| row.v.is_some()).min_by_key(|row| row.v);
            best.map_or("null".into(), cell)
        }
        (AggregateFunction::MaxBy, _) => {
            let best = rows.iter().filter(|row| row.v.is_some()).rev().max_by_key(|row| row.v);
            best.map_or("null".into(), cell)
        }
        (AggregateFunction::Implode, _) => {
            format!("[{}]", rows.iter().map(cell).collect::<Vec<_>>().join(", "))
        }
        (AggregateFunction::Unique | AggregateFunction::Mode, _) => {
            let mut counts: BTreeMap<Option<i64>, usize> = BTreeMap::new();
            rows.iter().for_each(|row| *counts.entry(row.v).or_default() += 1);
            let most = counts.values().max().copied();
            let keeps = |count: usize| function == AggregateFunction::Unique || Some(count) == most;
            let cells: Vec<String> =
                counts.into_iter().filter(|(_, count)| keeps(*count)).map(|(value, _)| text(value)).collect();
            format!("[{}]", cells.join(", "))
        }
        (other, _) => unreachable!("{} is not drawn", other.name()),
    }
}

fn with_zero(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.into_iter().map(|cell| if cell == "-0.0" { "0.0".into() } else { cell }).collect())
        .collect();
    rows.sort();
    rows
}

/// Runs it: `cuts` are lengths of batches, `steps` say which worker gets it and after which a restart comes.
fn run(query: &Query, rows: &[Row], cuts: &[(usize, usize, usize)]) -> Vec<(Vec<String>, Option<u8>)> {
    let mut workers = 2;
    let mut job = Job::new(query, workers);
    let (mut start, mut latest) = (0, i64::MIN);
    let mut now = 0;
    for (length, worker, restart) in cuts.iter().cycle() {
        let end = rows.len().min(start + length);
        job.batch(worker % workers, batch(&rows[start..end], start));
        latest = rows[start..end].iter().map(|row| row.t).fold(latest, i64::max);
        if latest != i64::MIN {
            job.watermark(Timestamp(latest - DELAY));
        }
        now += 1;
        job.clock(now);
        start = end;
        if start == rows.len() {
            break;
        }
        if *restart > 0 && *restart < 4 {
            workers = *restart;
            job.restart(query, workers);
        }
    }
    job.end();
    job.out
}

/// The last row of each key; every key begins with an insert and goes on with updates.
fn upserts(query: &Query, out: Vec<(Vec<String>, Option<u8>)>) -> Vec<Vec<String>> {
    let keys = query.keys.len() + usize::from(query.window.is_some() || query.time_key);
    let mut rows: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (row, change) in out {
        let before = rows.insert(row[..keys].to_vec(), row);
        let expected = if before.is_none() { Change::Insert } else { Change::UpdateAfter };
        assert_eq!(change, Some(expected as u8));
    }
    rows.into_values().collect()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let floats = prop::sample::select(vec![0.0, -0.0, 1.5, -2.25, 1024.0, f64::NAN, f64::INFINITY]);
    let texts = prop::sample::select(vec!["", "a", "b", "a text that is longer than twelve bytes", "ü"]);
    let ints = prop_oneof![3 => -5..5_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let row = (
        0..DELAY,
        0..3_i64,
        prop::option::weighted(0.9, 0..4_i64),
        prop::option::weighted(0.8, texts),
        prop::option::weighted(0.8, floats),
        prop::option::weighted(0.8, ints),
        prop::option::weighted(0.8, any::<bool>()),
    );
    prop::collection::vec(row, 0..80).prop_map(|rows| {
        let mut time = -40;
        rows.into_iter()
            .map(|(back, step, k, s, f, v, p)| {
                time += step;
                Row { t: time - back, k, s, f, v, p }
            })
            .collect()
    })
}

fn index(units: i64) -> Duration {
    Duration { nanoseconds: units.abs(), negative: units < 0, index: true, ..Duration::default() }
}

fn windows() -> impl Strategy<Value = Window> {
    let shapes = prop::sample::select(vec![(10, 10), (6, 4), (4, 12), (4, 10), (3, 7), (1, 1)]);
    let closed = prop::sample::select(vec![Closed::Left, Closed::Right, Closed::Both, Closed::None]);
    (shapes, closed, any::<bool>(), 0..3_i64).prop_map(|((every, period), closed, right, more)| {
        let offset = -(period + more);
        let label = if right { Label::Right } else { Label::Left };
        Window {
            column: "t".into(),
            every: index(every),
            period: index(period),
            offset: index(offset),
            closed,
            label,
            include_boundaries: false,
            start_by: StartBy::Window,
        }
    })
}

fn queries() -> impl Strategy<Value = Query> {
    use AggregateFunction::*;
    let keys = prop::sample::select(vec![
        vec![],
        vec!["k"],
        vec!["s"],
        vec!["f"],
        vec!["k", "s"],
        vec!["f", "k", "s"],
    ]);
    let aggregate = prop_oneof![
        Just((Len, None)),
        (
            prop::sample::select(vec![Count, Sum, Mean, Min, Max, First, Last, NUnique]),
            prop::sample::select(vec!["v", "f"])
        )
            .prop_map(|(function, column)| (function, Some(column))),
        prop::sample::select(vec![Count, Min, Max, First, Last, NUnique, Implode, MinBy, MaxBy])
            .prop_map(|function| (function, Some("s"))),
        prop::sample::select(vec![Product, BitwiseXor, BitwiseAnd, Median, Implode, Unique, Mode, MinBy])
            .prop_map(|function| (function, Some("v"))),
    ];
    let aggregates =
        prop::collection::vec((aggregate, any::<bool>()).prop_map(|((f, c), p)| (f, c, p)), 1..5);
    (
        keys,
        aggregates,
        prop::option::weighted(0.6, windows()),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(keys, aggregates, window, time_key, update, throttled, bounded)| Query {
            keys,
            aggregates,
            time_key: time_key && window.is_none(),
            window,
            emit: if update { EmitMode::Update } else { EmitMode::Close },
            every_ns: (update && throttled).then_some(3),
            bounded,
            maintain_order: false,
        })
}

#[test]
fn updates_of_an_interval_leave_once_when_the_clock_says_so() {
    let query = Query {
        keys: vec!["k"],
        aggregates: vec![(AggregateFunction::Len, None, false)],
        window: None,
        time_key: false,
        emit: EmitMode::Update,
        every_ns: Some(1_000),
        bounded: false,
        maintain_order: false,
    };
    let row = |t: i64| Row { t, k: Some(1), s: None, f: None, v: None, p: None };
    let mut job = Job::new(&query, 1);
    let shown = |job: &Job| job.out.iter().map(|(row, _)| row.last().unwrap().clone()).collect::<Vec<_>>();
    job.batch(0, batch(&[row(0)], 0));
    job.clock(1_001);
    assert_eq!(shown(&job), ["1"]);
    for t in 1..5 {
        job.batch(0, batch(&[row(t)], t as usize));
        job.clock(1_001 + t as u64);
    }
    job.clock(2_000);
    assert_eq!(shown(&job), ["1"], "the interval is not over");
    job.clock(2_001);
    assert_eq!(shown(&job), ["1", "5"]);
    job.batch(0, batch(&[row(9)], 5));
    job.clock(2_100);
    job.end();
    assert_eq!(shown(&job), ["1", "5", "6"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_any_workers_any_restart_give_the_rows_of_the_model(
        query in queries(),
        rows in rows(),
        cuts in prop::collection::vec((1..30_usize, 0..3_usize, 0..8_usize), 1..6),
    ) {
        let out = run(&query, &rows, &cuts);
        let closes = query.emit == EmitMode::Close && (query.bounded || query.window.is_some() || query.time_key);
        let got = if closes { out.into_iter().map(|(row, _)| row).collect() } else { upserts(&query, out) };
        prop_assert_eq!(with_zero(got), with_zero(model(&query, &rows)));
    }

    #[test]
    fn groups_leave_in_order_of_their_first_rows(
        query in queries(),
        rows in rows(),
        cuts in prop::collection::vec((1..30_usize, 0..3_usize, 0..8_usize), 1..6),
    ) {
        prop_assume!(!query.keys.is_empty());
        let query = Query {
            window: None, time_key: false, emit: EmitMode::Close, every_ns: None, bounded: true, maintain_order: true, ..query
        };
        let got: Vec<Vec<String>> = run(&query, &rows, &cuts).into_iter().map(|(row, _)| row).collect();
        let keys = query.keys.len();
        let mut ordered = rows.clone();
        ordered.sort_by_key(|row| row.t);
        let mut order: Vec<Vec<String>> = Vec::new();
        for row in &ordered {
            let key = model(&query, std::slice::from_ref(row)).swap_remove(0)[..keys].to_vec();
            if !order.contains(&key) {
                order.push(key);
            }
        }
        prop_assert_eq!(got.iter().map(|row| row[..keys].to_vec()).collect::<Vec<_>>(), order);
        prop_assert_eq!(with_zero(got), with_zero(model(&query, &rows)));
    }
}
