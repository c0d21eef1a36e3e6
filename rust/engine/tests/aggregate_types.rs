//! Every aggregate over every type gives what Polars 2.1 gives: values and types.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::compute::cast;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dataflare_engine::event::{self, Order};
use dataflare_engine::operators::aggregate_plan::AggregatePlan;
use dataflare_engine::types::arrow_type;
use dataflare_engine::{Batch, EngineError, Event, Output, Result};
use dataflare_plan::{
    Aggregate, AggregateFunction, AggregateOptions, DataType, Emit, Field, Node, Operator as PlanOperator,
    TimeUnit,
};
use std::sync::Arc;

const FUNCTIONS: [AggregateFunction; 8] = [
    AggregateFunction::Sum,
    AggregateFunction::Mean,
    AggregateFunction::Min,
    AggregateFunction::Max,
    AggregateFunction::First,
    AggregateFunction::Last,
    AggregateFunction::NUnique,
    AggregateFunction::Count,
];

/// One aggregate without keys over two batches of one column.
fn run(column: ArrayRef, dtype: &DataType, function: AggregateFunction, output: &DataType) -> Result<String> {
    let aggregate = Aggregate {
        name: "x".into(),
        function,
        column: Some("x".into()),
        other: None,
        options: AggregateOptions::default(),
        filter: None,
        text: format!("col(x).{}()", function.name()),
        dtype: output.clone(),
    };
    let node = Node {
        inputs: vec![0],
        operator: PlanOperator::Aggregate {
            keys: Vec::new(),
            aggregates: vec![aggregate],
            window: None,
            time_key: None,
            emit: Emit::default(),
            maintain_order: false,
        },
        schema: vec![Field { name: "x".into(), dtype: output.clone() }],
        event_time: None,
        event_time_ends: None,
        name: None,
    };
    let plan =
        AggregatePlan::new(&node, &vec![Field { name: "x".into(), dtype: dtype.clone() }], None, true)?;
    let (mut partial, mut last) = (plan.partial(), plan.last(0));
    let mut out = Output::default();
    for (start, length) in [(0, 1), (1, column.len() - 1)] {
        let positions = UInt64Array::from_iter_values((start as u64..).take(length));
        let columns: [(&str, ArrayRef); 2] =
            [("x", column.slice(start, length)), (event::POSITION, Arc::new(positions))];
        let order = Some(Order { input: 0, split: 0, sequence: start as u64 });
        partial.on_batch(0, Batch { order, ..Batch::new(RecordBatch::try_from_iter(columns)?) }, &mut out)?;
    }
    partial.on_end(0, &mut out)?;
    let mut results = Output::default();
    while let Some((_, event)) = out.pop() {
        if let Event::Batch(batch) = event {
            last.on_batch(0, batch, &mut results)?;
        }
    }
    last.on_end(0, &mut results)?;
    let Some((_, Event::Batch(batch))) = results.pop() else { return Ok("no row".into()) };
    assert_eq!((batch.rows(), results.is_empty()), (1, true));
    let options = FormatOptions::default().with_null("null");
    Ok(ArrayFormatter::try_new(batch.records.column(0).as_ref(), &options)?.value(0).to_string())
}

fn ints(values: &[i64], dtype: &DataType) -> ArrayRef {
    let narrow = match dtype {
        DataType::Date => cast(&Int64Array::from(values.to_vec()), &arrow_type(&DataType::Int32)).unwrap(),
        _ => Arc::new(Int64Array::from(values.to_vec())),
    };
    cast(&narrow, &arrow_type(dtype)).unwrap()
}

fn texts(values: &[&str], dtype: &DataType) -> ArrayRef {
    cast(&StringArray::from(values.to_vec()), &arrow_type(dtype)).unwrap()
}

/// Values of each function in the order of [`FUNCTIONS`]; "-": Polars refuses it.
fn check(column: &ArrayRef, dtype: &DataType, sum: &DataType, mean: &DataType, expected: [&str; 8]) {
    for (function, expected) in FUNCTIONS.into_iter().zip(expected) {
        let output = match function {
            AggregateFunction::Sum => sum,
            AggregateFunction::Mean => mean,
            AggregateFunction::NUnique | AggregateFunction::Count => &DataType::UInt32,
            _ => dtype,
        };
        match run(column.clone(), dtype, function, output) {
            Ok(value) => assert_eq!(value, expected, "{} of {dtype}", function.name()),
            Err(error) => {
                assert_eq!(expected, "-", "{} of {dtype}: {error}", function.name());
                assert!(matches!(error, EngineError::Call { .. }));
            }
        }
    }
}

#[test]
fn integers() {
    for dtype in [DataType::Int8, DataType::Int16, DataType::UInt8, DataType::UInt16] {
        let expected = ["254", "63.5", "0", "127", "127", "0", "2", "4"];
        check(&ints(&[127, 0, 127, 0], &dtype), &dtype, &DataType::Int64, &DataType::Float64, expected);
    }
    for dtype in [DataType::Int32, DataType::UInt32, DataType::Int64, DataType::UInt64] {
        let expected = ["6", "1.5", "0", "3", "2", "0", "4", "4"];
        check(&ints(&[2, 1, 3, 0], &dtype), &dtype, &dtype, &DataType::Float64, expected);
    }
}

#[test]
fn sum_wraps_at_the_width_of_its_result() {
    let dtype = DataType::Int32;
    let column = ints(&[i64::from(i32::MAX), 1], &dtype);
    assert_eq!(run(column, &dtype, AggregateFunction::Sum, &dtype).unwrap(), i32::MIN.to_string());
}

#[test]
fn large_unsigned_values_keep_their_order() {
    let dtype = DataType::UInt64;
    let column: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1 << 63]));
    assert_eq!(run(column.clone(), &dtype, AggregateFunction::Max, &dtype).unwrap(), u64::MAX.to_string());
    assert_eq!(run(column, &dtype, AggregateFunction::Min, &dtype).unwrap(), "0");
}

#[test]
fn booleans_and_floats() {
    let dtype = DataType::Boolean;
    let column = ints(&[1, 0, 1], &dtype);
    let expected = ["2", "0.6666666666666666", "false", "true", "true", "true", "2", "3"];
    check(&column, &dtype, &DataType::UInt32, &DataType::Float64, expected);
    for dtype in [DataType::Float32, DataType::Float64] {
        let column = texts(&["1.5", "-2.0", "NaN"], &dtype);
        check(&column, &dtype, &dtype, &dtype, ["NaN", "NaN", "-2.0", "1.5", "1.5", "NaN", "3", "3"]);
    }
}

#[test]
fn dates_and_times() {
    let micros = DataType::Datetime { unit: TimeUnit::Microseconds, zone: None };
    let expected =
        ["-", "2020-01-03T00:00:00", "2020-01-01", "2020-01-05", "2020-01-01", "2020-01-05", "2", "2"];
    check(&ints(&[18_262, 18_266], &DataType::Date), &DataType::Date, &DataType::Date, &micros, expected);
    let column = ints(&[1_577_836_800_000_000, 1_578_186_000_000_000], &micros);
    let (first, last) = ("2020-01-01T00:00:00", "2020-01-05T01:00:00");
    check(
        &column,
        &micros,
        &micros,
        &micros,
        ["-", "2020-01-03T00:30:00", first, last, first, last, "2", "2"],
    );
    let hours = ints(&[3_600_000_000_000, 7_200_000_000_000], &DataType::Time);
    let expected = ["-", "01:30:00", "01:00:00", "02:00:00", "01:00:00", "02:00:00", "2", "2"];
    check(&hours, &DataType::Time, &DataType::Time, &DataType::Time, expected);
    let duration = DataType::Duration { unit: TimeUnit::Milliseconds };
    let expected = ["PT3S", "PT1.5S", "PT1S", "PT2S", "PT1S", "PT2S", "2", "2"];
    check(&ints(&[1_000, 2_000], &duration), &duration, &duration, &duration, expected);
}

#[test]
fn texts_decimals_and_categories() {
    let dtype = DataType::String;
    check(&texts(&["b", "a", "c"], &dtype), &dtype, &dtype, &dtype, ["-", "-", "a", "c", "b", "c", "3", "3"]);
    let dtype = DataType::Categorical;
    check(&texts(&["b", "a", "b"], &dtype), &dtype, &dtype, &dtype, ["-", "-", "a", "b", "b", "b", "2", "3"]);
    // An Enum is ordered by its categories.
    let dtype = DataType::Enum { categories: vec!["b".into(), "a".into()] };
    check(&texts(&["b", "a", "b"], &dtype), &dtype, &dtype, &dtype, ["-", "-", "b", "a", "b", "b", "2", "3"]);
    let dtype = DataType::Decimal { precision: 10, scale: 2 };
    let wide = DataType::Decimal { precision: 38, scale: 2 };
    let expected = ["3.31", "1.655", "1.10", "2.21", "1.10", "2.21", "2", "2"];
    check(&texts(&["1.10", "2.21"], &dtype), &dtype, &wide, &DataType::Float64, expected);
}

#[test]
fn nested_values_have_no_order_but_a_first_and_a_number() {
    let dtype = DataType::List(Box::new(DataType::Int64));
    let column = new_null_array(&arrow_type(&dtype), 2);
    check(&column, &dtype, &dtype, &dtype, ["-", "-", "-", "-", "null", "null", "1", "0"]);
}

#[test]
fn nothing_but_nulls() {
    for dtype in [DataType::Int64, DataType::Float64] {
        let sum = if dtype == DataType::Int64 { "0" } else { "0.0" };
        let expected = [sum, "null", "null", "null", "null", "null", "1", "0"];
        check(&new_null_array(&arrow_type(&dtype), 3), &dtype, &dtype, &DataType::Float64, expected);
    }
    let dtype = DataType::Null;
    let expected = ["null", "null", "null", "null", "null", "null", "1", "0"];
    check(&new_null_array(&arrow_type(&dtype), 3), &dtype, &dtype, &dtype, expected);
}

#[test]
fn counter_that_overflows_names_the_cast() {
    let error =
        run(ints(&[1; 200], &DataType::Int64), &DataType::Int64, AggregateFunction::Count, &DataType::Int8);
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "col(x).count(), row 0: 200 does not fit in Int8; write `.cast(pl.Int64)` behind it");
}
