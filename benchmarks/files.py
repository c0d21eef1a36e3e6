"""`python -m benchmarks files`: reading files against the streaming engine of Polars, in pairs.

Nexmark bids, one file for each format; the query keeps every row busy (a filter and a sum of three columns),
answers are compared first. Each round runs both; the figure is the median of the ratios. Not here: throughput
of operators (`__main__.py`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from benchmarks.stream import bids

__all__ = ["main"]

Scan = Callable[[], pl.LazyFrame]


def main(arguments: list[str]) -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks files", description=__doc__)
    parser.add_argument("--events", type=int, default=4_348_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parallelism", type=int, default=2)
    options = parser.parse_args(arguments)
    rows = bids(options.events)
    engine = dff.Engine(parallelism=options.parallelism)
    print(f"{rows.height:,} bids; M rows/s, median of {options.rounds} pairs, {options.parallelism} threads")
    with tempfile.TemporaryDirectory() as folder:
        for name, (ours, polars) in _scans(rows, Path(folder)).items():
            _measure(name, ours, polars, rows.height, engine, options.rounds)
    return 0


def _scans(rows: pl.DataFrame, folder: Path) -> dict[str, tuple[Scan, Scan]]:
    rows.write_csv(folder / "bids.csv")
    rows.write_csv(folder / "bids.csv.gz", compression="gzip")
    rows.write_ndjson(folder / "bids.ndjson")
    rows.write_parquet(folder / "bids.parquet")
    rows.write_ipc(folder / "bids.arrow")
    schema = rows.schema
    csv, packed, ndjson = folder / "bids.csv", folder / "bids.csv.gz", folder / "bids.ndjson"
    parquet, ipc = folder / "bids.parquet", folder / "bids.arrow"
    return {
        "pl.scan_csv": (lambda: pl.scan_csv(csv, schema=schema), lambda: pl.scan_csv(csv, schema=schema)),
        "dff.scan_csv": (lambda: dff.scan_csv(csv, schema=schema), lambda: pl.scan_csv(csv, schema=schema)),
        "dff.scan_csv, gzip": (
            lambda: dff.scan_csv(packed, schema=schema),
            lambda: pl.scan_csv(packed, schema=schema),
        ),
        "pl.scan_ndjson": (
            lambda: pl.scan_ndjson(ndjson, schema=schema),
            lambda: pl.scan_ndjson(ndjson, schema=schema),
        ),
        "pl.scan_parquet": (lambda: pl.scan_parquet(parquet), lambda: pl.scan_parquet(parquet)),
        "dff.scan_ipc": (lambda: dff.scan_ipc(ipc), lambda: pl.scan_ipc(ipc)),
    }


def _query(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.filter(pl.col("price") > 100).select(
        pl.len(), pl.col("price", "auction").sum(), pl.col("bidder").max(), pl.col("ts").max()
    )


def _measure(name: str, ours: Scan, polars: Scan, rows: int, engine: dff.Engine, rounds: int) -> None:
    assert_frame_equal(_query(ours()).collect(engine=engine), _query(polars()).collect(engine="streaming"))
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        for scan, chosen, seconds in ((ours, engine, mine), (polars, "streaming", theirs)):
            start = time.perf_counter()
            _query(scan()).collect(engine=chosen)  # type: ignore[arg-type]
            seconds.append(time.perf_counter() - start)
    ratio = median(other / own for own, other in zip(mine, theirs, strict=True))
    print(
        f"{name:20} {rows / median(mine) / 1e6:7.2f}   Polars {rows / median(theirs) / 1e6:7.2f}"
        f"   ratio {ratio:5.2f}"
    )
