"""The law on whole queries: the engine gives the rows of plain Polars, on any number of workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff

from .rows import source

TS = pl.col("ts")
AGGREGATES = [
    pl.len(),
    pl.col("v").sum().alias("sum"),
    pl.col("v").mean().alias("mean"),
    pl.col("f").max().alias("largest"),
    pl.col("v").filter(pl.col("v") > 0).count().alias("positive"),
]
Query = Callable[[pl.LazyFrame], pl.LazyFrame]


def watermarked(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.stream.with_watermark("ts", delay="10m")


def counted(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.stream.with_watermark("n", delay="100i")


def berlin(lf: pl.LazyFrame) -> pl.LazyFrame:
    zone = "Europe/Berlin"
    return watermarked(lf).with_columns(TS.dt.replace_time_zone("UTC").dt.convert_time_zone(zone))


WINDOWS: dict[str, Query] = {
    "tumbling": lambda lf: watermarked(lf).group_by_dynamic("ts", every="10m", group_by="k").agg(AGGREGATES),
    "closed none": lambda lf: (
        watermarked(lf).group_by_dynamic("ts", every="10m", closed="none").agg(AGGREGATES)
    ),
    "closed right": lambda lf: (
        watermarked(lf).group_by_dynamic("ts", every="10m", closed="right").agg(AGGREGATES)
    ),
    "closed both": lambda lf: (
        watermarked(lf).group_by_dynamic("ts", every="10m", closed="both", offset="-10m").agg(AGGREGATES)
    ),
    "boundaries": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="1h", label="right", include_boundaries=True, group_by=["k", "v"])
        .agg(AGGREGATES)
    ),
    "hopping": lambda lf: (
        watermarked(lf).stream.group_by_hopping("ts", every="10m", period="25m", group_by="k").agg(AGGREGATES)
    ),
    "hopping right": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="10m", period="20m", closed="right", offset="-20m")
        .agg(AGGREGATES)
    ),
    "gaps": lambda lf: watermarked(lf).group_by_dynamic("ts", every="1h", period="10m").agg(AGGREGATES),
    "offset": lambda lf: watermarked(lf).group_by_dynamic("ts", every="1h", offset="7m").agg(AGGREGATES),
    "local day": lambda lf: berlin(lf).group_by_dynamic("ts", every="1d", group_by="k").agg(AGGREGATES),
    "local hour": lambda lf: berlin(lf).group_by_dynamic("ts", every="1h").agg(AGGREGATES),
    "local day as a key": lambda lf: berlin(lf).group_by(TS.dt.truncate("1d")).agg(AGGREGATES),
    "local date as a key": lambda lf: berlin(lf).group_by(TS.dt.date(), "k").agg(AGGREGATES),
    "month": lambda lf: watermarked(lf).group_by_dynamic("ts", every="1mo").agg(AGGREGATES),
    "week": lambda lf: watermarked(lf).group_by_dynamic("ts", every="1w", start_by="monday").agg(AGGREGATES),
    "integers": lambda lf: counted(lf).group_by_dynamic("n", every="500i", group_by="k").agg(AGGREGATES),
    "integers hopping": lambda lf: (
        counted(lf).group_by_dynamic("n", every="500i", period="1000i", offset="-500i").agg(AGGREGATES)
    ),
    "two time keys": lambda lf: (
        watermarked(lf).group_by(TS.dt.year(), TS.dt.date().alias("d")).agg(AGGREGATES)
    ),
    "shifted": lambda lf: (
        watermarked(lf)
        .with_columns(TS + timedelta(hours=1))
        .group_by_dynamic("ts", every="1h")
        .agg(AGGREGATES)
    ),
    "steps above": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="1h", group_by="k")
        .agg(AGGREGATES)
        .filter(pl.col("sum") > 0)
        .with_columns(double=pl.col("sum") * 2)
    ),
    "windows of windows": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="10m", group_by="k")
        .agg(c=pl.col("v").sum())
        .sort("ts")
        .group_by_dynamic("ts", every="1h")
        .agg(pl.col("c").max(), total=pl.col("c").sum())
    ),
    "concat of watermarked": lambda lf: (
        pl.concat([watermarked(lf), lf.filter(pl.col("v") > 0).stream.with_watermark("ts", delay="1m")])
        .sort("ts")
        .group_by_dynamic("ts", every="1h")
        .agg(AGGREGATES)
    ),
}
SESSIONS: dict[str, Query] = {
    "sessions": lambda lf: (
        watermarked(lf).stream.group_by_session("ts", "4m", group_by=["k"]).agg(AGGREGATES)
    ),
    "sessions of all rows": lambda lf: (
        watermarked(lf).stream.group_by_session("ts", "2m").agg(pl.len(), pl.col("v").n_unique())
    ),
    "sessions in logical order": lambda lf: (
        watermarked(lf)
        .stream.group_by_session("ts", "8m", group_by="k")
        .agg(
            first=pl.col("v").first(),
            last=pl.col("n").last(),
            values=pl.col("f").n_unique(),
            texts=pl.col("k").last(),
        )
    ),
    "sessions of integers": lambda lf: (
        counted(lf).stream.group_by_session("n", "90i", group_by=["k", "v"]).agg(AGGREGATES)
    ),
    "sessions of a bounded frame": lambda lf: (
        lf.drop_nulls("ts")
        .stream.group_by_session("ts", "4m", group_by=pl.col("k").str.to_uppercase())
        .agg(pl.len(), pl.col("v").first())
    ),
    "sessions of shifted times": lambda lf: (
        watermarked(lf)
        .with_columns(TS + timedelta(hours=1))
        .stream.group_by_session("ts", "4m", group_by="k")
        .agg(pl.col("v").sum() * 2, pl.col("ts").max())
        .filter(pl.col("window_end") > pl.col("ts"))
    ),
    "windows over sessions": lambda lf: (
        watermarked(lf)
        .stream.group_by_session("ts", "4m", group_by="k")
        .agg(rows=pl.len())
        .sort("window_start")
        .group_by_dynamic("window_start", every="1h")
        .agg(pl.len(), pl.col("rows").max())
    ),
    "sessions of windows": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="5m", group_by="k")
        .agg(rows=pl.len())
        .stream.group_by_session("ts", "5m", group_by="k")
        .agg(pl.len(), pl.col("rows").sum().alias("total"))
    ),
}
GROUPS: dict[str, Query] = {
    "moments": lambda lf: (
        watermarked(lf)
        .stream.group_by_hopping("ts", every="10m", period="30m", group_by="k")
        .agg(pl.col("v").var().round(9), std=pl.col("v").filter(pl.col("n") > 0).std(ddof=0).round(9))
    ),
    "quantiles": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="30m", group_by="k")
        .agg(pl.col("v").median(), p90=pl.col("f").quantile(0.9), low=pl.col("n").quantile(0.2, "linear"))
    ),
    "lists in logical order": lambda lf: (
        watermarked(lf).group_by_dynamic("ts", every="20m").agg("v", pl.col("k").filter(pl.col("v") > 0))
    ),
    "best by another": lambda lf: lf.group_by("k").agg(
        pl.col("v").max_by("n"), least=pl.col("n").min_by("v"), place=pl.col("n").arg_max()
    ),
    "over the list of a group": lambda lf: (
        watermarked(lf)
        .stream.group_by_hopping("ts", every="10m", period="20m")
        .agg(
            pl.col("k").str.join("-"),
            above=(pl.col("v") > pl.col("v").mean()).sum(),
            largest=pl.col("n").top_k(2).sum(),
            latest=pl.col("v").tail(2),
        )
    ),
    "bits and products": lambda lf: lf.group_by("k").agg(
        pl.col("v").bitwise_and(), xor=pl.col("n").bitwise_xor(), product=pl.col("v").product()
    ),
    "nulls and NaN": lambda lf: lf.group_by("k").agg(
        pl.col("v").null_count(), most=pl.col("f").nan_max(), all=(pl.col("v") > 0).all(ignore_nulls=False)
    ),
    "sorted distinct values": lambda lf: lf.group_by("k").agg(
        pl.col("v").unique().sort(), pl.col("f").mode().len().alias("modes")
    ),
    "NaN and zero keys": lambda lf: lf.group_by("f").agg(pl.len()),
    "two keys": lambda lf: lf.group_by("k", "v").agg(pl.len(), pl.col("f").min()),
    "first in event-time order": lambda lf: (
        watermarked(lf).group_by("k").agg(first=pl.col("v").first(), last=pl.col("n").last())
    ),
    "first in split order": lambda lf: lf.group_by("k").agg(
        first=pl.col("v").first(), last=pl.col("n").last()
    ),
    "distinct": lambda lf: lf.group_by("k").agg(pl.col("v").n_unique(), pl.col("f").n_unique()),
    "groups of a concat": lambda lf: (
        pl.concat([lf.select("k", "v"), lf.filter(pl.col("v") > 0).select("k", pl.col("v") * 2)])
        .group_by("k")
        .agg(pl.col("v").sum(), pl.len())
    ),
    "groups of groups": lambda lf: (
        lf.group_by("k", "v").agg(pl.len()).group_by("k").agg(pl.col("len").max(), pl.col("v").sum())
    ),
    "SQL": lambda lf: lf.sql("select k, count(*) c, sum(v) s, min(f) f from self where n > 100 group by k"),
    "no keys": lambda lf: lf.select(
        (pl.col("v").max() - pl.col("v").min()).alias("range"), pl.col("f").sum(), pl.col("k").n_unique()
    ),
    "late": lambda lf: watermarked(lf).stream.late(),
}
LISTS = pl.concat_list("v", pl.col("n") % 3, "v").list.head(pl.col("n") % 4)
COUNTS: Query = lambda lf: (  # noqa: E731
    watermarked(lf)
    .group_by_dynamic("ts", every="10m", group_by="k")
    .agg(rows=pl.len(), sum=pl.col("v").sum())
)
PIVOTS: dict[str, Query] = {
    "pivot": lambda lf: lf.pivot("k", on_columns=["a", "b"], index="n", values="v", aggregate_function="sum"),
    "pivot by an expression": lambda lf: lf.pivot(
        "k", on_columns=["a", "b"], index="n", values="v", aggregate_function=pl.element().sum() * 2
    ),
    "pivot of windows, each value the only one": lambda lf: COUNTS(lf).pivot(
        "k", on_columns=["a", "b", "missing"], index="ts", values="rows"
    ),
    "pivot of two values": lambda lf: COUNTS(lf).pivot(
        "k", on_columns=["a", "b"], index="ts", values=["rows", "sum"], aggregate_function="max"
    ),
    "best of each window": lambda lf: (
        COUNTS(lf).sort("ts", "rows", "k", descending=[False, True, False]).group_by("ts").head(2)
    ),
    "sort inside a window": lambda lf: (
        watermarked(lf).group_by_dynamic("ts", every="1h").agg(pl.col("v").sort(descending=True))
    ),
    "diagonal concat": lambda lf: pl.concat([lf.select("k", "v"), lf.select("k", "f")], how="diagonal"),
    "diagonal concat of two types": lambda lf: pl.concat(
        [lf.select("k", "v"), lf.select("k", v=pl.col("v").cast(pl.Int32))], how="diagonal_relaxed"
    ),
    "join of a frame with its groups": lambda lf: lf.join(
        lf.group_by("k").agg(most=pl.col("v").max()), on="k"
    ).filter(pl.col("v") == pl.col("most")),
    "merge_sorted of frames without event time": lambda lf: (
        lf.select("n", "v").sort("n").merge_sorted(source(9).select("n", "v").sort("n"), key="n")
    ),
}
RESHAPED: dict[str, Query] = {
    "explode": lambda lf: lf.with_columns(items=LISTS).explode("items"),
    "explode of two": lambda lf: lf.with_columns(items=LISTS, same=LISTS.list.sort()).explode(
        "items", "same", empty_as_null=True
    ),
    "explode above a watermark": lambda lf: (
        watermarked(lf)
        .with_columns(items=LISTS)
        .explode("items", keep_nulls=False)
        .group_by_dynamic("ts", every="1h", group_by="k")
        .agg(pl.len(), pl.col("items").sum(), first=pl.col("items").first(), last=pl.col("items").last())
    ),
    "drop_nulls": lambda lf: lf.drop_nulls(),
    "drop_nans": lambda lf: lf.drop_nans("f").select("f", "v"),
    "unnest": lambda lf: lf.select("k", s=pl.struct("v", "n")).unnest("s"),
    "unpivot": lambda lf: lf.unpivot(["v", "f"], index=["k", "n"]),
    "unpivot above a watermark": lambda lf: (
        watermarked(lf)
        .unpivot(["v", "n"], index=["ts", "k"])
        .group_by_dynamic("ts", every="1h", group_by=["k", "variable"])
        .agg(pl.col("value").sum())
    ),
}
IN_ORDER: dict[str, Query] = {
    "explode in order": lambda lf: lf.select("n", items=LISTS).explode("items"),
    "explode in event-time order": lambda lf: (
        watermarked(lf).with_columns(items=LISTS).explode("items").select("ts", "items")
    ),
    "unpivot in order": lambda lf: lf.unpivot(["v", "n"], index="k"),
    "event time": watermarked,
    "sort by time and more": lambda lf: watermarked(lf).sort(
        "ts",
        "v",
        "k",
        "f",
        "n",
        descending=[False, True, False, False, True],
        nulls_last=[False, True, False, True, False],
    ),
    "windows in order": lambda lf: COUNTS(lf).sort("ts", "rows", "k", descending=[False, True, False]),
    "merge_sorted": lambda lf: watermarked(lf).merge_sorted(
        watermarked(source(9)), key="ts", maintain_order=True
    ),
    "merge_sorted with itself": lambda lf: watermarked(lf).merge_sorted(
        watermarked(lf.filter(pl.col("v") > 0)).with_columns(pl.col("v") * 10), key="ts", maintain_order=True
    ),
    "functions above merge_sorted": lambda lf: (
        watermarked(lf)
        .merge_sorted(watermarked(source(9)), key="ts", maintain_order=True)
        .with_columns(total=pl.col("v").cum_sum().over("k"), before=pl.col("v").shift(1))
    ),
    "earliest": lambda lf: watermarked(lf).head(9),
    "head": lambda lf: lf.head(9),
    "slice": lambda lf: lf.slice(3, 10),
    "sort": lambda lf: lf.sort("v", "n", "ts", "k", descending=[True, False, True, False], nulls_last=True),
    # By all columns: which of equal rows Polars takes is open.
    "sort and head": lambda lf: lf.select("n", "k", "v").sort("n", "k", "v").head(5),
    "conditions": lambda lf: lf.select(
        pl.when(pl.col("v") > 0).then(pl.lit("p")).otherwise(pl.col("k")).alias("x"),
        pl.col("v").fill_null(7),
        pl.col("k").is_in(["a", "c"]).alias("member"),
        pl.col("v").is_between(-1, 2).alias("between"),
    ),
    "division": lambda lf: lf.select(pl.col("v") / 2, a=pl.col("v") // pl.col("n"), b=pl.col("v") % 3),
    "text": lambda lf: lf.select(pl.col("k").str.to_uppercase(), n=pl.col("k").str.len_chars()),
    "time": lambda lf: lf.select(TS.dt.hour(), d=TS.dt.date(), text=TS.dt.strftime("%H:%M")),
    "parts of texts": lambda lf: lf.select(
        "v",
        second=pl.concat_str("k", "v", separator="-").str.split("-").list.get(1, null_on_oob=True),
        letter=pl.col("k").str.extract("([a-z]+)", 1),
        many=pl.col("k").str.count_matches("a", literal=True),
        named=pl.col("k").replace_strict({"a": 1, "b": 2}, default=0),
    ),
    "calendar": lambda lf: lf.select(
        TS.dt.offset_by("1mo2h"),
        start=TS.dt.truncate("1q"),
        near=TS.dt.round("15m"),
        local=TS.dt.convert_time_zone("Europe/Berlin").dt.hour(),
    ),
    "real numbers": lambda lf: lf.select(
        pl.col("f").clip(-1, 1).round(2), root=pl.col("f").abs().sqrt(), most=pl.max_horizontal("v", "n")
    ),
    "concat": lambda lf: pl.concat(
        [lf.select("k", "v"), lf.filter(pl.col("v") > 0).select("k", pl.col("v") * 2)]
    ),
}


def hold(query: Query, seed: int, workers: int, *, in_order: bool) -> None:
    lf = query(source(seed))
    expected = lf.collect(engine="in-memory")
    found = lf.collect(engine=dff.Engine(parallelism=workers))
    assert_frame_equal(found, expected, check_row_order=in_order, check_exact=True)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "query",
    [*WINDOWS.values(), *SESSIONS.values(), *GROUPS.values(), *PIVOTS.values(), *RESHAPED.values()],
    ids=[*WINDOWS, *SESSIONS, *GROUPS, *PIVOTS, *RESHAPED],
)
def test_groups_are_those_of_polars(query: Query, seed: int, workers: int) -> None:
    hold(query, seed, workers, in_order=False)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("query", IN_ORDER.values(), ids=IN_ORDER)
def test_rows_stand_in_logical_order(query: Query, seed: int, workers: int) -> None:
    hold(query, seed, workers, in_order=True)
