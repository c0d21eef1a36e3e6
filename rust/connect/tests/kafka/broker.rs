//! A real broker for tests: `KAFKA_BOOTSTRAP_SERVERS` names it. Without it the tests say so and pass.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use dataflare_connect::source;
use dataflare_engine::source::{Offset, Poll, Rejected, Source, Split, SplitReader, Waker};
use dataflare_engine::types::arrow_schema;
use dataflare_plan::{DataType, Field};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

pub const LIMIT: Duration = Duration::from_secs(30);

/// The broker's address, or `None` after saying why the test does nothing.
pub fn broker() -> Option<String> {
    let address = std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok();
    if address.is_none() {
        println!("skipped: KAFKA_BOOTSTRAP_SERVERS is not set");
    }
    address
}

pub fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker).create().unwrap()
}

/// A new topic whose name begins with `name`.
pub fn topic(broker: &str, name: &str, partitions: i32) -> String {
    let nanoseconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("{name}-{nanoseconds}");
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let answers =
        block_on(admin(broker).create_topics([&new], &AdminOptions::new().operation_timeout(Some(LIMIT))))
            .unwrap();
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
    name
}

pub fn add_partitions(broker: &str, topic: &str, count: usize) {
    let more = NewPartitions::new(topic, count);
    let answers = block_on(admin(broker).create_partitions([&more], &AdminOptions::new())).unwrap();
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
}

pub fn producer(broker: &str, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("linger.ms", "5");
    config.extend(settings.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    config.create().unwrap()
}

/// Writes texts to a partition and waits for them.
pub fn send<'a>(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    values: impl IntoIterator<Item = &'a str>,
) {
    for value in values {
        let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(LIMIT).unwrap();
}

pub fn field(name: &str, dtype: DataType) -> Field {
    Field { name: name.to_string(), dtype }
}

/// A source of `topics`; `more` options come last.
pub fn kafka(broker: &str, topics: &[&str], more: &Value, fields: &[Field]) -> Arc<dyn Source> {
    let mut options = json!({"topics": topics, "bootstrap_servers": broker});
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    source("kafka", &options, &fields.to_vec()).unwrap().unwrap()
}

/// A reader with what wakes its worker.
pub struct Reading {
    pub reader: Box<dyn SplitReader>,
    woken: Receiver<()>,
}

/// What a split gave.
#[derive(Debug, Default)]
pub struct Rows {
    pub batches: Vec<RecordBatch>,
    pub positions: Vec<u64>,
    pub rejected: Vec<Rejected>,
    /// Of each batch: the place of its first row, and the offset behind it.
    pub places: Vec<(u64, Offset)>,
}

impl Rows {
    pub fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn whole(&self, fields: &[Field]) -> RecordBatch {
        concat_batches(&arrow_schema(fields), &self.batches).unwrap()
    }
}

impl Reading {
    pub fn open(source: &dyn Source, split: &str, offset: Option<&Offset>) -> Self {
        let (sender, woken): (Sender<()>, _) = channel();
        let waker: Waker = Arc::new(move || {
            let _ = sender.send(());
        });
        let reader = source.open(&Split { name: split.to_string() }, offset, waker).unwrap();
        Self { reader, woken }
    }

    /// Reads until the end, or until `enough`.
    pub fn read(&mut self, enough: impl Fn(&Rows) -> bool) -> dataflare_engine::Result<Rows> {
        let mut rows = Rows::default();
        while !enough(&rows) {
            match self.reader.poll()? {
                Poll::Ready(batch) => {
                    rows.places.push((batch.first, batch.next.clone()));
                    let first = batch.first;
                    let decoded = (batch.decode)()?;
                    let count = decoded.records.num_rows() as u64;
                    rows.positions
                        .extend(decoded.positions.unwrap_or_else(|| (first..first + count).collect()));
                    rows.rejected.extend(decoded.rejected);
                    rows.batches.push(decoded.records);
                }
                Poll::Pending => self.woken.recv_timeout(LIMIT).expect("nobody wakes the worker"),
                Poll::End => break,
            }
        }
        Ok(rows)
    }

    pub fn read_to_end(&mut self) -> dataflare_engine::Result<Rows> {
        self.read(|_| false)
    }
}
