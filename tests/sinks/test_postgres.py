"""PostgreSQL as a sink: the rules of sinks, killed jobs, types, errors without passwords."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError, UnavailableError
from dataflare_fast.sinks.postgres import PostgresSink

from .killed import killed_job

psycopg = pytest.importorskip("psycopg")

ROWS = pl.DataFrame({"k": ["a", "b", "c", "d"], "n": [1, 2, 3, None]})


def new_table() -> str:
    return f"rows_{uuid.uuid4().hex[:8]}"


def read(url: str, table: str, schema: pl.Schema) -> pl.DataFrame:
    with psycopg.connect(url) as connection:
        names = ", ".join(f'"{name}"' for name in schema)
        rows = connection.execute(f"SELECT {names} FROM {table}").fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_rows_of_an_epoch_are_seen_once_and_not_before_it_is_confirmed(postgres: str) -> None:
    table = new_table()

    def open_sink() -> PostgresSink:
        sink = PostgresSink(postgres, table, ROWS.schema)
        sink.open("folder/out")
        return sink

    open_sink()
    dff.testing.check_sink(open_sink, lambda: read(postgres, table, ROWS.schema), ROWS)


def test_killed_job_writes_every_row_once(postgres: str, tmp_path: Any) -> None:
    table = new_table()
    sink = f"stream.sink_postgres({table!r}, url={postgres!r}, lazy=True)"
    rows = killed_job(tmp_path, sink)
    assert_frame_equal(read(postgres, table, rows.schema), rows, check_row_order=False)


def test_rows_of_dead_processes_do_not_stay_in_the_staging_table(postgres: str) -> None:
    table = new_table()
    dead = PostgresSink(postgres, table, ROWS.schema)
    dead.open("folder/out")
    dead.write(ROWS)
    dead.prepare(1)
    other = PostgresSink(postgres, table, ROWS.schema)
    other.open("folder/another")
    other.write(ROWS)
    kept = other.prepare(1)
    alive = PostgresSink(postgres, table, ROWS.schema)
    alive.open("folder/out")
    alive.write(ROWS.head(1))
    alive.confirm(2, alive.prepare(2))
    other.confirm(1, kept)
    with psycopg.connect(postgres) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}__staging").fetchone() == (0,)
    assert read(postgres, table, ROWS.schema).height == 5


def test_types_come_back_as_they_went(postgres: str) -> None:
    table = new_table()
    rows = pl.DataFrame(
        {
            "flag": [True, None],
            "text": ['tab\tquote"line\n\\N', ""],
            "big": pl.Series([2**63, None], dtype=pl.UInt64),
            "share": [0.1, float("inf")],
            "day": [date(2024, 2, 29), None],
            "at": [datetime(2024, 1, 1, 12, 0, 0, 123456), None],
            "bytes": [b"\x00\xff", None],
            "many": [[1, None], []],
        }
    )
    rows.lazy().stream.sink_postgres(table, url=postgres, engine=dff.Engine())
    found = read(postgres, table, rows.schema)
    assert_frame_equal(found, rows, check_row_order=False)


def test_newest_row_of_a_key_stays_and_deleted_keys_go(postgres: str) -> None:
    table = new_table()
    sink = PostgresSink(postgres, table, ROWS.schema, key=["k"])
    sink.open("folder/out")
    sink.write(ROWS.with_columns(_change=pl.lit("+I")))
    sink.confirm(1, sink.prepare(1))
    changes = pl.DataFrame(
        {"k": ["a", "a", "b", "e", "e"], "n": [1, 10, 2, 5, 50], "_change": ["-U", "+U", "-D", "+I", "+U"]}
    )
    sink.write(changes)
    sink.confirm(2, sink.prepare(2))
    found = read(postgres, table, ROWS.schema).sort("k").rows()
    assert found == [("a", 10), ("c", 3), ("d", None), ("e", 50)]


def test_errors_name_the_table_and_never_the_password(postgres: str) -> None:
    user, rest = postgres.removeprefix("postgresql://").split("@")
    wrong = f"postgresql://{user.split(':')[0]}:hunter2@127.0.0.1:1/{rest.rpartition('/')[2]}"
    sink = PostgresSink(wrong, "nowhere", ROWS.schema)
    with pytest.raises(UnavailableError, match="postgres table nowhere") as raised:
        sink.open(None)
    assert "hunter2" not in str(raised.value)
    typed = new_table()
    PostgresSink(postgres, typed, pl.Schema({"n": pl.Int64})).open(None)
    other = PostgresSink(postgres, typed, pl.Schema({"n": pl.String}))
    other.open(None)
    with pytest.raises(DataError, match=rf"postgres table {typed}.*much"):
        other.write(pl.DataFrame({"n": ["much"]}))
    with pytest.raises(CallError, match=r"column 'o'.*Object"):
        PostgresSink(postgres, "rows", pl.Schema({"o": pl.Object}))
