"""`.stream.sink_postgres`: rows into a table of PostgreSQL, exactly once.

Rows are copied into a staging table beside the target as they come and become durable at the barrier,
together with a token in `dataflare_epochs`. After the checkpoint one transaction moves them into the target
and marks the token.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from dataflare_fast.errors import CallError, DataError, UnavailableError
from dataflare_fast.sinks.extras import hidden, required

__all__ = ["PostgresSink"]

_EPOCHS = """
CREATE TABLE IF NOT EXISTS dataflare_epochs (
    token uuid PRIMARY KEY,
    owner text NOT NULL,
    target text NOT NULL,
    epoch bigint NOT NULL,
    published boolean NOT NULL DEFAULT false,
    prepared_at timestamptz NOT NULL DEFAULT now()
)"""
_CHANGE = "_change"


class PostgresSink:
    """Writes to one table.

    Args:
        url: `postgresql://user:password@host:port/database`.
        table: its name, with its schema if it has one.
        schema: the columns of the rows.
        key: the columns that a new row replaces an earlier one by; None: rows are appended.
        create: makes the table if it is missing.

    Raises:
        MissingExtraError: psycopg is not installed.
        CallError: a column whose type has no counterpart, and `create`.
    """

    def __init__(
        self,
        url: str,
        table: str,
        schema: pl.Schema,
        *,
        key: Sequence[str] | None = None,
        create: bool = True,
    ) -> None:
        self._staging: Any = None
        self._publishing: Any = None
        self._psycopg = required("psycopg", "postgres", "sink_postgres")
        self._sql = required("psycopg.sql", "postgres", "sink_postgres")
        self._json = required("psycopg.types.json", "postgres", "sink_postgres").Jsonb
        self._url = url
        self._name = table
        self._columns = schema.names()
        self._key = list(key or ())
        self._types = {name: _type_of(name, dtype) for name, dtype in schema.items()} if create else None
        self._is_struct = [isinstance(dtype, pl.Struct) for dtype in schema.values()]
        self._owner = f"none/{uuid.uuid4()}"
        self._token: uuid.UUID | None = None
        self._rows = 0
        self._cleaned = False

    # The protocol.

    def open(self, owner: str | None) -> None:
        """Called before all else; `owner` is the same after a restart."""
        if owner is not None:
            self._owner = owner
        with self._errors():
            self._make_tables()

    def write(self, rows: pl.DataFrame) -> None:
        with self._errors():
            connection = self._stage()
            if self._token is None:
                self._token, self._rows = uuid.uuid4(), 0
            changes = rows[_CHANGE] if _CHANGE in rows.columns else pl.repeat("+I", rows.height, eager=True)
            shown = rows.select(self._columns)
            names = [*self._columns, "_dff_token", "_dff_row", "_dff_change"]
            copy = self._text("COPY {} ({}) FROM STDIN", self._table("__staging"), self._list(names))
            with connection.cursor() as cursor, cursor.copy(copy) as into:
                for row, change in zip(shown.iter_rows(), changes, strict=True):
                    into.write_row((*self._adapted(row), self._token, self._rows, change))
                    self._rows += 1

    def prepare(self, epoch: int) -> Any:
        token, self._token = self._token, None
        if token is None:
            return None
        with self._errors():
            connection = self._stage()
            connection.execute(
                "INSERT INTO dataflare_epochs (token, owner, target, epoch) VALUES (%s, %s, %s, %s)",
                (token, self._owner, self._name, epoch),
            )
            connection.commit()
        return {"token": str(token), "rows": self._rows}

    def confirm(self, epoch: int, prepared: Any) -> None:
        if prepared is None:
            return
        token = uuid.UUID(prepared["token"])
        with self._errors():
            connection = self._publish()
            with connection.transaction():
                found = connection.execute(
                    "SELECT published FROM dataflare_epochs WHERE token = %s FOR UPDATE", (token,)
                ).fetchone()
                if found is None:
                    raise DataError(
                        f"{self._place()}: expected the rows of epoch {epoch} in {self._name}__staging, "
                        f"under token {token} of dataflare_epochs; got no such token: somebody has emptied it"
                    )
                if not found[0]:
                    self._move(connection, token)

    def close(self) -> None:
        """Gives the connections back; what was not prepared is gone."""
        for connection in (self._staging, self._publishing):
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        self.close()

    # How.

    def _move(self, connection: Any, token: uuid.UUID) -> None:
        target, staging = self._table(), self._table("__staging")
        columns = self._list(self._columns)
        if not self._key:
            connection.execute(
                self._text(
                    "INSERT INTO {} ({}) SELECT {} FROM {} WHERE _dff_token = %s ORDER BY _dff_row",
                    target,
                    columns,
                    columns,
                    staging,
                ),
                (token,),
            )
        else:
            self._replace(connection, token, columns)
        connection.execute(self._text("DELETE FROM {} WHERE _dff_token = %s", staging), (token,))
        connection.execute("UPDATE dataflare_epochs SET published = true WHERE token = %s", (token,))

    def _replace(self, connection: Any, token: uuid.UUID, columns: Any) -> None:
        """The newest row of each key goes in, or its key goes out."""
        target, staging, keys = self._table(), self._table("__staging"), self._list(self._key)
        newest = self._text(
            "SELECT DISTINCT ON ({}) * FROM {} WHERE _dff_token = %s AND _dff_change <> '-U' "
            "ORDER BY {}, _dff_row DESC",
            keys,
            staging,
            keys,
        )
        same = self._sql.SQL(" AND ").join(
            self._text("target.{} IS NOT DISTINCT FROM newest.{}", one, one)
            for one in map(self._sql.Identifier, self._key)
        )
        gone = "DELETE FROM {} AS target USING ({}) AS newest WHERE newest._dff_change = '-D' AND {}"
        connection.execute(self._text(gone, target, newest, same), (token,))
        others = [name for name in self._columns if name not in self._key]
        update: Any = self._sql.SQL("NOTHING")
        if others:
            settings = self._sql.SQL(", ").join(
                self._text("{} = EXCLUDED.{}", one, one) for one in map(self._sql.Identifier, others)
            )
            update = self._text("UPDATE SET {}", settings)
        put = (
            "INSERT INTO {} ({}) SELECT {} FROM ({}) AS newest WHERE newest._dff_change <> '-D' "
            "ON CONFLICT ({}) DO {}"
        )
        connection.execute(self._text(put, target, columns, columns, newest, keys, update), (token,))

    def _make_tables(self) -> None:
        connection = self._publish()
        with connection.transaction():
            # Two sinks that start at once would both see that there is none.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('dataflare_epochs'))")
            connection.execute(_EPOCHS)
            if self._types is not None:
                fields = [
                    self._text("{} " + kind, self._sql.Identifier(name)) for name, kind in self._types.items()
                ]
                if self._key:
                    fields.append(self._text("PRIMARY KEY ({})", self._list(self._key)))
                connection.execute(
                    self._text(
                        "CREATE TABLE IF NOT EXISTS {} ({})", self._table(), self._sql.SQL(", ").join(fields)
                    )
                )
            connection.execute(
                self._text(
                    "CREATE TABLE IF NOT EXISTS {} (LIKE {} INCLUDING GENERATED, "
                    "_dff_token uuid, _dff_row bigint, _dff_change text)",
                    self._table("__staging"),
                    self._table(),
                )
            )

    def _stage(self) -> Any:
        if self._staging is None or self._staging.closed:
            if self._token is not None:
                raise UnavailableError(f"{self._place()}: the connection was lost while an epoch was written")
            self._staging = self._psycopg.connect(self._url)
        if not self._cleaned:
            self._clean(self._staging)
            self._cleaned = True
        return self._staging

    def _clean(self, connection: Any) -> None:
        """Removes what dead processes of this job prepared; what the checkpoint names is confirmed by now."""
        mine = (self._owner, self._name)
        connection.execute(
            self._text(
                "DELETE FROM {} WHERE _dff_token IN (SELECT token FROM dataflare_epochs "
                "WHERE owner = %s AND target = %s AND NOT published)",
                self._table("__staging"),
            ),
            mine,
        )
        connection.execute(
            "DELETE FROM dataflare_epochs WHERE owner = %s AND target = %s "
            "AND (NOT published OR prepared_at < now() - interval '30 days')",
            mine,
        )
        connection.commit()

    def _publish(self) -> Any:
        if self._publishing is None or self._publishing.closed:
            self._publishing = self._psycopg.connect(self._url, autocommit=True)
        return self._publishing

    def _adapted(self, row: tuple[Any, ...]) -> Iterator[Any]:
        for value, is_struct in zip(row, self._is_struct, strict=True):
            yield self._json(value) if is_struct and value is not None else value

    def _table(self, suffix: str = "") -> Any:
        *schema, name = self._name.split(".")
        return self._sql.Identifier(*schema, name + suffix)

    def _list(self, names: Sequence[str]) -> Any:
        return self._sql.SQL(", ").join(map(self._sql.Identifier, names))

    def _text(self, text: str, *parts: Any) -> Any:
        return self._sql.SQL(text).format(*parts)

    def _place(self) -> str:
        return f"postgres table {self._name}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.OperationalError as error:
            raise UnavailableError(f"{self._place()}: {hidden(error)}".strip()) from None
        except self._psycopg.Error as error:
            raise DataError(f"{self._place()}: {hidden(error)}".strip()) from None


_TYPES: dict[type[pl.DataType], str] = {
    pl.Boolean: "boolean",
    pl.Int8: "smallint",
    pl.Int16: "smallint",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.UInt8: "smallint",
    pl.UInt16: "integer",
    pl.UInt32: "bigint",
    pl.UInt64: "numeric(20)",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.String: "text",
    pl.Categorical: "text",
    pl.Enum: "text",
    pl.Binary: "bytea",
    pl.Date: "date",
    pl.Time: "time",
    pl.Duration: "interval",
    pl.Struct: "jsonb",
}


def _type_of(name: str, dtype: pl.DataType) -> str:
    special: dict[type[pl.DataType], Callable[[Any], str]] = {
        pl.Datetime: lambda one: "timestamp" if one.time_zone is None else "timestamptz",
        pl.Decimal: lambda one: f"numeric({one.precision or 38}, {one.scale})",
        pl.List: lambda one: _type_of(name, one.inner) + "[]",
        pl.Array: lambda one: _type_of(name, one.inner) + "[]",
    }
    kind = type(dtype)
    if kind in special:
        return special[kind](dtype)
    if kind not in _TYPES:
        raise CallError(f"sink_postgres: column '{name}': expected a type that PostgreSQL has, got {dtype}")
    return _TYPES[kind]
