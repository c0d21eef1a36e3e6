"""The batch engines to compare with: Polars (in-memory, streaming) and DuckDB, on Arrow in memory.

Each run answers the whole query and hands over the result as Arrow. Not here: the spellings (`queries.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import duckdb
import polars as pl

from benchmarks.queries import Query

__all__ = ["THREADS", "Anchor", "anchors"]

THREADS = 2

Anchor = Callable[[Query], pl.DataFrame]


def anchors(bid: pl.DataFrame) -> dict[str, Anchor]:
    """Contenders by name, each over these rows."""
    connection = duckdb.connect(config={"threads": THREADS})
    connection.register("bid", bid.to_arrow())

    def of_polars(engine: Literal["in-memory", "streaming"]) -> Anchor:
        return lambda query: query.polars(bid.lazy()).collect(engine=engine)

    def of_duckdb(query: Query) -> pl.DataFrame:
        frame = pl.from_arrow(connection.sql(query.duckdb).to_arrow_table())
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(f"duckdb: expected a table, got {type(frame).__name__}")
        return frame

    return {
        "Polars in-memory": of_polars("in-memory"),
        "Polars streaming": of_polars("streaming"),
        "DuckDB": of_duckdb,
    }
