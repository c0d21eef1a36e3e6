"""`dataflare demo`: a windowed Polars query on live auctions, which survives `kill -9`; and the proof.

The source is embedded (`dff.nexmark`), so nothing else need run. `--verify` makes the same rows again from
the seed, lets plain Polars count them, and compares.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import dataflare_fast as dff
from dataflare_fast.progress import follow

__all__ = ["demo"]

_WINDOW = timedelta(seconds=10)
_DELAY = timedelta(seconds=4)
_JOB = "hot-auctions"


def demo(
    folder: Annotated[Path, typer.Option(help="Where output and checkpoints go.")] = Path("dataflare-demo"),
    rate: Annotated[float, typer.Option(help="Events a second.")] = 2_000_000,
    events: Annotated[
        int | None, typer.Option(help="How many events; without it the demo never ends.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal events.")] = 0,
    verify: Annotated[bool, typer.Option("--verify", help="Compare the output folder with Polars.")] = False,
) -> None:
    """Bids per auction in windows of ten seconds, exactly once, on live data."""
    if verify:
        raise typer.Exit(0 if _verify(folder, seed) else 1)
    print(
        f"output      {folder}/out/*.parquet (new parts with each checkpoint, one a second)\n"
        f"checkpoints {folder}/state\n"
        f"kill it     kill -9 {os.getpid()}   then run `dataflare demo` again: it goes on where it was\n"
        f"stop it     Ctrl-C\n"
        f"prove it    dataflare demo --verify   compares every published window with Polars\n",
        flush=True,
    )
    with _start(folder, seed, events, rate) as job:
        follow(job, below=lambda: _newest(folder / "out"))


def _query(bids: pl.LazyFrame) -> pl.LazyFrame:
    return (
        bids.stream.with_watermark("ts", delay=_DELAY)
        .filter(pl.col("price") > 0)
        .group_by_dynamic("ts", every=_WINDOW, group_by="auction")
        .agg(pl.len().alias("bids"), pl.col("price").max())
    )


def _start(folder: Path, seed: int, events: int | None, rate: float | None) -> dff.Job:
    engine = dff.Engine(checkpoint=dff.Checkpoint(folder / "state", interval="1s"))
    bids = dff.nexmark(events=events, rate=rate, seed=seed).bid
    sink = _query(bids).stream.name(_JOB).stream.sink_parquet(f"{folder}/out/", roll_after="0s", lazy=True)
    return engine.start(sink, name=_JOB)


def _newest(out: Path) -> str:
    parts = sorted(out.glob("part-*.parquet"), key=lambda part: part.stat().st_mtime)
    if not parts:
        return "no window has closed yet"
    top = pl.read_parquet(parts[-1]).sort("bids", descending=True).head(3)
    lines = [
        f"{row['ts']:%H:%M:%S}  auction {row['auction']}  {row['bids']} bids, up to {row['price']}"
        for row in top.to_dicts()
    ]
    return f"{len(parts)} parts; hottest of the newest:\n" + "\n".join(lines)


def _verify(folder: Path, seed: int) -> bool:
    """Publishes what a killed process had committed, then compares all closed windows with plain Polars."""
    with _start(folder, seed, None, 1.0):
        pass
    contents = dff.read_checkpoint(folder / "state" / _JOB)
    promise = contents.watermarks["promise"].min()
    found = pl.read_parquet(f"{folder}/out/part-*.parquet").sort("ts", "auction")
    if promise is None or found.is_empty():
        print("no window has closed yet: let the demo run a little longer")
        return False
    closed_before = pl.lit(promise).cast(pl.Datetime("us"))
    if contents.finished:
        # The end of the input closed windows that the watermark had not reached.
        found = found.filter(pl.col("ts") + _WINDOW <= closed_before)
    events = _events_before(int(str(promise)))
    print(f"checkpoint {contents.epoch} of attempt {contents.attempt}: {events:,} events for Polars ...")
    bids = dff.nexmark(events=events, seed=seed).bid.select("ts", "auction", "price")
    expected = (
        bids.filter(pl.col("price") > 0)
        .group_by(pl.col("ts").dt.truncate(_WINDOW), "auction")
        .agg(pl.len().alias("bids"), pl.col("price").max())
        .filter(pl.col("ts") + _WINDOW <= closed_before)
        .collect(engine="in-memory")
        .sort("ts", "auction")
    )
    equal = found.select(expected.columns).equals(expected)
    print(f"{found.height:,} published windows hold {found['bids'].sum():,} bids; ", end="")
    print(f"Polars counts {expected.height:,} windows and {expected['bids'].sum():,} bids: ", end="")
    print("equal, every row exactly once" if equal else "NOT EQUAL")
    return equal


def _events_before(promise_us: int) -> int:
    """How many events have an earlier time, and a few more: event i stands at i steps after the first."""
    first = dff.nexmark(events=100, splits=1).bid.select(pl.col("ts").to_physical()).collect()["ts"]
    # 46 of 50 events are bids, 100 events hold two such runs.
    step_us = (int(first[-1]) - int(first[0])) / (len(first) + 4 - 1)
    return int((promise_us - int(first[0])) / step_us) + 1_000
