"""Kernels: the expression program, the keyed aggregation and the partial aggregation by window.

The first is called alone; the other two are queries in which the kernel takes nearly all of the time, on
one worker and without a checkpoint. Not here: streaming mode against other engines (`python -m
benchmarks`).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

import dataflare_fast as dff
from dataflare_fast import _core

SEED = 7
BATCH_ROWS = 65_536


def rows(count: int, keys: int) -> pl.DataFrame:
    """Bids with Zipf-like auctions, 10 000 a second."""
    generator = np.random.default_rng(SEED)
    auctions = generator.zipf(1.2, count) % keys
    return pl.DataFrame(
        {
            "auction": auctions.astype(np.int64),
            "price": generator.integers(1, 100_000, count),
            "ts": pl.Series(np.arange(count) * 100).cast(pl.Datetime("us")),
        }
    )


def source(frame: pl.DataFrame) -> pl.LazyFrame:
    """One split, in batches."""
    return dff.from_batches([frame[at : at + BATCH_ROWS] for at in range(0, frame.height, BATCH_ROWS)])


class ExpressionProgram:
    """`price * 0.908` and `auction % 123 == 0` over one batch."""

    params = ([1_024, 65_536],)
    param_names = ("rows",)
    unit = "seconds"

    def setup(self, count: int) -> None:
        """Writes the expressions as the plan does."""
        self.frame = rows(count, 100_000).select("auction", "price")
        plan = json.loads(_plan_of(self.frame))
        project = next(node for node in plan["nodes"] if node["operator"] == "project")
        scan = next(node for node in plan["nodes"] if node["operator"] == "source")
        self.exprs = json.dumps(project["exprs"])
        self.schema = json.dumps(scan["schema"])

    def time_evaluate(self, _count: int) -> None:
        """The program, compiled each time: that is what one call of `evaluate` does."""
        _core.evaluate(self.exprs, self.schema, self.frame)


def _plan_of(frame: pl.DataFrame) -> str:
    from dataflare_fast.planner.plan import plan
    from dataflare_fast.planner.sinks import collect_output

    query = dff.from_batches(frame).select(
        (pl.col("price") * 0.908).alias("price"), (pl.col("auction") % 123 == 0).alias("chosen")
    )
    return plan([collect_output(query, carried=_core.Collector())]).json


class _OneWorker:
    params: Any = ([1_000, 500_000],)
    param_names: Any = ("keys",)
    unit = "seconds"
    timeout = 120

    def setup(self, keys: int) -> None:
        """Rows of a fixed seed."""
        self.source = source(rows(2_000_000, keys))
        self.engine = dff.Engine(parallelism=1)


class KeyedAggregation(_OneWorker):
    """len, sum and max of two million rows for each key, without windows."""

    def time_aggregate(self, _keys: int) -> None:
        """All rows, then the result."""
        aggregates = [pl.len(), pl.col("price").sum().alias("total"), pl.col("price").max().alias("highest")]
        self.source.group_by("auction").agg(*aggregates).collect(engine=self.engine)


class WindowAggregation(_OneWorker):
    """The greatest price of two million rows in panes of ten seconds, for each key."""

    def time_windows(self, _keys: int) -> None:
        """Grid, lateness and panes; windows close while rows come."""
        (
            self.source.stream.with_watermark("ts", delay="1s")
            .group_by_dynamic("ts", every="10s", group_by="auction")
            .agg(pl.col("price").max())
            .collect(engine=self.engine)
        )
