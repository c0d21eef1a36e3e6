"""Which columns are still the event time: it follows a column through monotone functions and ends elsewhere.

f is monotone if t <= u gives f(t) <= f(u) for all times, so that f(W) is a lower bound above when W is one
below. Not here: windows and groups that end event time or start a new one (`aggregates.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
)
from dataflare_fast.planner.visitor.plan import Named

__all__ = ["Followed", "coarseness", "follow", "follow_all", "sources_of"]

_BITS: Final = {f"Int{bits}": bits - 1 for bits in (8, 16, 32, 64)} | {
    f"UInt{bits}": bits for bits in (8, 16, 32, 64)
}
_UNITS: Final = {"ms": 0, "us": 1, "ns": 2}
_FIXED_ZONES: Final = re.compile(r"UTC|GMT|Etc/.*|[+-]\d\d:\d\d")
_PHYSICAL: Final = re.compile(r"-?(\d+(ns|us|µs|μs|ms|s|m|h))+")
_DAYS: Final = re.compile(r"-?(\d+(ns|us|µs|μs|ms|s|m|h|d|w))+")
# How much of the time a function keeps; of several time keys the finest closes groups first.
_COARSENESS: Final = {"dt.truncate": 1, "dt.date": 2, "dt.month_start": 3, "dt.year": 4}


@dataclass(frozen=True, slots=True)
class Followed:
    """The event time above a projection.

    Args:
        event_time: the output column that is it, or None.
        derived: other output columns that are monotone functions of it.
        exprs: the projection, with the event time computed from the event time below.
        ended: why it ended, if it did.
    """

    event_time: str | None
    derived: Mapping[str, ExprNode]
    exprs: tuple[Named, ...]
    ended: str | None


def sources_of(frame: Frame) -> dict[str, ExprNode]:
    """The columns of a frame that are monotone functions of its event time, each written as such."""
    if frame.event_time is None:
        return {}
    time = ColumnNode(frame.schema[frame.event_time], frame.event_time)
    return {frame.event_time: time, **frame.derived}


def follow(expr: ExprNode, sources: Mapping[str, ExprNode]) -> ExprNode | None:
    """Writes `expr` as a monotone function of the event time, or gives None if it is none.

    Args:
        expr: an expression of the frame.
        sources: see `sources_of`.
    """
    match expr:
        case ColumnNode():
            return sources.get(expr.name)
        case CastNode() if _keeps_order(expr.input.dtype, expr.dtype):
            inner = follow(expr.input, sources)
            return None if inner is None else replace(expr, input=inner)
        case BinaryNode(op="add" | "sub") if _is_fixed_duration(expr.right):
            inner = follow(expr.left, sources)
            return None if inner is None else replace(expr, left=inner)
        case BinaryNode(op="add") if _is_fixed_duration(expr.left):
            inner = follow(expr.right, sources)
            return None if inner is None else replace(expr, right=inner)
        case FunctionNode(args=(first, *rest)) if _is_monotone(expr, first.dtype, rest):
            inner = follow(first, sources)
            return None if inner is None else replace(expr, args=(inner, *rest))
        case _:
            return None


def follow_all(frame: Frame, exprs: Sequence[Named]) -> Followed:
    """Finds the event time in a projection of a frame.

    The column itself wins, else one with its name, else the first one that is a monotone function of it.
    """
    sources = sources_of(frame)
    found = {named.name: source for named in exprs if (source := follow(named.expr, sources)) is not None}
    if frame.event_time is None or not found:
        lost = f"nothing above reads '{frame.event_time}' or a function of it that keeps its order"
        return Followed(None, {}, tuple(exprs), frame.ended if frame.event_time is None else lost)
    kept = [name for name, source in found.items() if isinstance(source, ColumnNode)]
    candidates = kept or list(found)
    chosen = frame.event_time if frame.event_time in candidates else candidates[0]
    above = tuple(Named(one.name, found[chosen]) if one.name == chosen else one for one in exprs)
    # Other columns can be written as functions of the new event time only if that is the old one.
    renamed = {frame.event_time: ColumnNode(found[chosen].dtype, chosen)} if kept else {}
    derived = {name: _renamed(found[name], renamed) for name in found if name != chosen} if kept else {}
    return Followed(chosen, derived, above, None)


def coarseness(expr: ExprNode) -> int:
    """How much of the time a monotone function loses; 0: nothing that we know of."""
    return max((_COARSENESS.get(getattr(node, "name", ""), 0) for node in expr.walk()), default=0)


def _renamed(expr: ExprNode, names: Mapping[str, ColumnNode]) -> ExprNode:
    renamed = follow(expr, names)
    return expr if renamed is None else renamed


def _keeps_order(before: pl.DataType, after: pl.DataType) -> bool:
    match before, after:
        case pl.Datetime(), pl.Datetime():
            return before.time_zone == after.time_zone and _UNITS[before.time_unit] <= _UNITS[after.time_unit]
        case pl.Date(), pl.Datetime():
            return after.time_zone is None
        case pl.Datetime(), pl.Date():
            return before.time_zone is None
    if before.is_integer() and after.is_integer():
        fits = _BITS.get(str(before), 99) <= _BITS.get(str(after), 0)
        return fits and (after.is_signed_integer() or before.is_unsigned_integer())
    return before == after


def _is_fixed_duration(expr: ExprNode) -> bool:
    inner = expr.input if isinstance(expr, CastNode) else expr
    return isinstance(inner, LiteralNode) and isinstance(expr.dtype, pl.Duration) and inner.value is not None


def _is_monotone(node: FunctionNode, time: pl.DataType, rest: Sequence[ExprNode]) -> bool:
    match node.name:
        case "dt.date" | "dt.year" | "dt.convert_time_zone" | "set_sorted":
            return True
        case "dt.month_start":
            # Of a Datetime it keeps the time of day: Jan 2 18:00 is before Jan 3 06:00, its month start not.
            return isinstance(time, pl.Date)
        case "dt.truncate":
            return all(isinstance(one, LiteralNode) and one.value is not None for one in rest)
        case "dt.cast_time_unit":
            return isinstance(time, pl.Datetime) and _keeps_order(time, node.dtype)
        case "dt.replace_time_zone":
            return _has_fixed_offset(time) and _has_fixed_offset(node.dtype)
        case "dt.offset_by":
            by = rest[0].value if rest and isinstance(rest[0], LiteralNode) else None
            is_naive = getattr(time, "time_zone", None) is None
            return isinstance(by, str) and bool((_DAYS if is_naive else _PHYSICAL).fullmatch(by))
        case _:
            return False


def _has_fixed_offset(dtype: pl.DataType) -> bool:
    zone = getattr(dtype, "time_zone", None)
    return zone is None or bool(_FIXED_ZONES.fullmatch(zone))
