"""Joins, top rows, functions of earlier rows and shapes as one list: each part runs or is refused.

What runs gives Polars' rows under a drawn schedule; what does not is refused by name with a reason, so that
nothing is silently missing. More cases of each part stand in the other files here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast.errors import UnsupportedQuery

from .rows import source

Query = Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]
TS, V, K = pl.col("ts"), pl.col("v"), pl.col("k")
TABLE = pl.LazyFrame({"k": ["a", "b", None, "z"], "label": ["A", "B", "N", "Z"]})
HOUR = timedelta(hours=1)


def timed(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.stream.with_watermark("ts", delay="10m")


def windows(lf: pl.LazyFrame) -> pl.LazyFrame:
    return timed(lf).group_by_dynamic("ts", every="10m", group_by="k").agg(n=pl.len(), s=V.sum())


RUNS: dict[str, Query] = {
    "join inner": lambda a, b: a.join(b, on="k"),
    "join left": lambda a, b: a.join(b, on="k", how="left"),
    "join right": lambda a, b: a.join(b, on="k", how="right"),
    "join full": lambda a, b: a.join(b, on="k", how="full"),
    "join semi": lambda a, b: a.join(b, on="k", how="semi"),
    "join anti": lambda a, b: a.join(b, on="k", how="anti"),
    "join cross with a bounded side": lambda a, _b: a.head(9).join(TABLE, how="cross"),
    "join of several keys": lambda a, b: a.join(b, left_on=["k", "f"], right_on=["k", "g"]),
    "join with nulls_equal, suffix, coalesce": lambda a, b: a.join(
        b.filter(K.is_null() | (K == "b")), on="k", how="full", nulls_equal=True, suffix="_b", coalesce=True
    ),
    "window join": lambda a, b: windows(a).join(windows(b.rename({"w": "v"})), on=["k", "ts"], how="left"),
    "interval join by a filter": lambda a, b: (
        timed(a).join(timed(b), on="k").filter(pl.col("ts_right").is_between(TS - HOUR, TS + HOUR))
    ),
    "interval join by join_where": lambda a, b: timed(a).join_where(
        timed(b), pl.col("k_right") == K, pl.col("ts_right") <= TS, pl.col("ts_right") + HOUR >= TS
    ),
    "interval join by SQL": lambda a, b: dff.sql(
        "select a.k, a.v, b.w from a join b on a.k = b.k "
        "where b.ts between a.ts and a.ts + interval '1 hour'",
        a=timed(a),
        b=timed(b),
    ),
    "join_asof backward": lambda a, b: timed(a).join_asof(timed(b), on="ts", by="k"),
    "join_asof forward": lambda a, b: timed(a).join_asof(timed(b), on="ts", by="k", strategy="forward"),
    "join_asof nearest with a tolerance": lambda a, b: timed(a).join_asof(
        timed(b), on="ts", by="k", strategy="nearest", tolerance="5m"
    ),
    "ASOF JOIN in SQL": lambda a, b: dff.sql(
        "select a.v, b.w from a asof left join b on a.k = b.k and a.ts >= b.ts", a=timed(a), b=timed(b)
    ),
    "stream with table": lambda a, _b: timed(a).join(TABLE, on="k", how="left"),
    "self-join": lambda a, _b: timed(a).join(timed(a), on=["k", "ts"]),
    "self-join with its groups": lambda a, _b: a.join(a.group_by("k").agg(m=V.max()), on="k"),
    "unique keep first": lambda a, _b: a.unique(["k", "v"], keep="first"),
    "unique keep last": lambda a, _b: a.unique(["k", "v"], keep="last"),
    "unique keep any": lambda a, _b: a.select("k", "v").unique(keep="any"),
    "unique keep none": lambda a, _b: a.unique(["k", "v"], keep="none"),
    "unique with a time key": lambda a, _b: (
        timed(a).with_columns(d=TS.dt.truncate("1h")).unique(["d", "k"], keep="first")
    ),
    "top rows by rank": lambda a, _b: a.filter(V.rank("ordinal", descending=True).over("k") <= 2),
    "top rows by top_k_by": lambda a, _b: (
        a.select("k", "v", "n").sort("v", "n", descending=True).group_by("k").head(2)
    ),
    "top rows by group_by.head": lambda a, _b: a.group_by("k").head(2),
    "top rows by row_number": lambda a, _b: dff.sql(
        "select k, n, v from a qualify row_number() over (partition by k order by n desc, v) <= 2",
        a=a.select("k", "n", "v"),
    ),
    "cum_*": lambda a, _b: timed(a).with_columns(x=V.cum_sum().over("k", order_by="ts")),
    "shift and diff": lambda a, _b: timed(a).with_columns(x=V.shift(1).over("k"), y=V.diff().over("k")),
    "first over": lambda a, _b: timed(a).with_columns(x=V.first().over("k", order_by="ts")),
    "forward_fill": lambda a, _b: timed(a).with_columns(x=V.forward_fill().over("k")),
    "rolling": lambda a, _b: timed(a).rolling("ts", period="1h", group_by="k").agg(V.sum(), n=pl.len()),
    "rolling_*_by": lambda a, _b: timed(a).with_columns(x=V.rolling_sum_by("ts", "1h").over("k")),
    "rolling_*": lambda a, _b: timed(a).with_columns(x=V.rolling_max(3).over("k", order_by="ts")),
    "ewm_mean_by": lambda a, _b: timed(a).select(
        "k", x=V.cast(pl.Float64).ewm_mean_by("ts", half_life="1h").is_null()
    ),
    "aggregates over a window column": lambda a, _b: (
        timed(a).with_columns(h=TS.dt.truncate("1h")).with_columns(x=V.sum().over("h", "k"))
    ),
    "functions above windows": lambda a, _b: windows(a).with_columns(
        x=pl.col("s").cum_sum().over("k", order_by="ts")
    ),
    "aggregate above aggregate": lambda a, _b: (
        a.group_by("k", "v").agg(n=pl.len()).group_by("k").agg(pl.col("n").max())
    ),
    "aggregate above join": lambda a, b: a.join(b, on="k").group_by("k").agg(pl.len(), V.sum()),
    "join above aggregate": lambda a, b: a.group_by("k").agg(V.max()).join(b.group_by("k").len(), on="k"),
    "top rows above aggregate": lambda a, _b: (
        a.group_by("k", "v").agg(n=pl.len()).sort("n", "v", "k", descending=True).group_by("k").head(1)
    ),
    "concat vertical": lambda a, b: pl.concat([a.select("k", "n"), b.select("k", "n")]),
    "concat diagonal": lambda a, b: pl.concat([a, b], how="diagonal"),
    "merge_sorted": lambda a, b: (
        timed(a).select("ts", "k").merge_sorted(timed(b).select("ts", "k"), key="ts", maintain_order=True)
    ),
    "pivot with given columns": lambda a, _b: a.pivot(
        "k", on_columns=["a", "b"], index="n", values="v", aggregate_function="sum"
    ),
    "unpivot": lambda a, _b: a.unpivot(["v", "f"], index=["k", "n"]),
    "explode": lambda a, _b: a.select("k", x=pl.concat_list("v", "n")).explode("x"),
    "sort of a bounded frame": lambda a, _b: a.sort("v", "n", "k", "f"),
    "sort inside a window": lambda a, _b: timed(a).group_by_dynamic("ts", every="1h").agg(V.sort()),
    "SQL groups and having": lambda a, _b: dff.sql(
        "select k, sum(v) as s from a group by k having count(*) > 1", a=a
    ),
    "SQL TUMBLE": lambda a, _b: dff.sql(
        "select window_start, count(*) as n from tumble(a, ts, '1h') group by window_start", a=timed(a)
    ),
    "SQL HOP": lambda a, _b: dff.sql(
        "select window_start, count(*) as n from hop(a, ts, '30m', '1h') group by window_start", a=timed(a)
    ),
    "SQL SESSION": lambda a, _b: dff.sql(
        "select k, window_start, count(*) as n from session(a, ts, '4m') group by k, window_start", a=timed(a)
    ),
    "SQL CUMULATE": lambda a, _b: dff.sql(
        "select window_end, count(*) as n from cumulate(a, ts, '30m', '60m') "
        "group by window_start, window_end",
        a=timed(a),
    ),
}
REFUSED: dict[str, tuple[Query, str]] = {
    "last over a key": (lambda a, _b: timed(a).with_columns(x=V.last().over("k")), "stream has no last one"),
    "rank": (lambda a, _b: timed(a).with_columns(x=V.rank().over("k")), "depends on later rows"),
    "shift back": (lambda a, _b: timed(a).with_columns(x=V.shift(-1)), "depends on later rows"),
    "totals of a key": (lambda a, _b: timed(a).with_columns(x=V.sum().over("k")), "needs all its rows"),
    "backward_fill": (lambda a, _b: timed(a).with_columns(x=V.backward_fill()), "later rows"),
    "concat horizontal": (
        lambda a, b: pl.concat([a.select("v"), b.select("w")], how="horizontal"),
        "by chance",
    ),
    "tail": (lambda a, _b: a.tail(3), "known only when the input has ended"),
    "head above a join": (lambda a, b: a.join(b, on="k").head(3), "has no order"),
    "order_by of several columns as a list": (
        lambda a, _b: timed(a).with_columns(x=V.cum_sum().over("k", order_by=["ts", "n"])),
        "does not show which columns",
    ),
    "sort_by several columns in a group": (
        lambda a, _b: timed(a).group_by_dynamic("ts", every="1h").agg(V.sort_by("v", "n").first()),
        "does not show",
    ),
}
RUNS["order_by time and what decides between equal times"] = lambda a, _b: (
    timed(a).select("ts", "k", "v").with_columns(x=V.cum_sum().over("k", order_by=pl.struct("ts", "v")))
)
RUNS["sort by time and more"] = lambda a, _b: timed(a).select("ts", "v").sort("ts", "v")
BIDS = dff.nexmark().bid.stream.with_watermark("ts", delay="4s")
AUCTIONS = dff.nexmark().auction.stream.with_watermark("ts", delay="4s")
ENDLESS: dict[str, tuple[pl.LazyFrame, str]] = {
    "regular join": (
        BIDS.join(AUCTIONS, left_on="auction", right_on="id"),
        "state never ends: all rows of both inputs",
    ),
    "unique, first": (BIDS.unique("auction", keep="first"), "the new row of each changed key"),
    "top row": (
        BIDS.sort("price", descending=True).unique("auction", keep="first"),
        "the new row of each changed key",
    ),
    "group_by": (BIDS.group_by("auction").len(), "the new row of each changed key"),
    "group_by at intervals": (
        BIDS.group_by("auction").len().stream.emit("update", every="1s"),
        "at most every 1000 ms",
    ),
    "windows": (
        BIDS.group_by_dynamic("ts", every="10s", group_by="auction").agg(pl.len()),
        "append: each result once, when it is final",
    ),
    "windows in order": (
        BIDS.group_by_dynamic("ts", every="10s", group_by="auction")
        .agg(n=pl.len())
        .sort("ts", "n", "auction"),
        "state: rows until the watermark has passed them",
    ),
    "updates of windows": (
        BIDS.group_by_dynamic("ts", every="10s", group_by="auction").agg(pl.len()).stream.emit("update"),
        "the new row of each changed key",
    ),
}


@pytest.mark.filterwarnings("ignore:Sortedness of columns:UserWarning")
@pytest.mark.parametrize("query", RUNS.values(), ids=RUNS)
def test_part_of_the_algebra_gives_the_rows_of_polars(query: Query) -> None:
    a, b = source(5), source(6).select("ts", "k", "n", g="f", w="v")
    lf = query(a, b)
    assert lf.collect(engine="in-memory").height > 0
    dff.testing.check(lf, seeds=3)


@pytest.mark.parametrize(("query", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_needs_later_rows_is_refused_with_a_reason(query: Query, reason: str) -> None:
    with pytest.raises(UnsupportedQuery, match=reason):
        dff.explain(query(source(5), source(6).select("ts", "k", "n", g="f", w="v")))


@pytest.mark.parametrize(("lf", "words"), ENDLESS.values(), ids=ENDLESS)
def test_explain_says_when_rows_of_an_endless_query_leave(lf: pl.LazyFrame, words: str) -> None:
    assert words in dff.explain(lf)


def test_outputs_of_one_job_share_their_scan_and_their_common_part() -> None:
    below = timed(source(5)).filter(V > 0)
    frames = [below.group_by("k").len(), below.select("k", "v"), below.join(TABLE, on="k")]
    engine = dff.Engine(parallelism=2)
    for found, lf in zip(pl.collect_all(frames, engine=engine), frames, strict=True):
        wanted = lf.collect(engine="in-memory")
        assert found.sort(found.columns).equals(wanted.sort(wanted.columns), null_equal=True)
    sinks = [lf.stream.sink_parquet(f"{number}/", lazy=True) for number, lf in enumerate(frames)]
    text = dff.explain(*sinks)
    assert text.count(" source batches") == 2  # the stream and the table
    assert text.count(" watermark on ts") == 1
