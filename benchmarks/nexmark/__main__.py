"""`python -m benchmarks.nexmark [q3 q5 ...]`: Nexmark in streaming mode against three batch engines.

Answers are checked first. Every contender runs in turn, several rounds; ratios of one table hold on a machine
where single figures drift. The rows lie in memory as Arrow; the engine gets them as batches of two splits a
stream, writes checkpoints into a folder and hands results over as they become final; the batch engines answer
the whole query at once. Rows are those of the tables that a query reads.
"""

from __future__ import annotations

import os
import sys

# Read once, when Polars is imported.
os.environ["POLARS_MAX_THREADS"] = "2"

import argparse
import itertools
import math
import re
import tempfile
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Literal

import duckdb
import polars as pl
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from benchmarks.memory import watched
from benchmarks.nexmark.queries import QUERIES, SIDE_INPUT, Bounded, NexmarkQuery, Tables
from benchmarks.stream import BATCH_ROWS, CHECKPOINT_INTERVAL
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import batches_output

THREADS = 2
OURS = "dataflare_fast"
NAMES = ("person", "auction", "bid")
Contender = Callable[[NexmarkQuery], pl.DataFrame]


def main() -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nexmark", description=__doc__)
    parser.add_argument("queries", nargs="*", help=f"of {', '.join(QUERIES)}; all without")
    parser.add_argument("--events", type=int, default=10_000_000, help="of all three kinds")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.queries if name not in QUERIES]
    if unknown:
        parser.error(f"expected queries of {', '.join(QUERIES)}, got {', '.join(unknown)}")
    frames = generated(arguments.events)
    contenders = {OURS: ours(frames), **anchors(frames)}
    print(
        f"{arguments.events:,} events in memory, batches of {BATCH_ROWS:,}, two splits a stream, "
        f"{THREADS} threads, a checkpoint every {CHECKPOINT_INTERVAL}; M rows/s, "
        f"median of {arguments.rounds}, peak MiB"
    )
    print(f"{'':5}" + "".join(f"{name:>26}" for name in contenders) + f"{'ratio':>8}{'bar':>6}")
    ratios = [
        measure(name, QUERIES[name], frames, contenders, arguments.rounds)
        for name in arguments.queries or QUERIES
    ]
    print(f"geometric mean of the ratios to the best: {math.prod(ratios) ** (1 / len(ratios)):.2f}")
    return 0


def generated(events: int) -> dict[str, pl.DataFrame]:
    """The three tables, each in one chunk."""
    streams = dff.nexmark(events=events, splits=1)
    return {name: getattr(streams, name).collect(engine="in-memory").rechunk() for name in NAMES}


def ours(frames: dict[str, pl.DataFrame]) -> Contender:
    """The engine in streaming mode."""
    streams = {}
    for name, frame in frames.items():
        batches = [frame[start : start + BATCH_ROWS] for start in range(0, frame.height, BATCH_ROWS)]
        streams[name] = dff.from_batches(batches[0::2], batches[1::2], schema=frame.schema)
    tables = Tables(**streams)

    def run(query: NexmarkQuery) -> pl.DataFrame:
        lock = threading.Lock()
        kept: list[pl.DataFrame] = []

        def publish(frame: pl.DataFrame) -> None:
            with lock:
                kept.append(frame)

        lf = query.ours(tables)
        with tempfile.TemporaryDirectory(prefix="dataflare-nexmark-") as folder:
            engine = dff.Engine(
                name="nexmark",
                parallelism=THREADS,
                batch_rows=BATCH_ROWS,
                checkpoint=dff.Checkpoint(folder, interval=CHECKPOINT_INTERVAL),
            )
            engine._job(plan([batches_output(lf, publish, maintain_order=False)]), None).wait()
        return pl.concat(kept) if kept else lf.collect_schema().to_frame()

    return run


def anchors(frames: dict[str, pl.DataFrame]) -> dict[str, Contender]:
    """The batch engines over the same rows."""
    tables = Bounded(*(frames[name].lazy() for name in NAMES))
    connection = duckdb.connect(config={"threads": THREADS})
    for name, frame in (*frames.items(), ("side_input", SIDE_INPUT)):
        connection.register(name, frame.to_arrow())

    def of_polars(engine: Literal["in-memory", "streaming"]) -> Contender:
        return lambda query: query.ours(tables).collect(engine=engine)

    def of_duckdb(query: NexmarkQuery) -> pl.DataFrame:
        frame = pl.from_arrow(connection.sql(query.duckdb).to_arrow_table())
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(f"duckdb: expected a table, got {type(frame).__name__}")
        return frame

    return {
        "Polars in-memory": of_polars("in-memory"),
        "Polars streaming": of_polars("streaming"),
        "DuckDB": of_duckdb,
    }


def measure(
    name: str,
    query: NexmarkQuery,
    frames: dict[str, pl.DataFrame],
    contenders: dict[str, Contender],
    rounds: int,
) -> float:
    """Checks the answers, prints the line of one query, and gives the ratio to the best batch engine."""
    wanted = contenders["Polars in-memory"](query)
    for contender in (OURS, "DuckDB"):
        found = contenders[contender](query).select(wanted.columns)
        assert_frame_equal(found, wanted, check_row_order=False, check_dtypes=False)
    seconds: dict[str, list[float]] = {contender: [] for contender in contenders}
    peaks = dict.fromkeys(contenders, 0.0)
    for _ in range(rounds):
        for contender, run in contenders.items():
            with watched() as peak:
                started = time.perf_counter()
                run(query)
                seconds[contender].append(time.perf_counter() - started)
            peaks[contender] = max(peaks[contender], peak.mib)
    rows = sum(frame.height for table, frame in frames.items() if table in read(query))
    rates = {contender: rows / median(times) / 1e6 for contender, times in seconds.items()}
    ratio = rates[OURS] / max(rate for contender, rate in rates.items() if contender != OURS)
    cells = "".join(f"{rates[one]:>15.2f} +{peaks[one]:>9,.0f}" for one in contenders)
    bar = "" if query.bar is None else f"{query.bar:.1f}"
    print(f"{name:5}{cells}{ratio:>8.2f}{bar:>6}  {query.title}", flush=True)
    return ratio


def read(query: NexmarkQuery) -> set[str]:
    """The tables that a query reads."""
    words = re.findall(r"\w+", query.duckdb)
    return {table for before, table in itertools.pairwise(words) if before in ("from", "join")} & set(NAMES)


if __name__ == "__main__":
    sys.exit(main())
