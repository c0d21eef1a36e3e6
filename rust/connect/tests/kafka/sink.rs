//! The sink: what is written, in which partition, and what happens when it cannot be.

use crate::broker::{Reading, broker, field, kafka, topic};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray, UInt8Array};
use arrow::datatypes::Int64Type;
use dataflare_connect::sink;
use dataflare_engine::EngineError;
use dataflare_engine::event::Batch;
use dataflare_engine::sink::{Sink, SinkWriter};
use dataflare_engine::types::arrow_schema;
use dataflare_plan::{DataType, Field, FrameKind};
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn fields() -> Vec<Field> {
    vec![field("name", DataType::String), field("n", DataType::Int64)]
}

fn batch(rows: std::ops::Range<i64>) -> Batch {
    let names = StringViewArray::from_iter_values(rows.clone().map(|n| format!("name {}", n % 7)));
    let numbers = Int64Array::from_iter_values(rows);
    Batch::new(
        RecordBatch::try_new(arrow_schema(&fields()), vec![Arc::new(names), Arc::new(numbers)]).unwrap(),
    )
}

fn kafka_sink(broker: &str, topic: &str, more: &Value) -> Arc<dyn Sink> {
    let mut options = json!({"topic": topic, "bootstrap_servers": broker});
    more.as_object().unwrap().iter().for_each(|(name, value)| options[name] = value.clone());
    sink("kafka", &options, &fields()).unwrap().unwrap()
}

/// Writes a batch and comes again with what was given back. How often it was.
fn write(writer: &mut dyn SinkWriter, batch: Batch) -> usize {
    let (mut rest, mut given_back) = (Some(batch), 0);
    while let Some(batch) = rest.take() {
        rest = writer.write(batch).unwrap();
        given_back += usize::from(rest.is_some());
    }
    given_back
}

#[test]
fn rows_come_back_once_and_each_key_in_one_partition_in_order() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "sink", 3);
    let sink = kafka_sink(&broker, &name, &json!({"key": ["name"]}));
    let mut writer = sink.writer(0, 1, vec![]).unwrap();
    write(&mut *writer, batch(0..5_000));
    let prepared = writer.prepare(1, 0, false).unwrap()().unwrap();
    assert_eq!(prepared, json!({"rows": 5_000}));
    write(&mut *writer, batch(5_000..10_000));
    writer.prepare(2, 1, true).unwrap()().unwrap();
    let read = [fields(), vec![field("key", DataType::String)]].concat();
    let source = kafka(&broker, &[&name], &json!({"end": "latest", "columns": {"key": "key"}}), &read);
    let (mut all, mut partition_of) = (Vec::new(), BTreeMap::new());
    for split in source.splits().unwrap() {
        let rows = Reading::open(&*source, &split.name, None).read_to_end().unwrap();
        let rows = rows.whole(&read);
        let numbers = rows.column(1).as_primitive::<Int64Type>().values();
        assert!(numbers.is_sorted());
        all.extend_from_slice(numbers);
        assert_eq!(rows.column(0), rows.column(2));
        for key in rows.column(2).as_string_view().iter().flatten() {
            assert_eq!(
                partition_of.entry(key.to_string()).or_insert_with(|| split.name.clone()),
                &split.name
            );
        }
    }
    all.sort_unstable();
    assert_eq!(all, (0..10_000).collect::<Vec<_>>());
}

#[test]
fn deleted_rows_are_tombstones_and_old_values_are_not_written() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "upserts", 1);
    let sink = kafka_sink(&broker, &name, &json!({"key": ["n"]}));
    assert!(sink.takes(FrameKind::Upsert) && !sink.takes(FrameKind::Retract));
    assert!(!kafka_sink(&broker, &name, &json!({})).takes(FrameKind::Upsert));
    let mut writer = sink.writer(0, 1, vec![]).unwrap();
    write(&mut *writer, Batch { changes: Some(UInt8Array::from(vec![0, 1, 2, 3])), ..batch(0..4) });
    writer.prepare(1, 0, true).unwrap()().unwrap();
    let read = vec![field("key", DataType::String), field("value", DataType::String)];
    let options = json!({"end": "latest", "value": "raw", "tombstones": "null", "columns": {"key": "key"}});
    let source = kafka(&broker, &[&name], &options, &read);
    source.splits().unwrap();
    let rows = Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap().whole(&read);
    let column = |index: usize| rows.column(index).as_string_view().iter().collect::<Vec<_>>();
    assert_eq!(column(0), [Some("{\"n\":0}"), Some("{\"n\":2}"), Some("{\"n\":3}")]);
    let values = [Some("{\"name\":\"name 0\",\"n\":0}"), Some("{\"name\":\"name 2\",\"n\":2}"), None];
    assert_eq!(column(1), values);
}

#[test]
fn a_full_queue_gives_the_rest_of_the_batch_back() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    let small = json!({"config": {"queue.buffering.max.messages": 100}});
    let sink = kafka_sink(&cluster.bootstrap_servers(), "out", &small);
    let mut writer = sink.writer(0, 1, vec![]).unwrap();
    assert!(write(&mut *writer, batch(0..1_000)) > 0);
    assert_eq!(writer.prepare(1, 0, true).unwrap()().unwrap(), json!({"rows": 1_000}));
    let source = kafka(&cluster.bootstrap_servers(), &["out"], &json!({"end": "latest"}), &fields());
    source.splits().unwrap();
    let rows = Reading::open(&*source, "out-0", None).read_to_end().unwrap().whole(&fields());
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &(0..1_000).collect::<Vec<_>>());
}

#[test]
fn messages_that_no_broker_takes_fail_the_job() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    let sink = kafka_sink(&cluster.bootstrap_servers(), "out", &json!({"outage_limit_ms": 1_000}));
    let mut writer = sink.writer(0, 1, vec![]).unwrap();
    write(&mut *writer, batch(0..10));
    writer.prepare(1, 0, false).unwrap()().unwrap();
    cluster.broker_down(1).unwrap();
    write(&mut *writer, batch(10..20));
    let error = writer.prepare(2, 1, false).unwrap()().unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("kafka out[0]"), "{error}");
    assert_eq!(writer.write(batch(0..1)).unwrap_err(), error);
}

#[test]
fn wrong_keys_and_topics_are_named() {
    let options = json!({"topic": "out", "bootstrap_servers": "127.0.0.1:9", "key": ["nam"]});
    let error = sink("kafka", &options, &fields()).err().unwrap().to_string();
    assert!(error.contains("name, n") && error.contains("got nam"), "{error}");
    let Some(broker) = broker() else { return };
    let error = kafka_sink(&broker, "no-such-topic", &json!({})).writer(0, 1, vec![]).err().unwrap();
    assert!(matches!(&error, EngineError::Call { place, .. } if place.contains("no-such-topic")), "{error}");
}
