"""`metric`: an aggregate of the rows that go by, for `job.metrics()`. Changes no row.

Not here: how it is kept and shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.words.marks import Identity

__all__ = ["Metric"]


class Metric(Identity):
    """The rows below, counted.

    Args:
        upstream: the rows.
        name: of the metric.
        expr: one aggregate of them, a number.
        by: the columns whose values have a number each.
    """

    def __init__(self, upstream: pl.LazyFrame, name: str, expr: pl.Expr, by: Sequence[str]) -> None:
        if not name:
            raise CallError("metric: expected a name, got an empty one")
        schema = upstream.collect_schema()
        if "value" in by:
            raise CallError(f"metric '{name}': by: the name 'value' is taken; rename that column")
        missing = [one for one in by if one not in schema]
        if missing:
            raise CallError(f"metric '{name}': by: expected columns of {schema.names()}, got {missing}")
        value = expr.alias("\x01value")
        # What the planner reads: the aggregate as Polars resolves it. Over an empty frame, because above a
        # filter or a concat Polars makes other ones of it.
        self.grouped = pl.DataFrame(schema=schema).lazy().group_by(list(by) or [schema.names()[0]]).agg(value)
        dtype = self.grouped.collect_schema()["\x01value"]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise CallError(f"metric '{name}': expected an aggregate that is a number, got one of {dtype}")
        super().__init__(upstream, schema, f"metric({name})")
        self.metric = name
        self.expr = expr
        self.by = tuple(by)
