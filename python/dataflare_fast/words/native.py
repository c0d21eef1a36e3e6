"""`map_native`: a compiled function from one batch to one batch with as many rows.

Not here: the functions themselves (`dataflare_fast.udf`). In plain Polars it is called once, on all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from dataflare_fast.errors import CallError, DataError
from dataflare_fast.words.word import Word

__all__ = ["Native"]


class Native(Word):
    """The rows below, as a compiled function changes them."""

    def __init__(
        self, upstream: pl.LazyFrame, function: Callable[[pl.DataFrame], pl.DataFrame], schema: pl.Schema
    ) -> None:
        text = getattr(function, "text", None)
        if not isinstance(text, str) or not hasattr(function, "capsule"):
            raise CallError(
                f"map_native: expected a function of dataflare_fast.udf, got {function!r}; "
                "dataflare_fast.udf.column_function makes one from a Cython module"
            )
        super().__init__(upstream, schema, f"map_native({text})")
        self.function = function
        self.text = text

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        result = self.function(rows)
        if result.schema != self.schema or result.height != rows.height:
            raise DataError(
                f"map_native: {self.text}: expected {rows.height} rows of {dict(self.schema)}, "
                f"got {result.height} rows of {dict(result.schema)}"
            )
        return result

    def read(self) -> Iterator[pl.DataFrame]:
        yield self.meaning(self.upstream.collect(engine="in-memory"))
