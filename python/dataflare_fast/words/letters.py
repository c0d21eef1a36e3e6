"""The columns of a frame's dead letters: what each step that can fail for a row has read.

Used by `.stream.errors()`. Not here: which nodes the letters leave from (`planner/words.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.planner.visitor.expressions import CastNode, ExprNode, FunctionNode
from dataflare_fast.planner.visitor.plan import (
    FilterIR,
    GroupByIR,
    HStackIR,
    LeafIR,
    PlanIR,
    SelectIR,
    read_plan,
)
from dataflare_fast.sources.leaf import Source
from dataflare_fast.words.word import Word

__all__ = ["letter_columns"]


def letter_columns(lf: pl.LazyFrame) -> pl.Schema:
    """The columns of the sources, then those that steps on the way have read; of a common type.

    Raises:
        CallError: a column has types in two steps that have nothing in common.
    """
    schemas = list(_read_by_steps(read_plan(lf)))
    if not schemas:
        return lf.collect_schema()
    columns = pl.Schema()
    for schema in schemas:
        for name, dtype in schema.items():
            columns[name] = _common(name, columns.get(name, dtype), dtype)
    return columns


def _common(name: str, one: pl.DataType, other: pl.DataType) -> pl.DataType:
    if one == other:
        return one
    try:
        both = [pl.DataFrame(schema={name: dtype}) for dtype in (one, other)]
        return pl.concat(both, how="vertical_relaxed").schema[name]
    except pl.exceptions.SchemaError:
        raise CallError(
            f"errors: column '{name}' is {one} in one step and {other} in another, and dead letters have one "
            "column of a name; give the later one another name"
        ) from None


def _read_by_steps(ir: PlanIR) -> Iterator[pl.Schema]:
    """What each source and each step that can fail reads, from the sources up."""
    for one in ir.inputs:
        yield from _read_by_steps(one)
    match ir:
        case LeafIR(source=Word() as word):
            yield from _read_by_steps(read_plan(word.upstream))
        case LeafIR(source=Source() as source):
            yield source.schema
        case _ if not ir.inputs:
            yield ir.schema
        case FilterIR(predicate=predicate):
            if _can_fail(predicate.expr):
                yield ir.inputs[0].schema
        case SelectIR(exprs=exprs) | HStackIR(exprs=exprs):
            if any(_can_fail(one.expr) for one in exprs):
                yield ir.inputs[0].schema
        case GroupByIR(keys=keys, aggregates=aggregates):
            if any(_can_fail(one.expr) for one in (*keys, *aggregates)):
                yield ir.inputs[0].schema


def _can_fail(expr: ExprNode) -> bool:
    return any(
        isinstance(node, FunctionNode) or (isinstance(node, CastNode) and node.strict) for node in expr.walk()
    )
