"""What the visitor reads of Polars' plans, as text: one line a use of a function or a kind of node.

The file beside it (`visitor.jsonl`) is that of the Polars version that we are built for;
`scripts/compare_visitor.py` shows what another version changes. Not here: what the planner makes of it.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from dataflare_fast.planner.visitor.plan import PlanIR, read_plan

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # `cut`, which is still in the table
    from tests.planner.expressions.expression_data import read, read_columns
    from tests.planner.expressions.row_wise_cases import CASES

__all__ = ["GOLDEN", "lines"]

GOLDEN: Final = Path(__file__).with_name("visitor.jsonl")

_LEFT: Final = pl.LazyFrame({"k": [1, 2], "x": [1.5, None], "t": [dt.datetime(2024, 1, 1)] * 2})
_RIGHT: Final = pl.LazyFrame({"k": [2, 3], "y": ["a", "b"], "u": [dt.datetime(2024, 1, 1)] * 2})
_NESTED: Final = pl.LazyFrame({"l": [[1], [2, 3]], "s": [{"a": 1, "b": "x"}, None]})
_col = pl.col

_QUERIES: Final[dict[str, pl.LazyFrame]] = {
    "filter": _LEFT.filter(_col("x") > 1, _col("k") == 2),
    "select": _LEFT.select("k", y=_col("x") * 2),
    "with_columns": _LEFT.with_columns(_col("x").fill_null(0.0), z=_col("k") + 1),
    "rename": _LEFT.rename({"k": "key"}),
    "drop": _LEFT.drop("x"),
    "sort": _LEFT.sort("k", "x", descending=[True, False], nulls_last=True),
    "top_k": _LEFT.sort("x", descending=True).head(1),
    "slice": _LEFT.slice(1, 1),
    "tail": _LEFT.tail(1),
    "unique": _LEFT.unique(["k"], keep="first", maintain_order=True),
    "with_row_index": _LEFT.with_row_index("row", offset=3),
    "concat": pl.concat([_LEFT, _LEFT]),
    "concat_diagonal": pl.concat([_LEFT, _RIGHT], how="diagonal"),
    "merge_sorted": _LEFT.merge_sorted(_LEFT, "k"),
    "explode": _NESTED.explode("l"),
    "unnest": _NESTED.unnest("s"),
    "unpivot": _LEFT.unpivot(["x"], index="k"),
    "group_by": _LEFT.group_by("k", _col("t").dt.truncate("1h")).agg(pl.len(), _col("x").sum()),
    "group_by_ordered": _LEFT.group_by("k", maintain_order=True).agg(_col("x").first()),
    "group_by_dynamic": _LEFT.group_by_dynamic(
        "t", every="1h", period="2h", offset="30m", closed="right", label="right", group_by="k"
    ).agg(_col("x").max()),
    "group_by_dynamic_days": _LEFT.group_by_dynamic("t", every="1d", include_boundaries=True).agg(pl.len()),
    "rolling": _LEFT.rolling("t", period="1h", group_by="k").agg(_col("x").mean()),
    "over": _LEFT.with_columns(_col("x").sum().over("k", order_by="t")),
    "join": _LEFT.join(_RIGHT, on="k"),
    "join_left": _LEFT.join(_RIGHT, left_on="k", right_on=_col("k") + 1, how="left", suffix="_r"),
    "join_full": _LEFT.join(_RIGHT, on="k", how="full", coalesce=True, nulls_equal=True),
    "join_semi": _LEFT.join(_RIGHT, on="k", how="semi"),
    "join_anti": _LEFT.join(_RIGHT, on="k", how="anti"),
    "join_cross": _LEFT.join(_RIGHT, how="cross"),
    "join_where": _LEFT.join_where(_RIGHT, _col("t") <= _col("u"), _col("k") > _col("k_right")),
    "join_asof": _LEFT.join_asof(_RIGHT, left_on="t", right_on="u", by="k", tolerance="1h"),
    "shared": pl.concat([_LEFT.filter(_col("k") > 1), _LEFT.filter(_col("k") > 1)]),
}


_x = _col("x")

_AGGREGATES: Final[dict[str, pl.Expr]] = {
    "len": pl.len(),
    "count": _x.count(),
    "sum": _x.sum(),
    "mean": _x.mean(),
    "min": _x.min(),
    "max": _x.max(),
    "nan_max": _x.nan_max(),
    "median": _x.median(),
    "quantile": _x.quantile(0.9, "linear"),
    "std": _x.std(ddof=0),
    "var": _x.var(),
    "first": _x.first(),
    "last": _x.last(ignore_nulls=True),
    "implode": _x.implode(),
    "n_unique": _x.n_unique(),
    "approx_n_unique": _x.approx_n_unique(),
    "null_count": _x.null_count(),
    "any": (_x > 1).any(),
    "all": (_x > 1).all(ignore_nulls=False),
    "product": _x.product(),
    "arg_max": _x.arg_max(),
    "max_by": _x.max_by("t"),
    "mode": _x.mode().first(),
    "skew": _x.skew(),
    "kurtosis": _x.kurtosis(),
    "entropy": _x.entropy(),
    "corr": pl.corr("x", "k"),
    "cov": pl.cov("x", "k"),
    "filtered": _x.filter(_col("k") > 1).sum(),
    "sorted": _x.sort_by("t").first(),
    "top_k": _x.top_k(2),
    "bitwise": _col("k").bitwise_xor(),
    "text": _x.cast(pl.String).str.join(","),
}


def lines() -> Iterator[tuple[str, object]]:
    """Name and content of each thing that is read."""
    for name, expr in CASES.items():
        yield f"expression {name}", _plain(read(expr))
    for name, expr in _AGGREGATES.items():
        yield f"aggregate {name}", _plain(read_columns(_LEFT.group_by("k").agg(expr.alias("out")))[0][1])
    for name, query in _QUERIES.items():
        yield f"node {name}", _plain(read_plan(query))


def _plain(value: Any) -> Any:
    """JSON of anything that the visitor gives; what changes from run to run is left out."""
    if isinstance(value, pl.DataType):
        return str(value)
    if isinstance(value, pl.Schema):
        return {name: str(dtype) for name, dtype in value.items()}
    if isinstance(value, pl.Series):
        return {"series": [str(one) for one in value.to_list()], "dtype": str(value.dtype)}
    if isinstance(value, pl.DataFrame):
        return {"rows": value.height}
    if is_dataclass(value) and not isinstance(value, type):
        kept = [field.name for field in fields(value) if not _is_number_of_a_cache(value, field.name)]
        return {"is": type(value).__name__, **{name: _plain(getattr(value, name)) for name in kept}}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return repr(value)


def _is_number_of_a_cache(value: object, field: str) -> bool:
    return (
        isinstance(value, PlanIR) and type(value).__name__ == "CacheIR" and field not in ("schema", "inputs")
    )
