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
    "moments": [i.var(), n.std(ddof=0), i.skew(bias=False).alias("skew"), n.kurtosis().alias("kurtosis")],
    "two_columns": [
        pl.cov("j", "n").alias("cov"),
        pl.corr("j", "n").alias("corr"),
        pl.corr("j", "n", method="spearman").alias("spearman"),
        s.min_by(n).alias("min_by"),
        p.max_by(i),
        i.dot(n).alias("dot"),
    ],
    "quantiles": [i.median(), n.quantile(0.3), i.quantile(0.9, "linear").alias("p90")],
    "products_and_bits": [i.product(), n.bitwise_and(), n.bitwise_xor().alias("xor")],
    "nan": [f.nan_min(), f.nan_max().alias("most"), i.nan_max(), f.filter(k).nan_max().alias("filtered")],
    "kleene": [k.any(ignore_nulls=False), k.all(ignore_nulls=False).alias("all")],
    "lists": [i, n.implode().alias("n"), (i * 2).filter(k).alias("filtered"), s.implode().alias("more")],
    "filtered_more": [i.filter(k).median(), i.filter(n > 0).var().alias("var"), n.filter(k).product()],
    "over_the_group": [
        i.arg_max(),
        s.str.join("-"),
        n.head(2).alias("head"),
        n.filter(k).sort(descending=True).alias("sorted"),
        (n.top_k(2).sum() + pl.len()).alias("sum of top"),
        s.top_k_by(i, 2).alias("top by"),
        i.sort_by(n, descending=True).alias("sort by"),
        i.cum_sum().max().alias("running"),
        i.unique().sum().alias("distinct"),
        (i - i.max()).sum().alias("twice"),
        i.filter(i > i.mean()).sum().alias("above the mean"),
        (i.sum() + n).alias("list"),
        n.index_of(2).alias("place"),
    ],
    "approximate": [i.approx_n_unique()],
    "constants": [pl.lit(1), pl.lit("x").alias("text"), (pl.lit(1) + i.sum()).alias("more")],
    "aggregates of constants": [
        pl.lit(7).sum().alias("sum"),
        pl.lit(7).mean().alias("mean"),
        (pl.lit("x").max() + p.max()).alias("text"),
    ],
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
    options = {name: value for name, value in made.get("options", {}).items() if name != "ordered"}
    other = [] if made.get("other") is None else [pl.col(made["other"])]
    of_module = made["function"] in ("cov", "corr")
    function = getattr(pl if of_module else pl.Expr, made["function"])
    aggregate: pl.Expr = function(values, *other, **options)
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
        (i.get(0), "get", "no meaning over the rows of one group"),
        (i.sample(1).sum(), "sample", "no meaning over the rows of one group"),
        (i.filter(k).filter(n > 0).sum(), "filter", "no rows in common"),
        (i.sort_by("n").first(), "min_by/max_by", "does not show"),
        (i.sum().over("b").first(), "over", "no meaning over the rows of one group"),
        (i.map_batches(lambda column: column, return_dtype=pl.Int64).sum(), "function", "does not show"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, pl.Expr) else "",
)
def test_aggregate_that_cannot_run_is_refused(expr: pl.Expr, part: str, reason: str) -> None:
    with pytest.raises(UnsupportedQuery) as caught:
        split(expr)
    found = [refusal for refusal in caught.value.refusals if isinstance(refusal, Refusal)]
    assert any(part in refusal.part and reason in refusal.reason for refusal in found), found
    assert all(refusal.rewrite for refusal in found)
