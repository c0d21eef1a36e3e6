"""A use of every function that is not row-wise stands in its class, or is hidden as the table says.

Row-wise functions have their uses in `row_wise_cases.py`.
"""

from __future__ import annotations

import datetime as dt
import warnings

import polars as pl
import pytest
from tests.planner.expressions.expression_data import FRAME, read_columns

from dataflare_fast.planner.classes import CLASSES, HIDDEN, FunctionClass, classify, names_of
from dataflare_fast.planner.visitor.expressions import ExprNode, FunctionNode, HiddenNode

i, j, f, g, b, s, t, d = (pl.col(name) for name in ("i", "j", "f", "g", "b", "s", "t", "d"))
small, ints, floats = pl.col("n"), pl.col("l"), pl.col("lf")
_HOUR = dt.timedelta(hours=1)

_PLAIN_METHODS = names_of(
    """approx_n_unique bitwise_and bitwise_or bitwise_xor count has_nulls is_empty len max median min n_unique
    nan_max nan_min null_count entropy kurtosis mean product skew std sum var arg_max arg_min first implode
    is_sorted last
    cum_count cum_max cum_min cum_prod cum_sum diff forward_fill is_first_distinct pct_change rle_id
    is_duplicated is_unique rank arg_sort backward_fill interpolate is_last_distinct peak_max peak_min reverse
    sort bottom_k hist top_k mode unique unique_counts value_counts arg_unique rle drop_nulls"""
)

_USES: dict[str, pl.Expr] = {name: getattr(small, name)() for name in _PLAIN_METHODS} | {
    "append": i.append(j),
    "bin_ranks": i.bin_ranks(2, labels=["lo", "hi"]),
    "all": b.all(),
    "any": b.any(),
    "arg_sort_by": pl.arg_sort_by(i, j),
    "arg_true": b.arg_true(),
    "arg_where": pl.arg_where(b),
    "arr.explode": pl.col("a").arr.explode(),
    "bin_quantiles": f.bin_quantiles([0.5], labels=["lo", "hi"]),
    "bottom_k_by": i.bottom_k_by(j, 2),
    "corr": pl.corr(f, g),
    "cov": pl.cov(f, g),
    "dot": f.dot(g),
    "drop_nans": f.drop_nans(),
    "ewm_mean": f.ewm_mean(com=1),
    "ewm_mean_by": f.ewm_mean_by(t, half_life="1d"),
    "ewm_std": f.ewm_std(com=1),
    "ewm_sum": f.ewm_sum(com=1),
    "ewm_sum_by": f.ewm_sum_by(t, half_life="1d"),
    "ewm_var": f.ewm_var(com=1),
    "explode": ints.explode(),
    "extend_constant": i.extend_constant(1, 2),
    "filter": i.filter(b),
    "gather": i.gather([0, 1]),
    "gather_every": i.gather_every(2),
    "get": i.get(0),
    "index_of": i.index_of(3),
    "int_range": pl.int_range(pl.len()),
    "interpolate_by": f.interpolate_by(g),
    "item": i.item(),
    "linear_space": pl.linear_space(0, 1, 3),
    "list.explode": ints.list.explode(),
    "max_by": i.max_by(j),
    "min_by": i.min_by(j),
    "quantile": f.quantile(0.5),
    "date_range": pl.date_range(d.min(), d.min() + _HOUR * 48),
    "datetime_range": pl.datetime_range(t.min(), t.min() + _HOUR, "30m"),
    "time_range": pl.time_range(pl.col("w").min(), pl.col("w").max()),
    "rolling_corr": pl.rolling_corr(f, g, window_size=3),
    "rolling_cov": pl.rolling_cov(f, g, window_size=3),
    "rolling_quantile": f.rolling_quantile(0.5, window_size=3),
    "rolling_quantile_by": f.rolling_quantile_by(t, "1d", quantile=0.5),
    "row_index": pl.row_index(),
    "sample": i.sample(2),
    "search_sorted": i.search_sorted(3),
    "shift": i.shift(1),
    "shuffle": i.shuffle(),
    # Alone they would be those of the frame.
    "head": i.head(2).sum() + j.sum(),
    "limit": i.limit(2).sum() + j.sum(),
    "slice": i.slice(1, 2).sum() + j.sum(),
    "tail": i.tail(2).sum() + j.sum(),
    "sort_by": i.sort_by(j),
    "str.join": s.str.join("-"),
    "top_k_by": i.top_k_by(j, 2),
    "list.sample": ints.list.sample(1),
    "over": i.sum().over(b),
    "rolling": i.sum().rolling("t", period="1d"),
    **{f"rolling_{kind}": getattr(f, f"rolling_{kind}")(window_size=3) for kind in (
        ["kurtosis", "max", "mean", "median", "min", "rank", "skew", "std", "sum", "var"]
    )},
    **{f"rolling_{kind}_by": getattr(f, f"rolling_{kind}_by")(t, "1d") for kind in (
        ["max", "mean", "median", "min", "rank", "std", "sum", "var"]
    )},
}  # fmt: skip

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # still in the table
    _USES["qcut"] = f.qcut([0.5])

_HIDDEN_USES: dict[str, pl.Expr] = {
    "approx_quantile": f.approx_quantile(0.5),
    "bin.size": pl.col("bin").bin.size(),
    "cat.len_chars": pl.col("cat").cat.len_chars(),
    "cumulative_eval": i.cumulative_eval(pl.element().sum()),
    "cum_fold": pl.cum_fold(0, lambda left, right: left + right, [i, j]),
    "cum_reduce": pl.cum_reduce(lambda left, right: left + right, [i, j]),
    "fold": pl.fold(0, lambda left, right: left + right, [i, j]),
    "inspect": i.inspect(),
    "list.eval": ints.list.eval(pl.element() + 1),
    "list.n_unique": ints.list.n_unique(),
    "list.reverse": ints.list.reverse(),
    "list.unique": ints.list.unique(),
    "map_batches": i.map_batches(lambda column: column),
    "map_elements": i.map_elements(lambda value: value, return_dtype=pl.Int64),
    "reduce": pl.reduce(lambda left, right: left + right, [i, j]),
    "reshape": i.reshape((-1, 1)),
    "rolling_map": f.rolling_map(lambda column: column.sum(), window_size=2),
    "struct.with_fields": pl.col("st").struct.with_fields(z=pl.field("x") + 1),
    "dt.is_business_day": d.dt.is_business_day(),
}
"""Functions that the visitor does not show, at least one of each word that it has for them."""

_WITHOUT_A_USE = {"arr.sample": "Polars 2.1 has no such method"}


def node_of(expr: pl.Expr) -> ExprNode:
    return read_columns(FRAME.lazy().select(expr.alias("out")))[0][1]


@pytest.mark.parametrize("name", _USES)
def test_use_of_a_function_has_the_class_of_the_table(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node = node_of(_USES[name])
    verdicts = [classify(part) for part in node.walk() if isinstance(part, FunctionNode)]
    assert any(verdict is not None and verdict.function_class is CLASSES[name] for verdict in verdicts), node


@pytest.mark.parametrize("name", _HIDDEN_USES)
def test_function_that_the_table_marks_is_hidden(name: str) -> None:
    assert name in HIDDEN
    assert any(isinstance(part, HiddenNode) for part in node_of(_HIDDEN_USES[name]).walk())


def test_every_function_has_a_use() -> None:
    elsewhere = {FunctionClass.ROW_WISE, FunctionClass.PLAN_TIME}
    entries = {name for name, its_class in CLASSES.items() if its_class not in elsewhere}
    assert entries - HIDDEN - _USES.keys() == set(_WITHOUT_A_USE)
