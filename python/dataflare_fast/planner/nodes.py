"""Nodes of Polars' plan -> nodes of ours, from the sinks down to the sources.

Refusals are noted and planning goes on, so that the user sees all of them. Not here: groups (`groups.py`),
leaves (`leaves.py`), sinks (`sinks.py`), single expressions. Called by `plan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import polars as pl

from dataflare_fast.planner.asof import join_asof
from dataflare_fast.planner.building import Building, EmitRequest, columns_of
from dataflare_fast.planner.classes import FunctionClass, classify
from dataflare_fast.planner.event_time import sources_of
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.groups import (
    SEQUENCE,
    group_by,
    group_by_session,
    is_aggregation,
    select_aggregates,
)
from dataflare_fast.planner.joins import join
from dataflare_fast.planner.leaves import Demand, file_frame, memory_frame, source_frame
from dataflare_fast.planner.running import (
    filter_running,
    holds_running,
    rolling_groups,
    with_running,
    with_running_inputs,
)
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.top_rows import (
    GroupHead,
    counted_rank_filter,
    find_group_head,
    find_rank_filter,
    order_of,
    rank_filter,
    sorted_below,
    top_rows,
    unique,
)
from dataflare_fast.planner.visitor.expressions import (
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    LiteralNode,
)
from dataflare_fast.planner.visitor.plan import (
    CacheIR,
    DataFrameScanIR,
    DistinctIR,
    FileScanIR,
    FilterIR,
    FunctionIR,
    GroupByIR,
    HStackIR,
    JoinIR,
    LeafIR,
    MergeSortedIR,
    Named,
    OtherIR,
    PlanIR,
    ProjectionIR,
    SelectIR,
    SliceIR,
    SortIR,
    UnionIR,
)
from dataflare_fast.planner.words import WordPlanner
from dataflare_fast.sources.leaf import Leaf, Source
from dataflare_fast.words.session import ALL, Session
from dataflare_fast.words.word import Word

__all__ = ["NodePlanner"]

# Nodes that no release runs yet: what users call them, why, and what works instead.
_REFUSED: Final[Mapping[str, tuple[str, str, str]]] = {
    "scan_ipc": (
        "pl.scan_ipc",
        "Polars does not show which files such a scan reads",
        "dff.scan_ipc(path), which reads the same files",
    ),
    "HConcat": (
        "concat(how='horizontal')",
        "rows that stand side by side by chance have no meaning in a stream",
        "with_columns on one frame",
    ),
    "Reduce": ("a horizontal reduction of frames", "it needs whole frames", "expressions on one frame"),
    "function": (
        "map_batches, map_groups or a rename function",
        "the engine cannot see into a Python function",
        ".stream.map_batches(function, schema), .stream.map_native, or expressions",
    ),
    "row_index": (
        "with_row_index",
        "rows of a stream with several splits have no common number",
        "a column of the source, such as Kafka's offset",
    ),
    "python scan": (
        "a leaf of register_io_source or pl.defer",
        "the engine does not know its splits and offsets",
        "dff.scan_source(source), or dff.from_batches(frames)",
    ),
}


OrderNeed: TypeAlias = Literal["rows", "logical", "none"]


def _need(aggregates: Sequence[Named]) -> OrderNeed:
    """What an aggregation needs of a sort below it."""
    names = (getattr(node, "name", "") for one in aggregates for node in one.expr.walk())
    return "logical" if any(name in SEQUENCE for name in names) else "none"


def _without_tail(ir: SelectIR) -> PlanIR:
    """The input of a select of aggregates; for `last()` alone Polars puts `tail(1)` below, which runs not."""
    below = ir.inputs[0]
    functions = [node for one in ir.exprs for node in one.expr.walk() if isinstance(node, FunctionNode)]
    lasts = [node for node in functions if node.name == "last" and isinstance(node.args[0], ColumnNode)]
    others = [node for node in functions if node not in lasts and _is_aggregate(node)]
    return below if others else _tail_taken_off(below)


def _tail_taken_off(ir: PlanIR) -> PlanIR:
    """A frame without the `tail(1)` in it, which may stand below row-wise steps."""
    match ir:
        case SliceIR(offset=-1, rows=1):
            return ir.inputs[0]
        case UnionIR(slice=(-1, 1)):
            return replace(ir, slice=None)
        case HStackIR() | ProjectionIR() | SelectIR():
            return replace(ir, inputs=(_tail_taken_off(ir.inputs[0]),))
        case _:
            return ir


def _unsorted(ir: PlanIR, key: tuple[str, ...]) -> PlanIR:
    """What stands below a sort by just these columns, ascending."""
    is_plain = isinstance(ir, SortIR) and ir.slice is None and not any((*ir.descending, *ir.nulls_last))
    if not (is_plain and isinstance(ir, SortIR)):
        return ir
    names = tuple(one.name for one in ir.by if isinstance(one, ColumnNode))
    return ir.inputs[0] if names == key and len(names) == len(ir.by) else ir


def _is_aggregate(node: FunctionNode) -> bool:
    verdict = classify(node)
    return verdict is None or verdict.function_class is FunctionClass.AGGREGATE


class NodePlanner:
    """Plans the nodes of one job.

    Args:
        building: the plan so far.
        demands: what `leaves.survey` found.
    """

    def __init__(self, building: Building, demands: Mapping[Leaf, Demand]) -> None:
        self._building = building
        self._demands = demands
        self._parts: dict[tuple[int, int | None], Frame] = {}
        self._leaves: dict[tuple[Leaf, int | None], Frame] = {}
        self._words = WordPlanner(building, self)

    def frame(
        self,
        ir: PlanIR,
        emit: EmitRequest | None = None,
        *,
        last: bool = False,
        order: OrderNeed = "rows",
    ) -> Frame:
        """Plans a node and all below it.

        Args:
            ir: the node.
            emit: the user's `emit(...)` above, until a stateful operator takes it.
            last: nothing but the sink stands above.
            order: what the nodes above need of a sort: its rows in order, the logical order, or nothing.
        """
        building = self._building
        match ir:
            case LeafIR():
                return self._leaf(ir, emit, last)
            case DataFrameScanIR():
                return memory_frame(building, ir)
            case FileScanIR():
                return file_frame(building, ir)
            case CacheIR():
                return self._part(ir, emit)
            case FilterIR() if (ranked := find_rank_filter(ir)) is not None:
                below_rank, ranked = sorted_below(ranked)
                return rank_filter(building, self.frame(below_rank), ranked, emit)
            case FilterIR():
                return self._filter(ir, emit, order)
            case SelectIR():
                return self._select(ir, emit, last, order)
            case HStackIR():
                return self._with_columns(ir, emit, last, order)
            case ProjectionIR():
                below = self.frame(ir.inputs[0], emit, last=last, order=order)
                return building.columns(below, ir.schema.names())
            case GroupByIR() if ir.rolling is not None:
                above = rolling_groups(building, self.frame(ir.inputs[0], order="logical"), ir)
                return above if ir.slice is None else building.head(above, *ir.slice, any_rows=last)
            case GroupByIR() if ir.dynamic is None and holds_running(one.expr for one in ir.aggregates):
                below, above_running = with_running_inputs(
                    building, self.frame(ir.inputs[0], order="logical"), ir
                )
                return group_by(building, below, above_running, emit, last=last)
            case GroupByIR():
                below = self.frame(ir.inputs[0], order=_need(ir.aggregates))
                return group_by(building, below, ir, emit, last=last)
            case SortIR():
                return self._sort(ir, emit, order)
            case SliceIR():
                return self._slice(ir, emit, last)
            case DistinctIR():
                return self._unique(ir, emit, last)
            case JoinIR():
                return self._join(ir, last)
            case UnionIR():
                return self._union(ir, last)
            case MergeSortedIR():
                return self._merge_sorted(ir)
            case FunctionIR():
                return self._function(ir, emit)
            case OtherIR():
                return self._refused(ir, ir.name, ir.detail)
            case _:
                return self._refused(ir, type(ir).__name__, "a sink below another node")

    def leaf(self, leaf: Leaf, emit: EmitRequest | None = None) -> Frame:
        """Plans a leaf, once for each way of emitting."""
        known = (leaf, None if emit is None else id(emit))
        if known not in self._leaves:
            self._leaves[known] = self._new_leaf(leaf, emit)
        return self._leaves[known]

    def below(self, word: Word) -> PlanIR:
        """The plan of the frame below a word."""
        plan = self._demands[word].below
        assert plan is not None, "survey reads the plan below every word"
        return plan

    def session(self, word: Session, emit: EmitRequest | None) -> Frame:
        """Plans sessions; the word's plan is the same `group_by` without them."""
        ir = self.below(word)
        assert isinstance(ir, GroupByIR), "the plan of a word ends as it was written"
        keys = tuple(key for key in ir.keys if key.name != ALL)
        below = self.frame(ir.inputs[0], order=_need(ir.aggregates))
        return group_by_session(self._building, below, keys, ir.aggregates, word, emit)

    def _new_leaf(self, leaf: Leaf, emit: EmitRequest | None) -> Frame:
        if isinstance(leaf, Source):
            return source_frame(self._building, leaf, self._demands[leaf])
        return self._words.frame(leaf, emit)

    def _leaf(self, ir: LeafIR, emit: EmitRequest | None, last: bool) -> Frame:
        if not isinstance(ir.source, Leaf):
            return self._refused(ir, "python scan", getattr(ir.source, "__qualname__", ""))
        frame = self.leaf(ir.source, emit)
        if ir.rows is not None:
            frame = self._building.head(frame, 0, ir.rows, any_rows=last)
        if ir.predicate is not None:
            predicate = ir.predicate.expr
            keep = filter_running if holds_running([predicate]) else Building.filter
            frame = keep(self._building, frame, predicate)
        return self._building.columns(frame, ir.schema.names())

    def _part(self, ir: CacheIR, emit: EmitRequest | None) -> Frame:
        known = (ir.id, None if emit is None else id(emit))
        if known not in self._parts:
            self._parts[known] = self.frame(ir.inputs[0], emit)
        return self._parts[known]

    def _filter(self, ir: FilterIR, emit: EmitRequest | None, order: OrderNeed) -> Frame:
        predicate = ir.predicate.expr
        if holds_running([predicate]):
            return filter_running(self._building, self.frame(ir.inputs[0], order="logical"), predicate)
        return self._building.filter(self.frame(ir.inputs[0], emit, order=order), predicate)

    def _select(self, ir: SelectIR, emit: EmitRequest | None, last: bool, order: OrderNeed) -> Frame:
        ir = counted_rank_filter(ir) or ir
        if holds_running(one.expr for one in ir.exprs):
            return self._select_running(ir, emit)
        if is_aggregation(ir.exprs):
            below = self.frame(_without_tail(ir), order=_need(ir.exprs))
            return select_aggregates(self._building, below, ir.exprs, ir.schema, emit)
        if not any(isinstance(node, ColumnNode) for one in ir.exprs for node in one.expr.walk()):
            self._building.refusals.add(
                f"select of constants ({', '.join(one.name for one in ir.exprs)})",
                "Polars gives one row for it, whatever the input is",
                "with_columns, or pl.LazyFrame({...})",
            )
        below = self.frame(ir.inputs[0], emit, last=last, order=order)
        return self._building.project(below, ir.exprs, ir.schema)

    def _select_running(self, ir: SelectIR, emit: EmitRequest | None) -> Frame:
        building = self._building
        aggregated = is_aggregation(ir.exprs)
        below = self.frame(ir.inputs[0], order="logical")
        frame, exprs = with_running(building, below, ir.exprs, aggregated=aggregated)
        if aggregated:
            return select_aggregates(building, frame, exprs, ir.schema, emit)
        return building.project(frame, exprs, ir.schema)

    def _with_columns(self, ir: HStackIR, emit: EmitRequest | None, last: bool, order: OrderNeed) -> Frame:
        exprs = ir.exprs
        if holds_running(one.expr for one in exprs):
            frame = self.frame(ir.inputs[0], order="logical")
            given = frame.schema
            frame, lifted = with_running(self._building, frame, exprs)
            exprs = tuple(lifted)
        else:
            frame = self.frame(ir.inputs[0], emit, last=last, order=order)
            given = frame.schema
        new = {one.name: one for one in exprs}
        old = {one.name: one for one in columns_of(given)}
        all_exprs = [new.get(name) or old[name] for name in ir.schema]
        return self._building.project(frame, all_exprs, ir.schema)

    def _sort(self, ir: SortIR, emit: EmitRequest | None, order: OrderNeed) -> Frame:
        building = self._building
        frame = self.frame(ir.inputs[0], emit)
        if order == "none" and ir.slice is None:
            return frame
        text = ", ".join(f"'{one.name}'" if isinstance(one, ColumnNode) else "an expression" for one in ir.by)
        is_by_time = (
            len(ir.by) == 1
            and isinstance(ir.by[0], ColumnNode)
            and ir.by[0].name == frame.event_time
            and not ir.descending[0]
        )
        if is_by_time and (frame.endless or (order == "logical" and frame.order == "logical")):
            # Logical order is event-time order already; rows of groups leave in it, but for ties.
            return frame if ir.slice is None else building.head(frame, *ir.slice, any_rows=False)
        first = ir.by[0]
        is_by_time_first = (
            ir.slice is None
            and isinstance(first, ColumnNode)
            and first.name == frame.event_time
            and not ir.descending[0]
            and len(ir.by) > 1
        )
        if frame.endless and not is_by_time_first:
            building.refusals.add(
                f"sort({text})",
                "the input is endless, so the smallest row may always be still to come",
                "the event time as the first column of the sort, or sort where the result is read",
            )
        if ir.slice is not None and ir.slice[0] < 0:
            building.refusals.add(
                f"tail({ir.slice[1]}) of sort({text})",
                "it needs the whole input again, from the end",
                f"sort({text}, descending=True).head({ir.slice[1]})",
            )
        return self._sorted(ir, frame, by_time=is_by_time_first)

    def _sorted(self, ir: SortIR, frame: Frame, *, by_time: bool) -> Frame:
        """A sort node.

        Args:
            ir: the sort.
            frame: its input.
            by_time: a row leaves when the watermark has passed it, not at the end.
        """
        building = self._building
        names, computed = [], columns_of(frame.schema)
        for number, key in enumerate(ir.by):
            names.append(key.name if isinstance(key, ColumnNode) else f"\x01sort{number}")
            if not isinstance(key, ColumnNode):
                computed.append(Named(names[-1], key))
        typed = pl.Schema({one.name: one.expr.dtype for one in computed})
        below = building.project(frame, computed, typed)
        keys = zip(names, ir.descending, ir.nulls_last, strict=True)
        fields: dict[str, Json] = {
            "by": [{"column": name, "descending": down, "nulls_last": last} for name, down, last in keys],
            "slice": None if ir.slice is None else [max(part, 0) for part in ir.slice],
        }
        if by_time:
            fields["by_time"] = True
        node = building.graph.add(
            "sort", [below.node], below.schema, event_time=below.event_time, fields=fields
        )
        above = replace(below, node=node, order="sorted", positioned=False)
        return building.columns(above, frame.schema.names())

    def _slice(self, ir: SliceIR, emit: EmitRequest | None, last: bool) -> Frame:
        frame = self.frame(ir.inputs[0], emit)
        if frame.order == "sorted" and not frame.endless and ir.offset >= 0:
            return self._slice_of_sorted(ir, frame)
        return self._building.head(frame, ir.offset, ir.rows, any_rows=last)

    def _slice_of_sorted(self, ir: SliceIR, frame: Frame) -> Frame:
        node = self._building.graph.add(
            "head",
            [frame.node],
            frame.schema,
            event_time=frame.event_time,
            fields={"offset": ir.offset, "rows": 2**63 - 1 if ir.rows is None else ir.rows},
        )
        return replace(frame, node=node)

    def _unique(self, ir: DistinctIR, emit: EmitRequest | None, last: bool) -> Frame:
        below, best = order_of(ir.inputs[0])
        frame = unique(self._building, self.frame(below), ir, best, emit)
        return frame if ir.slice is None else self._building.head(frame, *ir.slice, any_rows=last)

    def _group_head(self, found: GroupHead, emit: EmitRequest | None) -> Frame:
        building = self._building
        below, best = order_of(found.input)
        frame = self.frame(below)
        part = f"group_by(...).{'tail' if found.last else 'head'}({found.rows})"
        if not best.by and frame.order != "logical":
            building.refusals.add(
                part,
                "it depends on the order of rows, and its input has none",
                "sort(...) below the group_by",
            )
        keys = [one.expr for one in found.keys]
        above = top_rows(
            building,
            frame,
            keys,
            best.reversed() if found.last else best,
            found.rows,
            part=part,
            maintain_order=found.maintain_order,
            emit=emit,
        )
        exprs = {one.name: one for one in columns_of(frame.schema)} | {one.name: one for one in found.keys}
        return building.project(above, [exprs[name] for name in found.schema], found.schema)

    def _join(self, ir: JoinIR, last: bool) -> Frame:
        left, right = (self.frame(one) for one in ir.inputs)
        if ir.asof is not None:
            return join_asof(self._building, left, right, ir, ir.asof, last=last)
        return join(self._building, left, right, ir, last=last)

    def _union(self, ir: UnionIR, last: bool) -> Frame:
        building = self._building
        frames = [building.columns(self.frame(one), ir.schema.names()) for one in ir.inputs]
        frame = self._concat(frames, ir.schema)
        return frame if ir.slice is None else building.head(frame, *ir.slice, any_rows=last)

    def _merge_sorted(self, ir: MergeSortedIR) -> Frame:
        """By event time it is a concat in logical order: of equal times those of the left come first."""
        building = self._building
        part = f"merge_sorted({', '.join(ir.key)})"
        # A sort by the same columns says no more than the word itself.
        below = [_unsorted(one, ir.key) for one in ir.inputs]
        frames = [building.columns(self.frame(one), ir.schema.names()) for one in below]
        frame = self._concat(frames, ir.schema)
        in_order = all(one.order == "logical" and one.positioned for one in frames)
        if not in_order or len({one.event_time for one in frames}) > 1:
            building.refusals.add(
                part,
                "rows of equal keys stand in the order of their input, and one of the inputs has none",
                "concat of the two, and sort(...) by all columns that decide",
            )
        elif ir.key == (frame.event_time,):
            return replace(frame, order="logical")
        elif frame.endless:
            rewrite = "with_watermark(column, delay=...) on both inputs and that column alone as the key"
            if frame.event_time is not None:
                rewrite = f"merge_sorted(other, key='{frame.event_time}'), which is the event time of both"
            building.refusals.add(
                part, "only by event time it is known when no smaller key can come", rewrite
            )
        by: list[Json] = [{"column": name, "descending": False, "nulls_last": False} for name in ir.key]
        node = building.graph.add("sort", [frame.node], frame.schema, fields={"by": by, "slice": None})
        return replace(frame, node=node, event_time=None, derived={}, order="sorted", positioned=False)

    def _concat(self, frames: Sequence[Frame], schema: pl.Schema) -> Frame:
        building = self._building
        if any(frame.upsert_key is not None for frame in frames):
            building.refusals.add(
                "concat of changing frames",
                "rows of different inputs could not be told apart",
                'windows with .stream.emit("close") below, or one group_by above the concat',
            )
        times = {frame.event_time for frame in frames}
        event_time = times.pop() if len(times) == 1 else None
        watermarked = any(frame.event_time is not None for frame in frames)
        lost = watermarked and event_time is None
        ends = "not all inputs of the concat have the same event time" if lost else None
        derived = {
            name: expr
            for name, expr in (sources_of(frames[0]).items() if event_time else ())
            if name != event_time and all(frame.derived.get(name) == expr for frame in frames)
        }
        node = building.graph.add(
            "union",
            building.distinct(frames),
            schema,
            event_time=event_time,
            event_time_ends=ends,
        )
        # Rows whose event time is gone still stand in its order.
        timed = watermarked or any(frame.ended is not None for frame in frames)
        ordered = not timed and all(one.order == "logical" and one.positioned for one in frames)
        return Frame(
            node=node,
            schema=schema,
            endless=any(one.endless for one in frames),
            event_time=event_time,
            derived=derived,
            ended=None if event_time else ends or next((one.ended for one in frames if one.ended), None),
            order="logical" if ordered else "none",
            positioned=all(one.positioned for one in frames),
            numbered=all(one.numbered for one in frames),
        )

    def _function(self, ir: FunctionIR, emit: EmitRequest | None) -> Frame:
        if ir.name in ("hint_sorted", "rechunk"):
            return self.frame(ir.inputs[0], emit)
        if (found := find_group_head(ir)) is not None:
            return self._group_head(found, emit)
        if ir.name == "explode":
            return self._explode(ir, emit)
        if ir.name == "unpivot":
            return self._unpivot(ir, emit)
        if ir.name != "unnest":
            return self._refused(ir, ir.name, str(ir.parameters))
        frame = self.frame(ir.inputs[0], emit)
        columns, separator = ir.parameters[0], ir.parameters[1] if len(ir.parameters) > 1 else None
        exprs: list[Named] = []
        for one in columns_of(frame.schema):
            dtype = one.expr.dtype
            if one.name not in columns or not isinstance(dtype, pl.Struct):
                exprs.append(one)
                continue
            for inner in dtype.to_schema():
                name = inner if separator is None else f"{one.name}{separator}{inner}"
                field = FunctionNode(ir.schema[name], "struct.field", (one.expr,), {"name": inner})
                exprs.append(Named(name, field))
        return self._building.project(frame, exprs, ir.schema)

    def _explode(self, ir: FunctionIR, emit: EmitRequest | None) -> Frame:
        building, frame = self._building, self.frame(ir.inputs[0], emit)
        columns, empty_as_null, keep_nulls = ir.parameters
        part = f"explode({', '.join(columns)})"
        if frame.upsert_key is not None:
            building.refusals.add(
                f"{part} above a changing frame",
                "a row that changes would have to take back all rows that it became",
                f'{part} below the group_by, or a window with .stream.emit("close")',
            )
        lost = frame.event_time in columns
        ends = f"{part} changes it" if lost else None
        node = building.graph.add(
            "explode",
            [frame.node],
            ir.schema,
            event_time=None if lost else frame.event_time,
            event_time_ends=ends,
            fields={"columns": columns, "empty_as_null": empty_as_null, "keep_nulls": keep_nulls},
        )
        return replace(
            frame,
            node=node,
            schema=ir.schema,
            event_time=None if lost else frame.event_time,
            derived={name: expr for name, expr in frame.derived.items() if name not in columns},
            ended=ends if lost else frame.ended,
            distinct_by=None,
        )

    def _unpivot(self, ir: FunctionIR, emit: EmitRequest | None) -> Frame:
        """A concat of one projection for each column, which is the order of rows that Polars gives."""
        building, frame = self._building, self.frame(ir.inputs[0], emit)
        index, on, variable, value = ir.parameters
        kept = [one for one in columns_of(frame.schema) if one.name in index]
        dtype = ir.schema[value]
        parts = []
        for name in on or [one for one in frame.schema if one not in index]:
            column: ExprNode = ColumnNode(frame.schema[name], name)
            if column.dtype != dtype:
                column = CastNode(dtype, column, strict=True, wrap=False)
            made = (*kept, Named(variable, LiteralNode(pl.String(), name)), Named(value, column))
            by_name = {one.name: one for one in made}
            parts.append(building.project(frame, [by_name[one] for one in ir.schema], ir.schema))
        # A row has as many places as there are columns.
        return replace(self._concat(parts, ir.schema), positioned=False)

    def _refused(self, ir: PlanIR, name: str, detail: str, words: tuple[str, str] | None = None) -> Frame:
        """Notes a node that does not run; what stands below is looked at too."""
        unknown = (name, f"it is not known to the engine ({detail})", "an expression or group_by that is")
        part, reason, rewrite = (name, *words) if words else _REFUSED.get(name, unknown)
        self._building.refusals.add(part, reason, rewrite)
        for one in ir.inputs:
            self.frame(one)
        return self._building.nothing(ir.schema)
