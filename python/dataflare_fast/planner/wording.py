"""Writes an expression as the user would: for messages and for the canonical text of aggregates.

Canonical: equal expressions give equal text, and a restore matches state by it, so it changes only on
purpose.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from dataflare_fast.planner.classes import names_of
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    HiddenNode,
    LiteralNode,
    WhenNode,
)

__all__ = ["describe"]

_SYMBOLS: Final[dict[str, str]] = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "add": "+",
    "sub": "-",
    "mul": "*",
    "true_div": "/",
    "floor_div": "//",
    "mod": "%",
    "and": "&",
    "or": "|",
    "xor": "^",
}

_OF_MODULE: Final[frozenset[str]] = names_of(
    """struct format coalesce concat_str concat_list concat_arr arctan2 sum_horizontal mean_horizontal
    min_horizontal max_horizontal any_horizontal all_horizontal date datetime duration time int_range
    int_ranges date_range date_ranges datetime_range datetime_ranges time_range time_ranges linear_space
    linear_spaces corr arg_where len"""
)

_TYPED: Final[frozenset[str]] = names_of(
    "str.strptime str.json_decode str.to_integer str.to_decimal replace_strict struct"
)
"""Functions whose type is an argument of the user's, or holds one."""


def describe(node: ExprNode) -> str:
    """The expression in Polars' words, such as `(col("a") + 1).sum()`."""
    match node:
        case ColumnNode():
            return f'col("{node.name}")'
        case LiteralNode():
            return _literal(node)
        case BinaryNode():
            return _binary(node)
        case CastNode():
            return f"{describe(node.input)}.cast({node.dtype})"
        case WhenNode():
            parts = (describe(node.predicate), describe(node.then), describe(node.otherwise))
            return "when({}).then({}).otherwise({})".format(*parts)
        case FunctionNode():
            return _function(node)
        case HiddenNode():
            return f"<{node.what}>"
        case _:
            return type(node).__name__


def _literal(node: LiteralNode) -> str:
    if isinstance(node.value, pl.Series):
        return repr(node.value[0]) if len(node.value) == 1 else f"lit(Series of {len(node.value)})"
    return repr(node.value)


def _binary(node: BinaryNode) -> str:
    left, right = describe(node.left), describe(node.right)
    symbol = _SYMBOLS.get(node.op)
    return f"{left}.{node.op}({right})" if symbol is None else f"({left} {symbol} {right})"


def _function(node: FunctionNode) -> str:
    options = [f"{name}={value!r}" for name, value in sorted(node.options.items()) if value is not None]
    if node.name in _TYPED:
        options.append(f"dtype={node.dtype}")
    args = [describe(arg) for arg in node.args]
    if node.name in _OF_MODULE or not args:
        return f"{node.name}({', '.join(args + options)})"
    return f"{args[0]}.{node.name}({', '.join(args[1:] + options)})"
