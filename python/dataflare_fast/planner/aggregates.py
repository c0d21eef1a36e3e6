"""Aggregation expressions of Polars' plan -> input columns, aggregates of ours, and a row-wise rest above
them.

`(pl.col("a").filter(p).sum() / pl.len()).round(2)` becomes the columns `a` and `p` below, the aggregates
`sum` and `len`, and `(sum / len).round(2)` above. Not here: row-wise expressions (`row_wise.py`). Called
through `expressions.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import polars as pl

from dataflare_fast.planner.accumulators import has_accumulator, in_the_plan, written_otherwise
from dataflare_fast.planner.classes import FunctionClass, classify
from dataflare_fast.planner.group_values import FILTERS, GroupValues, is_row_wise
from dataflare_fast.planner.row_wise import ExpressionContext, meaningless, shortened, translate
from dataflare_fast.planner.schema import Json, dtype_to_json, why_unsupported
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
)
from dataflare_fast.planner.wording import describe

__all__ = ["LiftedAggregates", "SplitAggregate", "lift_aggregates", "split_aggregate"]

_COUNTERS: Final = frozenset(("len", "count", "n_unique"))


class SplitAggregate(NamedTuple):
    """An aggregation expression in three layers; the lists hold only what earlier calls have not given
    yet.
    """

    pre: list[Json]
    """Named expressions that a projection below computes (`NamedExpr`)."""
    aggregates: list[Json]
    """Aggregates over them (`Aggregate`)."""
    post: Json
    """The expression over the aggregates (`Expr`)."""


class LiftedAggregates(NamedTuple):
    """As `SplitAggregate`, the rest not yet written as an expression of the plan."""

    pre: list[Json]
    aggregates: list[Json]
    above: ExprNode


def lift_aggregates(expr: ExprNode, context: ExpressionContext) -> LiftedAggregates:
    """As `split_aggregate`, for who has more to do with the rest."""
    splitter = _Splitter(expr, context)
    before = len(context.refusals)
    above = splitter.above(expr)
    if len(context.refusals) > before:
        return LiftedAggregates([], [], LiteralNode(expr.dtype, None))
    return LiftedAggregates(splitter.pre, splitter.aggregates, above)


def split_aggregate(expr: ExprNode, context: ExpressionContext) -> SplitAggregate:
    """Splits one expression of `agg(...)`, or of a `select` of aggregates only.

    Columns and aggregates that several expressions of one context need are made once. Generated names start
    with the character 1: zero would end a name in C. What cannot run is noted in `context.refusals`; what
    comes back then has no meaning.

    Args:
        expr: the expression, typed against the node below.
        context: one for all expressions of the node.
    """
    splitter = _Splitter(expr, context)
    before = len(context.refusals)
    above = splitter.above(expr)
    if len(context.refusals) > before:
        return SplitAggregate([], [], meaningless(expr))
    schema = {node.name: node.dtype for node in above.walk() if isinstance(node, ColumnNode)}
    post = translate(above, ExpressionContext(schema, context.refusals))
    return SplitAggregate(splitter.pre, splitter.aggregates, post)


@dataclass(slots=True)
class _Splitter:
    whole: ExprNode
    context: ExpressionContext
    pre: list[Json] = field(default_factory=list)
    aggregates: list[Json] = field(default_factory=list)

    def above(self, node: ExprNode) -> ExprNode:
        """The node with each aggregate in it replaced by the column that will hold it."""
        if isinstance(node, ColumnNode):
            self.refuse_list(node)
            return node
        if isinstance(node, CastNode) and _is_counter(node.input) and node.dtype in (pl.Int64, pl.UInt64):
            # Counters have 64 bits inside: the cast names the type, and the count never wraps.
            return self.aggregate(node.input, node.dtype, describe(node))
        if isinstance(node, FunctionNode) and node.name in _OF_A_CONSTANT:
            [value] = node.args
            if isinstance(value, LiteralNode) and not isinstance(value.value, pl.Series):
                # Polars takes a constant once for a group.
                return CastNode(node.dtype, value, strict=False, wrap=False)
        if isinstance(node, FunctionNode) and _is_aggregate(node):
            if (written := written_otherwise(node, self.peel)) is not None:
                return self.above(written)
            if not node.args or self.has_accumulator(node):
                return self.aggregate(node, node.dtype, describe(node))
            whole = _listed(node)
            return (
                self.aggregate(whole, node.dtype, describe(whole))
                if self.has_accumulator(whole)
                else self.over_the_group(node)
            )
        return node.with_children(*(self.above(child) for child in node.children()))

    def has_accumulator(self, node: FunctionNode) -> bool:
        """True if the engine computes it, and what it aggregates is row-wise but for filters."""
        values = node.args[0]
        while isinstance(values, FunctionNode) and values.name in FILTERS:
            if not all(is_row_wise(one) for one in values.args[1:]):
                return False
            values = values.args[0]
        return is_row_wise(values) and has_accumulator(node, values.dtype)

    def over_the_group(self, node: FunctionNode) -> ExprNode:
        """A function of all values of a group that the engine has no accumulator for: Polars computes it over
        the list of these values, once a group.
        """
        group = GroupValues(is_ordered=_keeps_order(node))
        conditions: list[ExprNode] = []
        inner = _inner(node)
        if (filtered := _only_filter(inner)) is not None:
            # Rows that a filter leaves out need not be kept.
            values, conditions = self.peel(filtered)
            inner = _replaced(inner, filtered, values)
        tree = group.tree(inner)
        if group.refused is not None:
            self.refuse(*group.refused)
            return node
        if not group.inputs:
            self.refuse(node, _CONSTANT, _OTHER_CONSTANT)
            return node
        values = group.columns()
        dtype = pl.List(values.dtype)
        text = f"{describe(values)}.implode(maintain_order={group.is_ordered})"
        made: Json = {
            "function": "implode",
            "column": self.input(values),
            "filter": self.input(_all_of(conditions)) if conditions else None,
            "text": ".filter".join([text, *(f"({describe(one)})" for one in conditions)]),
            "dtype": dtype_to_json(dtype),
        }
        if not group.is_ordered:
            made["options"] = {"ordered": False}
        options = {"expr": tree, "text": describe(node)}
        return FunctionNode(node.dtype, "list.agg", (self.note(made, dtype),), options)

    def aggregate(self, node: ExprNode, dtype: pl.DataType, text: str) -> ExprNode:
        """Notes an aggregate; gives the column that holds it."""
        assert isinstance(node, FunctionNode)
        before = len(self.context.refusals)
        column, condition = self.below(node)
        if (reason := why_unsupported(dtype)) is not None:
            self.refuse(node, reason, "cast its input to a type of at most 64 bits")
        if len(self.context.refusals) > before:
            return node
        name, others, options = in_the_plan(node)
        made: Json = {
            "function": name,
            "column": column,
            "filter": condition,
            "text": text,
            "dtype": dtype_to_json(dtype),
        }
        if others:
            made["other"] = self.input(others[0])
        if options:
            made["options"] = options
        return self.note(made, dtype)

    def note(self, made: Json, dtype: pl.DataType) -> ColumnNode:
        """Notes an aggregate unless it is there already; gives the column that holds it."""
        name = self.generate("agg", made)
        if name is not None:
            self.aggregates.append({"name": name, **made})
        return ColumnNode(dtype, self.context.generated[_key("agg", made)])

    def below(self, node: FunctionNode) -> tuple[str | None, str | None]:
        """The input column and the condition of an aggregate, made where they are no plain columns."""
        if not node.args:
            return None, None
        values, conditions = self.peel(node.args[0])
        if node.options.get("ignore_nulls"):
            conditions.append(_function("is_not_null", values))
        if not any(isinstance(part, ColumnNode) for part in values.walk()):
            self.refuse(node, _CONSTANT, _OTHER_CONSTANT)
            return None, None
        condition = self.input(_all_of(conditions)) if conditions else None
        if node.name == "len":
            # Nulls count, so the values do not matter; they still must be computable row by row.
            translate(values, self.context)
            return None, condition
        return self.input(values), condition

    def peel(self, node: ExprNode) -> tuple[ExprNode, list[ExprNode]]:
        """The values below `filter`, `drop_nulls` and `drop_nans`, and the conditions that these stand
        for.
        """
        conditions: list[ExprNode] = []
        drops: list[str] = []
        while isinstance(node, FunctionNode) and node.name in FILTERS:
            if conditions:
                self.refuse(
                    node,
                    "a filter of what another filter left has no rows in common with it",
                    "one filter with both conditions: `.filter(p & q)`",
                )
                break
            if node.name == "filter":
                conditions.append(node.args[1])
            else:
                drops.append(node.name)
            node = node.args[0]
        conditions += [_keeps(drop, node) for drop in drops]
        return node, conditions

    def input(self, node: ExprNode) -> str:
        """The column below that holds a row-wise expression; a plain column keeps its name."""
        tree = translate(node, self.context)
        name = self.generate("in", tree, node.name if isinstance(node, ColumnNode) else None)
        if name is not None:
            self.pre.append({"name": name, "expr": tree})
        return self.context.generated[_key("in", tree)]

    def generate(self, kind: str, made: Json, name: str | None = None) -> str | None:
        """A name (a new one, unless given) for something not seen yet in this context, else None."""
        key = _key(kind, made)
        if key in self.context.generated:
            return None
        self.context.generated[key] = name or f"\x01{kind}{len(self.context.generated)}"
        return self.context.generated[key]

    def refuse_list(self, node: ExprNode) -> None:
        self.refuse(
            node,
            "beside an aggregate of all rows it would repeat it for each row, and a stream has no last one",
            f"an aggregate, such as `{describe(node)}.first()`, or a `group_by` whose key it is",
        )

    def refuse(self, node: ExprNode, reason: str, rewrite: str) -> None:
        text = describe(node)
        part = text if node is self.whole else f"{text} in {shortened(describe(self.whole))}"
        self.context.refusals.add(part, reason, rewrite)


_OF_A_CONSTANT: Final = frozenset(("first", "last", "max", "mean", "median", "min", "sum"))
"""Aggregates that give a constant itself."""
_CONSTANT: Final = "Polars takes a constant once for a group, not once for a row"
_OTHER_CONSTANT: Final = "the constant itself, or `pl.len()` to count rows"


def _is_aggregate(node: FunctionNode) -> bool:
    verdict = classify(node)
    return verdict is not None and verdict.function_class is FunctionClass.AGGREGATE


def _is_counter(node: ExprNode) -> bool:
    return isinstance(node, FunctionNode) and node.name in _COUNTERS


def _function(name: str, *args: ExprNode) -> FunctionNode:
    return FunctionNode(pl.Boolean(), name, args)


def _listed(node: FunctionNode) -> FunctionNode:
    """The function that gives a list by itself, such as `unique`, instead of `implode` above it."""
    (values, *_) = node.args
    if node.name != "implode" or not isinstance(values, FunctionNode):
        return node
    return replace(values, dtype=node.dtype)


def _keeps_order(node: FunctionNode) -> bool:
    """True for a list in logical order; one that is sorted by value has its own."""
    by_value = isinstance(node.args[0], FunctionNode) and node.args[0].name in ("top_k", "sort")
    return node.name == "implode" and bool(node.options["maintain_order"]) and not by_value


def _inner(node: FunctionNode) -> ExprNode:
    """`list.agg` makes a list of many values by itself."""
    return node.args[0] if node.name == "implode" else node


def _only_filter(node: ExprNode) -> ExprNode | None:
    """The filter that all columns of an expression stand below: `col.filter(p)` in `col.filter(p).mode()`."""
    while isinstance(node, FunctionNode) and node.name not in FILTERS and node.args:
        first, *others = node.args
        if any(isinstance(part, ColumnNode) for other in others for part in other.walk()):
            return None
        node = first
    if not (isinstance(node, FunctionNode) and node.name in FILTERS):
        return None
    values: ExprNode = node
    nested = 0
    while isinstance(values, FunctionNode) and values.name in FILTERS:
        nested += values.name == "filter"
        if not all(is_row_wise(one) for one in values.args[1:]):
            return None
        values = values.args[0]
    return node if is_row_wise(values) and nested <= 1 else None


def _replaced(node: ExprNode, old: ExprNode, new: ExprNode) -> ExprNode:
    if node is old:
        return new
    return node.with_children(*(_replaced(child, old, new) for child in node.children()))


def _keeps(drop: str, values: ExprNode) -> ExprNode:
    """The condition under which `drop_nulls` or `drop_nans` keeps a row."""
    if drop == "drop_nulls":
        return _function("is_not_null", values)
    # A null is no NaN and stays.
    not_nan = FunctionNode(pl.Boolean(), "is_not_nan", (values,))
    return FunctionNode(pl.Boolean(), "fill_null", (not_nan, LiteralNode(pl.Boolean(), True)))


def _all_of(conditions: list[ExprNode]) -> ExprNode:
    first, *others = conditions
    for other in others:
        first = BinaryNode(pl.Boolean(), "and", first, other)
    return first


def _key(kind: str, made: Json) -> str:
    return f"{kind} {json.dumps(made, sort_keys=True)}"
