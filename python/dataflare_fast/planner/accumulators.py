"""Aggregates as the engine has them: which of Polars' it computes, over which types, under which names.

Not here: inputs and filters (`aggregates.py`), functions without an accumulator (`group_values.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import polars as pl

from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
    WhenNode,
)

__all__ = ["has_accumulator", "in_the_plan", "written_otherwise"]

Peel: TypeAlias = Callable[[ExprNode], tuple[ExprNode, list[ExprNode]]]


def has_accumulator(node: FunctionNode, values: pl.DataType) -> bool:
    """True if the engine computes an aggregate over values of this type.

    Args:
        node: the aggregate; its first argument may stand below filters.
        values: the type of what it aggregates.
    """
    is_number = values.is_integer() or values.is_float()
    match node.name:
        case "len" | "count" | "n_unique" | "first" | "last":
            return True
        case "sum" | "mean" | "min" | "max":
            return not values.is_nested()
        case "var" | "std" | "skew" | "kurtosis":
            return is_number or values.is_decimal() or values == pl.Boolean
        case "corr":
            are_numbers = all(arg.dtype.is_integer() or arg.dtype.is_float() for arg in node.args)
            return (
                are_numbers and node.options["method"] in ("pearson", "covariance") and _is_plain(node.args)
            )
        case "median":
            return is_number or values == pl.Boolean
        case "quantile":
            at = node.args[1]
            return is_number and isinstance(at, LiteralNode) and isinstance(at.value, float)
        case "product":
            return is_number or values == pl.Boolean
        case "bitwise_and" | "bitwise_or" | "bitwise_xor":
            return values.is_integer()
        case "min_by" | "max_by":
            return _is_plain(node.args) and not node.args[1].dtype.is_nested()
        case "implode":
            return True
        case "unique" | "mode":
            # `maintain_order` asks for the order of first appearance; only the list of all values knows it.
            return not node.options["maintain_order"] and isinstance(node.dtype, pl.List)
        case "value_counts":
            return not (node.options["sort"] or node.options["normalize"])
        case _:
            return False


def _is_plain(args: tuple[ExprNode, ...]) -> bool:
    """True for arguments that no filter stands above: rows of both must stay side by side."""
    names = ("filter", "drop_nulls", "drop_nans")
    return not any(
        isinstance(part, FunctionNode) and part.name in names for arg in args for part in arg.walk()
    )


def in_the_plan(node: FunctionNode) -> tuple[str, tuple[ExprNode, ...], dict[str, Any]]:
    """The name of the engine's function, the other columns that it reads, its options."""
    options = node.options
    match node.name:
        case "var" | "std":
            return node.name, (), {"ddof": options["ddof"]}
        case "skew":
            return node.name, (), {"bias": options["bias"]}
        case "kurtosis":
            return node.name, (), {"fisher": options["fisher"], "bias": options["bias"]}
        case "corr" if options["method"] == "covariance":
            return "cov", node.args[1:], {"ddof": options["ddof"]}
        case "corr" | "min_by" | "max_by":
            return node.name, node.args[1:], {}
        case "quantile":
            at = node.args[1]
            assert isinstance(at, LiteralNode)
            return node.name, (), {"quantile": at.value, "interpolation": options["interpolation"]}
        case "implode" if not options["maintain_order"]:
            return node.name, (), {"ordered": False}
        case _:
            return node.name, (), {}


def written_otherwise(node: FunctionNode, peel: Peel) -> ExprNode | None:
    """An aggregate that others say as well, in their words; None: it stands for itself.

    What only asks whether, or how often, a condition holds, is a count of the rows where it does.
    """
    ignores_nulls = bool(node.options.get("ignore_nulls", False))
    values = node.args[0] if node.args else node
    match node.name:
        case "null_count":
            return _rows_where(values, _is_null, peel)
        case "has_nulls":
            return _is_some(_rows_where(values, _is_null, peel))
        case "any":
            holds = _is_some(_rows_where(values, _is_true, peel))
            return holds if ignores_nulls else _unless_null(holds, True, values, peel)
        case "all":
            fails = _is_some(_rows_where(values, _is_false, peel))
            holds = FunctionNode(pl.Boolean(), "not_", (fails,))
            return holds if ignores_nulls else _unless_null(fails, False, values, peel)
        case "is_empty":
            return _is_none(FunctionNode(pl.UInt32(), "count" if ignores_nulls else "len", node.args))
        case "nan_min" | "nan_max":
            extreme = FunctionNode(node.dtype, node.name.removeprefix("nan_"), node.args)
            if not node.dtype.is_float():
                return extreme
            is_nan = _is_some(_rows_where(values, _is_nan, peel))
            return WhenNode(node.dtype, is_nan, LiteralNode(node.dtype, float("nan")), extreme)
        case "approx_n_unique":
            return FunctionNode(node.dtype, "n_unique", node.args)
        case _:
            return None


def _rows_where(node: ExprNode, condition: Callable[[ExprNode], ExprNode], peel: Peel) -> ExprNode:
    """`len` of the rows where a condition on the values holds, under the filters that already stand there."""
    values, conditions = peel(node)
    whole = condition(values)
    for one in reversed(conditions):
        whole = BinaryNode(pl.Boolean(), "and", one, whole)
    return FunctionNode(pl.UInt32(), "len", (FunctionNode(values.dtype, "filter", (values, whole)),))


def _unless_null(decided: ExprNode, answer: bool, values: ExprNode, peel: Peel) -> ExprNode:
    """Kleene's `any` and `all`: undecided, a null leaves the answer open."""
    is_open = _is_some(_rows_where(values, _is_null, peel))
    boolean = pl.Boolean()
    undecided = WhenNode(boolean, is_open, LiteralNode(boolean, None), LiteralNode(boolean, not answer))
    return WhenNode(boolean, decided, LiteralNode(boolean, answer), undecided)


def _is_some(count: ExprNode) -> ExprNode:
    return BinaryNode(pl.Boolean(), "gt", count, LiteralNode(count.dtype, 0))


def _is_none(count: ExprNode) -> ExprNode:
    return BinaryNode(pl.Boolean(), "eq", count, LiteralNode(count.dtype, 0))


def _is_null(values: ExprNode) -> ExprNode:
    return FunctionNode(pl.Boolean(), "is_null", (values,))


def _is_nan(values: ExprNode) -> ExprNode:
    return FunctionNode(pl.Boolean(), "is_nan", (values,))


def _is_true(values: ExprNode) -> ExprNode:
    is_boolean = values.dtype == pl.Boolean
    return values if is_boolean else CastNode(pl.Boolean(), values, strict=True, wrap=False)


def _is_false(values: ExprNode) -> ExprNode:
    return FunctionNode(pl.Boolean(), "not_", (_is_true(values),))
