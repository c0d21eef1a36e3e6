"""Joins of Polars -> `join` nodes: which columns leave, how long rows wait, whose event time goes on.

A predicate over both sides (`join(...).filter(t_right.is_between(...))`, `join_where`, SQL's `BETWEEN`) stays
a filter above; here it only says how far apart in event time two rows can be, so that the join may forget the
others. Not here: `join_asof` (`asof.py`). Called by `nodes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from dataflare_fast.planner.building import Building
from dataflare_fast.planner.event_time import sources_of
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
)
from dataflare_fast.planner.visitor.plan import JoinIR, Named
from dataflare_fast.sources.batches import Batches

__all__ = ["join"]

_LONELY: Final[Mapping[str, frozenset[str]]] = {
    "left": frozenset({"left"}),
    "anti": frozenset({"left"}),
    "right": frozenset({"right"}),
    "full": frozenset({"left", "right"}),
}
_KEEP_LEFT_IN_PLACE: Final = frozenset({"inner", "left", "semi", "anti"})
# A frame in memory of no more rows is held by every worker.
_TABLE_ROWS: Final = 1_000_000
_FLIPPED: Final = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq"}
_SWAPPED: Final = {"inner": "inner", "left": "right", "right": "left", "full": "full"}


@dataclass(frozen=True, slots=True)
class _Column:
    """An output column: the input column that it is; `both`: the right's key, where no left row is."""

    name: str
    side: str
    source: str
    both: str | None = None


@dataclass(frozen=True, slots=True)
class _Bound:
    """Rows meet only if lower <= right time - left time <= upper, in ticks."""

    lower: int | None = None
    upper: int | None = None

    def within(self, op: str, ticks: int) -> _Bound:
        """Narrowed by `right time - left time <op> ticks`."""
        lower = ticks if op in ("gt", "ge", "eq") else None
        upper = ticks if op in ("lt", "le", "eq") else None
        lowers = [one for one in (self.lower, lower) if one is not None]
        uppers = [one for one in (self.upper, upper) if one is not None]
        return _Bound(max(lowers, default=None), min(uppers, default=None))


def join(building: Building, left: Frame, right: Frame, ir: JoinIR, *, last: bool) -> Frame:
    """Plans every join but `join_asof`.

    Args:
        building: the plan so far.
        left: its left input.
        right: its right input.
        ir: the join.
        last: nothing but the sink stands above.
    """
    how = {"cross": "inner", "iejoin": "inner"}.get(ir.how, ir.how)
    part = f"join(how='{ir.how}')" if ir.how != "iejoin" else "join_where"
    _refuse_inputs(building, left, right, ir, part)
    columns = _output_columns(left.schema, right.schema, ir)
    if [one.name for one in columns] != ir.schema.names():
        building.refusals.add(
            f"{part} with columns {ir.schema.names()}",
            f"the engine would name them {[one.name for one in columns]}",
            "other names of the columns of one input (rename), so that no suffix is needed",
        )
        return building.nothing(ir.schema)
    left_on: list[str] = []
    right_on: list[str] = []
    if ir.how != "iejoin":
        left, left_on = _with_keys(building, left, ir.left_on)
        right, right_on = _with_keys(building, right, ir.right_on)
    bound = _bound(left, right, ir, columns, left_on, right_on)
    if left.endless != right.endless and right.endless and how in _SWAPPED:
        # The table stands on the right.
        left, right, left_on, right_on, how = right, left, right_on, left_on, _SWAPPED[how]
        other = {"left": "right", "right": "left"}
        columns = [replace(one, side=other[one.side]) for one in columns]
        bound = _Bound(
            None if bound.upper is None else -bound.upper, None if bound.lower is None else -bound.lower
        )
        swapped = True
    else:
        swapped = False
    _refuse_unbounded(building, left, right, how, bound, part, bool(left_on))
    event_time, derived, side = _event_time(left, right, how, bound, columns)
    is_timed = left.event_time is not None or right.event_time is not None
    ends = _why_it_ends(left, right, how) if is_timed and event_time is None else None
    fields: dict[str, Json] = {
        "how": how,
        "left_on": left_on,
        "right_on": right_on,
        "nulls_equal": ir.nulls_equal,
        "columns": [_written(one, swapped) for one in columns],
        "bound": None if bound == _Bound() else {"lower": bound.lower, "upper": bound.upper},
        "time_side": side,
        "broadcast": how in _KEEP_LEFT_IN_PLACE and _is_table(building, left, right),
    }
    inputs = building.distinct([left, right])
    node = building.graph.add(
        "join", inputs, ir.schema, event_time=event_time, event_time_ends=ends, fields=fields
    )
    frame = Frame(
        node=node,
        schema=ir.schema,
        endless=left.endless or right.endless,
        event_time=event_time,
        derived=derived,
        ended=ends or left.ended or right.ended,
        order="none",
        positioned=False,
    )
    for predicate in _predicates(ir, columns):
        frame = building.filter(frame, predicate)
    return frame if ir.slice is None else building.head(frame, *ir.slice, any_rows=last)


def _is_table(building: Building, left: Frame, right: Frame) -> bool:
    """True if every worker should hold the right input, so that rows of the left stay where they are."""
    if right.endless:
        return False
    nodes, number = building.graph.nodes, right.node
    while nodes[number]["operator"] in ("project", "filter"):
        number = nodes[number]["inputs"][0]
    source = nodes[number]
    if source["operator"] == "source" and source["connector"] == "batches":
        held = building.graph.objects[source["options"]["object"]]
        # A frame is a table, several splits are a stream.
        is_frame = isinstance(held, Batches) and held.single_split
        rows = sum(frame.height for split in held.splits for frame in split) if is_frame else _TABLE_ROWS + 1
        return left.endless or rows <= _TABLE_ROWS
    return left.endless


def _refuse_inputs(building: Building, left: Frame, right: Frame, ir: JoinIR, part: str) -> None:
    for side, frame in (("left", left), ("right", right)):
        if frame.upsert_key is not None:
            building.refusals.add(
                f"{part} of a changing frame on the {side}",
                "rows that were joined would have to be taken back, which arrives in a later release",
                '.stream.emit("close") on a window below',
            )
    if ir.maintain_order != "none":
        building.refusals.add(
            f"{part} with maintain_order='{ir.maintain_order}'",
            "joined rows leave when both are there, which is no order",
            "the join without it, and a sort where the result is read",
        )


def _refuse_unbounded(
    building: Building, left: Frame, right: Frame, how: str, bound: _Bound, part: str, keyed: bool
) -> None:
    if not keyed and left.endless and right.endless and bound == _Bound():
        building.refusals.add(
            f"{part} without equal keys", "every row would meet every other, for ever", "join(on=...)"
        )
    waits = {"left": (right, bound.upper), "right": (left, bound.lower)}
    for side in sorted(_LONELY.get(how, ())):
        other, ticks = waits[side]
        if other.endless and ticks is None:
            building.refusals.add(
                f"{part} with an endless other side",
                "a row without a partner may always meet one later, and would have to be taken back",
                "windows on both sides and the window column among the keys (on=[..., 'ts']), "
                "a bounded frame on the other side, or an inner join",
            )


def _output_columns(left: pl.Schema, right: pl.Schema, ir: JoinIR) -> list[_Column]:
    """The output columns as Polars names them."""
    if ir.how in ("semi", "anti"):
        return [_Column(name, "left", name) for name in left]
    left_keys = [one.name for one in ir.left_on] if ir.coalesce and ir.how != "iejoin" else []
    right_keys = [one.name for one in ir.right_on] if ir.coalesce and ir.how != "iejoin" else []
    pairs = dict(zip(left_keys, right_keys, strict=True))
    match ir.how:
        case "right":
            columns = [_Column(name, "left", name) for name in left if name not in left_keys]
            dropped: list[str] = []
        case "full":
            columns = [_Column(name, "left", name, both=pairs.get(name)) for name in left]
            dropped = right_keys
        case _:
            columns = [_Column(name, "left", name) for name in left]
            dropped = right_keys
    taken = {one.name for one in columns}
    for name in right:
        if name not in dropped:
            columns.append(_Column(name + ir.suffix if name in taken else name, "right", name))
    return columns


def _with_keys(building: Building, frame: Frame, on: Sequence[Named]) -> tuple[Frame, list[str]]:
    """The frame with a column for each key: a plain one is that itself, once."""
    names: list[str] = []
    computed: list[Named] = []
    for number, key in enumerate(on):
        if isinstance(key.expr, ColumnNode) and key.expr.name not in names:
            names.append(key.expr.name)
            continue
        names.append(f"\x01key{number}")
        computed.append(Named(names[-1], key.expr))
    if not computed:
        return frame, names
    columns = [Named(name, ColumnNode(dtype, name)) for name, dtype in frame.schema.items()]
    schema = pl.Schema({**frame.schema, **{one.name: one.expr.dtype for one in computed}})
    return building.project(frame, [*columns, *computed], schema), names


def _predicates(ir: JoinIR, columns: Sequence[_Column]) -> Iterator[ExprNode]:
    """What joined rows must fulfil beside equal keys, over the output."""
    if ir.predicate is not None:
        yield ir.predicate.expr
    if ir.how == "iejoin":
        names = {one.source: one.name for one in columns if one.side == "right"}
        for left, op, right in zip(ir.left_on, ir.operators, ir.right_on, strict=True):
            yield BinaryNode(pl.Boolean(), op, left.expr, _renamed(right.expr, names))


def _renamed(expr: ExprNode, names: Mapping[str, str]) -> ExprNode:
    if isinstance(expr, ColumnNode):
        return replace(expr, name=names[expr.name])
    return expr.with_children(*(_renamed(child, names) for child in expr.children()))


def _bound(
    left: Frame,
    right: Frame,
    ir: JoinIR,
    columns: Sequence[_Column],
    left_on: Sequence[str],
    right_on: Sequence[str],
) -> _Bound:
    """How far apart two rows that meet can be, from equal keys and from the predicates."""
    bound = _Bound()
    if left.event_time is None or right.event_time is None:
        return bound
    if left.schema[left.event_time] != right.schema[right.event_time]:
        return bound
    if (left.event_time, right.event_time) in zip(left_on, right_on, strict=True):
        return bound.within("eq", 0)
    times = {
        one.name: one.side
        for one in columns
        if one.source == (left.event_time if one.side == "left" else right.event_time)
    }
    for predicate in _predicates(ir, columns):
        for op, one, other in _comparisons(predicate):
            first, second = _time(one, times), _time(other, times)
            if first is None or second is None or first[0] == second[0]:
                continue
            if first[0] == "right":
                bound = bound.within(op, second[1] - first[1])
            else:
                bound = bound.within(_FLIPPED[op], first[1] - second[1])
    return bound


def _comparisons(expr: ExprNode) -> Iterator[tuple[str, ExprNode, ExprNode]]:
    """The comparisons that must all be true for the expression to be true."""
    match expr:
        case BinaryNode(op="and" | "logical_and"):
            yield from _comparisons(expr.left)
            yield from _comparisons(expr.right)
        case BinaryNode() if expr.op in _FLIPPED:
            yield expr.op, expr.left, expr.right
        case FunctionNode(name="is_between", args=(value, lower, upper)):
            yield "ge", value, lower
            yield "le", value, upper
        case _:
            return


def _time(expr: ExprNode, times: Mapping[str, str]) -> tuple[str, int] | None:
    """A side's event time and the ticks that are added to it, if the expression is that."""
    match expr:
        case ColumnNode() if expr.name in times:
            return times[expr.name], 0
        case BinaryNode(op="add" | "sub", left=inner, right=LiteralNode() as ticks):
            found, by = _time(inner, times), _ticks(ticks, expr.dtype)
            if found is None or by is None:
                return None
            return found[0], found[1] + (by if expr.op == "add" else -by)
        case BinaryNode(op="add", left=LiteralNode() as ticks, right=inner):
            found, by = _time(inner, times), _ticks(ticks, expr.dtype)
            return None if found is None or by is None else (found[0], found[1] + by)
        case _:
            return None


def _ticks(literal: LiteralNode, time: pl.DataType) -> int | None:
    """A constant duration in ticks of a time column, if it is a whole number of them."""
    if time.is_integer():
        return literal.value if isinstance(literal.value, int) and literal.dtype.is_integer() else None
    if not isinstance(time, pl.Datetime) or not isinstance(literal.dtype, pl.Duration):
        return None
    if literal.dtype.time_unit != time.time_unit or literal.value is None:
        return None
    value: int = pl.Series([literal.value], dtype=literal.dtype).cast(pl.Int64)[0]
    return value


def _event_time(
    left: Frame, right: Frame, how: str, bound: _Bound, columns: Sequence[_Column]
) -> tuple[str | None, Mapping[str, ExprNode], str | None]:
    """The output column that is the event time, what else follows from it, and the side it is of."""
    candidates = (
        ("left", left, ("inner", "left", "semi", "anti"), not right.endless or bound.upper is not None),
        ("right", right, ("inner", "right"), not left.endless or bound.lower is not None),
    )
    for side, frame, kinds, is_bounded in candidates:
        names = {one.source: one.name for one in columns if one.side == side}
        if frame.event_time not in names or how not in kinds or not is_bounded:
            continue
        name = names[frame.event_time]
        if name != frame.event_time:
            return name, {}, side
        kept = [one for one, source in names.items() if one == source]
        derived = {one: sources_of(frame)[one] for one in kept if one in frame.derived}
        return name, derived, side
    return None, {}, None


def _why_it_ends(left: Frame, right: Frame, how: str) -> str:
    if how == "full":
        return "rows of a full join may have no time of one side"
    if left.event_time is None or right.event_time is None:
        return "the other input of the join is endless and has no watermark"
    return "a row may meet any later one, unless a condition bounds how far apart their times are"


def _written(column: _Column, swapped: bool) -> Json:
    if column.both is None:
        return {column.side: column.source}
    pair = [column.source, column.both]
    return {"both": pair[::-1] if swapped else pair}
