"""What all our leaves of a LazyFrame share: sources here, the `.stream` words in `words/`.

A leaf is the callable of a `register_io_source`; the planner recognises it by identity. In plain Polars it
yields its rows: the first `n_rows`, of those where the predicate holds, of those the wanted columns. Not
here: the plan.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import polars as pl
from polars.io.plugins import register_io_source

from dataflare_fast.errors import CallError

__all__ = ["Leaf", "Source", "SplitPath"]

SplitPath: TypeAlias = tuple[int, ...]
"""Which split of a frame: the number of the leaf, left to right, then the split's place inside that leaf."""

_serials = itertools.count()


class Leaf(ABC):
    """A leaf that plain Polars can read and that the planner knows.

    Args:
        schema: the columns of the frame.
        title: what `LazyFrame.explain` shows.
    """

    def __init__(self, schema: pl.Schema, title: str) -> None:
        self.schema = schema
        self.title = title
        # A leaf can only stand above leaves that are older than itself.
        self.serial = next(_serials)

    @abstractmethod
    def split_paths(self) -> Sequence[SplitPath]:
        """All splits, in logical order."""

    @abstractmethod
    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        """The rows of one split in plain Polars, in order."""

    def read(self) -> Iterator[pl.DataFrame]:
        """All rows in plain Polars, in logical order."""
        for split in self.split_paths():
            yield from self.read_split(split)

    def frame(self) -> pl.LazyFrame:
        """The frame that users build on."""
        # A mapping: of a function Polars asks whether it is a schema of pyarrow, and imports 30 MB for it.
        return register_io_source(
            self, schema=self.schema, is_pure=True, explain_name=f"dataflare {self.title}"
        )

    def __call__(
        self,
        columns: list[str] | None,
        predicate: pl.Expr | None,
        rows: int | None,
        _batch_rows: int | None,
    ) -> Iterator[pl.DataFrame]:
        """Called by plain Polars."""
        for batch in self._first(rows):
            kept = batch if predicate is None else batch.filter(predicate)
            yield kept if columns is None else kept.select(columns)

    def _first(self, rows: int | None) -> Iterator[pl.DataFrame]:
        if rows is None:
            yield from self.read()
            return
        left = rows
        for batch in self.read():
            yield batch.head(left)
            left -= min(left, batch.height)
            if left == 0:
                return


class Source(Leaf):
    """A leaf that reads rows from outside.

    Args:
        connector: the reader's name in the plan.
        bounded: False if it never ends by itself.
    """

    def __init__(self, schema: pl.Schema, connector: str, *, bounded: bool) -> None:
        super().__init__(schema, connector)
        self.connector = connector
        self.bounded = bounded

    @property
    def replayable(self) -> bool:
        """True if it can be read again from an offset."""
        return True

    @property
    def single_split(self) -> bool:
        """True if it is known to have no more than one split, so that its rows have one order."""
        return False

    @property
    def carried(self) -> object | None:
        """The Python object that the engine reads, if any."""
        return None

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The `options` of the plan's source node, without `object`."""

    def refuse_if_endless(self) -> None:
        """Raises in plain Polars, which would never come back.

        Raises:
            CallError: the source is endless.
        """
        if not self.bounded:
            raise CallError(
                f"{self.title}: plain Polars cannot read an endless source; pass engine=dff.Engine()"
            )
