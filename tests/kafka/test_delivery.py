"""What stands in a topic after processes were killed: every window once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError

from .broker import new_topic, receive
from .test_jobs import bids, produce, windows

JOB = """
import sys
import polars as pl
import dataflare_fast as dff

source, target, servers, folder, parallelism = sys.argv[1:]
bids = dff.scan_kafka(source, bootstrap_servers=servers, end="latest",
                      schema={"auction": pl.Int64, "price": pl.Int64, "ts": pl.Datetime("us")})
query = (
    bids.stream.with_watermark("ts", delay="4s")
    .group_by_dynamic("ts", every="10s", group_by="auction")
    .agg(pl.len().alias("bids"), pl.col("price").max())
)
engine = dff.Engine(name="hot", parallelism=int(parallelism), batch_rows=256,
                    checkpoint=dff.Checkpoint(folder, interval="20ms"))
engine.start(query.stream.sink_kafka(target, bootstrap_servers=servers, key="auction", lazy=True)).wait()
"""


def written(servers: str, topic: str, least: int) -> pl.DataFrame:
    """All committed messages, by a client that is not ours. A commit is seen a moment after its answer."""
    schema: dict[str, Any] = {
        "auction": pl.Int64,
        "ts": pl.Datetime("us"),
        "bids": pl.UInt32,
        "price": pl.Int64,
    }
    receive(servers, topic, least)
    count = dff.scan_kafka(topic, bootstrap_servers=servers, schema={"auction": pl.Int64}, end="latest")
    rows = [
        json.loads(message.value() or b"")
        for message in receive(servers, topic, count.collect(engine=dff.Engine()).height)
    ]
    for row in rows:
        row["ts"] = datetime.fromisoformat(row["ts"])
    return pl.DataFrame(rows, schema=schema).sort("auction", "ts")


def expected(rows: pl.DataFrame) -> pl.DataFrame:
    frame = windows(dff.from_batches(rows[::2], rows[1::2])).collect(engine="in-memory")
    return frame.sort("auction", "ts")


def test_killed_job_writes_every_window_to_the_topic_once(servers: str, tmp_path: Path) -> None:
    source, target, rows = new_topic(servers), new_topic(servers), bids(40_000)
    produce(servers, source, rows)
    random.seed(11)
    command = [sys.executable, "-c", JOB, source, target, servers, str(tmp_path)]
    for parallelism in (2, 1, 2):
        process = subprocess.Popen([*command, str(parallelism)])
        try:
            process.wait(random.uniform(0.6, 1.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run([*command, "1"], check=True, timeout=120)
    windows_of_all = expected(rows)
    assert_frame_equal(written(servers, target, windows_of_all.height), windows_of_all)


def test_explain_says_what_is_promised(servers: str) -> None:
    def text(**more: Any) -> str:
        sink = pl.LazyFrame({"n": [1]}).stream.sink_kafka("t", bootstrap_servers=servers, lazy=True, **more)
        return str(dff.explain(sink))

    assert "exactly once with a checkpoint" in text()
    assert "exactly once: in transactions" in text(delivery="exactly_once")
    assert "at least once" in text(delivery="at_least_once")


def test_bad_deliveries_are_refused(servers: str) -> None:
    frame = pl.LazyFrame({"n": [1]})
    with pytest.raises(CallError, match="delivery: expected 'exactly_once'"):
        frame.stream.sink_kafka("t", bootstrap_servers=servers, delivery="twice", lazy=True)  # type: ignore[call-overload]
    sink = frame.stream.sink_kafka("t", bootstrap_servers=servers, delivery="exactly_once", lazy=True)
    with pytest.raises(CallError, match="a checkpoint"):
        dff.Engine().start(sink)


def test_low_latency_is_at_least_once_with_a_checkpoint_too(servers: str, tmp_path: Path) -> None:
    topic = new_topic(servers)
    engine = dff.Engine(name="job", checkpoint=tmp_path)
    sink = pl.LazyFrame({"n": [1, 2]}).stream.sink_kafka(
        topic, bootstrap_servers=servers, delivery="at_least_once", lazy=True
    )
    assert engine.start(sink).wait("60s")
    assert len(receive(servers, topic, 2)) == 2


def test_finished_job_asks_its_marker_and_without_one_says_how_to_go_on(servers: str, tmp_path: Path) -> None:
    source, target, rows = new_topic(servers), new_topic(servers), bids(2_000)
    produce(servers, source, rows)
    command = [sys.executable, "-c", JOB, source, target, servers, str(tmp_path), "1"]
    subprocess.run(command, check=True, timeout=120)
    done = sorted((tmp_path / "hot" / "sink").glob("*/*.done"), key=lambda path: path.stat().st_mtime_ns)[-1]
    done.unlink()
    # As if it had died behind its commit: the marker says that the rows are there.
    subprocess.run(command, check=True, timeout=120)
    assert done.exists()
    windows_of_all = expected(rows)
    assert_frame_equal(written(servers, target, windows_of_all.height), windows_of_all)
    done.unlink()
    group = f"hot.{done.parent.name}.0"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_consumer_groups([group])[group].result(30)
    lost = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert lost.returncode != 0
    assert group in lost.stderr
    assert f"sink/{done.parent.name}/{done.name}" in lost.stderr
    # The user has looked, and says that the rows are there.
    done.touch()
    subprocess.run(command, check=True, timeout=120)
    windows_of_all = expected(rows)
    assert_frame_equal(written(servers, target, windows_of_all.height), windows_of_all)
