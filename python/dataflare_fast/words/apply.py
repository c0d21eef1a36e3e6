"""`apply`: a part of a query that Polars itself runs, batch by batch.

`fn(lf)` is called once, on a stand-in for the rows below; the plan of what it gives is looked at by the same
table of classes as the rest of the query, so it must be row-wise. Functions of Python (`map_elements`,
`map_batches`) belong here: the engine cannot see into them, and takes them for row-wise. Not here: the check
(`planner/segments.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.planner.visitor.plan import collect_with_leaves
from dataflare_fast.sources.leaf import Leaf, SplitPath
from dataflare_fast.udf.frames import FrameCall
from dataflare_fast.words.word import Word

__all__ = ["Apply", "StandIn"]


class StandIn(Leaf):
    """Where the rows of a batch go in."""

    def __init__(self, schema: pl.Schema) -> None:
        super().__init__(schema, "a batch")

    def split_paths(self) -> Sequence[SplitPath]:
        return [()]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame(schema=self.schema)


class Apply(Word):
    """The rows below, through a segment of Polars."""

    def __init__(self, upstream: pl.LazyFrame, function: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
        self.stand_in = StandIn(upstream.collect_schema())
        segment: Any = function(self.stand_in.frame())
        if not isinstance(segment, pl.LazyFrame):
            raise CallError(
                f"apply: expected the function to give a pl.LazyFrame, got {type(segment).__name__}; "
                ".stream.map_batches takes functions of a pl.DataFrame"
            )
        self.segment = segment
        text = f"apply({getattr(function, '__qualname__', type(function).__name__)})"
        super().__init__(upstream, segment.collect_schema(), text)
        self.call = FrameCall(self.meaning, self.schema, text, rows=self.stand_in.schema)

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        def fill(_number: int, source: Callable[..., Any] | None) -> pl.DataFrame | None:
            return rows if source is self.stand_in else None

        return collect_with_leaves(self.segment, fill)

    def read(self) -> Iterator[pl.DataFrame]:
        yield self.meaning(self.upstream.collect(engine="in-memory"))
