"""`dff.from_batches`: frames in memory as a source with splits.

Not here: how the engine hands the frames to Rust. Also what a `DataFrame` of the user's becomes in a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath

__all__ = ["Batches", "from_batches"]


class Batches(Source):
    """Frames in memory: `splits[i]` holds the batches of split i."""

    def __init__(self, splits: list[list[pl.DataFrame]], schema: pl.Schema) -> None:
        super().__init__(schema, "batches", bounded=True)
        self.splits = splits

    @property
    def single_split(self) -> bool:
        return len(self.splits) <= 1

    @property
    def carried(self) -> object:
        return self

    def options(self) -> dict[str, Any]:
        return {}

    def split_paths(self) -> Sequence[SplitPath]:
        return [(index,) for index in range(len(self.splits))]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        return iter(self.splits[split[0]])


def from_batches(
    *splits: pl.DataFrame | Iterable[pl.DataFrame], schema: dict[str, Any] | None = None
) -> pl.LazyFrame:
    """A bounded source of frames in memory.

    Args:
        splits: each one is a split: a frame, or an iterable of frames, which are its batches in order.
        schema: the columns; needed only where no frame shows them.

    Returns:
        A LazyFrame that plain Polars can collect too.

    Raises:
        CallError: no frame and no schema, or frames with different columns.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> dff.from_batches(pl.DataFrame({"a": [1]}), [pl.DataFrame({"a": [2]})]).collect()["a"].to_list()
        [1, 2]
    """
    data = [[one] if isinstance(one, pl.DataFrame) else list(one) for one in splits]
    named = [
        (f"split {index}, batch {number}", frame)
        for index, frames in enumerate(data)
        for number, frame in enumerate(frames)
    ]
    for place, frame in named:
        if not isinstance(frame, pl.DataFrame):
            raise CallError(
                f"from_batches: expected a polars.DataFrame in {place}, got {type(frame).__name__}"
            )
    if schema is not None:
        columns = pl.Schema(schema)
    elif named:
        columns = named[0][1].schema
    else:
        raise CallError("from_batches: expected at least one frame or a schema=, got neither")
    for place, frame in named:
        if frame.schema != columns:
            raise CallError(
                f"from_batches: expected the columns {dict(columns)} in {place}, got {dict(frame.schema)}"
            )
    return Batches(data, columns).frame()
