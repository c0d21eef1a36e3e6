"""The door of the planner: frames and sinks of one job -> the JSON plan and the Python objects beside it.

Not here: running it (`engine.py`). Called by `Engine` and by `explain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.planner.building import Building
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.leaves import survey
from dataflare_fast.planner.nodes import NodePlanner
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.sinks import Output, sink_node, sink_output
from dataflare_fast.planner.visitor.plan import LeafIR, PlanIR, read_plan
from dataflare_fast.words.sink import SinkWord

__all__ = ["Planned", "plan"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A job that can be run.

    Args:
        json: the plan, as `rust/plan` reads it.
        objects: the Python objects that nodes name by number.
        sinks: the sink node of each output.
        schemas: the columns of each output.
        endless: the job never ends by itself.
    """

    json: str
    objects: list[object]
    sinks: list[int]
    schemas: list[pl.Schema]
    endless: bool


def plan(outputs: Sequence[Output | pl.LazyFrame], *, on_error: str = "raise") -> Planned:
    """Plans all outputs of one job together.

    Args:
        outputs: see `sinks.py`; a LazyFrame stands for a lazy sink.
        on_error: what the job does with a row that cannot be computed.

    Raises:
        UnsupportedQuery: what cannot run incrementally, all of it at once.
        CallError: no output, or `dead_letter` without an `.errors()` sink.
    """
    if not outputs:
        raise CallError("expected at least one frame or sink, got none")
    wanted = [sink_output(one) if isinstance(one, pl.LazyFrame) else one for one in outputs]
    plans = [read_plan(one.frame) for one in wanted]
    refusals = Refusals()
    building = Building(refusals)
    nodes = NodePlanner(building, survey(plans))

    def below(ir: PlanIR, any_rows: bool) -> Frame:
        if isinstance(ir, LeafIR) and isinstance(ir.source, SinkWord):
            ir = nodes.below(ir.source)
        return nodes.frame(ir, last=any_rows)

    sinks = [sink_node(building, one, ir, below) for one, ir in zip(wanted, plans, strict=True)]
    refusals.raise_if_any()
    _check_dead_letters(building, on_error)
    return Planned(
        json=building.graph.to_json(),
        objects=building.graph.objects,
        sinks=[sink.node for sink in sinks],
        schemas=[sink.schema for sink in sinks],
        endless=any(sink.endless for sink in sinks),
    )


def _check_dead_letters(building: Building, on_error: str) -> None:
    read = any(node["operator"] == "errors" for node in building.graph.nodes)
    if on_error == "dead_letter" and not read:
        raise CallError(
            "on_error='dead_letter': expected a sink of frame.stream.errors() in the job, got none; "
            "attach one, or use on_error='skip'"
        )
