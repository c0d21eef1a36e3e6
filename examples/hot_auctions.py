"""Bids per auction in windows of ten seconds: `dataflare run examples/hot_auctions.py:sink`.

`dataflare explain examples/hot_auctions.py:hot` shows how the engine runs it. Without `events=` it never
ends; with `--checkpoint state` it goes on where it was, also after `kill -9`.
"""

import polars as pl

import dataflare_fast as dff

bids = dff.nexmark(events=200_000, seed=7).bid
hot = (
    bids.stream.with_watermark("ts", delay="4s")
    .filter(pl.col("price") > 0)
    .group_by_dynamic("ts", every="10s", group_by="auction")
    .agg(pl.len().alias("bids"), pl.col("price").max())
)
sink = hot.stream.sink_parquet("hot-auctions", roll_after="1s", lazy=True)
