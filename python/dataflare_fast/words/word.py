"""What the words share: a leaf above another frame, which it reads split by split in plain Polars.

Not here: the plan (`planner/`). A split of a word is a split of the frame below.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from dataflare_fast.planner.visitor.plan import LeafIR, collect_with_leaves, list_leaves, read_plan
from dataflare_fast.sources.leaf import Leaf, SplitPath

__all__ = ["Word", "collect_split", "splits_below", "top_leaf"]


class Word(Leaf):
    """A leaf above `upstream`."""

    def __init__(self, upstream: pl.LazyFrame, schema: pl.Schema, title: str) -> None:
        super().__init__(schema, title)
        self.upstream = upstream

    @abstractmethod
    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the word makes of the rows of one split, in plain Polars."""

    def split_paths(self) -> Sequence[SplitPath]:
        return splits_below(self.upstream)

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        yield self.meaning(collect_split(self.upstream, split))


def splits_below(lf: pl.LazyFrame) -> list[SplitPath]:
    """All splits of a frame in (input, split) order; a scan of Polars' own is one split."""
    found: list[SplitPath] = []
    for number, source in enumerate(list_leaves(lf)):
        inner = source.split_paths() if isinstance(source, Leaf) else [()]
        found.extend((number, *path) for path in inner)
    return found


def collect_split(lf: pl.LazyFrame, split: SplitPath) -> pl.DataFrame:
    """Collects a frame in plain Polars as if only one split had rows."""

    def stand_in(number: int, source: Callable[..., Any] | None) -> pl.DataFrame | None:
        if number != split[0]:
            return pl.DataFrame()
        if not isinstance(source, Leaf):
            return None
        batches = list(source.read_split(split[1:]))
        return pl.concat(batches) if batches else pl.DataFrame()

    return collect_with_leaves(lf, stand_in)


def top_leaf(lf: pl.LazyFrame) -> Leaf | None:
    """The leaf that a frame consists of, if nothing stands above it."""
    top = read_plan(lf)
    if not isinstance(top, LeafIR) or not isinstance(top.source, Leaf):
        return None
    is_bare = top.predicate is None and top.rows is None and top.columns is None
    return top.source if is_bare else None
