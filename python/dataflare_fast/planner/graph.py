"""The plan while it is built: nodes in JSON form, and the Python objects that travel beside it.

Equal nodes are one node, so that a part which occurs twice is run once. Not here: what a node means
(`nodes.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.schema import Json, schema_to_json, why_unsupported

__all__ = ["Graph"]

PLAN_VERSION: Final = 1


class Graph:
    """Nodes in topological order, as `rust/plan/src/node.rs` defines them.

    Args:
        refusals: takes columns whose type the engine does not have.
    """

    def __init__(self, refusals: Refusals) -> None:
        self.nodes: list[dict[str, Json]] = []
        self.objects: list[object] = []
        self._refusals = refusals
        self._known: dict[str, int] = {}

    def add(
        self,
        operator: str,
        inputs: Sequence[int],
        schema: Mapping[str, pl.DataType],
        *,
        event_time: str | None = None,
        event_time_ends: str | None = None,
        fields: Mapping[str, Json] | None = None,
        shared: bool = True,
    ) -> int:
        """Adds a node, or finds the equal one that is there.

        Args:
            operator: its kind.
            inputs: the nodes it reads.
            schema: its output.
            event_time: the output column that is the event time.
            event_time_ends: why event time ended here.
            fields: what else this kind has.
            shared: False: always a new node.
        """
        node: dict[str, Json] = {
            "operator": operator,
            "inputs": list(inputs),
            **(fields or {}),
            "schema": self._columns(schema),
        }
        if event_time is not None:
            node["event_time"] = event_time
        if event_time_ends is not None:
            node["event_time_ends"] = event_time_ends
        text = json.dumps(node, sort_keys=True)
        if shared and text in self._known:
            return self._known[text]
        self.nodes.append(node)
        self._known.setdefault(text, len(self.nodes) - 1)
        return len(self.nodes) - 1

    def object(self, one: object) -> int:
        """The place of a Python object beside the plan; the same object has one place."""
        for index, known in enumerate(self.objects):
            if known is one:
                return index
        self.objects.append(one)
        return len(self.objects) - 1

    def to_json(self) -> str:
        """The plan."""
        return json.dumps({"version": PLAN_VERSION, "nodes": self.nodes})

    def _columns(self, schema: Mapping[str, pl.DataType]) -> list[Json]:
        for name, dtype in schema.items():
            if (reason := why_unsupported(dtype)) is not None:
                self._refusals.add(f"column '{name}'", reason, f"cast '{name}' to another type, or drop it")
        return schema_to_json(
            {name: pl.Null() if why_unsupported(dtype) else dtype for name, dtype in schema.items()}
        )
