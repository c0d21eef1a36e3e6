"""The words of `.stream` that write to servers; each server's own code is in `sinks/`.

`frame.py` hands them on. A word makes the sink, and is a lazy sink like those of Polars. Not here: how rows
get there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import polars as pl

from dataflare_fast.words.sink import SinkWord, WritableSink, run_unless_lazy

__all__ = ["ServerSinks"]


class ServerSinks:
    """Sinks to databases, tables and queues, each exactly once with a checkpoint (`docs/delivery.md`)."""

    _lf: pl.LazyFrame

    @overload
    def sink_postgres(
        self,
        table: str,
        *,
        url: str,
        key: str | Sequence[str] | None = None,
        create: bool = True,
        lazy: Literal[False] = False,
        engine: pl.Engine | None = None,
    ) -> None: ...

    @overload
    def sink_postgres(
        self,
        table: str,
        *,
        url: str,
        key: str | Sequence[str] | None = None,
        create: bool = True,
        lazy: Literal[True],
        engine: None = None,
    ) -> pl.LazyFrame: ...

    def sink_postgres(
        self,
        table: str,
        *,
        url: str,
        key: str | Sequence[str] | None = None,
        create: bool = True,
        lazy: bool = False,
        engine: pl.Engine | None = None,
    ) -> pl.LazyFrame | None:
        """Writes to a table of PostgreSQL; exactly once with a checkpoint.

        Rows are copied into `<table>__staging` as they come; behind the checkpoint one transaction moves
        those of the epoch into the table.

        Args:
            table: its name, `"schema.table"` or `"table"`.
            url: `"postgresql://user:password@host:port/database"`.
            key: the columns that a new row replaces an earlier one by (a unique index must be on them); a
                changing frame needs those that tell its rows apart. None: rows are appended.
            create: makes the table if it is missing, with `key` as its primary key.
            lazy: True: gives a lazy sink for `Engine.start`, and writes nothing yet.
            engine: runs it now; needed unless lazy.

        Raises:
            MissingExtraError: `pip install 'dataflare-fast[postgres]'`.
            CallError: a bad argument.
        """
        from dataflare_fast.sinks.postgres import PostgresSink

        columns = _columns(key)
        sink = PostgresSink(url, table, self._lf.collect_schema(), key=columns, create=create)
        return self._to(sink, {"table": f"postgres {table}"}, columns, lazy, engine)

    @overload
    def sink_redis(
        self, stream: str, *, url: str, lazy: Literal[False] = False, engine: pl.Engine | None = None
    ) -> None: ...

    @overload
    def sink_redis(
        self, stream: str, *, url: str, lazy: Literal[True], engine: None = None
    ) -> pl.LazyFrame: ...

    def sink_redis(
        self, stream: str, *, url: str, lazy: bool = False, engine: pl.Engine | None = None
    ) -> pl.LazyFrame | None:
        """Appends to a stream of Redis; exactly once with a checkpoint.

        An entry for each row, a field for each column that is not null: texts as they are, the rest as JSON.

        Args:
            stream: its key.
            url: `"redis://user:password@host:port/0"`.
            lazy: True: gives a lazy sink for `Engine.start`, and writes nothing yet.
            engine: runs it now; needed unless lazy.

        Raises:
            MissingExtraError: `pip install 'dataflare-fast[redis]'`.
        """
        from dataflare_fast.sinks.redis import RedisSink

        return self._to(RedisSink(url, stream), {"table": f"redis {stream}"}, None, lazy, engine)

    def _to(
        self,
        sink: WritableSink,
        place: Mapping[str, str],
        key: tuple[str, ...] | None,
        lazy: bool,
        engine: pl.Engine | None,
    ) -> pl.LazyFrame | None:
        options: dict[str, Any] = {**place, "place": "server", "key": None if key is None else list(key)}
        return run_unless_lazy(SinkWord(self._lf, "python", options, key=key, carried=sink), lazy, engine)


def _columns(key: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if key is None else (key,) if isinstance(key, str) else tuple(key)
