//! The source: what is read, what is rejected, where it goes on, what it waits for.

use crate::broker::{LIMIT, Reading, add_partitions, admin, broker, field, kafka, producer, send, topic};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};
use dataflare_engine::EngineError;
use dataflare_plan::{DataType, Field, TimeUnit};
use futures::executor::block_on;
use rdkafka::admin::AdminOptions;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::time::Duration;

fn number() -> Vec<Field> {
    vec![field("n", DataType::Int64)]
}

fn numbers(rows: &crate::broker::Rows) -> Vec<i64> {
    rows.whole(&number()).column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn objects(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| format!("{{\"n\": {n}}}")).collect()
}

#[test]
fn bounded_read_gives_every_message_of_every_partition_in_order() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "bounded", 3);
    let producer = producer(&broker, &[]);
    for partition in 0..3 {
        let values = objects(i64::from(partition) * 10_000..i64::from(partition) * 10_000 + 5_000);
        send(&producer, &name, partition, values.iter().map(String::as_str).filter(|_| partition != 1));
    }
    let source = kafka(&broker, &[&name], &json!({"end": "latest"}), &number());
    let splits: Vec<String> = source.splits().unwrap().into_iter().map(|split| split.name).collect();
    assert_eq!(splits, (0..3).map(|partition| format!("{name}-{partition}")).collect::<Vec<_>>());
    for (partition, split) in splits.iter().enumerate() {
        let rows = Reading::open(&*source, split, None).read_to_end().unwrap();
        let first = partition as i64 * 10_000;
        let expected: Vec<i64> = if partition == 1 { vec![] } else { (first..first + 5_000).collect() };
        assert_eq!(numbers(&rows), expected);
        assert_eq!(rows.positions, (0..expected.len() as u64).collect::<Vec<_>>());
        assert!(rows.rejected.is_empty());
    }
}

#[test]
fn key_headers_and_places_become_columns() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "columns", 1);
    let producer = producer(&broker, &[]);
    let headers =
        OwnedHeaders::new()
            .insert(Header { key: "trace", value: Some("abc") })
            .insert(Header::<&str> { key: "empty", value: None });
    let record =
        BaseRecord::to(&name).key("k1").payload("{\"n\": 1}").timestamp(1_436_918_400_123).headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();
    send(&producer, &name, 0, ["{}"]);
    let pair = DataType::Struct(vec![field("key", DataType::String), field("value", DataType::Binary)]);
    let fields = vec![
        field("n", DataType::Int64),
        field("key", DataType::String),
        field("topic", DataType::String),
        field("partition", DataType::Int32),
        field("offset", DataType::Int64),
        field("sent", DataType::Datetime { unit: TimeUnit::Milliseconds, zone: Some("UTC".to_string()) }),
        field("headers", DataType::List(Box::new(pair))),
    ];
    let columns = json!({"key": "key", "topic": "topic", "partition": "partition", "offset": "offset",
        "timestamp": "sent", "headers": "headers"});
    let source = kafka(&broker, &[&name], &json!({"end": "latest", "columns": columns}), &fields);
    source.splits().unwrap();
    let rows = Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap().whole(&fields);
    assert_eq!(rows.num_rows(), 2);
    assert!(rows.column(0).is_null(1));
    assert_eq!(rows.column(1).as_string_view().iter().collect::<Vec<_>>(), [Some("k1"), None]);
    assert_eq!(rows.column(2).as_string_view().value(1), name);
    assert_eq!(rows.column(3).as_primitive::<Int32Type>().values(), &[0, 0]);
    assert_eq!(rows.column(4).as_primitive::<Int64Type>().values(), &[0, 1]);
    assert_eq!(rows.column(5).as_primitive::<TimestampMillisecondType>().value(0), 1_436_918_400_123);
    let headers = rows.column(6).as_list::<i64>();
    assert_eq!((headers.value_length(0), headers.value_length(1)), (2, 0));
    let pairs = headers.value(0);
    assert_eq!(pairs.as_struct().column(0).as_string_view().value(0), "trace");
    assert_eq!(pairs.as_struct().column(1).as_binary_view().value(0), b"abc");
    assert!(pairs.as_struct().column(1).is_null(1));
}

#[test]
fn only_extra_columns_still_have_a_row_a_message() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "extras", 1);
    send(&producer(&broker, &[]), &name, 0, ["{\"n\": 1}", "nonsense", "{\"n\": 2}"]);
    let fields = vec![field("at", DataType::Int64)];
    let source = kafka(&broker, &[&name], &json!({"end": "latest", "columns": {"offset": "at"}}), &fields);
    source.splits().unwrap();
    let rows = Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap();
    assert_eq!(rows.whole(&fields).column(0).as_primitive::<Int64Type>().values(), &[0, 2]);
    assert_eq!(rows.rejected.len(), 1);
}

#[test]
fn malformed_messages_are_rejected_with_topic_partition_and_offset() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "malformed", 1);
    let producer = producer(&broker, &[]);
    let values = [
        "{\"n\": 1}",
        "{\"n\": ",
        "}",
        "",
        "[1]",
        "7",
        "null",
        "{\"n\": 1} {\"n\": 2}",
        "{\"n\": \"x\"}",
        "{\"n\": 2.5e30}",
        "{\"m\": 1}",
        " {\"n\": 3} \n",
    ];
    send(&producer, &name, 0, values);
    let tombstone = BaseRecord::<str, str>::to(&name).key("gone");
    producer.send(tombstone).map_err(|(error, _)| error).unwrap();
    let not_text: &[u8] = b"{\"n\": 4, \"t\": \"\xff\"}";
    producer.send(BaseRecord::<(), [u8]>::to(&name).payload(not_text)).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();
    send(&producer, &name, 0, ["{\"n\": 5}"]);
    let source = kafka(&broker, &[&name], &json!({"end": "latest"}), &number());
    source.splits().unwrap();
    let rows = Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap();
    let found = rows.whole(&number());
    let found: Vec<_> = found.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(found, [Some(1), None, Some(3), Some(5)]);
    assert_eq!(rows.positions, [0, 10, 11, 14]);
    let offsets: Vec<&str> = rows.rejected.iter().map(|row| row.offset.as_str()).collect();
    let expected: Vec<String> =
        (1..10).chain(12..14).map(|offset| format!("{name}[0] offset {offset}")).collect();
    assert_eq!(offsets, expected);
    assert_eq!(rows.rejected.iter().find(|row| row.offset.ends_with(" 12")).unwrap().code, "tombstone");
    assert!(rows.rejected.iter().all(|row| !row.message.is_empty()));
}

#[test]
fn raw_values_are_bytes_or_text() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "raw", 1);
    let producer = producer(&broker, &[]);
    send(&producer, &name, 0, ["first, longer than twelve bytes", ""]);
    producer
        .send(BaseRecord::<(), [u8]>::to(&name).payload(b"\xff\xfe"))
        .map_err(|(error, _)| error)
        .unwrap();
    producer.flush(LIMIT).unwrap();
    for (dtype, rows) in [(DataType::Binary, 3), (DataType::String, 2)] {
        let fields = vec![field("line", dtype)];
        let source = kafka(&broker, &[&name], &json!({"end": "latest", "value": "raw"}), &fields);
        source.splits().unwrap();
        let found = Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap();
        assert_eq!(found.count(), rows);
        assert_eq!(found.rejected.len(), 3 - rows);
        assert!(found.rejected.iter().all(|row| row.code == "utf8"));
    }
}

#[test]
fn a_restart_reads_on_behind_the_checkpoint_and_ends_where_the_first_start_would_have() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "restart", 1);
    let producer = producer(&broker, &[]);
    send(&producer, &name, 0, objects(0..1_000).iter().map(String::as_str));
    let options = json!({"end": "latest", "batch_rows": 100});
    let source = kafka(&broker, &[&name], &options, &number());
    source.splits().unwrap();
    let split = format!("{name}-0");
    let rows = Reading::open(&*source, &split, None).read_to_end().unwrap();
    send(&producer, &name, 0, objects(1_000..2_000).iter().map(String::as_str));
    for (_, next) in &rows.places {
        let restarted = kafka(&broker, &[&name], &options, &number());
        restarted.splits().unwrap();
        let rest = numbers(&Reading::open(&*restarted, &split, Some(next)).read_to_end().unwrap());
        assert_eq!(rest, (next["next"].as_i64().unwrap()..1_000).collect::<Vec<_>>());
    }
}

#[test]
fn start_latest_is_settled_before_the_first_message() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "latest", 1);
    let producer = producer(&broker, &[]);
    send(&producer, &name, 0, objects(0..10).iter().map(String::as_str));
    let source = kafka(&broker, &[&name], &json!({"start": "latest"}), &number());
    source.splits().unwrap();
    let split = format!("{name}-0");
    let mut reading = Reading::open(&*source, &split, None);
    let before = reading.read(|rows| !rows.places.is_empty()).unwrap();
    assert_eq!((before.count(), before.places[0].clone()), (0, (10, json!({"next": 10}))));
    send(&producer, &name, 0, objects(10..20).iter().map(String::as_str));
    assert_eq!(numbers(&reading.read(|rows| rows.count() == 10).unwrap()), (10..20).collect::<Vec<_>>());
    drop(reading);
    // Killed before the first message: the checkpoint has the place all the same.
    let mut restarted = Reading::open(&*source, &split, Some(&before.places[0].1));
    assert_eq!(numbers(&restarted.read(|rows| rows.count() == 10).unwrap()), (10..20).collect::<Vec<_>>());
}

#[test]
fn rows_of_aborted_transactions_are_never_read() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "transactions", 1);
    let producer = producer(&broker, &[("transactional.id", &name)]);
    producer.init_transactions(LIMIT).unwrap();
    for (range, commit) in [(0..3, true), (3..6, false), (6..9, true)] {
        producer.begin_transaction().unwrap();
        send(&producer, &name, 0, objects(range).iter().map(String::as_str));
        if commit {
            producer.commit_transaction(LIMIT).unwrap()
        } else {
            producer.abort_transaction(LIMIT).unwrap()
        }
    }
    let source = kafka(&broker, &[&name], &json!({"end": "latest"}), &number());
    source.splits().unwrap();
    let rows = Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap();
    assert_eq!(numbers(&rows), [0, 1, 2, 6, 7, 8]);
    // Each end of a transaction takes an offset too.
    assert_eq!(rows.positions, [0, 1, 2, 8, 9, 10]);
}

#[test]
fn new_partitions_are_found_while_running_and_read_from_their_beginning() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "grows", 1);
    let source = kafka(&broker, &[&name], &json!({"start": "latest"}), &number());
    assert!(source.grows());
    assert_eq!(source.splits().unwrap().len(), 1);
    add_partitions(&broker, &name, 2);
    let producer = producer(&broker, &[]);
    send(&producer, &name, 1, objects(0..5).iter().map(String::as_str));
    let since = std::time::Instant::now();
    while source.splits().unwrap().len() < 2 {
        assert!(since.elapsed() < LIMIT, "the new partition is never found");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let rows = Reading::open(&*source, &format!("{name}-1"), None).read(|rows| rows.count() == 5).unwrap();
    assert_eq!(numbers(&rows), [0, 1, 2, 3, 4]);
}

#[test]
fn messages_deleted_behind_the_checkpoint_are_an_error() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "retention", 1);
    send(&producer(&broker, &[]), &name, 0, objects(0..10).iter().map(String::as_str));
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&name, 0, Offset::Offset(5)).unwrap();
    block_on(admin(&broker).delete_records(&until, &AdminOptions::new())).unwrap();
    let source = kafka(&broker, &[&name], &json!({}), &number());
    source.splits().unwrap();
    let split = format!("{name}-0");
    let error = Reading::open(&*source, &split, Some(&json!({"next": 2}))).read_to_end().unwrap_err();
    assert!(matches!(&error, EngineError::Call { .. }), "{error}");
    assert!(error.to_string().contains("retention"), "{error}");
    let rows = Reading::open(&*source, &split, None).read(|rows| rows.count() == 5).unwrap();
    assert_eq!(rows.positions, [5, 6, 7, 8, 9]);
}

#[test]
fn an_unknown_topic_is_named_with_those_that_there_are() {
    let Some(broker) = broker() else { return };
    let name = topic(&broker, "known", 1);
    let error = kafka(&broker, &["no-such-topic"], &json!({}), &number()).splits().unwrap_err();
    let EngineError::Call { place, expected, .. } = &error else { panic!("{error}") };
    assert!(
        place.contains("no-such-topic") && (expected.contains(&name) || expected.contains('…')),
        "{error}"
    );
}

#[test]
fn a_broker_that_never_answers_is_unavailable_after_the_limit() {
    // Nobody listens on the discard port of loopback.
    let source = kafka("127.0.0.1:9", &["bids"], &json!({"outage_limit_ms": 100}), &number());
    let error = source.splits().unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
}

#[test]
fn an_outage_is_waited_for_and_reading_goes_on() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("bids", 1, 1).unwrap();
    let producer = producer(&cluster.bootstrap_servers(), &[]);
    send(&producer, "bids", 0, objects(0..3).iter().map(String::as_str));
    let source = kafka(&cluster.bootstrap_servers(), &["bids"], &json!({}), &number());
    source.splits().unwrap();
    let mut reading = Reading::open(&*source, "bids-0", None);
    assert_eq!(numbers(&reading.read(|rows| rows.count() == 3).unwrap()), [0, 1, 2]);
    cluster.broker_down(1).unwrap();
    let since = std::time::Instant::now();
    while source.waits_for().is_none() {
        assert!(since.elapsed() < LIMIT, "the outage is never noticed");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let text = source.waits_for().unwrap();
    assert!(text.contains(&cluster.bootstrap_servers()) && text.contains("does not answer"), "{text}");
    cluster.broker_up(1).unwrap();
    send(&producer, "bids", 0, objects(3..6).iter().map(String::as_str));
    assert_eq!(numbers(&reading.read(|rows| rows.count() == 3).unwrap()), [3, 4, 5]);
    while source.waits_for().is_some() {
        assert!(since.elapsed() < LIMIT, "the outage never ends");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn an_outage_beyond_the_limit_fails_the_reader() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("bids", 1, 1).unwrap();
    let source = kafka(&cluster.bootstrap_servers(), &["bids"], &json!({"outage_limit_ms": 1500}), &number());
    source.splits().unwrap();
    let mut reading = Reading::open(&*source, "bids-0", None);
    cluster.broker_down(1).unwrap();
    let error = reading.read_to_end().unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("outage_limit"), "{error}");
}

#[test]
fn wrong_options_and_column_types_are_named() {
    let options = |more: serde_json::Value| {
        let mut options = json!({"topics": ["bids"], "bootstrap_servers": "127.0.0.1:9"});
        more.as_object().unwrap().iter().for_each(|(name, value)| options[name] = value.clone());
        options
    };
    let refuse = |more, fields: &[Field]| {
        dataflare_connect::source("kafka", &options(more), &fields.to_vec())
            .err()
            .expect("refused")
            .to_string()
    };
    assert!(refuse(json!({"value": "xml"}), &number()).contains("xml"));
    assert!(refuse(json!({"topics": []}), &number()).contains("at least one topic"));
    assert!(refuse(json!({"config": {"group.id": "g"}}), &number()).contains("no consumer group"));
    assert!(refuse(json!({"config": {"no.such.setting": "x"}}), &number()).contains("no.such.setting"));
    let wrong = refuse(json!({"columns": {"offset": "n"}}), &[field("n", DataType::String)]);
    assert!(wrong.contains("kafka column n") && wrong.contains("integer"), "{wrong}");
    let category = refuse(json!({}), &[field("c", DataType::Categorical)]);
    assert!(category.contains("column types that a message holds"), "{category}");
}
