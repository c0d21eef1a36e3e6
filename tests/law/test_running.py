"""The law on functions of earlier rows: by key, of whole frames, and windows that end at each row."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from polars._typing import ClosedInterval
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import UnsupportedQuery

from .rows import source

Query = Callable[[pl.LazyFrame], pl.LazyFrame]
TS = pl.col("ts")
V, F, K, N = pl.col("v"), pl.col("f"), pl.col("k"), pl.col("n")

FUNCTIONS: dict[str, pl.Expr] = {
    "cum_sum": V.cum_sum(),
    "cum_sum of floats": F.cum_sum(),
    "cum_sum of small integers": V.cast(pl.Int8).cum_sum(),
    "cum_sum of booleans": (V > 0).cum_sum(),
    "cum_prod": (V / 4).cum_prod(),
    "cum_prod of integers": V.cum_prod(),
    "cum_min": V.cum_min(),
    "cum_max of floats": F.cum_max(),
    "cum_min of floats": F.cum_min(),
    "cum_max of text": (K + V.cast(pl.String)).cum_max(),
    "cum_count": V.cum_count(),
    "row number": pl.int_range(pl.len()),
    "row number from 1": pl.int_range(1, pl.len() + 1, dtype=pl.UInt32),
    "shift": V.shift(1),
    "shift by 3 with a fill value": V.shift(3, fill_value=-9),
    "shift of text": (K + N.cast(pl.String)).shift(2),
    "shift of a time": TS.shift(1),
    "shift of a struct": pl.struct("v", "k").shift(1),
    "diff": V.diff(),
    "diff of times": TS.diff(2),
    "diff of unsigned integers": V.abs().cast(pl.UInt8).diff(),
    "pct_change": (V + 10).pct_change(),
    "pct_change by 2": F.pct_change(2),
    "forward_fill": V.forward_fill(),
    "forward_fill with a limit": V.forward_fill(limit=1),
    "forward_fill of floats": F.forward_fill(),
    "is_first_distinct": V.is_first_distinct(),
    "is_first_distinct of floats": F.is_first_distinct(),
    "is_first_distinct of text": (K + V.cast(pl.String)).is_first_distinct(),
    "rle_id": V.rle_id(),
    "rle_id of floats": F.rle_id(),
    "ewm_mean": V.ewm_mean(alpha=0.3),
    "ewm_mean without adjust": V.ewm_mean(span=4, adjust=False, min_samples=3),
    "ewm_mean that ignores nulls": V.ewm_mean(half_life=2, ignore_nulls=True),
    "rolling_sum": V.rolling_sum(3),
    "rolling_sum with few samples": V.rolling_sum(4, min_samples=1),
    "rolling_sum of floats": F.rolling_sum(4, min_samples=2),
    "rolling_mean": V.rolling_mean(5, min_samples=1),
    "rolling_min": V.rolling_min(3, min_samples=1),
    "rolling_max of floats": F.rolling_max(3, min_samples=1),
    "rolling_std": V.rolling_std(6, min_samples=2),
    "rolling_var": V.rolling_var(6, min_samples=1, ddof=0),
    "rolling_median": V.rolling_median(5, min_samples=1),
    "rolling_quantile": V.rolling_quantile(0.3, window_size=7, min_samples=1),
    "arithmetic": V - V.shift(1) + V.cum_sum() * 2,
    "function of a function": V.forward_fill().shift(1).cum_sum(),
    "expression of a function": (V.fill_null(0).cum_sum() % 7).diff(),
}
KEYED: dict[str, pl.Expr] = {
    "first": V.first(),
    "first of text": (K + N.cast(pl.String)).first(),
    "distance to the first": N - N.first(),
}
BY_TIME: dict[str, pl.Expr] = {
    "rolling_sum_by": V.rolling_sum_by("ts", "20m"),
    "rolling_sum_by closed left": V.rolling_sum_by("ts", "20m", closed="left"),
    "rolling_mean_by closed both": V.rolling_mean_by("ts", "20m", closed="both"),
    "rolling_min_by closed none": V.rolling_min_by("ts", "1h", closed="none"),
    "rolling_max_by": F.rolling_max_by("ts", "1h", min_samples=2),
    "rolling_sum_by of floats": F.rolling_sum_by("ts", "1h", min_samples=2),
    "rolling_std_by": V.rolling_std_by("ts", "2h"),
    "rolling_var_by": V.rolling_var_by("ts", "2h", ddof=0),
    "rolling_median_by": V.rolling_median_by("ts", "1h"),
    "rolling_quantile_by": V.rolling_quantile_by("ts", "1h", quantile=0.7),
    "rolling_sum_by of a day": V.rolling_sum_by("ts", "1d"),
    "rolling": V.sum().rolling("ts", period="30m"),
    "rolling with a condition": V.filter(V > 0).sum().rolling("ts", period="30m", closed="both"),
    "rolling of several": (V.max() - V.min()).rolling("ts", period="30m", closed="left"),
    "rolling n_unique": F.n_unique().rolling("ts", period="1h"),
    "ewm_mean_by": V.ewm_mean_by("ts", half_life="10m"),
}
AGGREGATES = [
    pl.len(),
    V.sum().alias("sum"),
    V.mean().alias("mean"),
    F.max().alias("largest"),
    F.min().alias("smallest"),
    V.count().alias("values"),
    N.first().alias("first"),
    V.last().alias("last"),
    F.n_unique().alias("distinct"),
    (V.max() - V.min()).alias("range"),
    V.filter(V > 0).sum().alias("positive"),
]


def watermarked(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.stream.with_watermark("ts", delay="10m")


def by_key(expr: pl.Expr) -> Query:
    return lambda lf: watermarked(lf).with_columns(x=expr.over("k", order_by="ts"))


def whole(expr: pl.Expr) -> Query:
    return lambda lf: watermarked(lf).with_columns(x=expr)


def unordered(expr: pl.Expr) -> Query:
    return lambda lf: lf.with_columns(x=expr.over("k"))


def rolled(closed: ClosedInterval, *keys: str, period: str = "45m") -> Query:
    return lambda lf: (
        watermarked(lf)
        .rolling("ts", period=period, closed=closed, group_by=list(keys) or None)
        .agg(AGGREGATES)
    )


def windows(lf: pl.LazyFrame) -> pl.LazyFrame:
    return watermarked(lf).group_by_dynamic("ts", every="10m", group_by="k").agg(rows=pl.len(), sum=V.sum())


TIES: dict[str, Query] = {
    # By all columns that are shown, so that rows that are equal in them all may change places.
    "ties by another column": lambda lf: (
        watermarked(lf)
        .select("ts", "k", "v")
        .with_columns(x=V.cum_sum().over("k", order_by=pl.struct("ts", "v")))
    ),
    "ties of a row number": lambda lf: (
        watermarked(lf)
        .select("ts", "k", "n", "v")
        .with_columns(x=pl.int_range(pl.len()).over("k", order_by=pl.struct("ts", "v", "n")))
    ),
    "all windows in one order": lambda lf: windows(lf).with_columns(
        x=pl.col("sum").cum_sum().over(order_by=pl.struct("ts", "k"))
    ),
    "above a join": lambda lf: (
        watermarked(lf)
        .join(pl.LazyFrame({"k": ["a", "b"], "label": ["A", "B"]}), on="k")
        .select("ts", "label", "v")
        .with_columns(x=V.shift(1).over("label", order_by=pl.struct("ts", "v")))
    ),
}
RANKS: dict[str, Query] = {
    f"rank of the event time, {method}": (
        lambda lf, method=method: watermarked(lf).with_columns(x=TS.rank(method).over("k"))  # type: ignore[misc]
    )
    for method in ("min", "max", "dense", "ordinal")
}
ABOVE_WINDOWS: dict[str, Query] = {
    "total so far": lambda lf: windows(lf).with_columns(
        total=pl.col("sum").cum_sum().over("k", order_by="ts"),
        before=pl.col("rows").shift(1).over("k", order_by="ts"),
    ),
    "mean of the last three": lambda lf: windows(lf).with_columns(
        mean=pl.col("sum").rolling_mean(3, min_samples=1).over("k", order_by="ts")
    ),
    "silence before a session": lambda lf: (
        watermarked(lf)
        .stream.group_by_session("ts", "4m", group_by="k")
        .agg(rows=pl.len())
        .with_columns(
            silence=pl.col("window_start") - pl.col("window_end").shift(1).over("k", order_by="window_start")
        )
    ),
}
QUERIES: dict[str, Query] = {
    **{f"{name}, by key": by_key(expr) for name, expr in {**FUNCTIONS, **KEYED}.items()},
    **{f"{name}, whole frame": whole(expr) for name, expr in {**FUNCTIONS, **BY_TIME}.items()},
    **{f"{name}, by key": by_key(expr) for name, expr in BY_TIME.items() if name.startswith("rolling_")},
    **{f"{name}, without event time": unordered(expr) for name, expr in {**FUNCTIONS, **KEYED}.items()},
    **{f"{name}, above windows": query for name, query in ABOVE_WINDOWS.items()},
    **RANKS,
    **TIES,
    "frame rolling": rolled("right"),
    "frame rolling by a key": rolled("right", "k"),
    "frame rolling closed left": rolled("left", "k"),
    "frame rolling closed both": rolled("both"),
    "frame rolling closed none": rolled("none", "k"),
    "frame rolling over a month": rolled("right", "k", period="1mo"),
    "rolling on integers": lambda lf: (
        lf.stream.with_watermark("n", delay="100i")
        .rolling("n", period="500i", group_by="k")
        .agg(AGGREGATES[:6])
    ),
    "filter": lambda lf: watermarked(lf).filter(V.shift(1).over("k", order_by="ts") != V),
    "select": lambda lf: watermarked(lf).select("ts", "k", d=N - N.shift(1).over("k", order_by="ts")),
    "several keys": lambda lf: watermarked(lf).with_columns(
        a=V.cum_sum().over("k", order_by="ts"),
        b=V.cum_sum().over("f"),
        c=V.cum_sum(),
        d=V.cum_max().over("k", "v"),
        e=V.cum_count().over("k"),
    ),
    "computed key": lambda lf: watermarked(lf).with_columns(a=V.cum_sum().over(V % 3, K.is_null())),
    "one above the other": lambda lf: (
        watermarked(lf)
        .with_columns(a=V.cum_sum().over("k"))
        .filter(pl.col("a") > 0)
        .with_columns(b=pl.col("a").diff().over("v"))
    ),
    "window above": lambda lf: (
        watermarked(lf)
        .with_columns(gap=N.diff().over("k", order_by="ts"))
        .group_by_dynamic("ts", every="1h", group_by="k")
        .agg(pl.col("gap").max(), pl.len())
    ),
    "first above": lambda lf: (
        watermarked(lf)
        .with_columns(a=N.cum_max().over("k"))
        .group_by("v")
        .agg(pl.col("a").first(), l=pl.col("a").last())
    ),
    "head above": lambda lf: watermarked(lf).with_columns(a=V.cum_sum()).head(7),
    "head above, without event time": lambda lf: lf.with_columns(a=V.cum_sum().over("k")).head(7),
    "total of a function": lambda lf: watermarked(lf).select(N.diff().max(), s=V.cum_sum().last()),
    "total of windows": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="10m", group_by="k")
        .agg(pl.len(), s=V.sum())
        .filter(pl.col("len") == pl.col("len").max().over("ts"))
    ),
    "totals of a time": lambda lf: watermarked(lf).with_columns(
        a=V.max().over("ts"),
        b=pl.len().over("ts", "k"),
        c=V.sum().over("ts", "k") + V,
        d=V.shift(1).over("k"),
    ),
    "totals of an hour": lambda lf: (
        watermarked(lf)
        .with_columns(hour=TS.dt.truncate("1h"))
        .with_columns(
            share=V / V.sum().over("hour", "k"), first=N.first().over("hour"), last=N.last().over("hour")
        )
    ),
    "totals beside running functions": lambda lf: (
        watermarked(lf)
        .with_columns(hour=TS.dt.truncate("1h"))
        .with_columns(a=V.sum().over("hour"), b=V.cum_sum().over("hour"), c=N.shift(1).over("hour", "k"))
    ),
    "windows above totals": lambda lf: (
        watermarked(lf)
        .with_columns(hour=TS.dt.truncate("1h"))
        .with_columns(most=V.max().over("hour"))
        .group_by("hour", "k")
        .agg(pl.col("most").max(), pl.len())
    ),
    "two windows of one aggregate": lambda lf: watermarked(lf).with_columns(
        x=V.sum().rolling("ts", period="1h") - V.sum().rolling("ts", period="20m")
    ),
    "inside groups": lambda lf: (
        watermarked(lf)
        .group_by("k")
        .agg(V.diff().max(), c=V.cum_sum().last(), d=(N - N.shift(1)).filter(V > 0).sum())
    ),
    "SQL": lambda lf: watermarked(lf).sql(
        "select ts, k, v, lag(v) over (partition by k order by ts) a, "
        "row_number() over (partition by k order by ts) b, "
        "first_value(n) over (partition by k order by ts) c from self"
    ),
    "SQL with frames of rows": lambda lf: watermarked(lf).sql(
        "select ts, k, sum(v) over (partition by k order by ts rows between 2 preceding and current row) a, "
        "sum(v) over (partition by k order by ts rows between unbounded preceding and current row) b "
        "from self"
    ),
    "windows of windows": lambda lf: (
        watermarked(lf)
        .group_by_dynamic("ts", every="10m", group_by="k")
        .agg(c=V.sum())
        .sort("ts")
        .rolling("ts", period="30m", group_by="k")
        .agg(pl.col("c").sum(), pl.len())
    ),
}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_answers_are_those_of_polars(query: Query, workers: int) -> None:
    lf = query(source(3))
    expected = lf.collect(engine="in-memory")
    assert expected.height > 0
    found = lf.collect(engine=dff.Engine(parallelism=workers))
    assert_frame_equal(found, expected, check_row_order=False, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_answers_keep_the_law_under_any_schedule(query: Query) -> None:
    dff.testing.check(query(source(4)), seeds=6)


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_answers_keep_the_law_under_many_schedules(query: Query) -> None:
    for seed in range(20, 24):
        dff.testing.check(query(source(seed)), seeds=range(3_000, 3_040))


@pytest.mark.parametrize("query", [whole(V.cum_sum()), by_key(V.shift(1)), unordered(V.cum_sum())])
def test_rows_leave_in_logical_order(query: Query) -> None:
    lf = query(source(5))
    found = lf.collect(engine=dff.Engine(parallelism=3))
    assert_frame_equal(found, lf.collect(engine="in-memory"))


REFUSED: dict[str, tuple[Query, str]] = {
    "shift back": (lambda lf: lf.with_columns(V.shift(-1)), "depends on later rows"),
    "reverse": (lambda lf: lf.with_columns(V.cum_sum(reverse=True)), "depends on later rows"),
    "centered": (lambda lf: lf.with_columns(V.rolling_sum(3, center=True)), "depends on later rows"),
    "total of a key": (lambda lf: lf.with_columns(V.sum().over("k")), r"so far: cum_sum\(\)"),
    "order_by another column": (
        lambda lf: watermarked(lf).with_columns(V.cum_sum().over("k", order_by="n")),
        "order_by='ts' alone",
    ),
    "order_by without event time": (
        lambda lf: lf.with_columns(V.cum_sum().over("k", order_by="ts")),
        "with_watermark",
    ),
    "descending": (
        lambda lf: watermarked(lf).with_columns(V.cum_sum().over("k", order_by="ts", descending=True)),
        "without descending=True",
    ),
    "other mapping": (
        lambda lf: watermarked(lf).with_columns(V.cum_sum().over("k", mapping_strategy="join")),
        "mapping_strategy='join'",
    ),
    "without order": (
        lambda lf: lf.group_by("k").agg(V.sum()).with_columns(V.cum_sum()),
        "depends on the order of rows",
    ),
    "above a join": (
        lambda lf: lf.join(lf.group_by("k").agg(w=V.max()), on="k").with_columns(pl.col("w").shift(1)),
        "depends on the order of rows",
    ),
    "endless": (
        lambda _: dff.nexmark().bid.with_columns(pl.col("price").cum_sum()),
        "endless input without event time",
    ),
    "rolling by another column": (
        lambda lf: watermarked(lf).with_columns(V.rolling_sum_by("n", "5i")),
        "is not the event time",
    ),
    "offset": (
        lambda lf: watermarked(lf).rolling("ts", period="1h", offset="0h").agg(V.sum()),
        "does not end at its row",
    ),
    "total of a computed time": (
        lambda lf: watermarked(lf).with_columns(V.sum().over(TS.dt.truncate("1h"))),
        "a column that follows it, among the keys",
    ),
    "totals beside windows of time": (
        lambda lf: (
            watermarked(lf)
            .with_columns(h=TS.dt.truncate("1h"))
            .with_columns(a=V.sum().over("h"), b=V.rolling_sum_by("ts", "1h").over("h"))
        ),
        "two with_columns",
    ),
    "weights": (lambda lf: lf.with_columns(V.rolling_mean(2, weights=[1.0, 2.0])), "weights"),
    "a later release": (lambda lf: lf.with_columns(F.rolling_skew(3)), "arrives in a later release"),
    "in a key": (lambda lf: lf.group_by(V.cum_sum()).agg(pl.len()), "with_columns"),
    "decimal": (
        lambda lf: lf.with_columns(V.cast(pl.Decimal(10, 2)).cum_sum()),
        "a cast to Float64 or Int64",
    ),
}


@pytest.mark.parametrize(("query", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_run_is_refused_with_the_fix(query: Query, words: str) -> None:
    with pytest.raises(UnsupportedQuery, match=words):
        dff.explain(query(source(1)))


def test_explain_says_what_is_remembered() -> None:
    bids = dff.nexmark().bid.stream.with_watermark("ts", delay="4s")
    price = pl.col("price")
    shifted = dff.explain(bids.with_columns(x=price.shift(1).over("auction", order_by="ts")))
    assert "~ exchange by auction" in shifted
    assert 'running by auction: col("price").shift(1).over(col("auction"))' in shifted
    assert "what the functions remember of each key, for ever" in shifted
    rolled = dff.explain(bids.rolling("ts", period="10s").agg(price.max()))
    assert "rows until the watermark has passed them and the period of their windows" in rolled
    assert "~ exchange: all rows to one worker" in rolled


def test_functions_in_another_order_have_an_operator_of_their_own() -> None:
    lf = watermarked(source(1)).with_columns(
        a=V.cum_sum().over("k", order_by=pl.struct("ts", "v")), b=V.shift(1).over("k", order_by="ts")
    )
    text = dff.explain(lf)
    assert text.count(" running by k") == 2
    assert "running by k ties by v" in text


def test_functions_with_the_same_keys_share_an_operator() -> None:
    lf = watermarked(source(1)).with_columns(
        a=V.cum_sum().over("k"), b=V.shift(1).over("k"), c=V.forward_fill().shift(2).over("k"), d=V.cum_sum()
    )
    assert dff.explain(lf).count(" running") == 2
