"""Expressions that look row-wise and are not: each is refused, with its part, its reason and a rewrite."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from tests.planner.expressions.expression_data import FRAME, translated

from dataflare_fast.errors import Refusal, UnsupportedQuery
from dataflare_fast.planner.visitor.expressions import ROUNDED_CONSTANT, HiddenNode
from dataflare_fast.planner.visitor.plan import FilterIR, read_plan

c = pl.col
i, f, b, s, k = c("i"), c("f"), c("b"), c("s"), c("n")


def refusals_of(expr: pl.Expr) -> tuple[Refusal, ...]:
    with pytest.raises(UnsupportedQuery) as caught:
        translated(expr)
    return tuple(refusal for refusal in caught.value.refusals if isinstance(refusal, Refusal))


@pytest.mark.parametrize(
    ("expr", "part", "reason"),
    [
        (i - i.mean(), 'col("i").mean()', "`mean` is an aggregate"),
        (pl.when(i > i.mean()).then(1), 'col("i").mean()', "aggregate"),
        (i.clip(i.min(), 9), 'col("i").min()', "`min` is an aggregate"),
        (i.fill_null(i.max()), 'col("i").max()', "aggregate"),
        (i.repeat_by(pl.len()), "len()", "`len` is an aggregate"),
        (i.is_in(c("j").implode()), 'col("j").implode', "aggregate"),
        (i.replace(i, c("j")), "implode", "aggregate"),
        (i + pl.lit(pl.Series(range(FRAME.height))), "lit(Series of 12)", "no place in a stream"),
        (pl.when(i.is_first_distinct()).then(1), "is_first_distinct", "earlier rows"),
        (k.sum().over("s"), "over", "other rows"),
        (k.rank().over("s"), "over", "other rows"),
        (k.rank(), "rank", "later rows"),
        (k.rank("random", seed=1), "rank", "another run"),
        (s.str.to_date(strict=False), "str.strptime", "without `format`"),
        (s.str.to_datetime(strict=False), "str.strptime", "without `format`"),
        (s.str.strptime(pl.Date, strict=False), "str.strptime", "without `format`"),
        (i.fill_null(strategy="forward"), "fill_null", "earlier rows"),
        (i.fill_null(strategy="mean"), "fill_null", "later rows"),
        (i.shift(1), "shift", "earlier rows"),
        (i.shift(-1), "shift", "later rows"),
        (i.cum_sum(), "cum_sum", "earlier rows"),
        (i.cum_sum(reverse=True), "cum_sum", "later rows"),
        (f.rolling_mean(3), "rolling_mean", "earlier rows"),
        (f.rolling_mean(3, center=True), "rolling_mean", "later rows"),
        (f.rolling_mean_by("t", "1d"), "rolling_mean_by", "earlier rows"),
        (f.sum().rolling("t", period="1d"), "rolling", "other rows"),
        (i.reverse(), "reverse", "later rows"),
        (i.sort(), "sort", "later rows"),
        (i.arg_sort(), "arg_max", "it is arg_sort"),
        (i.interpolate(), "interpolate", "later rows"),
        (i.is_duplicated(), "is_duplicated", "later rows"),
        (f.bin_intervals(3, labels=["a", "b", "c"]), "bin_intervals_uniform", "not show"),
        (pl.int_range(pl.len()), "int_range", "earlier rows"),
        (i.drop_nulls(), "drop_nulls", "number of rows"),
        (i.filter(b), "filter", "number of rows"),
        (c("l").explode(), "explode", "number of rows"),
        (i.shuffle(seed=1), "shuffle", "another run"),
        (c("l").list.sample(1, seed=1), "list.sample", "another run"),
        (c("cat").to_physical(), "to_physical", "Categorical"),
        (c("cat").cast(pl.UInt32), "cast", "Categorical"),
        (i + c("u64"), "cast(Int128)", "wider than 64 bits"),
        (i.map_elements(lambda value: value, return_dtype=pl.Int64), "anonymousfunction", "Python code"),
        (c("l").list.eval(pl.element() + 1), "list.eval", "does not show"),
        (c("st").struct.with_fields(pl.field("x") + 1), "with_fields", "does not show"),
        (c("bin").bin.size(), "binary expr", "does not show"),
        (c("st").name.map_fields(str.upper), "name.map_fields", "cannot evaluate"),
        (s.str.replace(c("p"), "x"), "str.replace", "takes this argument once"),
        (s.str.replace_all("a", c("p")), "str.replace", "n=1 only"),
        (c("l").list.count_matches(k), "list.count_matches", "takes this argument once"),
        (pl.lit("a,b").str.split(c("p")), "str.split", "does not repeat a constant"),
        (pl.lit(10**18).cast(pl.Datetime("us")) > c("t"), "constant", "Python cannot hold"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, pl.Expr) else "",
)
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_look_alike_is_refused(expr: pl.Expr, part: str, reason: str) -> None:
    refusals = refusals_of(expr)
    assert any(part in refusal.part and reason in refusal.reason for refusal in refusals), refusals
    assert all(refusal.rewrite for refusal in refusals)


def test_row_separable_of_polars_is_not_asked() -> None:
    assert (i - i.mean()).meta.is_row_separable()
    assert refusals_of(i - i.mean())


def test_all_offending_parts_are_named_at_once() -> None:
    parts = [refusal.part for refusal in refusals_of((i - i.mean()).clip(0, i.shift(1)))]
    assert [part.split(" in ")[0] for part in parts] == ['col("i").mean()', 'col("i").shift(1)']


def test_refused_part_names_the_expression_around_it() -> None:
    (refusal,) = refusals_of(i.cast(pl.Float64) - f.mean())
    assert refusal.part == 'col("f").mean() in (col("i").cast(Float64) - col("f").mean())'


def test_expression_deeper_than_a_json_reader_goes_is_refused() -> None:
    deep = i
    for _ in range(120):
        deep = deep + c("j")
    (refusal, *_) = refusals_of(deep)
    assert "more than 100 levels" in refusal.reason


def test_constant_of_nanoseconds_in_a_series_keeps_them() -> None:
    tree = translated(c("tn") > pl.lit(pl.Series([123_456_789], dtype=pl.Datetime("ns"))))
    assert tree["right"]["value"] == 123_456_789


def hidden_parts(query: pl.LazyFrame) -> list[str]:
    plan = read_plan(query)
    assert isinstance(plan, FilterIR)
    return [node.what for node in plan.predicate.expr.walk() if isinstance(node, HiddenNode)]


@pytest.mark.parametrize("unit", [pl.Datetime("ns"), pl.Time()])
def test_constant_that_the_plan_shows_rounded_is_refused(unit: pl.DataType) -> None:
    times = FRAME.lazy().select(pl.lit(None, dtype=unit).alias("at"), "i")
    exact, rounded = (pl.lit(value, dtype=pl.Int64).cast(unit) for value in (123_456_000, 123_456_789))
    assert hidden_parts(times.filter(c("at") > exact, i > 0)) == []
    assert hidden_parts(times.filter(c("at") > rounded, i > 0)) == [ROUNDED_CONSTANT]


def test_constant_is_computed_by_the_planner() -> None:
    tree = translated(pl.lit("a").str.reverse())
    assert tree == {"kind": "literal", "value": "a", "dtype": "string"}


def test_hint_of_order_is_dropped() -> None:
    assert translated(i.set_sorted()) == {"kind": "column", "name": "i"}


def test_residual_tree_is_wrapped_whole() -> None:
    tree = translated((i + 1).is_in([1]) | s.str.reverse().is_null())
    assert tree["kind"] == "residual"
    assert tree["expr"]["op"] == "or"


def test_time_before_the_epoch_is_written_in_ticks() -> None:
    tree = translated(c("t") > dt.datetime(1969, 12, 31, 23, 59, 59, 999_999))
    assert tree["right"] == {
        "kind": "literal",
        "value": -1,
        "dtype": {"datetime": {"unit": "us", "zone": None}},
    }
