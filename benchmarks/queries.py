"""The benchmark queries, once in every contender's best spelling.

Not here: input and clock. The batch engines get spellings that suit them (hopping windows from
panes that are counted once), not translations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

import dataflare_fast  # noqa: F401 - registers `.stream`

__all__ = ["OF_AUCTION", "QUERIES", "Query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One benchmark query.

    Args:
        title: what it computes.
        bar: the least ratio to the best of the batch engines.
        has_windows: it reads event time, so a replay must shift it.
        ours: the streaming query; collected by Polars itself, it is the oracle.
        polars: the spelling that Polars runs fastest.
        duckdb: over a table `bid`.
    """

    title: str
    bar: float
    has_windows: bool
    ours: Callable[[pl.LazyFrame], pl.LazyFrame]
    polars: Callable[[pl.LazyFrame], pl.LazyFrame]
    duckdb: str


def _projection(bid: pl.LazyFrame) -> pl.LazyFrame:
    return bid.select("auction", "bidder", (pl.col("price") * 0.908).alias("price"), "ts")


def _filter(bid: pl.LazyFrame) -> pl.LazyFrame:
    return bid.filter(pl.col("auction") % 123 == 0).select("auction", "price")


OF_AUCTION = (
    pl.len().alias("bids"),
    pl.col("price").sum().alias("total"),
    pl.col("price").max().alias("highest"),
)


def _hopping_of_panes(bid: pl.LazyFrame) -> pl.LazyFrame:
    panes = bid.group_by("auction", pl.col("ts").dt.truncate("2s")).agg(pl.len().alias("bids"))
    windows = [panes.with_columns(pl.col("ts") - pl.duration(seconds=2 * back)) for back in range(5)]
    return pl.concat(windows).group_by("auction", "ts").agg(pl.col("bids").sum().cast(pl.UInt32))


QUERIES = {
    "q1": Query(
        title="projection with arithmetic",
        bar=0.6,
        has_windows=False,
        ours=_projection,
        polars=_projection,
        duckdb="SELECT auction, bidder, price * 0.908::DOUBLE AS price, ts FROM bid",
    ),
    "q2": Query(
        title="filter auction % 123 == 0",
        bar=0.6,
        has_windows=False,
        ours=_filter,
        polars=_filter,
        duckdb="SELECT auction, price FROM bid WHERE auction % 123 = 0",
    ),
    "w1": Query(
        title="tumbling 10 s: len, sum, max of price per auction",
        bar=1.5,
        has_windows=True,
        ours=lambda bid: (
            bid.stream.with_watermark("ts", delay="2s")
            .group_by_dynamic("ts", every="10s", group_by="auction")
            .agg(*OF_AUCTION)
        ),
        polars=lambda bid: bid.group_by("auction", pl.col("ts").dt.truncate("10s")).agg(*OF_AUCTION),
        duckdb="""
            SELECT auction, make_timestamp(epoch_us(ts) // 10000000 * 10000000) AS ts,
                   count(*)::UINTEGER AS bids, sum(price)::BIGINT AS total, max(price) AS highest
            FROM bid GROUP BY 1, 2""",
    ),
    "w2": Query(
        title="hopping 10 s / 2 s: len per auction",
        bar=2.0,
        has_windows=True,
        ours=lambda bid: (
            bid.stream.with_watermark("ts", delay="2s")
            .stream.group_by_hopping("ts", every="2s", period="10s", group_by="auction")
            .agg(pl.len().alias("bids"))
        ),
        polars=_hopping_of_panes,
        duckdb="""
            WITH panes AS (
                SELECT auction, epoch_us(ts) // 2000000 AS pane, count(*) AS bids FROM bid GROUP BY 1, 2)
            SELECT auction, make_timestamp((pane - back) * 2000000) AS ts, sum(bids)::UINTEGER AS bids
            FROM panes, range(5) AS hop(back) GROUP BY 1, 2""",
    ),
    "w3": Query(
        title="tumbling 10 s: max price",
        bar=1.5,
        has_windows=True,
        ours=lambda bid: (
            bid.stream.with_watermark("ts", delay="2s")
            .group_by_dynamic("ts", every="10s")
            .agg(pl.col("price").max().alias("highest"))
        ),
        polars=lambda bid: bid.group_by(pl.col("ts").dt.truncate("10s")).agg(
            pl.col("price").max().alias("highest")
        ),
        duckdb="""
            SELECT make_timestamp(epoch_us(ts) // 10000000 * 10000000) AS ts, max(price) AS highest
            FROM bid GROUP BY 1""",
    ),
}
