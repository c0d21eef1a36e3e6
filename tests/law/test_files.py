"""The law with files as the source: every format, whole scans and splits, under seeded schedules."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import dataflare_fast as dff

from .rows import SCHEMA, batch

WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "parquet": lambda rows, path: rows.write_parquet(path, row_group_size=17),
    "ipc": lambda rows, path: rows.write_ipc(path, record_batch_size=13),
    "csv": lambda rows, path: rows.write_csv(path),
    "ndjson": lambda rows, path: rows.fill_nan(None).write_ndjson(path),
    "avro": lambda rows, path: rows.write_avro(path),
}


def scan(name: str, folder: Path, splits: str) -> pl.LazyFrame:
    if name in ("csv", "ndjson"):
        frame: pl.LazyFrame = getattr(dff, f"scan_{name}")(folder, schema=SCHEMA, splits=splits)
    else:
        frame = getattr(dff, f"scan_{name}")(folder, splits=splits)
    return frame


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("splits", ["scan", "file"])
def test_queries_over_files_keep_the_law(tmp_path: Path, name: str, splits: str) -> None:
    draw = random.Random(name)
    for number in range(4):
        WRITERS[name](batch(draw, draw.randint(0, 60)), tmp_path / f"{number}.{name}")
    source = scan(name, tmp_path, splits)
    timed = source.stream.with_watermark("ts", delay="10m")
    for query in (
        source.filter(pl.col("v") > 0).select("k", "n"),
        source.group_by("k").agg(pl.len(), pl.col("f").sum(), first=pl.col("v").first()),
        timed.group_by_dynamic("ts", every="1h", group_by="k").agg(pl.len(), pl.col("v").max()),
        timed.stream.late(),
    ):
        dff.testing.check(query, seeds=8)


def test_queries_over_csv_by_polars_keep_the_law(tmp_path: Path) -> None:
    draw = random.Random(3)
    for number in range(3):
        batch(draw, 50).write_csv(tmp_path / f"{number}.csv")
    source = pl.scan_csv(f"{tmp_path}/*.csv", schema=SCHEMA)
    timed = source.stream.with_watermark("ts", delay="10m")
    for query in (
        source.group_by("k").agg(pl.len(), pl.col("f").max(), first=pl.col("v").first()),
        timed.group_by_dynamic("ts", every="1h", group_by="k").agg(pl.len(), pl.col("v").max()),
    ):
        dff.testing.check(query, seeds=8)
