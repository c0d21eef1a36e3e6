"""Frames that several tests of the engine's Python face run."""

from __future__ import annotations

import polars as pl

import dataflare_fast as dff


def bids() -> pl.LazyFrame:
    """Two splits, event time `ts` in order within each."""
    rows = pl.DataFrame({"auction": [index % 7 for index in range(1000)], "price": range(1000)})
    rows = rows.with_columns(ts=pl.from_epoch(pl.int_range(1000), time_unit="s"))
    return dff.from_batches(rows[::2], [rows[1::2][:100], rows[1::2][100:]])


def windows() -> pl.LazyFrame:
    return (
        bids()
        .stream.with_watermark("ts", delay="4s")
        .group_by_dynamic("ts", every="10s", group_by="auction")
        .agg(pl.len().alias("bids"), pl.col("price").max())
    )


def endless() -> pl.LazyFrame:
    return dff.nexmark(rate=1_000).bid.select("auction", "price", "ts")
