"""`group_by`, `group_by_dynamic` and a `select` of aggregates -> Project, Aggregate, Project.

Below stands a projection that computes keys and inputs, above one that computes what is left of the
expressions. Not here: single expressions (`aggregates.py`), grids (`windows.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import polars as pl

from dataflare_fast.planner.building import Building, EmitRequest
from dataflare_fast.planner.classes import ORDERED, ORDERED_OVER_A_GROUP, FunctionClass, classify
from dataflare_fast.planner.event_time import coarseness, follow, sources_of
from dataflare_fast.planner.expressions import split_aggregate, translate
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.rebuilding import rebuild
from dataflare_fast.planner.schema import Json, dtype_from_json
from dataflare_fast.planner.visitor.expressions import ColumnNode, ExprNode, FunctionNode
from dataflare_fast.planner.visitor.plan import DynamicIR, GroupByIR, Named
from dataflare_fast.planner.windows import refuse_unsupported_grid, window_to_json
from dataflare_fast.words.session import END, START, Session

__all__ = [
    "SEQUENCE",
    "group_by",
    "group_by_session",
    "holds_aggregate",
    "is_aggregation",
    "select_aggregates",
    "types_of",
]

Span: TypeAlias = DynamicIR | Session
"""What cuts the time of a group: the grid of `group_by_dynamic`, or gaps."""

SEQUENCE: Final = ORDERED | ORDERED_OVER_A_GROUP
"""Functions whose answer over a group depends on the order of rows."""


def holds_aggregate(expr: ExprNode) -> bool:
    """True if an aggregate function stands in it; what `over` does is another question."""
    verdict = classify(expr) if isinstance(expr, FunctionNode) else None
    if verdict is not None and verdict.function_class is FunctionClass.AGGREGATE:
        return True
    stands_alone = verdict is not None and (
        verdict.function_class is FunctionClass.BY_INNER or getattr(expr, "name", "") == "int_range"
    )
    return not stands_alone and any(holds_aggregate(child) for child in expr.children())


def is_aggregation(exprs: Sequence[Named]) -> bool:
    """True for a `select` whose every column is one value of all rows."""
    return any(holds_aggregate(one.expr) for one in exprs) and all(
        holds_aggregate(one.expr) or not any(isinstance(node, ColumnNode) for node in one.expr.walk())
        for one in exprs
    )


def select_aggregates(
    building: Building, frame: Frame, exprs: Sequence[Named], schema: pl.Schema, emit: EmitRequest | None
) -> Frame:
    """A `select` of aggregates only: a group without keys, one row also for no input."""
    return _Grouping(building, frame, emit).run([], exprs, schema, None)


def group_by(
    building: Building, frame: Frame, ir: GroupByIR, emit: EmitRequest | None, *, last: bool
) -> Frame:
    """All kinds of `group_by`.

    Args:
        building: the plan so far.
        frame: the input.
        ir: the node.
        emit: the user's `emit(...)` above it.
        last: nothing but the sink stands above.
    """
    refusals = building.refusals
    if ir.opaque:
        refusals.add(
            "map_groups",
            "the engine cannot see into a Python function",
            "aggregates: .agg(pl.col(...).sum(), …)",
        )
        return building.nothing(ir.schema)
    if ir.dynamic is not None:
        refuse_unsupported_grid(ir.dynamic, frame.schema[ir.dynamic.column], refusals)
    if ir.maintain_order and ir.dynamic is None and not frame.endless:
        # Sinks of endless frames promise no order of groups, so there it is nothing to ask for.
        refusals.add(
            "group_by(maintain_order=True)",
            "groups in order of first appearance arrive in a later release",
            "group_by without it, and sort(...) above",
        )
    groups = _Grouping(building, frame, emit).run(ir.keys, ir.aggregates, ir.schema, ir.dynamic)
    return groups if ir.slice is None else building.head(groups, *ir.slice, any_rows=last)


def group_by_session(
    building: Building,
    frame: Frame,
    keys: Sequence[Named],
    aggregates: Sequence[Named],
    word: Session,
    emit: EmitRequest | None,
) -> Frame:
    """`.stream.group_by_session`."""
    outputs = [one for one in aggregates if one.name != START]
    return _Grouping(building, frame, emit).run(keys, outputs, word.schema, word)


class _Grouping:
    """One aggregation over a frame."""

    def __init__(self, building: Building, frame: Frame, emit: EmitRequest | None) -> None:
        self._building = building
        self._frame = frame
        self._emit = emit

    def run(
        self,
        keys: Sequence[Named],
        outputs: Sequence[Named],
        schema: pl.Schema,
        span: Span | None,
    ) -> Frame:
        building, frame = self._building, self._frame
        if frame.upsert_key is not None:
            building.refusals.add(
                "an aggregate above a changing frame",
                "earlier results would have to be taken back, which arrives in a later release",
                'a window or time key in the group_by below, or .stream.emit("close") there',
            )
        context = building.context(frame.schema)
        inputs: list[Json] = []
        aggregates: list[Json] = []
        posts: list[Json] = []
        for one in outputs:
            pre, made, post = split_aggregate(one.expr, context)
            inputs += pre
            aggregates += made
            posts.append(post)
        self._refuse_without_order(aggregates)
        time = self._time_column(keys, span)
        below = self._below(keys, inputs, aggregates, span, time)
        _name_by_output(outputs, aggregates, posts)
        made_schema = _aggregate_schema(below.schema, keys, span, schema, aggregates)
        names = [one.name for one in keys]
        if isinstance(span, Session):
            above = self._sessions(below, names, aggregates, span, time, made_schema)
        else:
            above = self._aggregate(below, names, aggregates, span, time, made_schema)
        written = [
            {"name": name, "expr": {"kind": "column", "name": name}}
            for name in made_schema
            if name in schema and not any(name == one.name for one in outputs)
        ]
        written += [{"name": one.name, "expr": post} for one, post in zip(outputs, posts, strict=True)]
        return self._rest(above, written, schema)

    def _refuse_without_order(self, aggregates: Sequence[Json]) -> None:
        if self._frame.order == "logical":
            return
        for one in aggregates:
            ordered = one.get("options", {}).get("ordered", True)
            if one["function"] in SEQUENCE and ordered:
                self._building.refusals.add(
                    one["text"],
                    f"{one['function']} depends on the order of rows, and its input has none",
                    "min() or max(), or one .stream.with_watermark above the concat",
                )

    def _time_column(self, keys: Sequence[Named], span: Span | None) -> Named | None:
        """The key or window column that is a monotone function of the event time, written as such."""
        sources = sources_of(self._frame)
        if span is not None:
            found = sources.get(span.column)
            return None if found is None else Named(span.column, found)
        times = [(one, follow(one.expr, sources)) for one in keys]
        followed = [Named(key.name, expr) for key, expr in times if expr is not None]
        return min(followed, key=lambda one: coarseness(one.expr), default=None)

    def _below(
        self,
        keys: Sequence[Named],
        inputs: list[Json],
        aggregates: list[Json],
        span: Span | None,
        time: Named | None,
    ) -> Frame:
        """Computes keys and inputs, if any of them is more than a column of the input."""
        frame, building = self._frame, self._building
        context = building.context(frame.schema)
        exprs = {one.name: translate(one.expr, context) for one in keys}
        if span is not None and span.column not in exprs:
            column = Named(span.column, ColumnNode(frame.schema[span.column], span.column))
            exprs[column.name] = translate(column.expr, context)
        if time is not None:
            exprs[time.name] = translate(time.expr, context)
        taken = _free_of(exprs, inputs)
        _rename_inputs(aggregates, taken)
        for one in inputs:
            name = taken[one["name"]]
            exprs[name] = one["expr"]
        event_time = None if time is None else time.name
        if event_time == frame.event_time and all(
            expr == {"kind": "column", "name": name} for name, expr in exprs.items()
        ):
            return frame
        if not exprs:
            return frame
        typed = types_of(exprs, frame.schema)
        lost = frame.event_time is not None and time is None
        ends = "the keys of the group_by hold no function of it" if lost else None
        node = building.graph.add(
            "project",
            [frame.node],
            typed,
            event_time=event_time,
            event_time_ends=ends,
            fields={"exprs": [{"name": name, "expr": expr} for name, expr in exprs.items()]},
        )
        return replace(frame, node=node, schema=typed, event_time=event_time, derived={}, distinct_by=None)

    def _aggregate(
        self,
        below: Frame,
        keys: list[str],
        aggregates: list[Json],
        dynamic: DynamicIR | None,
        time: Named | None,
        schema: pl.Schema,
    ) -> Frame:
        closes = time is not None or not below.endless
        mode, every_ns, written = self._emission(closes)
        is_update = mode == "update"
        ends = None if time is not None or below.event_time is None else "the group_by has no key of time"
        fields: dict[str, Any] = {
            "keys": keys,
            "aggregates": aggregates,
            "emit": {"mode": mode, "every_ns": every_ns},
        }
        if dynamic is not None:
            fields["window"] = window_to_json(dynamic, self._frame.schema[dynamic.column])
        elif time is not None:
            fields["time_key"] = time.name
        # Updates of a window leave before the window is final, so they give no lower bound of later times.
        event_time = None if time is None or is_update else time.name
        node = self._building.graph.add(
            "aggregate",
            [below.node],
            schema,
            event_time=event_time,
            event_time_ends=ends,
            fields=fields,
        )
        label = [] if dynamic is None else [dynamic.column]
        return Frame(
            node=node,
            schema=schema,
            endless=below.endless,
            event_time=event_time,
            ended=None if event_time else ends or below.ended,
            upsert_key=(*keys, *label) if is_update else None,
            update_written=written,
            order="none",
            positioned=False,
            distinct_by=None if is_update else (*keys, *label),
        )

    def _sessions(
        self,
        below: Frame,
        keys: list[str],
        aggregates: list[Json],
        session: Session,
        time: Named | None,
        schema: pl.Schema,
    ) -> Frame:
        refusals = self._building.refusals
        part = f"group_by_session('{session.column}')"
        if time is None and below.endless:
            refusals.add(
                part,
                f"no session of an endless input is ever final: '{session.column}' is not its event time",
                f".stream.with_watermark('{session.column}', delay=...) below",
            )
        if self._emit is not None:
            self._emit.taken = True
            if self._emit.mode == "update":
                refusals.add(
                    f'emit("update") on {part}',
                    "a row can join two sessions that were shown, and one would have to be taken back",
                    'emit("close"), or a window of fixed length with emit("update")',
                )
        ends = None if time is not None or below.event_time is None else "the sessions are of another column"
        event_time = None if time is None else START
        node = self._building.graph.add(
            "session",
            [below.node],
            schema,
            event_time=event_time,
            event_time_ends=ends,
            fields={
                "keys": keys,
                "column": session.column,
                "gap": session.gap,
                "aggregates": aggregates,
            },
        )
        return Frame(
            node=node,
            schema=schema,
            endless=below.endless,
            event_time=event_time,
            ended=None if event_time else ends or below.ended,
            order="none",
            positioned=False,
            distinct_by=(*keys, START),
        )

    def _emission(self, closes: bool) -> tuple[str, int | None, bool]:
        """Mode, interval, and whether the user wrote `update`."""
        request = self._emit
        if request is None:
            return ("close", None, False) if closes else ("update", None, False)
        request.taken = True
        if request.mode == "close" and not closes:
            self._building.refusals.add(
                'emit("close")',
                "the group_by never closes: its input is endless and no key is a function of the event time",
                'with_watermark(...) and a window or time key, or .stream.emit("update")',
            )
        return request.mode, request.every_ns, request.mode == "update"

    def _rest(self, frame: Frame, written: list[Json], schema: pl.Schema) -> Frame:
        """What the expressions still do above the aggregates."""
        by_name = {one["name"]: one for one in written}
        exprs = [by_name[name] for name in schema if name in by_name]
        plain = [one["name"] for one in exprs if one["expr"] == {"kind": "column", "name": one["name"]}]
        if plain == frame.schema.names() and len(plain) == len(exprs):
            return frame
        node = self._building.graph.add(
            "project",
            [frame.node],
            schema,
            event_time=frame.event_time,
            fields={"exprs": exprs},
        )
        kept = {one["name"] for one in exprs if one["expr"] == {"kind": "column", "name": one["name"]}}
        is_kept = frame.distinct_by is not None and kept.issuperset(frame.distinct_by)
        return replace(frame, node=node, schema=schema, distinct_by=frame.distinct_by if is_kept else None)


def _free_of(taken: Mapping[str, Json], inputs: Sequence[Json]) -> dict[str, str]:
    """Names for inputs: their own, unless a key of that name is another expression."""
    names = {}
    for one in inputs:
        name = one["name"]
        clashes = name in taken and taken[name] != one["expr"]
        names[name] = f"\x01input {name}" if clashes else name
    return names


def _rename_inputs(aggregates: Sequence[Json], names: Mapping[str, str]) -> None:
    for one in aggregates:
        for slot in ("column", "other", "filter"):
            if one.get(slot) is not None:
                one[slot] = names.get(one[slot], one[slot])


def _name_by_output(outputs: Sequence[Named], aggregates: Sequence[Json], posts: list[Json]) -> None:
    """Gives an aggregate that is an output as it stands that output's name: nothing is left to do above."""
    bare = {}
    for output, post in zip(outputs, posts, strict=True):
        if post["kind"] == "column" and post["name"] not in bare:
            bare[post["name"]] = output.name
    made = {one["name"] for one in aggregates}
    renamed = {old: new for old, new in bare.items() if old in made}
    for one in aggregates:
        one["name"] = renamed.get(one["name"], one["name"])
    posts[:] = [_rename_columns(post, renamed) for post in posts]


def _rename_columns(tree: Json, names: Mapping[str, str]) -> Json:
    if isinstance(tree, list):
        return [_rename_columns(one, names) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get("kind") == "column":
        return {**tree, "name": names.get(tree["name"], tree["name"])}
    return {key: _rename_columns(value, names) for key, value in tree.items()}


def _aggregate_schema(
    below: pl.Schema,
    keys: Sequence[Named],
    span: Span | None,
    output: pl.Schema,
    aggregates: Sequence[Json],
) -> pl.Schema:
    schema = {one.name: below[one.name] for one in keys}
    if isinstance(span, Session):
        schema |= {START: output[START], END: output[END]}
    elif span is not None:
        dynamic = span
        label = output[dynamic.column]
        if dynamic.include_boundaries:
            # Windows over a Date end at instants.
            ends = pl.Datetime("us") if label == pl.Date else label
            schema |= {"_lower_boundary": ends, "_upper_boundary": ends}
        schema[dynamic.column] = label
    return pl.Schema({**schema, **{one["name"]: dtype_from_json(one["dtype"]) for one in aggregates}})


def types_of(exprs: Mapping[str, Json], schema: pl.Schema) -> pl.Schema:
    """Polars' types of expressions of the plan."""
    rebuilt = [rebuild(expr).alias(name) for name, expr in exprs.items()]
    return pl.LazyFrame(schema=schema).select(rebuilt).collect_schema()
