"""Rows that cannot be computed leave as dead letters that say where they stood."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast.errors import CallError


def test_dead_letter_holds_the_row_the_reason_and_its_place(tmp_path: Path) -> None:
    rows = dff.from_batches([pl.DataFrame({"s": ["1", "x", "3"]}), pl.DataFrame({"s": ["4", "y"]})])
    numbers = rows.with_columns(n=pl.col("s").cast(pl.Int64))
    good, bad = f"{tmp_path}/good/", f"{tmp_path}/bad/"
    sinks = (numbers.sink_parquet(good, lazy=True), numbers.stream.errors().sink_parquet(bad, lazy=True))
    dff.Engine(on_error="dead_letter", parallelism=2).start(*sinks).wait()
    assert sorted(pl.read_parquet(f"{good}**/*.parquet")["n"]) == [1, 3, 4]
    letters = pl.read_parquet(f"{bad}**/*.parquet").sort("_error_offset")
    assert letters.drop("_error_message").rows() == [
        ("x", "project", "cast", "0", "1"),
        ("y", "project", "cast", "0", "4"),
    ]
    assert letters["_error_message"][0] == 'col(s).cast(Int64): "x" is no Int64'


def letters_of(good: pl.LazyFrame, folder: Path) -> pl.DataFrame:
    sinks = (
        good.sink_parquet(f"{folder}/good/", lazy=True),
        good.stream.errors().sink_parquet(f"{folder}/bad/", lazy=True),
    )
    dff.Engine(on_error="dead_letter", parallelism=2).start(*sinks).wait()
    return pl.read_parquet(f"{folder}/bad/*.parquet")


def test_every_step_that_can_fail_sends_its_rows(tmp_path: Path) -> None:
    rows = dff.from_batches(pl.DataFrame({"s": ["1", "x", "3", "4"], "t": ["5", "6", "y", "8"]}))
    numbers = (
        rows.with_columns(n=pl.col("s").cast(pl.Int64))
        .filter(pl.col("n") != 4)
        .with_columns(m=pl.col("t").cast(pl.Int64) + pl.col("n"))
    )
    letters = letters_of(numbers, tmp_path).sort("s")
    assert letters.select("s", "t", "n").rows() == [("3", "y", 3), ("x", "6", None)]
    assert pl.read_parquet(tmp_path / "good/*.parquet")["m"].to_list() == [6]


def test_column_that_changes_its_type_on_the_way_has_a_common_one(tmp_path: Path) -> None:
    rows = dff.from_batches(pl.DataFrame({"v": ["1", "x"], "w": ["y", "2"]}))
    numbers = rows.with_columns(pl.col("v").cast(pl.Int64)).with_columns(pl.col("w").cast(pl.Int64))
    letters = letters_of(numbers, tmp_path).sort("v")
    assert letters.select("v", "w").rows() == [("1", "y"), ("x", "2")]


def test_steps_below_a_window_and_rows_too_far_ahead_are_covered(tmp_path: Path) -> None:
    rows = dff.from_batches(pl.DataFrame({"s": ["1", "x", "1", "1"], "n": [1, 2, 9_000, 3]}))
    marked = rows.with_columns(pl.col("s").cast(pl.Int64)).stream.with_watermark(
        "n", delay="10i", ahead="100i"
    )
    windows = marked.group_by_dynamic("n", every="10i").agg(pl.col("s").sum())
    letters = letters_of(windows, tmp_path).sort("n")
    assert letters.select("s", "n", "_error_code").rows() == [("x", 2, "cast"), ("1", 9_000, "ahead")]
    assert pl.read_parquet(tmp_path / "good/*.parquet").rows() == [(0, 2)]


def test_letters_of_steps_that_have_no_type_in_common_are_refused_by_column() -> None:
    rows = dff.from_batches(pl.DataFrame({"v": [datetime(2024, 1, 1)]}))
    zoned = rows.with_columns(pl.col("v").dt.replace_time_zone("UTC")).with_columns(
        hour=pl.col("v").dt.hour()
    )
    with pytest.raises(CallError, match="'v'"):
        zoned.stream.errors()
