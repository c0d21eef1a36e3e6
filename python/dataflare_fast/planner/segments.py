"""`.stream.apply(fn)`: whether the plan of a segment is row-wise, and where the event time goes in it.

Polars runs the segment batch by batch, so each row of its answer may depend on one row only. Functions of
Python are taken for row-wise: nobody can see into them. Not here: running it (`words/apply.py`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.row_wise import why_not_row_wise
from dataflare_fast.planner.visitor.expressions import ColumnNode, HiddenNode
from dataflare_fast.planner.visitor.plan import (
    FilterIR,
    FunctionIR,
    HStackIR,
    LeafIR,
    Named,
    OtherIR,
    PlanIR,
    ProjectionIR,
    SelectIR,
)
from dataflare_fast.planner.wording import describe
from dataflare_fast.sources.leaf import Leaf

__all__ = ["check_segment"]

_FRAME_FUNCTIONS: Final = ("drop_nulls", "explode", "hint_sorted", "rechunk", "unnest", "unpivot")
_NOT_ROW_WISE: Final = ("cumulative_eval", "rolling map", "total order min_by/max_by")
"""What the visitor hides and what is known to look at other rows."""


def check_segment(ir: PlanIR, stand_in: Leaf, time: str | None, part: str, refusals: Refusals) -> str | None:
    """Notes what is not row-wise.

    Args:
        ir: the plan of the segment.
        stand_in: the leaf that stands for the rows below.
        time: the event time of these.
        part: what messages call the segment.
        refusals: takes what cannot run.

    Returns:
        The column of the segment that is the event time unchanged, or None.
    """
    if isinstance(ir, LeafIR) and ir.source is stand_in:
        if ir.rows is not None:
            refusals.add(f"head({ir.rows}) in {part}", _OTHER_ROWS, "head below or above it")
        _check([] if ir.predicate is None else [ir.predicate], part, refusals)
        return _kept(time, ir.schema)
    if not ir.inputs:
        refusals.add(
            f"another frame in {part}", "a segment has the rows of one batch", "join or concat below it"
        )
        return None
    times = [check_segment(one, stand_in, time, part, refusals) for one in ir.inputs]
    below = times[0]
    match ir:
        case FilterIR():
            _check([ir.predicate], part, refusals)
            return below
        case ProjectionIR():
            return _kept(below, ir.schema)
        case SelectIR():
            if not any(
                isinstance(node, ColumnNode | HiddenNode) for one in ir.exprs for node in one.expr.walk()
            ):
                refusals.add(f"a select of constants in {part}", _ONE_ROW, "with_columns")
            _check(ir.exprs, part, refusals)
            return next((one.name for one in ir.exprs if _is_column(one, below)), None)
        case HStackIR():
            _check(ir.exprs, part, refusals)
            changed = any(one.name == below and not _is_column(one, below) for one in ir.exprs)
            return None if changed else below
        case FunctionIR() if ir.name in _FRAME_FUNCTIONS:
            touched = ir.name in ("explode", "unpivot") and below in ir.parameters[0]
            return None if touched and ir.name == "explode" else _kept(below, ir.schema)
        case OtherIR() if ir.name == "function":
            # A function of Python over the frame: the user's word is taken that it goes row by row.
            return None
        case _:
            name = getattr(ir, "name", type(ir).__name__.removesuffix("IR").lower())
            refusals.add(
                f"{name} in {part}", _OTHER_ROWS, f"{name} below or above it, where the engine runs it"
            )
            return None


_OTHER_ROWS: Final = "it looks at other rows, and the segment is run batch by batch"
_ONE_ROW: Final = "Polars gives one row for it, whatever the input is"


def _check(exprs: list[Named] | tuple[Named, ...], part: str, refusals: Refusals) -> None:
    for one in exprs:
        for node in one.expr.walk():
            if isinstance(node, HiddenNode) and node.what not in _NOT_ROW_WISE:
                continue
            if (refused := why_not_row_wise(node)) is not None:
                refusals.add(f"{describe(node)} in {part}", *refused)
                break


def _is_column(one: Named, name: str | None) -> bool:
    return name is not None and isinstance(one.expr, ColumnNode) and one.expr.name == name


def _kept(time: str | None, schema: pl.Schema) -> str | None:
    return time if time in schema else None
