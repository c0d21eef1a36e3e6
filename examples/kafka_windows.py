"""Bids of a topic, counted in windows of ten seconds, into another topic.

Needs a broker, so that it does not run in plain CI: `tests/kafka/test_examples.py` runs it where one is.

    KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 dataflare run examples/kafka_windows.py:sink --checkpoint state

Both topics, `bids` and `hot`, must exist. A bid is `{"auction": 1, "price": 5, "ts": "2024-01-01T12:00:00"}`.
"""

import os

import polars as pl

import dataflare_fast as dff

servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
bids = dff.scan_kafka(
    os.environ.get("BIDS", "bids"),
    bootstrap_servers=servers,
    schema={"auction": pl.Int64, "price": pl.Int64, "ts": pl.Datetime("us")},
    columns={"partition": "partition"},
    tombstones="drop",
    end="latest" if "BOUNDED" in os.environ else None,
)
hot = (
    bids.stream.with_watermark("ts", delay="4s", idle="30s")
    .filter(pl.col("price") > 0)
    .group_by_dynamic("ts", every="10s", group_by="auction")
    .agg(pl.len().alias("bids"), pl.col("price").max())
)
sink = hot.stream.sink_kafka(
    os.environ.get("HOT", "hot"),
    bootstrap_servers=servers,
    key="auction",
    timestamp="ts",
    compression="lz4",
    lazy=True,
)
