"""What the planner knows of a node's output while it builds the plan.

Plain values. Not here: how each operator changes them (`nodes.py`, `aggregates.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from dataflare_fast.planner.visitor.expressions import ExprNode

__all__ = ["Frame", "Order"]

Order: TypeAlias = Literal["logical", "sorted", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The output of one node.

    Args:
        node: its place in the plan.
        schema: its columns.
        endless: it never ends by itself.
        event_time: the column that is the event time.
        derived: other columns that are monotone functions of the event time, each as an expression of that
            column.
        ended: why event time ended, or None if there never was one.
        upsert_key: None: each row is final. Else rows replace earlier ones with equal values in these
            columns.
        update_written: the user wrote `emit("update")`.
        order: what order-dependent operators above can rely on: logical order, that of a sort, or nothing.
        positioned: its rows have a place in a split, as rows of sources do.
        numbered: its batches have the numbers that they had in their splits, without holes.
        single_split: it has one split at most.
        name: what the user calls the sink above.
        distinct_by: no two rows are equal in these columns; None: that is not known.
    """

    node: int
    schema: pl.Schema
    endless: bool
    event_time: str | None = None
    derived: Mapping[str, ExprNode] = field(default_factory=dict)
    ended: str | None = None
    upsert_key: tuple[str, ...] | None = None
    update_written: bool = False
    order: Order = "logical"
    positioned: bool = True
    numbered: bool = True
    single_split: bool = False
    name: str | None = None
    distinct_by: tuple[str, ...] | None = None
