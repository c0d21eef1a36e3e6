"""`map_batches`: a Python function from the rows of a batch to other rows.

Where batches are cut is not the query's business: a function whose answer for a row depends on the rows
beside it gives other rows in plain Polars, which calls it once. Not here: the calls (`udf/frames.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from dataflare_fast.config import parse_count
from dataflare_fast.errors import CallError
from dataflare_fast.udf.frames import FrameCall, FrameFunction
from dataflare_fast.words.word import Word

__all__ = ["MapBatches"]


class MapBatches(Word):
    """The rows below, as a Python function changes them."""

    def __init__(
        self, upstream: pl.LazyFrame, function: FrameFunction, schema: pl.Schema, workers: int
    ) -> None:
        if not callable(function):
            raise CallError(f"map_batches: expected a function of a pl.DataFrame, got {function!r}")
        text = f"map_batches({getattr(function, '__qualname__', type(function).__name__)})"
        workers = parse_count(workers, f"{text}: workers", least=0, most=1024)
        super().__init__(upstream, schema, text)
        self.call = FrameCall(function, schema, text, rows=upstream.collect_schema(), workers=workers)

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self.call(rows) if rows.height else pl.DataFrame(schema=self.schema)

    def read(self) -> Iterator[pl.DataFrame]:
        yield self.meaning(self.upstream.collect(engine="in-memory"))
