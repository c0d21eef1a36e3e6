//! JSON messages to columns: arrow-json against our decoder, on the bids of Nexmark. Build with `--release`.
//!
//! ```text
//! json_decode [EVENTS]    prints rows a second of each, one core, the median of interleaved runs, and their ratio
//! ```

use arrow::array::RecordBatch;
use arrow_json::ReaderBuilder;
use dataflare_connect::columns::Column;
use dataflare_connect::json::lines;
use dataflare_connect::json_rows::read_object;
use dataflare_connect::nexmark::{Table, generate, schema};
use dataflare_engine::types::arrow_schema;
use serde_json::json;
use std::error::Error;
use std::time::Instant;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Messages that are decoded at once, as in a job.
const BATCH: usize = 16_384;
const RUNS: usize = 9;

fn main() -> Result<()> {
    let events = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse::<u64>())?;
    let bids = schema(Table::Bid);
    let mut text = Vec::new();
    for batch in generate(&json!({"kind": "bid", "events": events}), &bids, None)? {
        text.extend(lines(&batch?)?);
    }
    let messages: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').filter(|message| !message.is_empty()).collect();
    let arrow_json = || -> Result<usize> {
        let mut rows = 0;
        for batch in messages.chunks(BATCH) {
            let builder = ReaderBuilder::new(arrow_schema(&bids)).with_batch_size(batch.len() + 1);
            let mut decoder = builder.build_decoder()?;
            for message in batch {
                decoder.decode(message)?;
            }
            rows += decoder.flush()?.as_ref().map_or(0, RecordBatch::num_rows);
        }
        Ok(rows)
    };
    let ours = || -> Result<usize> {
        let mut rows = 0;
        for batch in messages.chunks(BATCH) {
            let mut columns = Column::of_message(&bids)?;
            for message in batch {
                read_object(message, &mut columns).map_err(|misfit| misfit.to_string())?;
            }
            rows += columns.len();
            columns.take_fields()?;
        }
        Ok(rows)
    };
    let (mut theirs_s, mut ours_s) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        theirs_s.push(seconds(arrow_json, messages.len())?);
        ours_s.push(seconds(ours, messages.len())?);
    }
    let (theirs_s, ours_s) = (median(theirs_s), median(ours_s));
    let rate = |seconds: f64| messages.len() as f64 / seconds / 1e6;
    println!("{} messages of {} bytes", messages.len(), text.len() / messages.len().max(1));
    println!(
        "arrow-json {:.2} M rows/s, ours {:.2} M rows/s, ratio {:.2}",
        rate(theirs_s),
        rate(ours_s),
        theirs_s / ours_s
    );
    Ok(())
}

fn seconds(run: impl Fn() -> Result<usize>, expected: usize) -> Result<f64> {
    let start = Instant::now();
    let rows = run()?;
    let seconds = start.elapsed().as_secs_f64();
    if rows == expected { Ok(seconds) } else { Err(format!("expected {expected} rows, got {rows}").into()) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
