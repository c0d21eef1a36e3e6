"""`with_watermark` and `late`: which rows come too late, split by split.

W = (largest event time so far in this split) - delay; a row is late iff its time < W before it, or null. It
depends on the rows of the split alone. `idle` decides nothing on bounded input. Not here: the promise over
splits (the engine).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from dataflare_fast.durations import duration_ns, duration_ticks
from dataflare_fast.errors import CallError
from dataflare_fast.words.word import Word

__all__ = ["Late", "Watermark"]


class Watermark(Word):
    """The rows on time, in event-time order."""

    def __init__(
        self,
        upstream: pl.LazyFrame,
        column: str,
        *,
        delay: str | timedelta,
        idle: str | timedelta | None,
        ahead: str | timedelta | None,
    ) -> None:
        schema = upstream.collect_schema()
        dtype = schema.get(column)
        if dtype is None:
            raise CallError(f"with_watermark: expected a column of {schema.names()}, got '{column}'")
        if not (dtype.is_integer() or isinstance(dtype, pl.Date | pl.Datetime)):
            raise CallError(
                f"with_watermark: expected a column of Datetime, Date or integers, got '{column}' of {dtype}"
            )
        super().__init__(upstream, schema, f"with_watermark({column})")
        self.column = column
        self.delay = duration_ticks(delay, dtype, "with_watermark: delay")
        self.idle_ns = None if idle is None else duration_ns(idle, "with_watermark: idle")
        self.ahead = None if ahead is None else duration_ticks(ahead, dtype, "with_watermark: ahead")

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        kept = self._without_rows_far_ahead(rows)
        return kept.filter(~_is_late(self.column, self.delay))

    def late_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of one split that `meaning` drops as late."""
        kept = self._without_rows_far_ahead(rows)
        return kept.filter(_is_late(self.column, self.delay))

    def read(self) -> Iterator[pl.DataFrame]:
        splits = [batch for split in self.split_paths() for batch in self.read_split(split)]
        if splits:
            yield pl.concat(splits).sort(self.column, maintain_order=True)

    def _without_rows_far_ahead(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self.ahead is None:
            return rows
        time, furthest = _time_and_furthest_before(self.column)
        if not rows.select((time - furthest > self.ahead).any()).item():
            return rows
        # Whether a row counts depends on which rows before it did: a loop, run only where rows stand out.
        seen: int | None = None
        near = []
        for tick in rows.select(time).to_series().to_list():
            fits = tick is None or seen is None or tick <= seen + self.ahead
            near.append(fits)
            if fits and tick is not None and (seen is None or tick > seen):
                seen = tick
        return rows.filter(pl.Series(near, dtype=pl.Boolean))


class Late(Word):
    """The rows that a `with_watermark` dropped, split by split."""

    def __init__(self, watermark: Watermark) -> None:
        super().__init__(watermark.upstream, watermark.schema, f"late({watermark.column})")
        self.watermark = watermark

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self.watermark.late_rows(rows)


def _is_late(column: str, delay: int) -> pl.Expr:
    time, furthest = _time_and_furthest_before(column)
    return time.is_null() | (furthest - time > delay).fill_null(False)


def _time_and_furthest_before(column: str) -> tuple[pl.Expr, pl.Expr]:
    """The time of a row, and the largest one before it in the split.

    Int128, so that nothing wraps: that is the same as a watermark that saturates at the minimum of its type.
    """
    time = pl.col(column).to_physical().cast(pl.Int128)
    return time, time.cum_max().forward_fill().shift(1)
