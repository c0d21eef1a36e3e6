"""Aggregation expressions split into inputs, aggregates and an expression above; Polars is the oracle."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.planner.expressions.expression_data import FRAME, split

from dataflare_fast.errors import Refusal, UnsupportedQuery
from dataflare_fast.planner.rebuilding import rebuild
from dataflare_fast.planner.schema import dtype_from_json

c = pl.col
i, n, f, b, k, s, p = (c(name) for name in ("j", "n", "g", "b", "c", "s", "p"))

SPLITS: dict[str, list[pl.Expr]] = {
    "plain": [pl.len(), i.sum(), n.min(), n.max().alias("most"), i.mean().alias("mean"), s.n_unique()],
    "counts": [i.count(), i.len().alias("len"), pl.count("n")],
    "first_and_last": [i.first(), n.last(), s.first(ignore_nulls=True), p.last(ignore_nulls=True)],
    "arithmetic": [(i.sum() / pl.len()).alias("x"), (i.max() - n.min()).alias("y"), -n.sum()],
    "filtered": [
        i.filter(n > 1).sum(),
        n.filter(k).count(),
        i.filter(k, n > 0).len().alias("len"),
        i.filter(k | n.is_null()).first().alias("first"),
    ],
    "dropped": [
        i.drop_nulls().first(),
        f.drop_nans().count(),
        i.filter(k).drop_nulls().len().alias("len"),
        n.drop_nulls().n_unique(),
    ],
    "inputs": [(i * 2 + n).sum(), s.str.to_uppercase().max(), p.str.reverse().n_unique(), k.sum()],
    "rows_above": [
        i.sum().cast(pl.Float32),
        n.max().fill_null(0),
        pl.when(i.sum() > 3).then(n.max()).otherwise(n.min()).alias("when"),
        pl.concat_str(s.first(), pl.lit("-"), p.first()).alias("text"),
        i.mean().round(1).alias("mean"),
    ],
    "conditions": [
        i.null_count(),
        n.has_nulls(),
        k.any(),
        (n > 1).all().alias("all"),
        k.filter(n > 0).all().alias("filtered"),
        s.drop_nulls().is_empty(),
        (p.is_empty(ignore_nulls=True) | f.has_nulls()).alias("more"),
    ],
    "constants": [pl.lit(1), pl.lit("x").alias("text"), (pl.lit(1) + i.sum()).alias("more")],
    "shared": [i.sum(), (i.sum() * 2).alias("double"), (i.sum() - i.sum()).alias("zero")],
    "one_filter_for_two": [i.filter(n > 1).sum(), n.filter(n > 1).max()],
    "predicate": [pl.when(k).then(i).sum(), pl.when(n > 1).then(1).otherwise(0).sum().alias("count")],
}


def run(layers: list[Any], exprs: list[pl.Expr]) -> pl.DataFrame:
    """Runs the three layers with Polars, as the engine would with a project, a group-by and a project."""
    below = [rebuild(named["expr"]).alias(named["name"]) for layer in layers for named in layer.pre]
    names = [expr.meta.output_name() for expr in exprs]
    grouped = FRAME.select(b.alias("\0key"), *below).group_by("\0key")
    aggregates = [_aggregate(made) for layer in layers for made in layer.aggregates]
    above = [rebuild(layer.post).alias(name) for layer, name in zip(layers, names, strict=True)]
    return grouped.agg(aggregates).select(c("\0key").alias("b"), *above)


def _aggregate(made: Any) -> pl.Expr:
    # Any column of the same length counts rows.
    values = pl.col("\0key" if made["column"] is None else made["column"])
    if made["filter"] is not None:
        values = values.filter(pl.col(made["filter"]))
    aggregate: pl.Expr = getattr(values, made["function"])()
    return aggregate.cast(dtype_from_json(made["dtype"])).alias(made["name"])


@pytest.mark.parametrize("name", SPLITS)
def test_three_layers_give_what_polars_gives(name: str) -> None:
    exprs = SPLITS[name]
    got = run(split(*exprs), exprs)
    expected = FRAME.group_by("b").agg(exprs)
    assert_frame_equal(got, expected, check_row_order=False, check_exact=True)


def test_cast_of_a_counter_is_one_aggregate_with_the_type_of_the_cast() -> None:
    (layer,) = split(pl.len().cast(pl.Int64))
    assert layer.aggregates == [
        {
            "name": "\x01agg0",
            "function": "len",
            "column": None,
            "filter": None,
            "text": "len().cast(Int64)",
            "dtype": "int64",
        }
    ]
    assert layer.post == {"kind": "column", "name": "\x01agg0"}


def test_bare_counter_has_the_type_of_polars() -> None:
    (layer,) = split(n.n_unique())
    assert layer.aggregates[0]["dtype"] == "uint32"


def test_counter_that_polars_widens_for_arithmetic_never_wraps_either() -> None:
    (layer,) = split((pl.len() + i.sum()).alias("x"))
    assert [made["dtype"] for made in layer.aggregates] == ["int64", "int64"]


def test_filter_is_an_input_column_and_part_of_the_text() -> None:
    (layer,) = split(i.filter(n > 0).sum())
    (made,) = layer.aggregates
    assert made["text"] == 'col("j").filter((col("n") > 0)).sum()'
    assert made["filter"] == next(named["name"] for named in layer.pre if named["name"] != "j")
    assert made["filter"].startswith("\x01in")


def test_what_two_expressions_need_is_made_once() -> None:
    first, second = split(i.sum(), (i.sum() + 1).alias("more"))
    assert (len(first.pre), len(first.aggregates)) == (1, 1)
    assert (second.pre, second.aggregates) == ([], [])


@pytest.mark.parametrize(
    ("expr", "part", "reason"),
    [
        (i.median(), "median", "later release"),
        (i.std(), "std", "later release"),
        (i.quantile(0.5), "quantile", "later release"),
        (f.nan_max(), "nan_max", "later release"),
        (i.arg_max(), "arg_max", "later release"),
        (i.item(), "item", "later release"),
        (k.any(ignore_nulls=False), "any", "later release"),
        (i, 'col("j")', "list of all its values"),
        (i.implode(), 'col("j")', "list of all its values"),
        (i.sum() + n, 'col("n")', "list of all its values"),
        ((i - i.max()).sum(), "sum", "aggregate inside an aggregate"),
        (i.filter(i > i.mean()).sum(), 'col("j").mean()', "aggregate"),
        (i.filter(k).filter(n > 0).sum(), "filter", "no rows in common"),
        ((i.filter(k) + 1).sum(), "filter", "number of rows"),
        (pl.lit(1).sum(), "sum", "constant once for a group"),
        (i.cum_sum().max(), "cum_sum", "earlier rows"),
        (i.sort_by("n").first(), "min_by/max_by", "sort_by"),
        (i.unique().sum(), "unique", "later rows"),
        (i.head(2).sum(), "slice", "later rows"),
        (i.sum().over("b").first(), "over", "other rows"),
        (i.map_batches(lambda column: column, return_dtype=pl.Int64).sum(), "function", "Python code"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, pl.Expr) else "",
)
def test_aggregate_that_cannot_run_is_refused(expr: pl.Expr, part: str, reason: str) -> None:
    with pytest.raises(UnsupportedQuery) as caught:
        split(expr)
    found = [refusal for refusal in caught.value.refusals if isinstance(refusal, Refusal)]
    assert any(part in refusal.part and reason in refusal.reason for refusal in found), found
    assert all(refusal.rewrite for refusal in found)
