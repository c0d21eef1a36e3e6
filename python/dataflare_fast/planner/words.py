"""Words of `.stream` -> nodes and settings of nodes.

Not here: what they mean in plain Polars (`dataflare_fast/words`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from dataflare_fast.errors import InternalError
from dataflare_fast.planner.building import Building, EmitRequest, columns_of
from dataflare_fast.planner.expressions import split_aggregate
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.groups import SEQUENCE, types_of
from dataflare_fast.planner.schema import Json, schema_from_json
from dataflare_fast.planner.segments import check_segment
from dataflare_fast.planner.visitor.expressions import CastNode, ColumnNode, ExprNode, LiteralNode
from dataflare_fast.planner.visitor.plan import GroupByIR, LeafIR, Named, PlanIR, read_plan
from dataflare_fast.sources.leaf import Leaf
from dataflare_fast.udf.frames import FrameCall
from dataflare_fast.words.apply import Apply
from dataflare_fast.words.map_batches import MapBatches
from dataflare_fast.words.marks import ERROR_COLUMNS, Emit, Errors, Name
from dataflare_fast.words.metric import Metric
from dataflare_fast.words.native import Native
from dataflare_fast.words.session import Session
from dataflare_fast.words.sink import SinkWord
from dataflare_fast.words.watermark import Late, Watermark
from dataflare_fast.words.word import Word

if TYPE_CHECKING:
    from dataflare_fast.planner.nodes import NodePlanner

__all__ = ["WordPlanner"]

_STATEFUL = ("aggregate", "head", "join", "join_asof", "over", "running", "session", "sort", "top_rows")


def _as_type(found: pl.DataType | None, name: str, dtype: pl.DataType) -> ExprNode:
    """A column in the type that all letters have; null where a letter lacks it."""
    if found is None:
        return LiteralNode(dtype, None)
    column = ColumnNode(found, name)
    return column if found == dtype else CastNode(dtype, column, strict=False, wrap=False)


def _can_fail(node: Mapping[str, Json]) -> bool:
    """True if the node may remove a row that cannot be read or computed."""
    match node["operator"]:
        case "source":
            return True
        case "watermark":
            return node["ahead"] is not None
        case "filter":
            return _raises(node["predicate"])
        case "project":
            return _raises(node["exprs"])
        case _:
            return False


def _raises(tree: Json) -> bool:
    """True if an expression of the plan holds a strict cast or something that a function may refuse."""
    if isinstance(tree, list):
        return any(map(_raises, tree))
    if not isinstance(tree, dict):
        return False
    raises = tree.get("kind") in ("function", "residual") or (tree.get("kind") == "cast" and tree["strict"])
    return raises or any(map(_raises, tree.values()))


class WordPlanner:
    """Plans the words of one job."""

    def __init__(self, building: Building, nodes: NodePlanner) -> None:
        self._building = building
        self._nodes = nodes

    def frame(self, word: Leaf, emit: EmitRequest | None) -> Frame:
        """Plans a word and all below it."""
        match word:
            case Watermark():
                return self._watermark(word)
            case Late():
                return self._late(word)
            case Errors():
                return self._errors(word)
            case Native():
                return self._native(word)
            case MapBatches():
                frame = self._nodes.frame(self._nodes.below(word))
                return self._map_frame(frame, word, word.call, None)
            case Apply():
                frame = self._nodes.frame(self._nodes.below(word))
                plan, refusals = read_plan(word.segment), self._building.refusals
                time = check_segment(plan, word.stand_in, frame.event_time, word.title, refusals)
                return self._map_frame(frame, word, word.call, time)
            case Session():
                return self._nodes.session(word, emit)
            case Metric():
                return self._metric(word, emit)
            case Emit():
                return self._emit(word, emit)
            case Name():
                return self._name(word, emit)
            case SinkWord():
                return self._building.nothing_above_a_sink(word.title, word.schema)
            case _:
                raise InternalError(f"the planner does not know the leaf {type(word).__name__}")

    def _watermark(self, word: Watermark) -> Frame:
        building = self._building
        plan = self._nodes.below(word)
        below = self._nodes.frame(plan)
        part = f"with_watermark('{word.column}')"
        if not (below.positioned and below.numbered):
            building.refusals.add(
                part,
                "the rows below (of groups, a sort, a join or a head) have no place in a split, so none is "
                "behind another",
                "with_watermark on the source, and these steps above it: the event time follows through "
                "windows, and a head takes the earliest",
            )
        repeated = [leaf.title for leaf, times in Counter(self._sources_below(plan)).items() if times > 1]
        for title in repeated:
            building.refusals.add(
                f"{part} above a concat that reads {title} twice",
                "a row would have two places in one split",
                "with_watermark on the source, then concat",
            )
        node = building.graph.add(
            "watermark",
            [below.node],
            below.schema,
            event_time=word.column,
            fields={
                "column": word.column,
                "delay": word.delay,
                "idle_ns": word.idle_ns,
                "ahead": word.ahead,
            },
        )
        return replace(below, node=node, event_time=word.column, derived={}, ended=None, order="logical")

    def _late(self, word: Late) -> Frame:
        frame = self._nodes.leaf(word.watermark)
        ends = "late rows are behind the watermark"
        node = self._building.graph.add("late", [frame.node], frame.schema, event_time_ends=ends)
        return replace(frame, node=node, event_time=None, ended=ends)

    def _errors(self, word: Errors) -> Frame:
        building = self._building
        frame = self._nodes.frame(self._nodes.below(word))
        ends = "rows with errors have no event time"
        letters = [self._letters(node, word.schema, ends) for node in self._failing_below(frame.node)]
        node = letters[0].node
        if len(letters) > 1:
            node = building.graph.add("union", building.distinct(letters), word.schema)
        return Frame(
            node=node, schema=word.schema, endless=frame.endless, ended=ends, order="none", positioned=False
        )

    def _letters(self, node: int, schema: pl.Schema, ends: str) -> Frame:
        """The rows that one node removes, in the columns of all of them."""
        graph = self._building.graph
        of = graph.nodes[node]
        read = schema_from_json(graph.nodes[of["inputs"][0]]["schema"] if of["inputs"] else of["schema"])
        made = pl.Schema({**read, **ERROR_COLUMNS})
        errors = graph.add("errors", [node], made, event_time_ends=ends)
        frame = Frame(node=errors, schema=made, endless=False, ended=ends, order="none", positioned=False)
        exprs = [Named(name, _as_type(made.get(name), name, dtype)) for name, dtype in schema.items()]
        return self._building.project(frame, exprs, schema)

    def _failing_below(self, top: int) -> list[int]:
        """Nodes at and below one that can remove a row because it has an error, and the sources."""
        nodes, pending, found = self._building.graph.nodes, [top], set()
        while pending:
            number = pending.pop()
            if number not in found:
                found.add(number)
                pending += nodes[number]["inputs"]
        return [number for number in sorted(found) if _can_fail(nodes[number])]

    def _native(self, word: Native) -> Frame:
        frame = self._nodes.frame(self._nodes.below(word))
        self._refuse_change(frame, "map_native")
        ends = "map_native may change any column"
        node = self._building.graph.add(
            "native",
            [frame.node],
            word.schema,
            event_time_ends=ends if frame.event_time else None,
            fields={"function": self._building.graph.object(word.function), "text": word.text},
        )
        return replace(
            frame,
            node=node,
            schema=word.schema,
            event_time=None,
            derived={},
            ended=ends if frame.event_time else frame.ended,
            distinct_by=None,
        )

    def _map_frame(self, frame: Frame, word: Word, call: FrameCall, time: str | None) -> Frame:
        self._refuse_change(frame, word.title)
        lost = frame.event_time is not None and time is None
        ends = f"{word.title} may change any column" if lost else None
        node = self._building.graph.add(
            "map_frame",
            [frame.node],
            word.schema,
            event_time=time,
            event_time_ends=ends,
            fields={"function": self._building.graph.object(call), "text": call.text},
        )
        return replace(
            frame,
            node=node,
            schema=word.schema,
            event_time=time,
            derived={},
            ended=ends if lost else frame.ended,
            distinct_by=None,
            # Above a watermark rows stand in the order of their times, which are gone.
            order="logical" if frame.order == "logical" and frame.positioned and not lost else "none",
        )

    def _metric(self, word: Metric, emit: EmitRequest | None) -> Frame:
        building = self._building
        frame = self._nodes.frame(self._nodes.below(word), emit)
        grouped = read_plan(word.grouped)
        assert isinstance(grouped, GroupByIR), "the plan of a word ends as it was written"
        context = building.context(frame.schema)
        pre, aggregates, post = split_aggregate(grouped.aggregates[0].expr, context)
        part = f"metric '{word.metric}'"
        if len(aggregates) != 1 or post != {"kind": "column", "name": aggregates[0]["name"]}:
            building.refusals.add(
                part, "its expression is more than one aggregate", "one metric for each of them"
            )
            return frame
        if aggregates[0]["function"] in SEQUENCE:
            building.refusals.add(part, "its value depends on the order of rows", "min() or max()")
        if frame.upsert_key is not None:
            building.refusals.add(
                f"{part} above a changing frame",
                "rows that were replaced would be counted",
                "metric below it",
            )
        if any(node.get("metric") == word.metric for node in building.graph.nodes):
            building.refusals.add(part, "another metric has this name", "a name that is unique in the job")
        columns = columns_of(frame.schema)
        inputs = [{"name": one.name, "expr": {"kind": "column", "name": one.name}} for one in columns]
        computed = [one for one in pre if one["name"] not in frame.schema]
        node, schema = frame.node, frame.schema
        if computed:
            types = types_of({one["name"]: one["expr"] for one in computed}, frame.schema)
            schema = pl.Schema({**frame.schema, **types})
            node = building.graph.add(
                "project",
                [node],
                schema,
                event_time=frame.event_time,
                fields={"exprs": [*inputs, *computed]},
            )
        node = building.graph.add(
            "metric",
            [node],
            schema,
            event_time=frame.event_time,
            fields={
                "metric": word.metric,
                "by": list(word.by),
                "metric_kind": word.kind,
                "bounds": list(word.bounds),
                "aggregate": {**aggregates[0], "name": "value"},
            },
        )
        if computed:
            node = building.graph.add(
                "project", [node], frame.schema, event_time=frame.event_time, fields={"exprs": inputs}
            )
        return replace(frame, node=node)

    def _emit(self, word: Emit, above: EmitRequest | None) -> Frame:
        if above is not None:
            above.taken = True
            self._building.refusals.add(
                f'emit("{above.mode}") above emit("{word.mode}")',
                "both act on the same operator",
                "one of them",
            )
        request = EmitRequest(word.mode, word.every_ns)
        frame = self._nodes.frame(self._nodes.below(word), request)
        if not request.taken:
            self._building.refusals.add(
                f'emit("{word.mode}")', "no group_by stands right below", "emit right after .agg(...)"
            )
        return frame

    def _name(self, word: Name, emit: EmitRequest | None) -> Frame:
        frame = self._nodes.frame(self._nodes.below(word), emit)
        nodes = self._building.graph.nodes
        number = frame.node
        while nodes[number]["operator"] not in _STATEFUL and len(nodes[number]["inputs"]) == 1:
            number = nodes[number]["inputs"][0]
        found = nodes[number]
        part = f'name("{word.text}")'
        if found["operator"] not in _STATEFUL:
            # Nothing below keeps state: the name is that of the sink above.
            return replace(frame, name=word.text)
        if found.get("name", word.text) != word.text:
            self._building.refusals.add(part, f'the operator below is named "{found["name"]}"', "one name")
        if any(one.get("name") == word.text and one is not found for one in nodes):
            self._building.refusals.add(
                part, "another operator has this name", "a name that is unique in the job"
            )
        found["name"] = word.text
        return frame

    def _sources_below(self, plan: PlanIR) -> Iterator[Leaf]:
        """The sources of a frame, once for each time they occur."""
        for one in plan.walk():
            if not isinstance(one, LeafIR) or not isinstance(one.source, Leaf):
                continue
            if isinstance(one.source, Word):
                yield from self._sources_below(self._nodes.below(one.source))
            else:
                yield one.source

    def _refuse_change(self, frame: Frame, part: str) -> None:
        if frame.upsert_key is not None:
            self._building.refusals.add(
                f"{part} above a changing frame",
                "the columns that tell its rows apart could change",
                f"{part} below the group_by",
            )
