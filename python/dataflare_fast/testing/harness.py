"""`dff.testing.harness`: a query that a test drives step by step.

Push rows, let the clock move, take what has left: nothing runs in between, nothing waits for real time. The
workers are those of a job, in one thread; sinks are replaced by what `take` gives. Not here: random schedules
(`check.py`), checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from dataflare_fast import _core
from dataflare_fast.config import parse_duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import Output
from dataflare_fast.sources.leaf import Source, SplitPath
from dataflare_fast.words.word import top_leaf

__all__ = ["Harness", "harness", "pushed"]


class Pushed(Source):
    """Rows that a test pushes; plain Polars reads those that were pushed so far."""

    def __init__(self, schema: pl.Schema, splits: int, *, bounded: bool) -> None:
        super().__init__(schema, "pushed", bounded=bounded)
        self.feed = _core.Feed(splits)
        self.rows: list[list[pl.DataFrame]] = [[] for _ in range(splits)]

    @property
    def single_split(self) -> bool:
        return len(self.rows) == 1

    @property
    def carried(self) -> object:
        return self.feed

    def options(self) -> dict[str, Any]:
        return {}

    def split_paths(self) -> Sequence[SplitPath]:
        return [(index,) for index in range(len(self.rows))]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        return iter(self.rows[split[0]])


def pushed(schema: Mapping[str, Any], *, splits: int = 1, bounded: bool = True) -> pl.LazyFrame:
    """A source whose rows a test pushes.

    Args:
        schema: its columns.
        splits: how many.
        bounded: False: the query is planned as for a source that never ends.

    Returns:
        A frame that plain Polars can collect too: it gives the rows pushed so far.
    """
    return Pushed(pl.Schema(schema), splits, bounded=bounded).frame()


def harness(lf: pl.LazyFrame, *, parallelism: int = 2, on_error: str = "raise") -> Harness:
    """Starts a query under the control of a test.

    Args:
        lf: a query over frames of `pushed`, and other sources.
        parallelism: how many workers.
        on_error: as for `Engine`.

    Raises:
        UnsupportedQuery: the query cannot run incrementally.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> bids = dff.testing.pushed({"n": pl.Int64, "price": pl.Int64})
        >>> marked = bids.stream.with_watermark("n", delay="0i")
        >>> test = dff.testing.harness(marked.group_by_dynamic("n", every="10i").agg(pl.col("price").sum()))
        >>> test.push(bids, {"n": [1, 2], "price": [5, 7]})
        >>> test.take().rows()
        []
        >>> test.push(bids, {"n": [10], "price": [9]})
        >>> test.take().rows()
        [(0, 12)]
        >>> test.end()
        >>> test.take().rows()
        [(10, 9)]
    """
    return Harness(lf, parallelism=parallelism, on_error=on_error)


class Harness:
    """A query under the control of a test; see `harness`."""

    def __init__(self, lf: pl.LazyFrame, *, parallelism: int, on_error: str) -> None:
        # As a sink that takes every kind of frame, so that what leaves can be looked at.
        planned = plan([Output(frame=lf, connector="result")], on_error=on_error)
        self._schema = planned.schemas[0]
        self._feeds = [one for one in planned.objects if isinstance(one, _core.Feed)]
        self._core = _core.Harness(planned.json, on_error, parallelism, planned.objects)
        self._ended = False

    def push(self, source: pl.LazyFrame, rows: pl.DataFrame | Mapping[str, Any], *, split: int = 0) -> None:
        """Gives rows to a source and lets everything run that can.

        Args:
            source: a frame of `pushed`.
            rows: one batch.
            split: of the source.

        Raises:
            CallError: another kind of frame, or a split that it does not have.
        """
        leaf = top_leaf(source)
        if not isinstance(leaf, Pushed):
            raise CallError(
                "push: expected a frame of dff.testing.pushed(...) as the source, got another one"
            )
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, schema=leaf.schema)
        leaf.feed.push(split, frame.select(leaf.schema.names()))
        leaf.rows[split].append(frame)
        self.advance("0s")

    def advance(self, duration: str | timedelta) -> None:
        """Moves the clock, then lets everything run that can. That itself takes a few milliseconds of it."""
        self._ended = self._core.advance(parse_duration_ns(duration, "advance: duration"))

    def end(self) -> None:
        """Ends all sources of `pushed`."""
        for feed in self._feeds:
            feed.end()
        self.advance("0s")

    def take(self) -> pl.DataFrame:
        """What has left since the last call; with a column `_change` if the frame changes."""
        frames = [pl.DataFrame(batch) for batch in self._core.take()]
        if not frames:
            return pl.DataFrame(schema=self._schema)
        frame = pl.concat(frames)
        return frame.cast(
            {name: dtype for name, dtype in self._schema.items() if frame.schema[name] != dtype}
        )

    @property
    def has_ended(self) -> bool:
        """True once the query is done."""
        return self._ended
