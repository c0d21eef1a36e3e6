"""The best rows of each group -> `top_rows`: `unique`, `group_by(...).head(n)`, `rank(...).over(k) <= n`.

Polars has no node for the last two: they are found in the plan by their shape. SQL's `row_number() over
(partition by ... order by ...)` with a condition `<= n` is one of them. Not here: `head` of a whole frame
(`building.py`). Called by `nodes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from dataflare_fast.planner.building import Building, EmitRequest, columns_of
from dataflare_fast.planner.event_time import coarseness, sources_of
from dataflare_fast.planner.expressions import translate
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
)
from dataflare_fast.planner.visitor.plan import (
    DistinctIR,
    FilterIR,
    FunctionIR,
    GroupByIR,
    HStackIR,
    Named,
    PlanIR,
    ProjectionIR,
    SelectIR,
    SortIR,
)

__all__ = [
    "Best",
    "GroupHead",
    "RankFilter",
    "counted_rank_filter",
    "find_group_head",
    "find_rank_filter",
    "order_of",
    "rank_filter",
    "sorted_below",
    "top_rows",
    "unique",
]

_RANK: Final = "\x01rank"


@dataclass(frozen=True, slots=True)
class Best:
    """What makes a row better: expressions, each with direction and place of nulls; then logical order."""

    by: tuple[ExprNode, ...] = ()
    descending: tuple[bool, ...] = ()
    nulls_last: tuple[bool, ...] = ()
    last: bool = False

    def reversed(self) -> Best:
        """The worst rows first."""
        return Best(
            self.by,
            tuple(not one for one in self.descending),
            tuple(not one for one in self.nulls_last),
            not self.last,
        )


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A number of each row in its group."""

    keys: tuple[ExprNode, ...]
    best: Best
    first: int
    needs_value: ExprNode | None = None


@dataclass(frozen=True, slots=True)
class RankFilter:
    """`filter(rank <= n)`: `input` is the frame below, `exprs` what stands between it and the filter."""

    input: PlanIR
    ranked: _Ranked
    rows: int
    exprs: tuple[Named, ...] | None
    rest: tuple[ExprNode, ...]
    schema: pl.Schema


@dataclass(frozen=True, slots=True)
class GroupHead:
    """`group_by(keys).head(n)` or `tail(n)`."""

    input: PlanIR
    keys: tuple[Named, ...]
    rows: int
    last: bool
    maintain_order: bool
    schema: pl.Schema


def find_group_head(ir: FunctionIR) -> GroupHead | None:
    """`group_by(...).head(n)` as Polars writes it: an explode of imploded slices of all other columns."""
    group = ir.inputs[0] if ir.name == "explode" else None
    if isinstance(group, ProjectionIR):
        group = group.inputs[0]
    if not isinstance(group, GroupByIR) or group.dynamic is not None or group.rolling or group.opaque:
        return None
    exploded = [one for one in group.aggregates if one.name in ir.parameters[0]]
    if group.slice is not None or {one.name for one in exploded} != set(ir.parameters[0]):
        return None
    slices: set[tuple[int, int]] = set()
    for one in exploded:
        match one.expr:
            case FunctionNode(
                name="implode",
                args=(
                    FunctionNode(
                        name="slice",
                        args=(
                            ColumnNode(name=name),
                            LiteralNode(value=int(offset)),
                            LiteralNode(value=int(rows)),
                        ),
                    ),
                ),
            ) if name == one.name:
                slices.add((offset, rows))
            case _:
                return None
    if len(slices) != 1:
        return None
    offset, rows = slices.pop()
    if offset not in (0, -rows):
        return None
    return GroupHead(group.inputs[0], group.keys, rows, offset < 0, group.maintain_order, ir.schema)


def find_rank_filter(ir: FilterIR) -> RankFilter | None:
    """`filter(rank(...).over(...) <= n)`, also where a `select` or `with_columns` below makes the rank."""
    parts = list(_all_of(ir.predicate.expr))
    below = ir.inputs[0]
    exprs = below.exprs if isinstance(below, SelectIR | HStackIR) else ()
    columns = {one.name: one.expr for one in exprs}
    for number, part in enumerate(parts):
        rest = tuple(parts[:number] + parts[number + 1 :])
        limited = _limit(part)
        if limited is None:
            made = columns.get(part.name) if isinstance(part, ColumnNode) else None
            if made is not None and (found := _qualified(ir, below, exprs, part, made, rest)) is not None:
                return found
            continue
        expr, op, limit = limited
        if (ranked := _ranked(expr)) is not None:
            rows = _rows(ranked, op, limit)
            return None if rows is None else RankFilter(below, ranked, rows, None, rest, ir.schema)
        inner = columns.get(expr.name) if isinstance(expr, ColumnNode) else None
        if inner is None or (ranked := _ranked(inner)) is None or (rows := _rows(ranked, op, limit)) is None:
            continue
        assert isinstance(expr, ColumnNode)
        given = [] if isinstance(below, SelectIR) else columns_of(below.inputs[0].schema)
        all_exprs = {one.name: one for one in (*given, *exprs)}
        dtype = inner.dtype
        number_of = CastNode(dtype, ColumnNode(pl.Int64(), _RANK), strict=True, wrap=False)
        shift = LiteralNode(dtype, ranked.first - 1)
        value = number_of if ranked.first == 1 else BinaryNode(dtype, "add", number_of, shift)
        all_exprs[expr.name] = Named(expr.name, value)
        return RankFilter(
            below.inputs[0], ranked, rows, tuple(all_exprs[name] for name in below.schema), rest, ir.schema
        )
    return None


def _qualified(
    ir: FilterIR,
    below: PlanIR,
    exprs: Sequence[Named],
    part: ExprNode,
    made: ExprNode,
    rest: tuple[ExprNode, ...],
) -> RankFilter | None:
    """SQL's QUALIFY: a column below says whether the rank is within the limit."""
    limited = _limit(made)
    ranked = None if limited is None else _ranked(limited[0])
    if limited is None or ranked is None or (rows := _rows(ranked, *limited[1:])) is None:
        return None
    assert isinstance(part, ColumnNode)
    given = [] if isinstance(below, SelectIR) else columns_of(below.inputs[0].schema)
    all_exprs = {one.name: one for one in (*given, *exprs)}
    all_exprs[part.name] = Named(part.name, LiteralNode(pl.Boolean(), True))
    above = tuple(all_exprs[name] for name in below.schema)
    return RankFilter(below.inputs[0], ranked, rows, above, rest, ir.schema)


def counted_rank_filter(ir: SelectIR) -> SelectIR | None:
    """`filter(rank <= n).select(len())`, which Polars writes as a sum of the condition."""
    if len(ir.exprs) != 1:
        return None
    (one,) = ir.exprs
    match one.expr:
        case FunctionNode(dtype=dtype, name="sum", args=(condition,)) if condition.dtype == pl.Boolean:
            below = FilterIR(ir.inputs[0].schema, ir.inputs, Named("predicate", condition))
            if find_rank_filter(below) is None:
                return None
            return replace(ir, inputs=(below,), exprs=(Named(one.name, FunctionNode(dtype, "len", ())),))
        case _:
            return None


def unique(building: Building, frame: Frame, ir: DistinctIR, best: Best, emit: EmitRequest | None) -> Frame:
    """`unique`: the first, last or only row of each key.

    Args:
        building: the plan so far.
        frame: the input, below a sort that `best` stands for.
        ir: the node.
        best: the order of the rows.
        emit: the user's `emit(...)` above.
    """
    subset = ir.subset if ir.subset is not None else tuple(frame.schema)
    keys = [ColumnNode(frame.schema[name], name) for name in subset]
    part = f"unique(keep='{ir.keep}')"
    depends = ir.keep in ("first", "last", "any") and set(subset) != set(frame.schema)
    if depends and not best.by and frame.order != "logical":
        building.refusals.add(
            part,
            "which row is the first depends on the order of rows, and its input has none",
            "sort(...) below it, all columns as the subset, or keep='none'",
        )
    chosen = best.reversed() if ir.keep == "last" else best
    return top_rows(
        building,
        frame,
        keys,
        chosen,
        1,
        part=part,
        alone=ir.keep == "none",
        maintain_order=ir.maintain_order,
        emit=emit,
    )


def top_rows(
    building: Building,
    frame: Frame,
    keys: Sequence[ExprNode],
    best: Best,
    rows: int,
    *,
    part: str,
    alone: bool = False,
    with_rank: bool = False,
    maintain_order: bool = False,
    emit: EmitRequest | None = None,
) -> Frame:
    """A `top_rows` node over a frame: its columns, and `_RANK` if `with_rank`."""
    names = frame.schema.names()
    below, key_names, by = _with_columns(building, frame, keys, best)
    below, time_key = _timed(building, below, key_names)
    is_final = time_key is not None or not frame.endless
    mode, every_ns, written = _emission(building, part, emit, is_final=is_final)
    is_update = mode == "update"
    if is_update and (rows > 1 or with_rank or alone):
        building.refusals.add(
            f"{part} on an endless input",
            "a row that is no longer among the best would have to be taken back, which arrives later",
            "a key that follows event time (a day, a window), or the best row alone (n = 1)",
        )
    if maintain_order:
        if frame.endless:
            building.refusals.add(
                f"{part} with maintain_order=True",
                "rows of groups leave when their group is final, which is no order",
                "maintain_order=False",
            )
        elif frame.order != "logical":
            building.refusals.add(
                f"{part} with maintain_order=True",
                "its input has no order",
                "maintain_order=False, and sort(...) above",
            )
    schema = pl.Schema({**below.schema, **({_RANK: pl.Int64()} if with_rank else {})})
    event_time = None if is_update else time_key
    ends = f"{part} without a key of time" if below.event_time is not None and time_key is None else None
    fields: dict[str, Json] = {
        "keys": key_names,
        "by": by,
        "rows": rows,
        "last": best.last,
        "alone": alone,
        "rank": _RANK if with_rank else None,
        "time_key": time_key,
        "emit": {"mode": mode, "every_ns": every_ns},
    }
    node = building.graph.add(
        "top_rows", [below.node], schema, event_time=event_time, event_time_ends=ends, fields=fields
    )
    above = Frame(
        node=node,
        schema=schema,
        endless=frame.endless,
        event_time=event_time,
        ended=None if event_time else ends or below.ended,
        upsert_key=tuple(key_names) if is_update else None,
        update_written=written,
        order="none",
        positioned=False,
    )
    if maintain_order:
        node = building.graph.add("sort", [above.node], schema, fields={"by": [], "slice": None})
        above = replace(above, node=node, event_time=None, order="sorted")
    kept = [*names, _RANK] if with_rank else names
    return building.columns(above, kept)


def rank_filter(building: Building, frame: Frame, found: RankFilter, emit: EmitRequest | None) -> Frame:
    """Plans what `find_rank_filter` found over the frame below it."""
    ranked = found.ranked
    if frame.order != "logical":
        building.refusals.add(
            "a rank over groups",
            "rows with equal values are numbered in the order of rows, and the input has none",
            "rank(...) on a frame before its groups or joins",
        )
    if ranked.needs_value is not None:
        frame = building.filter(frame, FunctionNode(pl.Boolean(), "is_not_null", (ranked.needs_value,)))
    above = top_rows(
        building,
        frame,
        ranked.keys,
        ranked.best,
        found.rows,
        part=f"rank over groups <= {found.rows}",
        with_rank=found.exprs is not None,
        emit=emit,
    )
    if found.exprs is not None:
        above = building.project(
            above, found.exprs, pl.Schema({one.name: one.expr.dtype for one in found.exprs})
        )
    for predicate in found.rest:
        above = building.filter(above, predicate)
    return building.columns(above, found.schema.names())


def sorted_below(found: RankFilter) -> tuple[PlanIR, RankFilter]:
    """The node below, and the filter: rows that are numbered as they stand are ranked by the sort below."""
    # What is read above the sort may be less than it sorts by.
    is_narrowed = isinstance(found.input, ProjectionIR)
    below, best = order_of(found.input.inputs[0] if is_narrowed else found.input)
    if found.ranked.best.by or not best.by:
        return found.input, found
    return below, replace(found, ranked=replace(found.ranked, best=best))


def order_of(ir: PlanIR) -> tuple[PlanIR, Best]:
    """The node below a sort and what it sorts by, or the node itself."""
    if isinstance(ir, SortIR) and ir.slice is None:
        return ir.inputs[0], Best(ir.by, ir.descending, ir.nulls_last)
    return ir, Best()


def _with_columns(
    building: Building, frame: Frame, keys: Sequence[ExprNode], best: Best
) -> tuple[Frame, list[str], list[Json]]:
    """The frame with a column for each key and sort expression."""
    computed: dict[str, Named] = {}

    def name_of(expr: ExprNode, name: str) -> str:
        if isinstance(expr, ColumnNode):
            return expr.name
        computed[name] = Named(name, expr)
        return name

    key_names = [name_of(expr, f"\x01key{number}") for number, expr in enumerate(keys)]
    by_names = [name_of(expr, f"\x01sort{number}") for number, expr in enumerate(best.by)]
    by: list[Json] = [
        {"column": name, "descending": descending, "nulls_last": nulls_last}
        for name, descending, nulls_last in zip(by_names, best.descending, best.nulls_last, strict=True)
    ]
    for name, expr in zip(by_names, best.by, strict=True):
        if isinstance(expr.dtype, pl.List | pl.Array | pl.Struct):
            building.refusals.add(
                f"the best rows by '{name}' of type {expr.dtype}",
                "nested values have no order here",
                "its fields",
            )
    if computed:
        schema = pl.Schema({**frame.schema, **{name: one.expr.dtype for name, one in computed.items()}})
        frame = building.project(frame, [*columns_of(frame.schema), *computed.values()], schema)
    return frame, list(dict.fromkeys(key_names)), by


def _timed(building: Building, frame: Frame, keys: Sequence[str]) -> tuple[Frame, str | None]:
    """The key that is a monotone function of the event time, made the event time of the frame."""
    sources = sources_of(frame)
    times = [name for name in keys if name in sources]
    if not times:
        return frame, None
    time = min(times, key=lambda name: coarseness(sources[name]))
    if time == frame.event_time:
        return frame, time
    context = building.context(frame.schema)
    exprs: list[Json] = [{"name": name, "expr": {"kind": "column", "name": name}} for name in frame.schema]
    for one in exprs:
        if one["name"] == time:
            one["expr"] = translate(sources[time], context)
    node = building.graph.add("project", [frame.node], frame.schema, event_time=time, fields={"exprs": exprs})
    return replace(frame, node=node, event_time=time, derived={}), time


def _emission(
    building: Building, part: str, request: EmitRequest | None, *, is_final: bool
) -> tuple[str, int | None, bool]:
    if request is None:
        return ("close" if is_final else "update"), None, False
    request.taken = True
    if request.mode == "close" and not is_final:
        building.refusals.add(
            f'{part} with emit("close")',
            "its groups are never final: the input is endless and no key is a function of the event time",
            'with_watermark(...) and a time key, or .stream.emit("update")',
        )
    return request.mode, request.every_ns, request.mode == "update"


def _all_of(expr: ExprNode) -> Iterator[ExprNode]:
    """The conditions that must all hold."""
    if isinstance(expr, BinaryNode) and expr.op in ("and", "logical_and"):
        yield from _all_of(expr.left)
        yield from _all_of(expr.right)
    else:
        yield expr


def _limit(expr: ExprNode) -> tuple[ExprNode, str, int] | None:
    """`x <= n` and its kin."""
    flipped: Mapping[str, str] = {"ge": "le", "gt": "lt", "eq": "eq"}
    match expr:
        case BinaryNode(op="le" | "lt" | "eq", right=LiteralNode(value=int(limit))):
            return expr.left, expr.op, limit
        case BinaryNode(op="ge" | "gt" | "eq", left=LiteralNode(value=int(limit))):
            return expr.right, flipped[expr.op], limit
        case _:
            return None


def _rows(ranked: _Ranked, op: str, limit: int) -> int | None:
    """How many rows of a group `number <op> limit` keeps."""
    if op == "eq":
        return 1 if limit == ranked.first else None
    return max(limit - ranked.first + (1 if op == "le" else 0), 0)


def _ranked(expr: ExprNode) -> _Ranked | None:
    """A rank or row number over groups."""
    if isinstance(expr, CastNode) and expr.dtype.is_integer():
        return _ranked(expr.input)
    if not isinstance(expr, FunctionNode) or expr.name != "over":
        return None
    inner, *rest = expr.args
    ordered = bool(expr.options.get("ordered"))
    keys, order = (rest[:-1], rest[-1]) if ordered else (rest, None)
    match inner:
        case FunctionNode(name="rank", args=(value,)) if (
            inner.options.get("method") == "ordinal" and not ordered
        ):
            descending = bool(inner.options.get("descending"))
            return _Ranked(tuple(keys), Best((value,), (descending,), (False,)), 1, needs_value=value)
        case FunctionNode(name="int_range") if _is_row_number(inner):
            first = 0
        case BinaryNode(
            op="add", left=FunctionNode(name="int_range") as numbers, right=LiteralNode(value=1)
        ) if _is_row_number(numbers):
            first = 1
        case _:
            return None
    by: tuple[ExprNode, ...] = ()
    if order is not None:
        is_struct = isinstance(order, FunctionNode) and order.name == "struct"
        by = order.children() if is_struct else (order,)
    descending = bool(expr.options.get("descending"))
    nulls_last = bool(expr.options.get("nulls_last"))
    best = Best(by, (descending,) * len(by), (nulls_last,) * len(by))
    return _Ranked(tuple(keys), best, first)


def _is_row_number(expr: FunctionNode) -> bool:
    """`int_range(0, len())`."""
    if len(expr.args) != 2 or expr.options.get("step", 1) != 1:
        return False
    start, end = (one.input if isinstance(one, CastNode) else one for one in expr.args)
    return (
        isinstance(start, LiteralNode)
        and start.value == 0
        and isinstance(end, FunctionNode)
        and end.name == "len"
    )
