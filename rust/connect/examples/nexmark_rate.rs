//! Prints how many Nexmark rows one thread decodes a second: `cargo run --release --example nexmark_rate`.

use dataflare_connect::nexmark::{Table, generate, schema};
use serde_json::json;
use std::time::Instant;

fn main() -> dataflare_engine::Result<()> {
    for (name, table) in [("person", Table::Person), ("auction", Table::Auction), ("bid", Table::Bid)] {
        let options = json!({"kind": name, "events": 20_000_000});
        let started = Instant::now();
        let mut rows = 0;
        for batch in generate(&options, &schema(table), None)? {
            rows += batch?.num_rows();
        }
        println!("{name}: {:.1} M rows/s", rows as f64 / started.elapsed().as_secs_f64() / 1e6);
    }
    Ok(())
}
