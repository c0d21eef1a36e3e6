"""`python -m benchmarks kafka`: Kafka JSON, Nexmark q1, Parquet, against a loop without an engine.

The loop is `rust/connect/examples/kafka_anchor.rs`: the same batch queue of librdkafka, arrow-json and the
same Parquet writer (snappy), a thread for each of two partitions. Needs a broker: `DATAFLARE_SERVICES` names
a folder with a `kafka.sh` that starts one, or `--brokers` one that runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import polars as pl

import dataflare_fast as dff

__all__ = ["main"]

BAR = 0.6
_RUST = Path(__file__).parent.parent / "rust"
_SCHEMA = {"auction": pl.Int64, "bidder": pl.Int64, "price": pl.Int64, "ts": pl.Datetime("us")}


def main(words: Sequence[str]) -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kafka", description=__doc__)
    parser.add_argument("--events", type=int, default=4_348_000, help="written before, all three kinds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brokers", help="host:port of a broker that runs")
    parser.add_argument("--anchor", help="a kafka_anchor that is built already")
    given = parser.parse_args(words)
    anchor = given.anchor or _build_anchor()
    topic = f"bench-{time.time_ns()}"
    with _broker(given.brokers) as brokers, tempfile.TemporaryDirectory(prefix="dataflare-bench-") as folder:
        subprocess.run(
            [anchor, "load", brokers, topic, str(given.events)], check=True, stdout=subprocess.DEVNULL
        )
        loop, ours = [], []
        for number in range(given.rounds):
            loop.append(_anchor_rate(anchor, brokers, topic, f"{folder}/anchor-{number}"))
            ours.append(_engine_rate(brokers, topic, f"{folder}/ours-{number}"))
    ratio = median(mine / theirs for mine, theirs in zip(ours, loop, strict=True))
    print(
        f"Kafka JSON > q1 > Parquet, two partitions, two threads; M rows/s, median (best) of {given.rounds}"
    )
    for title, rates in (("kafka_anchor", loop), ("dataflare_fast", ours)):
        print(f"  {title:<18}{median(rates):9.2f} ({max(rates):.2f})")
    print(f"  ratio {ratio:.2f} (bar {BAR}: {'met' if ratio >= BAR else 'MISSED'})")
    return 0


def _build_anchor() -> str:
    command = [
        "cargo",
        "build",
        "--release",
        "--quiet",
        "-p",
        "dataflare-connect",
        "--example",
        "kafka_anchor",
    ]
    subprocess.run(command, cwd=_RUST, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", _RUST / "target"))
    return str(target / "release" / "examples" / "kafka_anchor")


@contextmanager
def _broker(given: str | None) -> Iterator[str]:
    """One that runs, or a fresh one for the time of the benchmark."""
    if given is not None:
        yield given
        return
    services = os.environ.get("DATAFLARE_SERVICES")
    if services is None:
        raise SystemExit(
            "expected --brokers, or DATAFLARE_SERVICES with a folder that holds kafka.sh; got neither"
        )
    script = Path(services) / "kafka.sh"
    with tempfile.TemporaryDirectory(prefix="dataflare-kafka-") as folder:
        started = subprocess.run([script, "start", folder], check=True, text=True, stdout=subprocess.PIPE)
        values = dict(line.split("=", 1) for line in started.stdout.splitlines())
        try:
            yield values["KAFKA_BOOTSTRAP_SERVERS"]
        finally:
            subprocess.run([script, "stop", folder], check=True, stdout=subprocess.DEVNULL)


def _anchor_rate(anchor: str, brokers: str, topic: str, folder: str) -> float:
    ran = subprocess.run(
        [anchor, "run", brokers, topic, folder], check=True, text=True, stdout=subprocess.PIPE
    )
    found = re.search(r"([\d.]+) M rows/s", ran.stdout)
    if found is None:
        raise RuntimeError(f"kafka_anchor: expected a rate, got {ran.stdout!r}")
    return float(found[1])


def _engine_rate(brokers: str, topic: str, folder: str) -> float:
    scan = dff.scan_kafka(topic, bootstrap_servers=brokers, schema=_SCHEMA, end="latest")
    query = scan.select("auction", "bidder", (pl.col("price") * 0.908).alias("price"), "ts")
    checkpoint = dff.Checkpoint(f"{folder}-state", interval="200ms")
    started = time.perf_counter()
    engine = dff.Engine(name="bench", parallelism=2, checkpoint=checkpoint)
    query.sink_parquet(f"{folder}/", engine=engine, compression="snappy")
    seconds = time.perf_counter() - started
    rows = pl.scan_parquet(f"{folder}/*.parquet").select(pl.len()).collect().item()
    return float(rows) / seconds / 1e6
