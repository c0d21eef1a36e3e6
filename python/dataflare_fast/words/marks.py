"""Words that change no row in plain Polars: `emit`, `name`, and `errors`, which has no rows there.

Not here: what they do in the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import polars as pl

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import SplitPath
from dataflare_fast.words.word import Word

__all__ = ["Emit", "Errors", "Identity", "Name"]

ERROR_COLUMNS = {
    "_error_operator": pl.String(),
    "_error_code": pl.String(),
    "_error_message": pl.String(),
    "_error_split": pl.String(),
    "_error_offset": pl.String(),
}


class Identity(Word):
    """The rows below, as they are."""

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def read(self) -> Iterator[pl.DataFrame]:
        # Not split by split: the frame below may be an aggregate over all of them.
        yield self.upstream.collect(engine="in-memory")


class Emit(Identity):
    """When results of the nearest stateful operator below leave."""

    def __init__(self, upstream: pl.LazyFrame, mode: str, every: str | timedelta | None) -> None:
        if mode not in ("close", "update"):
            raise CallError(f"emit: expected 'close' or 'update', got {mode!r}")
        if every is not None and mode != "update":
            raise CallError("emit: every= works with 'update' only; 'close' gives each result once")
        super().__init__(upstream, upstream.collect_schema(), f"emit({mode})")
        self.mode = mode
        self.every_ns = None if every is None else duration_ns(every, "emit: every")


class Name(Identity):
    """What the stateful operator below is called in checkpoints, metrics and messages."""

    def __init__(self, upstream: pl.LazyFrame, text: str) -> None:
        if not text:
            raise CallError("name: expected a text, got an empty one")
        super().__init__(upstream, upstream.collect_schema(), f"name({text})")
        self.text = text


class Errors(Word):
    """The rows that `on_error="dead_letter"` removed in the frame below."""

    def __init__(self, upstream: pl.LazyFrame, columns: pl.Schema) -> None:
        taken = [name for name in ERROR_COLUMNS if name in columns]
        if taken:
            raise CallError(f"errors: the columns {taken} are already there; rename them first")
        super().__init__(upstream, pl.Schema({**columns, **ERROR_COLUMNS}), "errors")

    def split_paths(self) -> Sequence[SplitPath]:
        return []

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)

    def read(self) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame(schema=self.schema)
