"""Kafka through the whole engine, against a real broker: JSON in, windows, files and Kafka out, `kill -9`."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError

from .broker import new_topic, receive

SCHEMA: dict[str, Any] = {"auction": pl.Int64, "price": pl.Int64, "ts": pl.Datetime("us")}
START = datetime(2024, 1, 1)


def bids(rows: int) -> pl.DataFrame:
    random.seed(rows)
    return pl.DataFrame(
        {
            "auction": [random.randrange(5) for _ in range(rows)],
            "price": [random.randrange(1000) for _ in range(rows)],
            "ts": [START + timedelta(milliseconds=20 * row) for row in range(rows)],
        },
        schema=pl.Schema(SCHEMA),
    )


def produce(servers: str, topic: str, rows: pl.DataFrame, partitions: int = 2) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for number, row in enumerate(rows.to_dicts()):
        text = json.dumps({**row, "ts": row["ts"].isoformat()})
        producer.produce(topic, text.encode(), partition=number % partitions)
        producer.poll(0)
    assert producer.flush(30) == 0


def windows(frame: pl.LazyFrame) -> pl.LazyFrame:
    return (
        frame.stream.with_watermark("ts", delay="4s")
        .group_by_dynamic("ts", every="10s", group_by="auction")
        .agg(pl.len().alias("bids"), pl.col("price").max())
    )


def test_topic_gives_the_same_windows_as_its_rows_in_polars(servers: str) -> None:
    topic, rows = new_topic(servers), bids(5000)
    produce(servers, topic, rows)
    query = windows(dff.scan_kafka(topic, bootstrap_servers=servers, schema=SCHEMA, end="latest"))
    found = query.collect(engine=dff.Engine(parallelism=2)).sort("auction", "ts")
    expected = windows(dff.from_batches(rows[::2], rows[1::2])).collect(engine="in-memory")
    assert_frame_equal(found, expected.sort("auction", "ts"))


def test_rows_come_back_from_a_topic_that_the_engine_wrote(servers: str) -> None:
    topic, rows = new_topic(servers), bids(500)
    sink = pl.LazyFrame(rows).stream.sink_kafka(topic, bootstrap_servers=servers, key="auction", lazy=True)
    assert dff.Engine().start(sink).wait("60s")
    found = pl.DataFrame(
        [json.loads(message.value() or b"") for message in receive(servers, topic, 500)]
    ).select("auction", "price")
    assert_frame_equal(found.sort(pl.all()), rows.select("auction", "price").sort(pl.all()))


def test_malformed_message_is_named_by_topic_partition_and_offset(servers: str) -> None:
    topic = new_topic(servers, partitions=1)
    producer = Producer({"bootstrap.servers": servers})
    for text in [b'{"auction": 1, "price": 2}', b"{not json", b'{"auction": 3, "price": 4}']:
        producer.produce(topic, text)
    producer.flush(30)
    scan = dff.scan_kafka(topic, bootstrap_servers=servers, schema=SCHEMA, end="latest")
    with pytest.raises(DataError, match=rf"{topic}\[0\] offset 1"):
        scan.collect(engine=dff.Engine())
    kept = scan.collect(engine=dff.Engine(on_error="skip"))
    assert kept["auction"].to_list() == [1, 3]


def test_unknown_topic_is_refused_by_name(servers: str) -> None:
    scan = dff.scan_kafka("no-such-topic", bootstrap_servers=servers, schema=SCHEMA, end="latest")
    with pytest.raises(CallError, match="no-such-topic"):
        scan.collect(engine=dff.Engine())


JOB = """
import sys
import polars as pl
import dataflare_fast as dff

topic, servers, folder = sys.argv[1:]
bids = dff.scan_kafka(topic, bootstrap_servers=servers, end="latest",
                      schema={"auction": pl.Int64, "price": pl.Int64, "ts": pl.Datetime("us")})
query = (
    bids.stream.with_watermark("ts", delay="4s")
    .group_by_dynamic("ts", every="10s", group_by="auction")
    .agg(pl.len().alias("bids"), pl.col("price").max())
)
checkpoint = dff.Checkpoint(folder + "/state", interval="20ms")
engine = dff.Engine(parallelism=2, batch_rows=256, checkpoint=checkpoint)
sink = query.stream.sink_parquet(folder + "/out", roll_after="0s", lazy=True)
engine.start(sink, name="windows").wait()
"""


def test_killed_job_counts_every_message_exactly_once(servers: str, tmp_path: Path) -> None:
    topic, rows = new_topic(servers), bids(40_000)
    produce(servers, topic, rows)
    command = [sys.executable, "-c", JOB, topic, servers, str(tmp_path)]
    random.seed(7)
    for _ in range(4):
        process = subprocess.Popen(command)
        try:
            process.wait(random.uniform(0.4, 1.4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run(command, check=True, timeout=120)
    found = pl.read_parquet(tmp_path / "out" / "*.parquet").sort("auction", "ts")
    expected = windows(dff.from_batches(rows[::2], rows[1::2])).collect(engine="in-memory")
    assert_frame_equal(found, expected.sort("auction", "ts"))
