"""Aggregation expressions of Polars' plan -> input columns, aggregates of ours, and a row-wise rest above
them.

`(pl.col("a").filter(p).sum() / pl.len()).round(2)` becomes the columns `a` and `p` below, the aggregates
`sum` and `len`, and `(sum / len).round(2)` above. Not here: row-wise expressions (`row_wise.py`). Called
through `expressions.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import polars as pl

from dataflare_fast.planner.classes import AGGREGATES_OF_THE_ENGINE, FunctionClass, classify
from dataflare_fast.planner.row_wise import ExpressionContext, meaningless, shortened, translate
from dataflare_fast.planner.schema import Json, dtype_to_json, why_unsupported
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    HiddenNode,
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
        if isinstance(node, FunctionNode) and _is_aggregate(node):
            counted = self.counted(node)
            return (
                self.aggregate(node, node.dtype, describe(node)) if counted is None else self.above(counted)
            )
        return node.with_children(*(self.above(child) for child in node.children()))

    def counted(self, node: FunctionNode) -> ExprNode | None:
        """What only asks whether, or how often, a condition holds, as a count of the rows where it does."""
        ignores_nulls = node.options.get("ignore_nulls", False)
        match node.name:
            case "null_count":
                return self.rows_where(node.args[0], _is_null)
            case "has_nulls":
                return _compared("gt", self.rows_where(node.args[0], _is_null))
            case "any" if ignores_nulls:
                return _compared("gt", self.rows_where(node.args[0], _is_true))
            case "all" if ignores_nulls:
                return _compared("eq", self.rows_where(node.args[0], _is_false))
            case "is_empty":
                return _compared(
                    "eq", FunctionNode(pl.UInt32(), "count" if ignores_nulls else "len", node.args)
                )
            case _:
                return None

    def rows_where(self, node: ExprNode, condition: Callable[[ExprNode], ExprNode]) -> ExprNode:
        """`len` of the rows where a condition on the values holds, under the filters that already stand
        there.
        """
        values, conditions = self.peel(node)
        kept = FunctionNode(values.dtype, "filter", (values, _all_of([*conditions, condition(values)])))
        return FunctionNode(pl.UInt32(), "len", (kept,))

    def aggregate(self, node: ExprNode, dtype: pl.DataType, text: str) -> ExprNode:
        """Notes an aggregate; gives the column that holds it."""
        assert isinstance(node, FunctionNode)
        before = len(self.context.refusals)
        column, condition = self.below(node)
        if (reason := why_unsupported(dtype)) is not None:
            self.refuse(node, reason, "cast its input to a type of at most 64 bits")
        if len(self.context.refusals) > before:
            return node
        made = {
            "function": node.name,
            "column": column,
            "filter": condition,
            "text": text,
            "dtype": dtype_to_json(dtype),
        }
        name = self.generate("agg", made)
        if name is not None:
            self.aggregates.append({"name": name, **made})
        return ColumnNode(dtype, self.context.generated[_key("agg", made)])

    def below(self, node: FunctionNode) -> tuple[str | None, str | None]:
        """The input column and the condition of an aggregate, made where they are no plain columns."""
        if node.name == "implode":
            self.refuse_list(node.args[0])
            return None, None
        if node.name not in AGGREGATES_OF_THE_ENGINE:
            self.refuse(node, f"the aggregate `{node.name}` arrives in a later release", _OTHER_AGGREGATE)
            return None, None
        if not node.args:
            return None, None
        values, conditions = self.peel(node.args[0])
        if node.options.get("ignore_nulls"):
            conditions.append(_function("is_not_null", values))
        if any(map(_is_opaque, values.walk())):
            translate(values, self.context)  # says why it cannot run
            return None, None
        if any(isinstance(part, FunctionNode) and _is_aggregate(part) for part in values.walk()):
            self.refuse(
                node,
                "an aggregate inside an aggregate needs all rows twice",
                "two `group_by` in a row, or arithmetic outside (`a.max() - a.min()`)",
            )
            return None, None
        if not any(isinstance(part, ColumnNode) for part in values.walk()):
            self.refuse(
                node,
                "Polars takes a constant once for a group, not once for a row",
                "the constant itself, or `pl.len()` to count rows",
            )
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
        while isinstance(node, FunctionNode) and node.name in ("filter", "drop_nulls", "drop_nans"):
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
            "without an aggregate it gives a list of all its values, which arrives in a later release",
            f"an aggregate, such as `{describe(node)}.first()`, or a key of the `group_by`",
        )

    def refuse(self, node: ExprNode, reason: str, rewrite: str) -> None:
        text = describe(node)
        part = text if node is self.whole else f"{text} in {shortened(describe(self.whole))}"
        self.context.refusals.add(part, reason, rewrite)


_OTHER_AGGREGATE: Final = "one of " + ", ".join(f"`{name}`" for name in sorted(AGGREGATES_OF_THE_ENGINE))


def _compared(op: str, count: ExprNode) -> ExprNode:
    return BinaryNode(pl.Boolean(), op, count, LiteralNode(count.dtype, 0))


def _is_aggregate(node: FunctionNode) -> bool:
    verdict = classify(node)
    return verdict is not None and verdict.function_class is FunctionClass.AGGREGATE


def _is_opaque(node: ExprNode) -> bool:
    """True if what is below cannot be judged by itself."""
    if isinstance(node, FunctionNode):
        verdict = classify(node)
        return verdict is None or verdict.function_class is FunctionClass.BY_INNER
    return isinstance(node, HiddenNode)


def _is_counter(node: ExprNode) -> bool:
    return isinstance(node, FunctionNode) and node.name in _COUNTERS


def _function(name: str, *args: ExprNode) -> FunctionNode:
    return FunctionNode(pl.Boolean(), name, args)


def _is_null(values: ExprNode) -> ExprNode:
    return _function("is_null", values)


def _is_true(values: ExprNode) -> ExprNode:
    return values


def _is_false(values: ExprNode) -> ExprNode:
    return _function("not_", values)


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
