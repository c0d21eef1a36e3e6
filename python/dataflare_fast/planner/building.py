"""What all parts of the planner share while they build one job, and the row-wise nodes that many need.

Not here: which node a part becomes (`nodes.py`, `groups.py`, `leaves.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from dataflare_fast.planner.event_time import follow_all
from dataflare_fast.planner.expressions import ExpressionContext, translate
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.graph import Graph
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.visitor.expressions import ColumnNode, ExprNode
from dataflare_fast.planner.visitor.plan import Named

__all__ = ["Building", "EmitRequest", "columns_of"]


@dataclass(slots=True)
class EmitRequest:
    """The user's `emit(...)` on its way down to the nearest stateful operator."""

    mode: str
    every_ns: int | None
    taken: bool = False


@dataclass(slots=True)
class Building:
    """One job while it is planned."""

    refusals: Refusals
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = Graph(self.refusals)

    def context(self, schema: pl.Schema) -> ExpressionContext:
        """For the expressions of one node that reads `schema`."""
        return ExpressionContext(schema, self.refusals)

    def nothing(self, schema: pl.Schema) -> Frame:
        """Stands in for a part that was refused, so that the rest can be looked at too."""
        fields: dict[str, Json] = {"connector": "refused", "options": {}, "bounded": True}
        return Frame(node=self.graph.add("source", [], schema, fields=fields), schema=schema, endless=False)

    def nothing_above_a_sink(self, title: str, schema: pl.Schema) -> Frame:
        """Notes that something stands above a lazy sink."""
        self.refusals.add(f"a step above {title}", "a sink gives no rows", f"{title} as the last step")
        return self.nothing(schema)

    def project(self, frame: Frame, exprs: Sequence[Named], schema: pl.Schema) -> Frame:
        """`select`, `with_columns`, `rename`, `drop`: other columns, the same rows."""
        if _is_identity(exprs, frame.schema):
            return frame
        followed = follow_all(frame, exprs)
        context = self.context(frame.schema)
        written = [{"name": one.name, "expr": translate(one.expr, context)} for one in followed.exprs]
        kept = {one.expr.name: one.name for one in exprs if isinstance(one.expr, ColumnNode)}
        node = self.graph.add(
            "project",
            [frame.node],
            schema,
            event_time=followed.event_time,
            event_time_ends=followed.ended if frame.event_time is not None else None,
            fields={"exprs": written},
        )
        return replace(
            frame,
            node=node,
            schema=schema,
            event_time=followed.event_time,
            derived=followed.derived,
            ended=followed.ended,
            upsert_key=self._key_above(frame, kept),
            distinct_by=_renamed(frame.distinct_by, kept),
        )

    def columns(self, frame: Frame, names: Sequence[str]) -> Frame:
        """Only these columns, in this order; one that nobody reads where there are none, for the height."""
        if not names:
            return frame
        schema = pl.Schema({name: frame.schema[name] for name in names})
        return self.project(frame, columns_of(schema), schema)

    def filter(self, frame: Frame, predicate: ExprNode) -> Frame:
        """The rows where a predicate is true."""
        if frame.upsert_key is not None:
            read = {node.name for node in predicate.walk() if isinstance(node, ColumnNode)}
            if not read <= set(frame.upsert_key):
                self.refusals.add(
                    f"filter on {sorted(read - set(frame.upsert_key))} above a changing frame",
                    "a row that stops to fit would have to be taken back, which arrives in a later release",
                    '.stream.emit("close") on a window, or the filter below the group_by',
                )
        written = translate(predicate, self.context(frame.schema))
        node = self.graph.add(
            "filter",
            [frame.node],
            frame.schema,
            event_time=frame.event_time,
            fields={"predicate": written},
        )
        return replace(frame, node=node)

    def head(self, frame: Frame, offset: int, rows: int | None, *, any_rows: bool) -> Frame:
        """The first rows of a frame.

        Args:
            frame: the input.
            offset: how many to leave out.
            rows: how many to take; None: all.
            any_rows: of an endless frame the user takes whichever come first (the last node of `collect`).
        """
        part = f"head({rows})" if offset == 0 else f"slice({offset}, {rows})"
        if offset < 0:
            # Polars moves it into whatever stands below.
            part = f"tail({rows})" if rows == -offset else part
            why = "the last rows are known only when the input has ended"
            self.refusals.add(part, why, "sort(..., descending=True).head(n)")
            return frame
        takes_any = any_rows and frame.endless
        if frame.order != "logical" and not takes_any:
            self.refusals.add(
                part,
                "its input has no order (rows of groups, joins and concats of watermarked frames have none)",
                f"sort(...) before it, as in .sort(by).{part}",
            )
        elif frame.endless and frame.event_time is None and not frame.single_split and not takes_any:
            self.refusals.add(
                part,
                "an endless source with several splits has no first rows",
                ".stream.with_watermark(...) before it (then: the earliest), or head as the last step",
            )
        limit = 2**63 - 1 if rows is None else rows
        node = self.graph.add(
            "head",
            [frame.node],
            frame.schema,
            event_time=frame.event_time,
            fields={"offset": offset, "rows": limit},
        )
        return replace(frame, node=node, endless=frame.endless and rows is None, numbered=False)

    def distinct(self, frames: Sequence[Frame]) -> list[int]:
        """A node that is read again is read through a projection: edges of a plan are distinct."""
        nodes: list[int] = []
        for frame in frames:
            node = frame.node
            if node in nodes:
                exprs = [{"name": name, "expr": {"kind": "column", "name": name}} for name in frame.schema]
                node = self.graph.add(
                    "project",
                    [node],
                    frame.schema,
                    event_time=frame.event_time,
                    fields={"exprs": exprs},
                    shared=False,
                )
            nodes.append(node)
        return nodes

    def _key_above(self, frame: Frame, kept: dict[str, str]) -> tuple[str, ...] | None:
        if frame.upsert_key is None:
            return None
        lost = [name for name in frame.upsert_key if name not in kept]
        if lost:
            self.refusals.add(
                f"select without the key columns {lost} above a changing frame",
                "rows could not be told apart any more",
                f"keep {lost}, and drop them where the result is read",
            )
        return tuple(kept[name] for name in frame.upsert_key if name in kept)


def _renamed(names: tuple[str, ...] | None, kept: dict[str, str]) -> tuple[str, ...] | None:
    if names is None or any(name not in kept for name in names):
        return None
    return tuple(kept[name] for name in names)


def columns_of(schema: pl.Schema) -> list[Named]:
    """Each column as it is."""
    return [Named(name, ColumnNode(dtype, name)) for name, dtype in schema.items()]


def _is_identity(exprs: Sequence[Named], schema: pl.Schema) -> bool:
    plain = [one.name for one in exprs if isinstance(one.expr, ColumnNode) and one.expr.name == one.name]
    return len(plain) == len(exprs) and plain == schema.names()
