"""The law on `unique` and Top-N: every way of writing them, under seeded schedules."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import UnsupportedQuery

from .rows import source

Query = Callable[[pl.LazyFrame], pl.LazyFrame]
K, V, N, TS = pl.col("k"), pl.col("v"), pl.col("n"), pl.col("ts")


def watermarked(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.stream.with_watermark("ts", delay="10m")


def sql(text: str) -> Query:
    return lambda lf: pl.SQLContext(t=lf).execute(text)


UNIQUE: dict[str, Query] = {
    "any": lambda lf: lf.unique("k"),
    "first": lambda lf: lf.unique("k", keep="first"),
    "last": lambda lf: lf.unique(["k", "v"], keep="last"),
    "none": lambda lf: lf.unique(["k", "v", "f"], keep="none"),
    "all columns": lambda lf: lf.select("k", "v").unique(),
    "float key shows the first zero": lambda lf: lf.unique("f", keep="first"),
    "first in event-time order": lambda lf: watermarked(lf).unique("k", keep="first"),
    "last in event-time order": lambda lf: watermarked(lf).unique("k", keep="last"),
    "with the event time": lambda lf: watermarked(lf).unique(["ts", "k"]),
    "with a truncated time": lambda lf: (
        watermarked(lf).with_columns(d=TS.dt.truncate("1h")).unique(["d", "k"])
    ),
    "after a sort": lambda lf: lf.sort("v", "n", "ts", descending=[True, False, True]).unique(
        "k", keep="first"
    ),
    "last after a sort": lambda lf: lf.sort("v", "n", "ts").unique("k", keep="last"),
    "windows above": lambda lf: (
        watermarked(lf)
        .unique(["ts", "k"])
        .sort("ts")
        .group_by_dynamic("ts", every="1h")
        .agg(pl.len(), N.sum())
    ),
    "of a join": lambda lf: lf.join(lf.group_by("k").agg(m=V.max()), on="k").select("k", "m").unique(),
    "groups above": lambda lf: lf.unique(["k", "v"], keep="last").group_by("k").agg(pl.len(), N.max()),
}
TOP: dict[str, Query] = {
    "head of groups": lambda lf: lf.group_by("k").head(2),
    "tail of groups": lambda lf: lf.group_by("k", "v").tail(3),
    "head of groups in event-time order": lambda lf: watermarked(lf).group_by("k").head(4),
    "head of groups after a sort": lambda lf: lf.sort("n", "v", "ts", descending=True).group_by("k").head(2),
    "tail of groups after a sort": lambda lf: lf.sort("n", "v", "ts", nulls_last=True).group_by("k").tail(2),
    "head of computed groups": lambda lf: lf.group_by(V.abs().alias("size")).head(2).select("size", "n", "k"),
    "rank in a filter": lambda lf: lf.filter(N.rank("ordinal").over("k") <= 3),
    "rank, descending, of floats": lambda lf: lf.filter(
        pl.col("f").rank("ordinal", descending=True).over("k") < 3
    ),
    "rank as a column": lambda lf: lf.with_columns(r=V.rank("ordinal", descending=True).over("k")).filter(
        pl.col("r") <= 2
    ),
    "best of each hour": lambda lf: (
        watermarked(lf)
        .with_columns(hour=TS.dt.truncate("1h"))
        .filter(V.rank("ordinal", descending=True).over("hour", "k") == 1)
    ),
    "numbered rows": lambda lf: (
        lf.with_columns(i=pl.int_range(pl.len()).over("k", order_by="n", descending=True))
        .filter(pl.col("i") < 2)
        .with_columns(V * 2)
    ),
    "other conditions beside the rank": lambda lf: lf.with_columns(
        r=V.rank("ordinal", descending=True).over("k")
    ).filter((pl.col("r") <= 4) & (V > 0) & (N > 10)),
    "row_number": sql(
        "select k, v, n, rn from "
        "(select *, row_number() over (partition by k order by n desc) as rn from t) x where rn <= 3"
    ),
}
IN_ORDER: dict[str, Query] = {
    "unique": lambda lf: lf.unique("k", maintain_order=True),
    "last": lambda lf: lf.unique(["k", "v"], keep="last", maintain_order=True),
    "event time": lambda lf: watermarked(lf).unique("v", keep="first", maintain_order=True),
}
QUERIES = {**UNIQUE, **TOP}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_best_rows_are_those_of_polars(query: Query, workers: int) -> None:
    lf = query(source(6))
    expected = lf.collect(engine="in-memory")
    assert expected.height > 0
    found = lf.collect(engine=dff.Engine(parallelism=workers))
    assert_frame_equal(found, expected, check_row_order=False, check_exact=True)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_best_rows_keep_the_law_under_any_schedule(query: Query) -> None:
    dff.testing.check(query(source(8)), seeds=12)


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_best_rows_keep_the_law_under_many_schedules(query: Query) -> None:
    for seed in range(9, 14):
        dff.testing.check(query(source(seed)), seeds=range(3_000, 3_050))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("query", IN_ORDER.values(), ids=IN_ORDER)
def test_unique_rows_stand_in_the_order_of_their_appearance(query: Query, workers: int) -> None:
    lf = query(source(6))
    found = lf.collect(engine=dff.Engine(parallelism=workers))
    assert_frame_equal(found, lf.collect(engine="in-memory"), check_exact=True)


def test_unique_of_an_endless_input_gives_the_new_row_of_each_changed_key() -> None:
    bids = dff.nexmark().bid
    text = dff.explain(bids.unique("auction", keep="last"))
    assert "upsert: the new row of each changed key" in text
    assert "state never ends" in text
    with pytest.raises(UnsupportedQuery, match=r"rank over groups <= 2 on an endless input"):
        dff.explain(bids.filter(pl.col("price").rank("ordinal").over("auction") <= 2))


def test_updates_of_unique_end_with_the_rows_of_polars() -> None:
    lf = source(4).unique("k", keep="last").stream.emit("update")
    changes = lf.collect(engine=dff.Engine(parallelism=2, batch_rows=5))
    assert set(changes["_change"]) == {"+I", "+U"}
    final = changes.drop("_change").unique("k", keep="last", maintain_order=True)
    expected = source(4).unique("k", keep="last").collect(engine="in-memory")
    assert_frame_equal(final, expected, check_row_order=False)
    assert changes.filter(pl.col("_change") == "+I").height == expected.height


def test_best_rows_of_an_input_without_order_are_refused_with_the_fix() -> None:
    groups = source(1).group_by("k", "v").agg(pl.len())
    with pytest.raises(UnsupportedQuery, match=r"unique\(keep='any'\)"):
        dff.explain(groups.unique("k", keep="first"))
    with pytest.raises(UnsupportedQuery, match=r"group_by\(...\).head\(1\)"):
        dff.explain(groups.group_by("k").head(1))
