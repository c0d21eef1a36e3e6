"""The law on joins: every kind, keys of several types, tables, windows, intervals, under seeded schedules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest
from polars._typing import JoinStrategy
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import UnsupportedQuery

from .rows import source

Join = Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]
TS = pl.col("ts")
TABLE = pl.LazyFrame({"k": ["a", "b", None, "z"], "label": ["A", "B", "N", "Z"]})
HOWS: list[JoinStrategy] = ["inner", "left", "right", "full", "semi", "anti"]


def watermarked(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.stream.with_watermark("ts", delay="10m")


def windows(lf: pl.LazyFrame, *aggregates: pl.Expr) -> pl.LazyFrame:
    return watermarked(lf).group_by_dynamic("ts", every="10m", group_by="k").agg(*aggregates)


EQUAL_KEYS: dict[str, Callable[[pl.LazyFrame, pl.LazyFrame, JoinStrategy], pl.LazyFrame]] = {
    "one key": lambda a, b, how: a.join(b, on="k", how=how),
    "two keys": lambda a, b, how: a.join(b, left_on=["k", "f"], right_on=["k", "g"], how=how),
    "null keys": lambda a, b, how: a.join(
        b.filter(pl.col("k").is_null() | (pl.col("k") == "b")), on="k", how=how, nulls_equal=True
    ),
    "key and time": lambda a, b, how: watermarked(a).join(watermarked(b), on=["k", "ts"], how=how),
    "table": lambda a, _b, how: watermarked(a).join(TABLE, on="k", how=how),
    "table on the left": lambda a, _b, how: TABLE.join(watermarked(a), on="k", how=how),
    "windows": lambda a, b, how: windows(a, pl.col("v").sum()).join(
        windows(b, pl.col("w").max()), on=["k", "ts"], how=how
    ),
    "results of groups": lambda a, b, how: (
        a.group_by("k").agg(pl.len()).join(b.group_by("k").agg(pl.col("w").sum()), on="k", how=how)
    ),
}


def interval(a: pl.LazyFrame, b: pl.LazyFrame) -> pl.LazyFrame:
    near = pl.col("ts_right").is_between(TS - timedelta(minutes=5), TS + timedelta(minutes=20))
    return watermarked(a).join(watermarked(b), on="k").filter(near)


JOINS: dict[str, Join] = {
    "coalesced full": lambda a, b: a.join(b, on="k", how="full", coalesce=True),
    "left with both keys": lambda a, b: a.join(b, on="k", how="left", coalesce=False),
    "suffix": lambda a, b: a.join(b, on="k", suffix="_b"),
    "cross": lambda a, _b: a.head(20).join(TABLE, how="cross"),
    "keys of other types": lambda a, b: a.join(
        b.with_columns(pl.col("w").cast(pl.Int32)), left_on="v", right_on="w"
    ),
    "computed key": lambda a, b: a.join(b, left_on=pl.col("v") + 1, right_on="w"),
    "interval": interval,
    "interval in another order": lambda a, b: (
        watermarked(b)
        .join(watermarked(a), on="k")
        .filter(pl.col("ts_right") - timedelta(minutes=5) < TS, pl.col("ts_right") + timedelta(hours=1) >= TS)
    ),
    "windows of an interval": lambda a, b: (
        interval(a, b)
        .sort("ts")
        .group_by_dynamic("ts", every="10m", group_by="k")
        .agg(pl.len(), pl.col("w").sum())
    ),
    "join_where with a key": lambda a, b: watermarked(a).join_where(
        watermarked(b),
        pl.col("k") == pl.col("k_right"),
        pl.col("ts_right") <= TS,
        pl.col("ts_right") + timedelta(minutes=30) >= TS,
    ),
    "join_where by time alone": lambda a, b: watermarked(a).join_where(
        watermarked(b), pl.col("ts_right") <= TS, pl.col("ts_right") + timedelta(minutes=2) >= TS
    ),
    "self": lambda a, _b: watermarked(a).join(watermarked(a), on=["k", "ts"]),
    "groups above": lambda a, b: a.join(b, on="k").group_by("k").agg(pl.len(), pl.col("v").sum()),
    "windows above a table": lambda a, _b: (
        watermarked(a)
        .join(TABLE, on="k", how="left")
        .sort("ts")
        .group_by_dynamic("ts", every="10m", group_by="label")
        .agg(pl.len())
    ),
    "join of a join": lambda a, b: a.join(TABLE, on="k").join(b, on="k").select("k", "label", "v", "w"),
    "SQL": lambda a, b: pl.SQLContext(a=a, b=b).execute(
        "select a.k, a.v, b.w from a join b on a.k = b.k where b.n between a.n and a.n + 100"
    ),
}


def _of_kind(
    form: Callable[[pl.LazyFrame, pl.LazyFrame, JoinStrategy], pl.LazyFrame], how: JoinStrategy
) -> Join:
    return lambda a, b: form(a, b, how)


JOINS |= {f"{name}, {how}": _of_kind(form, how) for name, form in EQUAL_KEYS.items() for how in HOWS}


ASOF: dict[str, Join] = {
    "backward": lambda a, b: watermarked(a).join_asof(watermarked(b), on="ts", by="k"),
    "forward": lambda a, b: watermarked(a).join_asof(watermarked(b), on="ts", by="k", strategy="forward"),
    "nearest": lambda a, b: watermarked(a).join_asof(watermarked(b), on="ts", by="k", strategy="nearest"),
    "nearest with a tolerance": lambda a, b: watermarked(a).join_asof(
        watermarked(b), on="ts", by="k", strategy="nearest", tolerance="5m"
    ),
    "backward with a tolerance": lambda a, b: watermarked(a).join_asof(
        watermarked(b), on="ts", tolerance="20s"
    ),
    "forward with a tolerance": lambda a, b: watermarked(a).join_asof(
        watermarked(b), on="ts", by="k", strategy="forward", tolerance="10m"
    ),
    "two keys": lambda a, b: watermarked(a).join_asof(
        watermarked(b), on="ts", by_left=["k", "f"], by_right=["k", "g"]
    ),
    "other name": lambda a, b: watermarked(a).join_asof(
        b.rename({"ts": "at"}).stream.with_watermark("at", delay="10m"), left_on="ts", right_on="at", by="k"
    ),
    "windows above": lambda a, b: (
        watermarked(a)
        .join_asof(watermarked(b), on="ts", by="k")
        .sort("ts")
        .group_by_dynamic("ts", every="10m", group_by="k")
        .agg(pl.len(), pl.col("w").sum())
    ),
    "sorted frames without a watermark": lambda a, b: a.sort("n").join_asof(b.sort("n", "w"), on="n", by="k"),
}


def inputs(seed: int) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    return source(seed), source(seed + 1).select("ts", "k", "n", g="f", w="v")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("query", JOINS.values(), ids=JOINS)
def test_joined_rows_are_those_of_polars(query: Join, workers: int) -> None:
    lf = query(*inputs(5))
    expected = lf.collect(engine="in-memory")
    assert expected.height > 0
    found = lf.collect(engine=dff.Engine(parallelism=workers))
    assert_frame_equal(found, expected, check_row_order=False, check_exact=True)


@pytest.mark.parametrize("query", JOINS.values(), ids=JOINS)
def test_join_keeps_the_law_under_any_schedule(query: Join) -> None:
    dff.testing.check(query(*inputs(7)), seeds=10)


@pytest.mark.slow
@pytest.mark.parametrize("query", JOINS.values(), ids=JOINS)
def test_join_keeps_the_law_under_many_schedules(query: Join) -> None:
    for seed in range(10, 14):
        dff.testing.check(query(*inputs(seed)), seeds=range(2_000, 2_050))


@pytest.mark.filterwarnings("ignore:Sortedness of columns:UserWarning")
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("query", ASOF.values(), ids=ASOF)
def test_rows_of_join_asof_are_those_of_polars(query: Join, workers: int) -> None:
    for seed in (5, 15):
        lf = query(*inputs(seed))
        expected = lf.collect(engine="in-memory")
        found = lf.collect(engine=dff.Engine(parallelism=workers))
        assert_frame_equal(found, expected, check_row_order=False, check_exact=True)


@pytest.mark.filterwarnings("ignore:Sortedness of columns:UserWarning")
@pytest.mark.parametrize("query", ASOF.values(), ids=ASOF)
def test_join_asof_keeps_the_law_under_any_schedule(query: Join) -> None:
    dff.testing.check(query(*inputs(7)), seeds=12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sortedness of columns:UserWarning")
@pytest.mark.parametrize("query", ASOF.values(), ids=ASOF)
def test_join_asof_keeps_the_law_under_many_schedules(query: Join) -> None:
    for seed in range(20, 24):
        dff.testing.check(query(*inputs(seed)), seeds=range(4_000, 4_050))


def test_join_asof_of_endless_inputs_needs_event_time_and_an_end_of_waiting() -> None:
    bids, auctions = endless()
    joined = bids.join_asof(auctions, on="ts", by_left="auction", by_right="id")
    text = dff.explain(joined)
    assert "join_asof the last at or before ts in ts by auction" in text
    assert "when the other input's watermark has passed its bound" in text
    forward = bids.join_asof(auctions, on="ts", by_left="auction", by_right="id", strategy="forward")
    with pytest.raises(UnsupportedQuery, match="without a tolerance"):
        dff.explain(forward)
    with pytest.raises(UnsupportedQuery, match=r"with_watermark\('ts', delay=...\) on the right input"):
        dff.explain(bids.join_asof(dff.nexmark().auction, on="ts", by_left="auction", by_right="id"))


def endless() -> tuple[pl.LazyFrame, pl.LazyFrame]:
    bids = dff.nexmark().bid.stream.with_watermark("ts", delay="4s")
    return bids, dff.nexmark().auction.stream.with_watermark("ts", delay="4s")


@pytest.mark.parametrize("how", ["left", "full"])
def test_outer_join_of_two_endless_inputs_without_a_bound_is_refused(how: JoinStrategy) -> None:
    bids, auctions = endless()
    with pytest.raises(UnsupportedQuery, match="without a partner may always meet one later"):
        dff.explain(bids.join(auctions, left_on="auction", right_on="id", how=how))


def test_explain_says_when_the_state_of_a_join_ends() -> None:
    bids, auctions = endless()
    regular = bids.join(auctions, left_on="auction", right_on="id")
    assert "state never ends: all rows of both inputs" in dff.explain(regular)
    assert "event time ends here: a row may meet any later one" in dff.explain(regular)
    near = pl.col("ts_right").is_between(pl.col("ts"), pl.col("ts") + timedelta(seconds=10))
    bounded = dff.explain(regular.filter(near))
    assert "inner on auction = id, bounded in event time" in bounded
    assert "when the other input's watermark has passed its bound" in bounded
    table = dff.explain(bids.join(TABLE.with_columns(auction=pl.lit(1, pl.Int64)), on="auction"))
    assert "the right input to every worker, the left stays" in table


def test_join_that_must_keep_an_order_is_refused_with_the_fix() -> None:
    a, b = inputs(1)
    with pytest.raises(UnsupportedQuery, match="maintain_order='left'"):
        dff.explain(a.join(b, on="k", maintain_order="left"))
