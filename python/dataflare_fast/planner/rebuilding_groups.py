"""Writes functions of a whole group as `pl.Expr` again, where Polars computes them over a list (`list.agg`).

Not here: row-wise functions (`rebuilding.py`), which of them may stand there (`classes.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, cast

import polars as pl

from dataflare_fast.planner.classes import names_of

__all__ = ["GROUP_BUILDERS"]


class _Call(Protocol):
    """One function of the plan, as `rebuilding.py` reads it."""

    @property
    def name(self) -> str: ...
    @property
    def args(self) -> list[pl.Expr]: ...
    @property
    def options(self) -> dict[str, Any]: ...


_AnyFunction: TypeAlias = Callable[..., pl.Expr]

_METHODS: Final[frozenset[str]] = names_of(
    """len count sum mean min max first last n_unique var std skew kurtosis median product bitwise_and
    bitwise_or bitwise_xor min_by max_by all any has_nulls is_empty null_count nan_min nan_max approx_n_unique
    entropy arg_max arg_min index_of is_sorted item search_sorted str.join filter drop_nulls drop_nans unique
    unique_counts value_counts slice sort sort_by reverse gather gather_every arg_unique is_unique
    is_duplicated is_first_distinct is_last_distinct peak_min peak_max cum_count cum_max cum_min cum_prod
    cum_sum shift rle_id"""
)
"""Functions whose arguments and options are those of the method, in its order and under its names."""


def _method(call: _Call) -> pl.Expr:
    target: Any = call.args[0]
    for part in call.name.split("."):
        target = getattr(target, part)
    return cast("_AnyFunction", target)(*call.args[1:], **call.options)


def _element(call: _Call) -> pl.Expr:
    """The values of the list, or one field of them."""
    field, name = call.options["field"], call.options["name"]
    values = pl.element() if field is None else pl.element().struct.field(field)
    return values.alias(name)


def _quantile(call: _Call) -> pl.Expr:
    return call.args[0].quantile(call.args[1], interpolation=call.options["interpolation"])


def _corr(call: _Call) -> pl.Expr:
    one, other = call.args
    match call.options["method"]:
        case "covariance":
            return pl.cov(one, other, ddof=call.options["ddof"])
        case "spearman_rank":
            return pl.corr(one, other, method="spearman")
        case _:
            return pl.corr(one, other)


def _mode(call: _Call) -> pl.Expr:
    # Which mode is the first is open in Polars; here it is the first in logical order.
    return call.args[0].mode(maintain_order=True)


def _top_k(call: _Call) -> pl.Expr:
    values, count = call.args
    return values.bottom_k(count) if call.options["reverse"] else values.top_k(count)


def _top_k_by(call: _Call) -> pl.Expr:
    values, count, *by = call.args
    return values.top_k_by(by, count, reverse=call.options["reverse"])


def _rank(call: _Call) -> pl.Expr:
    rank: _AnyFunction = call.args[0].rank
    return rank(call.options["method"], descending=call.options["descending"])


def _diff(call: _Call) -> pl.Expr:
    diff: _AnyFunction = call.args[0].diff
    return diff(*call.args[1:], **call.options)


GROUP_BUILDERS: Final[Mapping[str, Callable[[_Call], pl.Expr]]] = {
    **dict.fromkeys(_METHODS, _method),
    "corr": _corr,
    "diff": _diff,
    "element": _element,
    "mode": _mode,
    "pct_change": _diff,
    "quantile": _quantile,
    "rank": _rank,
    "top_k": _top_k,
    "top_k_by": _top_k_by,
}
"""Each function of a group by its name in the plan."""
