"""Which expressions the engine evaluates with its own kernels; the others Polars evaluates (`residual.py`).

The rules mirror `rust/engine/src/expr`. A rule here that is too narrow costs speed, one that is too wide an
error at start. Used by `expressions.py`.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from dataflare_fast.planner.classes import COMPILED
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
    WhenNode,
)

__all__ = ["has_kernels"]

_COMPARISONS: Final = frozenset(("eq", "eq_missing", "ne", "ne_missing", "lt", "le", "gt", "ge"))
_LOGIC: Final = frozenset(("and", "or", "xor"))
_SCALARS: Final = (pl.Boolean, pl.String, pl.Date, pl.Time, pl.Datetime, pl.Duration)


def has_kernels(node: ExprNode) -> bool:
    """True if the engine evaluates this and everything below it."""
    return all(_has_kernel(part) for part in node.walk())


def _has_kernel(node: ExprNode) -> bool:
    match node:
        case ColumnNode():
            return True
        case LiteralNode():
            return _is_scalar(node.dtype) or isinstance(node.dtype, pl.Null) or _is_list_of_scalars(node)
        case BinaryNode():
            return _binary_has_kernel(node)
        case CastNode():
            return _cast_has_kernel(node.input.dtype, node.dtype)
        case WhenNode():
            return _is_scalar(node.dtype)
        case FunctionNode():
            return node.name in COMPILED and _function_has_kernel(node)
        case _:
            return False


def _binary_has_kernel(node: BinaryNode) -> bool:
    left, right = node.left.dtype, node.right.dtype
    if node.op in _COMPARISONS:
        return left == right and _is_scalar(left)
    if node.op in _LOGIC:
        return isinstance(left, pl.Boolean) and isinstance(right, pl.Boolean)
    return left == right and left.is_numeric() and not left.is_decimal()


def _cast_has_kernel(source: pl.DataType, target: pl.DataType) -> bool:
    def simple(dtype: pl.DataType) -> bool:
        return isinstance(dtype, pl.Boolean) or (dtype.is_numeric() and not dtype.is_decimal())

    return (isinstance(source, pl.Null) and _is_scalar(target)) or (simple(source) and simple(target))


def _function_has_kernel(node: FunctionNode) -> bool:
    if node.name in ("is_null", "is_not_null"):
        return True
    if node.name == "not_" and not isinstance(node.dtype, pl.Boolean):
        return False
    if node.name == "fill_null" and "strategy" in node.options:
        return False
    if node.name == "is_in":
        return _is_scalar(node.args[0].dtype) and isinstance(node.args[1], LiteralNode)
    # Patterns, formats and steps that come from a column have no kernel.
    if node.name.startswith(("str.", "dt.")) and not all(
        isinstance(arg, LiteralNode) for arg in node.args[1:]
    ):
        return False
    return all(_is_scalar(arg.dtype) or isinstance(arg.dtype, pl.Null) for arg in node.args)


def _is_scalar(dtype: pl.DataType) -> bool:
    return isinstance(dtype, _SCALARS) or (dtype.is_numeric() and not dtype.is_decimal())


def _is_list_of_scalars(node: LiteralNode) -> bool:
    if not isinstance(node.dtype, pl.List):
        return False
    inner = node.dtype.inner
    return _is_scalar(inner if isinstance(inner, pl.DataType) else inner())
