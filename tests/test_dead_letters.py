"""Rows that cannot be computed leave as dead letters that say where they stood."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import dataflare_fast as dff


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
