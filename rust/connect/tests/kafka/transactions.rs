//! Exactly once into a topic: each moment at which a process can die, a broker can go, or two processes can meet.
//!
//! A process that dies is a sink that is not asked any more; what it had sent stays open with the brokers.

use crate::broker::{LIMIT, Reading, admin, broker, field, kafka, topic};
use crate::service::Service;
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use dataflare_connect::sink;
use dataflare_engine::checkpoint::record::Unconfirmed;
use dataflare_engine::checkpoint::store::{ObjectStorePlace, Store};
use dataflare_engine::event::{Batch, Epoch};
use dataflare_engine::sink::{Place, Prepared, Sink, SinkWriter};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use futures::executor::block_on;
use rdkafka::admin::AdminOptions;
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;

fn fields() -> Vec<Field> {
    vec![field("n", DataType::Int64)]
}

fn batch(rows: Range<i64>) -> Batch {
    let numbers = Int64Array::from_iter_values(rows);
    Batch::new(RecordBatch::try_new(arrow_schema(&fields()), vec![Arc::new(numbers)]).unwrap())
}

/// A job's folder and its topic.
struct Job {
    broker: String,
    topic: String,
    folder: tempfile::TempDir,
}

/// One process of it.
struct Process {
    sink: Arc<dyn Sink>,
    writers: Vec<Box<dyn SinkWriter>>,
}

impl Job {
    fn new(broker: &str, partitions: i32) -> Self {
        let topic = topic(broker, "exactly", partitions);
        Self { broker: broker.to_owned(), topic, folder: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(ObjectStorePlace::folder(self.folder.path()).unwrap())
    }

    fn open(&self, attempt: u64, workers: usize, epoch: Epoch) -> Arc<dyn Sink> {
        let options = json!({"topic": self.topic, "bootstrap_servers": self.broker});
        let sink = sink("kafka", &options, &fields()).unwrap().unwrap();
        let place = Place {
            store: self.store(),
            job: self.topic.clone(),
            folder: "uuid".into(),
            identity: "out".into(),
            attempt,
            workers,
            epoch,
        };
        sink.open(Some(&place)).unwrap();
        sink
    }

    /// A process that goes on from these records.
    fn start(&self, attempt: u64, workers: usize, records: &[Unconfirmed]) -> Result<Process> {
        let sink = self.open(attempt, workers, records.last().map_or(0, |record| record.epoch));
        sink.recover(records)?;
        let writers =
            (0..workers).map(|worker| sink.writer(worker, attempt, vec![])).collect::<Result<_>>()?;
        Ok(Process { sink, writers })
    }

    /// What a reader of committed messages sees, once it is so much: a commit is seen a moment after it was answered.
    fn visible(&self, rows: usize) -> Vec<i64> {
        let since = std::time::Instant::now();
        loop {
            let seen = self.seen();
            if seen.len() >= rows || since.elapsed() > LIMIT {
                return seen;
            }
        }
    }

    fn seen(&self) -> Vec<i64> {
        let source = kafka(&self.broker, &[&self.topic], &json!({"end": "latest"}), &fields());
        let mut all = Vec::new();
        for split in source.splits().unwrap() {
            let rows = Reading::open(&*source, &split.name, None).read_to_end().unwrap().whole(&fields());
            all.extend_from_slice(rows.column(0).as_primitive::<Int64Type>().values());
        }
        all.sort_unstable();
        all
    }
}

impl Process {
    fn write(&mut self, worker: usize, rows: Range<i64>) {
        assert!(self.writers[worker].write(batch(rows)).unwrap().is_none(), "the rows were given back");
    }

    fn prepare(&mut self, epoch: Epoch, committed: Epoch) -> Vec<Prepared> {
        let preparations: Vec<_> =
            self.writers.iter_mut().map(|writer| writer.prepare(epoch, committed, false).unwrap()).collect();
        preparations.into_iter().map(|prepare| prepare().unwrap()).collect()
    }
}

fn record(epoch: Epoch, prepared: &[Prepared]) -> Unconfirmed {
    Unconfirmed { epoch, prepared: prepared.to_vec() }
}

fn numbers(rows: Range<i64>) -> Vec<i64> {
    rows.collect()
}

#[test]
fn rows_are_seen_after_the_record_and_once() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 2);
    let mut process = job.start(1, 2, &[]).unwrap();
    process.write(0, 0..50);
    process.write(1, 50..100);
    let prepared = process.prepare(1, 0);
    assert!(job.seen().is_empty());
    process.write(0, 100..150);
    process.sink.confirm(1, &prepared).unwrap();
    process.sink.confirm(1, &prepared).unwrap();
    assert_eq!(job.visible(100), numbers(0..100));
    let prepared = process.prepare(2, 1);
    process.sink.confirm(2, &prepared).unwrap();
    assert_eq!(job.visible(150), numbers(0..150));
    let left = job.store().list("sink").unwrap();
    assert_eq!(left, ["sink/out/1-1.done", "sink/out/1-2.done"]);
}

#[test]
fn death_before_the_record_shows_nothing_and_the_rows_come_again() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 2);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    process.prepare(1, 0);
    process.write(0, 50..60);
    let mut next = job.start(2, 1, &[]).unwrap();
    assert!(job.seen().is_empty());
    next.write(0, 0..60);
    let prepared = next.prepare(1, 0);
    next.sink.confirm(1, &prepared).unwrap();
    assert_eq!(job.visible(60), numbers(0..60));
}

#[test]
fn death_between_record_and_commit_is_made_good_once() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 2);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    let committed = [record(1, &process.prepare(1, 0))];
    // Rows of the next epoch are open too, in front of readers.
    process.write(0, 50..60);
    job.start(2, 1, &committed).unwrap();
    assert_eq!(job.visible(50), numbers(0..50));
    // It died again right behind that, and before it could say that the epoch is done.
    job.store().delete("sink/out/1-1.done").unwrap();
    job.start(3, 1, &committed).unwrap();
    assert_eq!(job.visible(50), numbers(0..50));
}

#[test]
fn of_two_workers_only_the_one_that_had_not_committed_sends_again() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 2);
    let mut process = job.start(1, 2, &[]).unwrap();
    process.write(0, 0..50);
    process.write(1, 50..100);
    let prepared = process.prepare(1, 0);
    process.sink.confirm(1, &prepared[..1]).unwrap();
    job.store().delete("sink/out/1-1.done").unwrap();
    job.start(2, 2, &[record(1, &prepared)]).unwrap();
    assert_eq!(job.visible(100), numbers(0..100));
}

#[test]
fn workers_that_are_no_more_neither_lose_rows_nor_hold_readers_back() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 2);
    let mut process = job.start(1, 2, &[]).unwrap();
    process.write(0, 0..50);
    process.write(1, 50..100);
    let committed = [record(1, &process.prepare(1, 0))];
    process.write(1, 100..150);
    let mut alone = job.start(2, 1, &committed).unwrap();
    assert_eq!(job.visible(100), numbers(0..100));
    alone.write(0, 100..150);
    let prepared = alone.prepare(2, 1);
    alone.sink.confirm(2, &prepared).unwrap();
    assert_eq!(job.visible(150), numbers(0..150));
}

#[test]
fn unconfirmed_epochs_are_sent_again_in_their_order() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 1);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    let first = record(1, &process.prepare(1, 0));
    process.write(0, 50..100);
    let second = record(2, &process.prepare(2, 1));
    job.start(2, 1, &[first, second]).unwrap();
    assert_eq!(job.visible(100).len(), 100);
    let source = kafka(&broker, &[&job.topic], &json!({"end": "latest"}), &fields());
    let split = source.splits().unwrap().remove(0).name;
    let rows = Reading::open(&*source, &split, None).read_to_end().unwrap().whole(&fields());
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &numbers(0..100));
}

#[test]
fn a_marker_that_has_expired_stops_the_job_and_says_how_to_go_on() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 1);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    let committed = [record(1, &process.prepare(1, 0))];
    let group = format!("{}.out.0", job.topic);
    let deleted = block_on(admin(&broker).delete_groups(&[&group], &AdminOptions::new())).unwrap();
    deleted.into_iter().for_each(|answer| drop(answer.unwrap()));
    let error = job.start(2, 1, &committed).err().unwrap();
    assert!(matches!(error, EngineError::Call { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&group) && text.contains("sink/out/1-1.done"), "{text}");
    assert!(job.seen().is_empty());
    // The user has looked, and says that the rows are there.
    job.store().create("sink/out/1-1.done", Vec::new()).unwrap();
    job.start(3, 1, &committed).unwrap();
}

#[test]
fn restore_of_an_older_checkpoint_sends_nothing_of_it_again() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 1);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    let first = process.prepare(1, 0);
    process.sink.confirm(1, &first).unwrap();
    process.write(0, 50..100);
    let second = process.prepare(2, 1);
    process.sink.confirm(2, &second).unwrap();
    job.store().delete("sink/out/1-1.done").unwrap();
    job.start(2, 1, &[record(1, &first)]).unwrap();
    assert_eq!(job.visible(100), numbers(0..100));
}

#[test]
fn a_process_that_wakes_up_after_its_successor_began_can_commit_nothing() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 1);
    let mut zombie = job.start(1, 1, &[]).unwrap();
    zombie.write(0, 0..50);
    let prepared = zombie.prepare(1, 0);
    zombie.write(0, 50..60);
    let mut successor = job.start(2, 1, &[record(1, &prepared)]).unwrap();
    successor.write(0, 50..100);
    let error = zombie.sink.confirm(1, &prepared).unwrap_err();
    assert!(matches!(error, EngineError::Conflict { owner: 2, .. }), "{error}");
    let prepared = successor.prepare(2, 1);
    successor.sink.confirm(2, &prepared).unwrap();
    assert_eq!(job.visible(100), numbers(0..100));
}

#[test]
fn an_abandoned_epoch_goes_on_in_its_transaction() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 1);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    process.prepare(1, 0);
    process.write(0, 50..60);
    process.sink.abandoned(1);
    process.prepare(2, 0);
    process.sink.abandoned(2);
    process.write(0, 60..100);
    let prepared = process.prepare(3, 0);
    job.start(2, 1, &[record(3, &prepared)]).unwrap();
    assert_eq!(job.visible(100), numbers(0..100));
}

#[test]
fn rows_of_a_third_epoch_wait_until_the_first_is_committed() {
    let Some(broker) = broker() else { return };
    let job = Job::new(&broker, 1);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..10);
    let first = process.prepare(1, 0);
    process.write(0, 10..20);
    let second = process.prepare(2, 1);
    let rest = process.writers[0].write(batch(20..30)).unwrap();
    assert_eq!(rest.map(|rest| rest.rows()), Some(10));
    process.sink.confirm(1, &first).unwrap();
    process.write(0, 20..30);
    process.sink.confirm(2, &second).unwrap();
    assert_eq!(job.visible(20), numbers(0..20));
}

#[test]
fn exactly_once_without_a_checkpoint_is_refused() {
    let options = json!({"topic": "t", "bootstrap_servers": "127.0.0.1:9", "delivery": "exactly_once"});
    let sink = sink("kafka", &options, &fields()).unwrap().unwrap();
    let error = sink.open(None).unwrap_err().to_string();
    assert!(error.contains("a checkpoint"), "{error}");
}

#[test]
#[ignore = "slow: starts a broker twice"]
fn a_broker_that_is_killed_in_mid_transaction_keeps_it_open_for_the_same_producer() {
    let Some(service) = Service::new(false) else { return };
    let broker = service.run("start")["KAFKA_BOOTSTRAP_SERVERS"].clone();
    let job = Job::new(&broker, 1);
    let mut process = job.start(1, 1, &[]).unwrap();
    process.write(0, 0..50);
    let prepared = process.prepare(1, 0);
    service.run("kill");
    let error = process.sink.confirm(1, &prepared).unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
    service.run("start");
    let since = std::time::Instant::now();
    while let Err(error) = process.sink.confirm(1, &prepared) {
        assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
        assert!(since.elapsed() < LIMIT, "{error}");
    }
    assert_eq!(job.visible(50), numbers(0..50));
    job.store().delete("sink/out/1-1.done").unwrap();
    job.start(2, 1, &[record(1, &prepared)]).unwrap();
    assert_eq!(job.visible(50), numbers(0..50));
}
