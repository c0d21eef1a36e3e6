"""The input of the benchmarks, and one run of the engine over it in streaming mode.

Rows come from `dff.nexmark` and lie in memory as Arrow, batches of at most 65 536 rows, batch i in split i
mod 2. Results leave by `sink_batches`: a Python function gets every batch once it is final. The job writes
checkpoints into a folder. Not here: other engines.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

import dataflare_fast as dff
from benchmarks.queries import Query
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import batches_output

__all__ = ["BATCH_ROWS", "CHECKPOINT_INTERVAL", "Run", "bids", "run_engine", "run_job", "splits"]

BATCH_ROWS = 65_536
CHECKPOINT_INTERVAL = "200ms"
_WINDOW_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took and gave."""

    seconds: float
    rows_out: int
    checkpoints: int
    result: pl.DataFrame | None = None


def bids(events: int, seed: int = 0) -> pl.DataFrame:
    """The bids among the first events of the generator, in one chunk."""
    stream = dff.nexmark(events=events, seed=seed, splits=1).bid
    return stream.select("auction", "bidder", "price", "ts").collect(engine="in-memory").rechunk()


def replayed(bid: pl.DataFrame, number: int) -> pl.DataFrame:
    """The rows of replay `number`: the same, later by whole windows."""
    first, last = bid["ts"].to_physical().min(), bid["ts"].to_physical().max()
    if not isinstance(first, int) or not isinstance(last, int):
        raise TypeError("expected bids with a time, got none")
    span_us = (last // _WINDOW_US - first // _WINDOW_US + 1) * _WINDOW_US
    return bid.with_columns(pl.col("ts") + pl.duration(microseconds=span_us * number)) if number else bid


def splits(bid: pl.DataFrame, replays: int, *, shift: bool) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """Two splits with all replays; without `shift` they share all columns."""
    frames = []
    for number in range(replays):
        rows = replayed(bid, number) if shift else bid
        frames += [rows[start : start + BATCH_ROWS] for start in range(0, rows.height, BATCH_ROWS)]
    return frames[0::2], frames[1::2]


def run_job(
    lf: pl.LazyFrame, publish: Callable[[pl.DataFrame], None], *, parallelism: int = 2
) -> tuple[float, int]:
    """Runs a query as a job with checkpoints; `publish` gets its rows once they are final, in any order.

    Returns:
        Seconds from planning to the last commit, and the number of commits.
    """
    with tempfile.TemporaryDirectory(prefix="dataflare-bench-") as folder:
        engine = dff.Engine(
            name="bench",
            parallelism=parallelism,
            batch_rows=BATCH_ROWS,
            checkpoint=dff.Checkpoint(folder, interval=CHECKPOINT_INTERVAL),
        )
        started = time.perf_counter()
        # What lf.sink_batches(publish, engine=engine) does, with the job at hand. Rows leave in any order:
        # the logical order of two splits would hold back the second one until the first has ended.
        job = engine._job(plan([batches_output(lf, publish, maintain_order=False)]), None)
        job.wait()
        return time.perf_counter() - started, job.status().checkpoints_committed


def run_engine(
    query: Query,
    source: pl.LazyFrame,
    *,
    keep: bool = False,
    parallelism: int = 2,
) -> Run:
    """Runs a benchmark query over a source."""
    lock = threading.Lock()
    kept: list[pl.DataFrame] = []
    rows_out = 0

    def publish(frame: pl.DataFrame) -> None:
        nonlocal rows_out
        with lock:
            rows_out += frame.height
            if keep:
                kept.append(frame)

    seconds, committed = run_job(query.ours(source), publish, parallelism=parallelism)
    return Run(seconds, rows_out, committed, pl.concat(kept) if kept else None)
