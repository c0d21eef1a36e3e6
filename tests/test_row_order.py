"""`head`, `slice` and `sort` keep the order of plain Polars, for several splits and workers."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff

FRAME = pl.DataFrame({"t": [row * 37 % 101 for row in range(300)], "v": [row * 7 % 11 for row in range(300)]})

QUERIES: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "head": lambda frame: frame.head(10),
    "slice over splits": lambda frame: frame.slice(120, 60),
    "head of a filter": lambda frame: frame.filter(pl.col("v") > 5).head(100),
    "head above a watermark": lambda frame: frame.stream.with_watermark("t", delay="200i").head(25),
    "sort": lambda frame: frame.sort("v", maintain_order=True),
    "sort down": lambda frame: frame.sort("v", "t", descending=[True, False], maintain_order=True),
    "sort with nulls last": lambda frame: frame.with_columns(
        v=pl.when(pl.col("v") > 3).then(pl.col("v"))
    ).sort("v", nulls_last=True, maintain_order=True),
    "sort, then head": lambda frame: frame.sort("v", maintain_order=True).head(30),
    "rows as they are": lambda frame: frame.filter(pl.col("v") != 4),
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_rows_stand_as_in_polars(name: str, parallelism: int) -> None:
    splits = [[part[i : i + 17] for i in range(0, part.height, 17)] for part in (FRAME[:140], FRAME[140:])]
    query = QUERIES[name](dff.from_batches(*splits))
    assert_frame_equal(
        query.collect(engine=dff.Engine(parallelism=parallelism)), query.collect(engine="in-memory")
    )
