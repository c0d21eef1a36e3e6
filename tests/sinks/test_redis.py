"""Streams of Redis as a sink: the rules of sinks, killed jobs, lost data."""

from __future__ import annotations

import uuid
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import DataError, UnavailableError
from dataflare_fast.sinks.redis import RedisSink

from .killed import killed_job

redis = pytest.importorskip("redis")

ROWS = pl.DataFrame({"n": [1, 2, 3], "text": ["a", "", "c"]})


def new_stream() -> str:
    return f"rows-{uuid.uuid4().hex[:8]}"


def read(url: str, stream: str) -> pl.DataFrame:
    with redis.Redis.from_url(url) as server:
        entries = [entry for _, entry in server.xrange(stream)]
    rows = [{"n": int(entry[b"n"]), "text": entry[b"text"].decode()} for entry in entries]
    return pl.DataFrame(rows, schema=ROWS.schema)


def test_rows_of_an_epoch_are_seen_once_and_not_before_it_is_confirmed(redis_url: str) -> None:
    stream, opened = new_stream(), []

    def open_sink() -> RedisSink:
        sink = RedisSink(redis_url, stream)
        sink.open("folder/out")
        opened.append(sink)
        return sink

    dff.testing.check_sink(open_sink, lambda: read(redis_url, stream), ROWS)
    for sink in opened:
        sink.close()


def test_killed_job_writes_every_row_once(redis_url: str, tmp_path: Any) -> None:
    stream = new_stream()
    rows = killed_job(tmp_path, f"stream.sink_redis({stream!r}, url={redis_url!r}, lazy=True)")
    assert_frame_equal(read(redis_url, stream), rows, check_row_order=False)


def test_a_server_that_lost_an_epoch_is_an_error_and_one_that_is_away_names_no_password(
    redis_url: str,
) -> None:
    stream = new_stream()
    sink = RedisSink(redis_url, stream)
    sink.write(ROWS)
    prepared = sink.prepare(1)
    with redis.Redis.from_url(redis_url) as server:
        server.delete(f"{stream}:dataflare:{prepared['token']}")
    with pytest.raises(DataError, match=r"epoch 1.*lost data"):
        sink.confirm(1, prepared)
    sink.close()
    away = RedisSink("redis://me:hunter2@127.0.0.1:1/0", stream)
    with pytest.raises(UnavailableError) as raised:
        away.open(None)
    assert "hunter2" not in str(raised.value)
