"""Copies Polars' private expression nodes into plain frozen values (`ExprNode`).

Not here: what a function means or whether it can run (`planner/classes.py`, `planner/expressions.py`). With
`plan.py` the only file that touches Polars' private classes. Called for each expression of a node, after
`visitor.set_node(input)`: Polars types an expression against the current node.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import polars as pl

from dataflare_fast.planner.visitor.spelling import AGGREGATES, FIXED_OPTIONS, FUNCTIONS, OPERATORS

__all__ = [
    "ROUNDED_CONSTANT",
    "BinaryNode",
    "CastNode",
    "ColumnNode",
    "ExprNode",
    "FunctionNode",
    "HiddenNode",
    "LiteralNode",
    "WhenNode",
    "constants_checked",
    "read_expression",
]

ROUNDED_CONSTANT: Final = "constant of nanoseconds"
"""`HiddenNode.what` of a constant that the visitor shows rounded."""


@dataclass(frozen=True, slots=True)
class ExprNode:
    """Any expression; `dtype` is the type that Polars gave it."""

    dtype: pl.DataType

    def children(self) -> tuple[ExprNode, ...]:
        """The expressions right below, in Polars' order."""
        return ()

    def with_children(self, *children: ExprNode) -> ExprNode:
        """The same node over other children, as many as `children()` gives."""
        assert not children
        return self

    def walk(self) -> Iterator[ExprNode]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children():
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class ColumnNode(ExprNode):
    """A column of the input."""

    name: str


@dataclass(frozen=True, slots=True)
class LiteralNode(ExprNode):
    """A constant: a Python value, or a `pl.Series` where the user wrote `pl.lit(series)`."""

    value: Any


@dataclass(frozen=True, slots=True)
class BinaryNode(ExprNode):
    """A two-sided operator, named as in the plan (`add`, `floor_div`)."""

    op: str
    left: ExprNode
    right: ExprNode

    def children(self) -> tuple[ExprNode, ...]:
        return (self.left, self.right)

    def with_children(self, *children: ExprNode) -> ExprNode:
        left, right = children
        return replace(self, left=left, right=right)


@dataclass(frozen=True, slots=True)
class CastNode(ExprNode):
    """A cast to `dtype`; strict: a value that does not fit is an error, else null; wrap: it wraps."""

    input: ExprNode
    strict: bool
    wrap: bool

    def children(self) -> tuple[ExprNode, ...]:
        return (self.input,)

    def with_children(self, *children: ExprNode) -> ExprNode:
        (child,) = children
        return replace(self, input=child)


@dataclass(frozen=True, slots=True)
class WhenNode(ExprNode):
    """`when(predicate).then(then).otherwise(otherwise)`."""

    predicate: ExprNode
    then: ExprNode
    otherwise: ExprNode

    def children(self) -> tuple[ExprNode, ...]:
        return (self.predicate, self.then, self.otherwise)

    def with_children(self, *children: ExprNode) -> ExprNode:
        predicate, then, otherwise = children
        return replace(self, predicate=predicate, then=then, otherwise=otherwise)


@dataclass(frozen=True, slots=True)
class FunctionNode(ExprNode):
    """A function, an aggregate or any other construct, under the name of Polars' method (`str.len_chars`,
    `over`).
    """

    name: str
    args: tuple[ExprNode, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def children(self) -> tuple[ExprNode, ...]:
        return self.args

    def with_children(self, *children: ExprNode) -> ExprNode:
        return replace(self, args=children)


@dataclass(frozen=True, slots=True)
class HiddenNode(ExprNode):
    """Something that Polars' visitor does not show; `what` is its own word for it."""

    what: str


_plan_text: ContextVar[Callable[[], str] | None] = ContextVar("_plan_text", default=None)
_NANOSECONDS: Final = re.compile(r"\d\d:\d\d:\d\d\.\d{6}(?!000)\d{3}")


@contextmanager
def constants_checked(plan_text: Callable[[], str]) -> Iterator[None]:
    """Inside, a constant that the visitor may have rounded to microseconds becomes a `HiddenNode`.

    The visitor gives times as Python objects, which end there; the text of the plan shows all nine digits.

    Args:
        plan_text: gives the text of the plan that is read; called only if such a constant is in it.
    """
    token = _plan_text.set(plan_text)
    try:
        yield
    finally:
        _plan_text.reset(token)


def _is_rounded(dtype: pl.DataType, value: Any) -> bool:
    if isinstance(dtype, pl.List | pl.Array) and isinstance(value, list):
        return any(_is_rounded(cast("Any", dtype.inner), item) for item in value)
    if isinstance(dtype, pl.Struct) and isinstance(value, dict):
        return any(_is_rounded(cast("Any", field.dtype), value[field.name]) for field in dtype.fields)
    if not isinstance(value, dt.time | dt.datetime):
        return False
    plan_text = _plan_text.get()
    exact = isinstance(dtype, pl.Datetime) and dtype.time_unit != "ns"
    return not exact and plan_text is not None and _NANOSECONDS.search(plan_text()) is not None


def read_expression(visitor: Any, node: int) -> ExprNode:
    """Copies one expression.

    Args:
        visitor: Polars' node traverser, set to the node that the expression reads from.
        node: the expression's number (`PyExprIR.node`).
    """
    try:
        found = visitor.view_expression(node)
    except NotImplementedError as error:
        # Asked for the type of rows encoded for a sort, Polars panics, and is of no use afterwards.
        is_encoded = str(error) == "row_encode"
        return HiddenNode(pl.Null() if is_encoded else visitor.get_dtype(node), str(error))
    except (OverflowError, ValueError) as error:
        # A constant that Python cannot hold, such as a date of the year 33658.
        return HiddenNode(visitor.get_dtype(node), f"constant: {error}")
    return _Reader(visitor, visitor.get_dtype(node)).read(found)


class _Reader:
    """Reads one node of Polars; `dtype` is its type."""

    def __init__(self, visitor: Any, dtype: pl.DataType) -> None:
        self._visitor = visitor
        self._dtype = dtype

    def read(self, found: Any) -> ExprNode:
        kind = type(found).__name__
        match kind:
            case "Column":
                return ColumnNode(self._dtype, found.name)
            case "Literal":
                value = _plain(found.value)
                if _is_rounded(self._dtype, value):
                    return HiddenNode(self._dtype, ROUNDED_CONSTANT)
                return LiteralNode(self._dtype, value)
            case "Alias":
                return self._one(found.expr)
            case "BinaryExpr":
                return self._binary(found)
            case "Cast":
                # 0 strict, 1 not strict, 2 overflowing.
                option = found.options
                return CastNode(self._dtype, self._one(found.expr), strict=option == 0, wrap=option == 2)
            case "Ternary":
                return WhenNode(
                    self._dtype, self._one(found.predicate), self._one(found.truthy), self._one(found.falsy)
                )
            case "Function":
                return self._function(found)
            case "Agg":
                return self._aggregate(found)
            case _:
                return self._construct(kind, found)

    def _one(self, node: int) -> ExprNode:
        return read_expression(self._visitor, node)

    def _many(self, nodes: list[int]) -> tuple[ExprNode, ...]:
        return tuple(self._one(node) for node in nodes)

    def _named(self, name: str, *nodes: int, **options: Any) -> FunctionNode:
        return FunctionNode(self._dtype, name, self._many(list(nodes)), options)

    def _binary(self, found: Any) -> ExprNode:
        operator = str(found.op)
        if operator == "Operator.TruncDivide":
            return self._named("truncdiv", found.left, found.right)
        if operator == "Operator.Divide" and self._dtype.is_float():
            operator = "Operator.TrueDivide"  # of floats both are one
        if operator not in OPERATORS:
            return HiddenNode(self._dtype, operator)
        return BinaryNode(self._dtype, OPERATORS[operator], self._one(found.left), self._one(found.right))

    def _function(self, found: Any) -> ExprNode:
        data = found.function_data
        key, *values = data if isinstance(data, tuple) else (data,)
        spelling = FUNCTIONS.get(str(key))
        if spelling is None:
            return HiddenNode(self._dtype, str(key))
        options = dict(zip(spelling.options, map(_plain, values), strict=False))
        options |= FIXED_OPTIONS.get(str(key), {})
        # The one function whose method name is in an option: `list.set_union`.
        name = spelling.name + options.pop("operation", "")
        return FunctionNode(self._dtype, name, self._many(found.input), options)

    def _aggregate(self, found: Any) -> ExprNode:
        spelling = AGGREGATES.get((found.name, found.options is True)) or AGGREGATES.get((found.name, None))
        if spelling is None:
            return HiddenNode(self._dtype, found.name)
        options: dict[str, Any] = dict.fromkeys(spelling.options, found.options)
        if found.name.endswith("_non_null"):
            options = {"ignore_nulls": True}
        node = FunctionNode(self._dtype, spelling.name, self._many(found.arguments), options)
        return self._null_without_values(node) if found.name == "sum" and found.options is True else node

    def _null_without_values(self, total: FunctionNode) -> ExprNode:
        """SQL's sum: null where there is nothing to add."""
        values = FunctionNode(pl.UInt32(), "count", total.args)
        has_values = BinaryNode(pl.Boolean(), "gt", values, LiteralNode(pl.UInt32(), 0))
        return WhenNode(self._dtype, has_values, total, LiteralNode(self._dtype, None))

    def _construct(self, kind: str, found: Any) -> ExprNode:
        match kind:
            case "Len":
                return self._named("len")
            case "Filter":
                return self._named("filter", found.input, found.by)
            case "Sort":
                _, nulls_last, descending = found.options
                return self._named("sort", found.expr, descending=descending, nulls_last=nulls_last)
            case "SortBy":
                _, nulls_last, descending = found.sort_options
                return self._named(
                    "sort_by", found.expr, *found.by, descending=descending, nulls_last=nulls_last
                )
            case "Slice":
                return self._named("slice", found.input, found.offset, found.length)
            case "Gather":
                return self._named("get" if found.scalar else "gather", found.expr, found.idx)
            case "Explode":
                return self._named("explode", found.expr)
            case "Rolling":
                return self._named(
                    "rolling",
                    found.function,
                    found.index_column,
                    period=found.period,
                    offset=found.offset,
                    closed=found.closed_window,
                )
            case "Window":
                mapping = found.options.kind
                # An option that says no more than the default is left out of messages.
                options: dict[str, Any] = {} if mapping == "groups_to_rows" else {"mapping_strategy": mapping}
                if found.order_by is None:
                    return self._named("over", found.function, *found.partition_by, ordered=False, **options)
                return self._named(
                    "over",
                    found.function,
                    *found.partition_by,
                    found.order_by,
                    ordered=True,
                    descending=found.order_by_descending,
                    nulls_last=found.order_by_nulls_last,
                    **options,
                )
            case "StructEval":
                return HiddenNode(
                    self._dtype, f"struct.{'eval' if found.variant == 'select' else found.variant}"
                )
            case _:
                return HiddenNode(self._dtype, kind)


def _plain(value: Any) -> Any:
    """Polars hands series over as private `PySeries`."""
    if type(value).__name__ == "PySeries":
        return cast("Any", pl.Series)._from_pyseries(value)
    return value
