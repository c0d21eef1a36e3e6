"""`group_by_session`: rows of a key that lie no further apart in time than a gap make a group.

A row opens a new group iff its time > the last one's + gap, in the order of their times. Not here: how the
engine finds sessions while rows still come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeAlias

import polars as pl

from dataflare_fast.durations import duration_ticks
from dataflare_fast.errors import CallError, DataError
from dataflare_fast.sources.leaf import SplitPath
from dataflare_fast.words.word import Word

__all__ = ["ALL", "END", "START", "Session", "SessionGroupBy"]

Exprs: TypeAlias = str | pl.Expr | Iterable[str | pl.Expr]

ALL: Final = "\x01all"
"""A key that stands where there is none."""

START: Final = "window_start"
END: Final = "window_end"
_SESSION: Final = "\x01session"


class SessionGroupBy:
    """Sessions that wait for their aggregates."""

    def __init__(self, upstream: pl.LazyFrame, column: str, gap: str | timedelta, keys: Exprs | None) -> None:
        self._upstream = upstream
        self._column = column
        self._gap = gap
        self._keys = [] if keys is None else [keys] if isinstance(keys, str | pl.Expr) else list(keys)

    def agg(self, *aggregates: Exprs, **named: pl.Expr) -> pl.LazyFrame:
        """One row a session.

        Args:
            aggregates: as in `LazyFrame.group_by(...).agg(...)`.
            named: the same under names of their own.

        Returns:
            The keys, `window_start` (the first time), `window_end` (the last time + gap), the aggregates.

        Raises:
            CallError: a column that is no time, a gap that does not fit it, or names that occur twice.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> clicks = pl.LazyFrame({"ts": [1, 5, 40], "user": ["a", "a", "a"]})
            >>> clicks.stream.group_by_session("ts", "10i", group_by="user").agg(pl.len()).collect().rows()
            [('a', 1, 15, 2), ('a', 40, 50, 1)]
        """
        exprs: list[str | pl.Expr] = []
        for one in aggregates:
            exprs.extend([one] if isinstance(one, str | pl.Expr) else one)
        exprs.extend(expr.alias(name) for name, expr in named.items())
        return Session(self._upstream, self._column, self._gap, self._keys, exprs).frame()


class Session(Word):
    """The sessions of `upstream`."""

    def __init__(
        self,
        upstream: pl.LazyFrame,
        column: str,
        gap: str | timedelta,
        keys: Sequence[str | pl.Expr],
        aggregates: Sequence[str | pl.Expr],
    ) -> None:
        below = upstream.collect_schema()
        dtype = below.get(column)
        if dtype is None:
            raise CallError(f"group_by_session: expected a column of {below.names()}, got '{column}'")
        if not (dtype.is_integer() or isinstance(dtype, pl.Date | pl.Datetime)):
            raise CallError(
                f"group_by_session: expected a column of Datetime, Date or integers, "
                f"got '{column}' of {dtype}"
            )
        self.column = column
        self.gap = duration_ticks(gap, dtype, "group_by_session: gap")
        self._keys = list(keys)
        self._aggregates = list(aggregates)
        # What the planner reads: the keys and aggregates as Polars resolves them. Without keys there is one
        # that the planner leaves out, because a `select` is another thing: Polars makes columns of its lists.
        made = [pl.col(column).min().alias(START), *self._aggregates]
        self.grouped = upstream.group_by(self._keys or [pl.col(column).alias(ALL)]).agg(made)
        names = upstream.select(self._keys).collect_schema().names() if self._keys else []
        resolved = _schema(self.grouped)
        if column in names or END in resolved or START in names:
            raise CallError(
                f"group_by_session: the names '{column}', '{START}' and '{END}' are taken; "
                f"rename keys and aggregates of {[name for name in resolved if name not in (START, ALL)]}"
            )
        rest = {name: of for name, of in resolved.items() if name not in (*names, START, ALL)}
        schema = pl.Schema({**{name: resolved[name] for name in names}, START: dtype, END: dtype, **rest})
        super().__init__(upstream, schema, f"group_by_session({column})")

    def split_paths(self) -> Sequence[SplitPath]:
        return [()]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        return self.read()

    def read(self) -> Iterator[pl.DataFrame]:
        yield self.meaning(self.upstream.collect(engine="in-memory"))

    def meaning(self, rows: pl.DataFrame) -> pl.DataFrame:
        if rows[self.column].null_count():
            raise DataError(
                f"group_by_session: '{self.column}' is null; drop such rows or give them a time "
                "(`.stream.with_watermark` drops them)"
            )
        time = pl.col(self.column).to_physical().cast(pl.Int128)
        opens = (time - time.shift(1) > self.gap).fill_null(False)
        session = opens.cum_sum().over(self._keys or [pl.lit(0)], order_by=self.column).alias(_SESSION)
        last = (pl.col(self.column).max().to_physical() + self.gap).cast(self.schema[END])
        groups = rows.lazy().with_columns(session).group_by(*self._keys, _SESSION)
        made = groups.agg(pl.col(self.column).min().alias(START), last.alias(END), *self._aggregates)
        return made.select(self.schema.names()).collect(engine="in-memory")


def _schema(grouped: pl.LazyFrame) -> pl.Schema:
    try:
        return grouped.collect_schema()
    except pl.exceptions.DuplicateError as error:
        raise CallError(f"group_by_session: {error}") from None
