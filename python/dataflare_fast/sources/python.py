"""`dff.scan_source`: a source that a user writes in Python.

Not here: how the engine calls it (one thread of its own for each split, the GIL once per batch).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath

__all__ = ["PythonSource", "ReadableSource", "scan_source"]


@runtime_checkable
class ReadableSource(Protocol):
    """What a source in Python must have.

    A split is an ordered sequence of rows that can be read again from an offset: after a restart, `read` with
    the offset of the last committed batch must give exactly the rows that followed it.
    """

    schema: pl.Schema
    """The columns of every batch."""

    bounded: bool
    """False if it never ends by itself."""

    def splits(self) -> Sequence[str]:
        """The names of all splits, in logical order; the same ones after a restart."""
        ...

    def read(self, split: str, offset: Any) -> Iterator[tuple[pl.DataFrame, Any]]:
        """Batches of one split, each with the offset that follows it (any JSON value).

        Args:
            split: one of `splits()`.
            offset: None for the beginning, else what stood beside the last batch that counts.
        """
        ...


class PythonSource(Source):
    """A user's source."""

    def __init__(self, source: ReadableSource) -> None:
        super().__init__(pl.Schema(source.schema), "python", bounded=source.bounded)
        self.source = source

    @property
    def single_split(self) -> bool:
        return len(self.source.splits()) <= 1

    @property
    def carried(self) -> object:
        return self.source

    def options(self) -> dict[str, Any]:
        return {}

    def split_paths(self) -> Sequence[SplitPath]:
        return [(index,) for index in range(len(self.source.splits()))]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        self.refuse_if_endless()
        for batch, _ in self.source.read(self.source.splits()[split[0]], None):
            yield batch


def scan_source(source: ReadableSource) -> pl.LazyFrame:
    """Reads a source that is written in Python.

    Args:
        source: see `ReadableSource`.

    Returns:
        A LazyFrame.

    Raises:
        CallError: it lacks something.
    """
    missing = [name for name in ("schema", "bounded", "splits", "read") if not hasattr(source, name)]
    if missing:
        raise CallError(f"scan_source: {type(source).__name__} lacks {', '.join(missing)}")
    return PythonSource(source).frame()
