//! What a loop without an engine reaches: Kafka JSON, Nexmark q1, Parquet. The bar of the same query as a job.
//!
//! ```text
//! kafka_anchor load BROKERS TOPIC EVENTS    makes the topic (2 partitions) and writes the bids of so many events
//! kafka_anchor run BROKERS TOPIC FOLDER     reads it to its end, a thread a partition; prints rows and rows/s
//! ```
//! Batches come from librdkafka's batch queue and are decoded as in a job. Build with `--release`.

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as Arrow, Field as ArrowField, Int64Type, Schema as ArrowSchema, SchemaRef};
use crossbeam_channel::{Receiver, bounded};
use dataflare_connect::nexmark::{Table, generate, schema};
use dataflare_connect::{sink, source};
use dataflare_engine::event::Batch;
use dataflare_engine::source::{Poll, Source, Split, SplitReader, Waker};
use dataflare_engine::types::arrow_schema;
use dataflare_plan::Field;
use futures::executor::block_on;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use serde_json::json;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["load", brokers, topic, events] => load(brokers, topic, events.parse()?),
        ["run", brokers, topic, folder] => run(brokers, topic, Path::new(folder)),
        _ => Err("usage: kafka_anchor load BROKERS TOPIC EVENTS | run BROKERS TOPIC FOLDER".into()),
    }
}

fn load(brokers: &str, topic: &str, events: u64) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let new = NewTopic::new(topic, 2, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for answer in block_on(admin.create_topics([&new], &options))? {
        answer.map_err(|(topic, code)| format!("topic {topic}: {code}"))?;
    }
    let bids = schema(Table::Bid);
    let target =
        sink("kafka", &json!({"topic": topic, "bootstrap_servers": brokers}), &bids)?.ok_or("no kafka")?;
    let mut writer = target.writer(0, 0, Vec::new())?;
    for batch in generate(&json!({"kind": "bid", "events": events}), &bids, None)? {
        let mut rest = Some(Batch::new(batch?));
        while let Some(batch) = rest.take() {
            rest = writer.write(batch)?;
            if rest.is_some() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    println!("kafka_anchor load: {}", writer.prepare(1, 0, true)?()?);
    Ok(())
}

fn run(brokers: &str, topic: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let started = Instant::now();
    let options =
        json!({"topics": [topic], "bootstrap_servers": brokers, "end": "latest", "batch_rows": 65_536});
    let names = ["auction", "bidder", "price", "ts"];
    let bids: Vec<Field> =
        schema(Table::Bid).into_iter().filter(|field| names.contains(&field.name.as_str())).collect();
    let source = source("kafka", &options, &bids)?.ok_or("no kafka")?;
    let threads = source.splits()?.into_iter().map(|split| {
        let (source, bids) = (Arc::clone(&source), bids.clone());
        let path = folder.join(format!("{}.parquet", split.name));
        std::thread::spawn(move || copy(&*source, &split, &arrow_schema(&bids), &path))
    });
    let threads: Vec<_> = threads.collect();
    let mut rows = 0;
    for thread in threads {
        rows += thread.join().map_err(|_| "a thread panicked")??;
    }
    let rate = rows as f64 / started.elapsed().as_secs_f64() / 1e6;
    println!("kafka_anchor run: {rows} rows, {rate:.2} M rows/s");
    Ok(())
}

/// One partition: read, decode, project, write.
fn copy(source: &dyn Source, split: &Split, bids: &SchemaRef, path: &Path) -> Result<usize> {
    let (woken, wakes) = bounded(1);
    let waker: Waker = Arc::new(move || {
        let _ = woken.try_send(());
    });
    let mut reader = source.open(split, None, waker)?;
    let fields = bids.fields().iter().map(|field| match field.name().as_str() {
        "price" => Arc::new(ArrowField::new("price", Arrow::Float64, true)),
        _ => Arc::clone(field),
    });
    let q1 = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = ArrowWriter::try_new(File::create(path)?, Arc::clone(&q1), Some(properties))?;
    let (mut group, mut waiting, mut rows) = (Vec::new(), 0, 0);
    while let Some(batch) = next(&mut *reader, &wakes)? {
        waiting += batch.num_rows();
        group.push(project(&batch, &q1)?);
        if waiting >= GROUP_ROWS {
            rows += std::mem::take(&mut waiting);
            file.write(&concat_batches(&q1, &std::mem::take(&mut group))?)?;
        }
    }
    file.write(&concat_batches(&q1, &group)?)?;
    file.close()?;
    Ok(rows + waiting)
}

fn next(reader: &mut dyn SplitReader, wakes: &Receiver<()>) -> Result<Option<RecordBatch>> {
    loop {
        match reader.poll()? {
            Poll::Ready(batch) => {
                let decoded = (batch.decode)()?;
                match decoded.rejected.first() {
                    None => return Ok(Some(decoded.records)),
                    Some(row) => return Err(format!("{}: {}", row.offset, row.message).into()),
                }
            }
            Poll::Pending => wakes.recv()?,
            Poll::End => return Ok(None),
        }
    }
}

/// q1: the price in another currency.
fn project(bids: &RecordBatch, q1: &SchemaRef) -> Result<RecordBatch> {
    let schema = bids.schema();
    let columns = schema.fields().iter().zip(bids.columns()).map(|(field, column)| -> ArrayRef {
        if field.name() != "price" {
            return Arc::clone(column);
        }
        let prices: Float64Array = column.as_primitive::<Int64Type>().unary(|price| price as f64 * 0.908);
        Arc::new(prices)
    });
    Ok(RecordBatch::try_new(Arc::clone(q1), columns.collect())?)
}
