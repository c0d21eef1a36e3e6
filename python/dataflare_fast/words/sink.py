"""Sinks that Polars lacks, as lazy frames: `sink_kafka`, `sink_console`, `sink_to`.

A lazy sink is a leaf above the frame that it writes; `Engine.start` takes it. Not here: the writers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.words.word import Word

__all__ = ["SinkWord", "WritableSink", "run_unless_lazy"]


@runtime_checkable
class WritableSink(Protocol):
    """What a sink in Python must have.

    An epoch is written in three steps, so that a sink can make it visible exactly once: `write` as rows come,
    `prepare` at the barrier, `confirm` after the checkpoint that holds what `prepare` gave.

    A sink may also have `open(owner: str | None)`, called first, once in a process: `owner` is a text that
    stays the same over restarts of the job and is nobody else's; None without a checkpoint. After it and
    before the first `write`, what the newest checkpoint names is confirmed; what else is prepared for that
    owner will never be. `dataflare_fast.errors.UnavailableError` from `confirm` means: try again later; any
    other error ends the job.
    """

    def write(self, rows: pl.DataFrame) -> None:
        """Takes rows; nothing may become visible yet."""
        ...

    def prepare(self, epoch: int) -> Any:
        """Makes the rows since the last call durable; gives a JSON value that names them."""
        ...

    def confirm(self, epoch: int, prepared: Any) -> None:
        """Makes visible what `prepare` named. May be called again with the same value."""
        ...


class SinkWord(Word):
    """A place for the rows of `upstream`.

    Args:
        upstream: what is written.
        connector: the writer's name in the plan.
        options: the `options` of the plan's sink node, without `object`.
        key: the columns that a new row replaces an earlier one by; None: rows are appended.
        carried: the Python object that the engine calls, if any.
    """

    def __init__(
        self,
        upstream: pl.LazyFrame,
        connector: str,
        options: dict[str, Any],
        *,
        key: tuple[str, ...] | None = None,
        carried: object | None = None,
    ) -> None:
        schema = upstream.collect_schema()
        missing = [name for name in key or () if name not in schema]
        if missing:
            raise CallError(f"sink_{connector}: key: expected columns of {schema.names()}, got {missing}")
        super().__init__(upstream, schema, f"sink_{connector}")
        self.connector = connector
        self.options = options
        self.key = key
        self.carried = carried

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def read(self) -> Iterator[pl.DataFrame]:
        raise CallError(f"{self.title}: a lazy sink holds no rows; run it with dff.Engine().start(sink)")


def run_unless_lazy(sink: SinkWord, lazy: bool, engine: pl.Engine | None) -> pl.LazyFrame | None:
    """The lazy sink, or its end."""
    if lazy:
        return sink.frame()
    if engine is None:
        raise CallError(f"{sink.title}: expected engine=dff.Engine() to run it, or lazy=True; got neither")
    sink.frame().collect(engine=engine)
    return None
