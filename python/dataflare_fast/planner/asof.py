"""`join_asof` -> a `join_asof` node. Not here: joins by equal keys (`joins.py`). Called by `nodes.py`."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dataflare_fast.planner.building import Building, columns_of
from dataflare_fast.planner.event_time import sources_of
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.visitor.expressions import ColumnNode
from dataflare_fast.planner.visitor.plan import AsofIR, JoinIR, Named

__all__ = ["join_asof"]


def join_asof(
    building: Building, left: Frame, right: Frame, ir: JoinIR, asof: AsofIR, *, last: bool
) -> Frame:
    """Plans `join_asof`.

    Args:
        building: the plan so far.
        left: its left input.
        right: its right input.
        ir: the join.
        asof: what `join_asof` adds.
        last: nothing but the sink stands above.
    """
    left, left_on = _time_column(building, left, ir.left_on[0])
    right, right_on = _time_column(building, right, ir.right_on[0])
    _refuse(building, left, right, left_on, right_on, asof)
    columns = _output_columns(left.schema, right.schema, ir, asof)
    names = [name for name, _ in columns]
    if names != ir.schema.names():
        building.refusals.add(
            f"join_asof with columns {ir.schema.names()}",
            f"the engine would name them {names}",
            "other names of the columns of one input (rename), so that no suffix is needed",
        )
        return building.nothing(ir.schema)
    fields: dict[str, Json] = {
        "left_on": left_on,
        "right_on": right_on,
        "left_by": list(asof.left_by),
        "right_by": list(asof.right_by),
        "strategy": asof.strategy,
        "tolerance": asof.tolerance,
        "exact": asof.allow_exact_matches,
        "columns": [{side: source} for _, (side, source) in columns],
    }
    is_timed = left.event_time == left_on and right.event_time == right_on
    keeps_time = is_timed and left_on in ir.schema
    lost = (left.event_time or right.event_time) is not None and not keeps_time
    ends = (
        "join_asof keeps the left event time only where both inputs are matched by theirs" if lost else None
    )
    derived = {
        name: expr for name, expr in (sources_of(left).items() if keeps_time else ()) if name in left.derived
    }
    node = building.graph.add(
        "join_asof",
        building.distinct([left, right]),
        ir.schema,
        event_time=left_on if keeps_time else None,
        event_time_ends=ends,
        fields=fields,
    )
    frame = Frame(
        node=node,
        schema=ir.schema,
        endless=left.endless or right.endless,
        event_time=left_on if keeps_time else None,
        derived=derived,
        ended=None if keeps_time else ends or left.ended or right.ended,
        order="none",
        positioned=False,
    )
    return frame if ir.slice is None else building.head(frame, *ir.slice, any_rows=last)


def _time_column(building: Building, frame: Frame, on: Named) -> tuple[Frame, str]:
    if isinstance(on.expr, ColumnNode):
        return frame, on.expr.name
    name = "\x01on"
    schema = pl.Schema({**frame.schema, name: on.expr.dtype})
    return building.project(frame, [*columns_of(frame.schema), Named(name, on.expr)], schema), name


def _refuse(building: Building, left: Frame, right: Frame, left_on: str, right_on: str, asof: AsofIR) -> None:
    refusals = building.refusals
    for side, frame, on in (("left", left, left_on), ("right", right, right_on)):
        if frame.upsert_key is not None:
            refusals.add(
                f"join_asof of a changing frame on the {side}",
                "rows that were joined would have to be taken back, which arrives in a later release",
                '.stream.emit("close") on a window below',
            )
        if (left.endless or right.endless) and frame.event_time != on:
            refusals.add(
                f"join_asof by '{on}' of the {side} input",
                "of an endless input it is known only by event time when no nearer row can come",
                f".stream.with_watermark('{on}', delay=...) on the {side} input",
            )
    if right.order == "none":
        refusals.add(
            "join_asof with a right input without order",
            "which of several rows with one time is the last depends on their order",
            "one .stream.with_watermark above its concat, or join_asof below its groups",
        )
    if left.schema[left_on] != right.schema[right_on]:
        refusals.add(
            f"join_asof of '{left_on}' and '{right_on}'",
            f"their types differ: {left.schema[left_on]} and {right.schema[right_on]}",
            "a cast of one of them below",
        )
    dtype = left.schema[left_on]
    if not (dtype.is_integer() or isinstance(dtype, pl.Date | pl.Datetime)):
        refusals.add(
            f"join_asof by '{left_on}' of type {dtype}", "it is no time", "an integer, Date or Datetime"
        )
    if asof.strategy != "backward" and right.endless and asof.tolerance is None:
        refusals.add(
            f"join_asof(strategy='{asof.strategy}') without a tolerance",
            "a row would wait for the next one of its key, for ever if none comes",
            "tolerance=",
        )


def _output_columns(
    left: pl.Schema, right: pl.Schema, ir: JoinIR, asof: AsofIR
) -> Sequence[tuple[str, tuple[str, str]]]:
    """The output columns as Polars names them, each with its side and its name there."""
    columns = [(name, ("left", name)) for name in left if name in ir.schema]
    on = (
        [one.name for one in ir.right_on] if ir.coalesce and ir.left_on[0].name == ir.right_on[0].name else []
    )
    dropped = {*asof.right_by, *on}
    for name in right:
        if name in dropped or name.startswith("\x01"):
            continue
        columns.append((name + ir.suffix if name in left else name, ("right", name)))
    return columns
