"""`idle=`: the last window of a stream that has gone quiet closes, by the clock, and by nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl

import dataflare_fast as dff


class Quiet:
    """One row, then silence until it is told to end."""

    schema = pl.Schema({"ts": pl.Datetime("us"), "v": pl.Int64()})
    bounded = False

    def __init__(self) -> None:
        self.ended = threading.Event()

    def splits(self) -> list[str]:
        return ["only"]

    def read(self, split: str, offset: Any) -> Iterator[tuple[pl.DataFrame, Any]]:
        if offset is None:
            yield pl.DataFrame({"ts": [datetime(2024, 1, 1)], "v": [7]}, schema=self.schema), 1
        self.ended.wait(60)


def test_quiet_stream_closes_its_last_window() -> None:
    source = Quiet()
    windows = (
        dff.scan_source(source)
        .stream.with_watermark("ts", delay="100ms", idle="50ms")
        .group_by_dynamic("ts", every="200ms")
        .agg(pl.col("v").sum())
    )
    batches = windows.collect_batches(engine=dff.Engine())
    first = next(iter(batches))
    source.ended.set()
    assert first.rows() == [(datetime(2024, 1, 1), 7)]
