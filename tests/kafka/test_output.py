"""What stands in a topic that the engine wrote: headers, times, raw values, tombstones, compression."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast.errors import CallError

from .broker import new_topic, receive


def write(servers: str, frame: pl.LazyFrame | pl.DataFrame, topic: str, **more: Any) -> None:
    sink = frame.lazy().stream.sink_kafka(topic, bootstrap_servers=servers, lazy=True, **more)
    assert dff.Engine().start(sink).wait("60s")


def test_headers_and_times_leave_with_the_message(servers: str) -> None:
    topic = new_topic(servers, 1)
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    pair = pl.Struct({"key": pl.String, "value": pl.Binary})
    rows = pl.DataFrame(
        {
            "n": [1, 2],
            "h": [[{"key": "trace", "value": b"\x00a"}, {"key": "empty", "value": None}], None],
            "at": [moment.replace(tzinfo=None)] * 2,
        },
        schema_overrides={"h": pl.List(pair)},
    )
    write(servers, rows, topic, headers="h", timestamp="at")
    first, second = receive(servers, topic, 2)
    assert first.headers() == [("trace", b"\x00a"), ("empty", None)]
    assert second.headers() is None
    assert first.timestamp()[1] == int(moment.timestamp() * 1000)
    assert json.loads(first.value() or b"") == {"n": 1, "at": "2024-01-01T00:00:00"}
    back = dff.scan_kafka(
        topic,
        bootstrap_servers=servers,
        end="latest",
        schema={"n": pl.Int64, "at": pl.Datetime("us")},
        columns={"headers": "h"},
    )
    assert back.collect(engine=dff.Engine()).select("n", "h", "at").rows() == [
        rows.row(0),
        (2, [], moment.replace(tzinfo=None)),
    ]


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read_back_whole(servers: str, compression: str) -> None:
    topic = new_topic(servers, 1)
    rows = pl.DataFrame({"k": ["a"] * 2000, "text": ["the same text again and again"] * 2000})
    write(servers, rows, topic, key="k", compression=compression)
    frame = dff.scan_kafka(
        topic, bootstrap_servers=servers, end="latest", schema={"k": pl.String, "text": pl.String}
    )
    assert frame.collect(engine=dff.Engine()).equals(rows)


def test_raw_values_go_out_as_they_are_and_null_is_a_tombstone(servers: str) -> None:
    topic = new_topic(servers, 1)
    rows = pl.DataFrame({"k": ["a", "b"], "v": [b"\xff", None]}, schema={"k": pl.String, "v": pl.Binary})
    write(servers, rows, topic, key="k", value="bytes")
    assert [(one.key(), one.value()) for one in receive(servers, topic, 2)] == [(b"a", b"\xff"), (b"b", None)]


def test_deleted_rows_of_a_changing_frame_are_tombstones_that_come_back_as_nulls(servers: str) -> None:
    topic = new_topic(servers, 1)
    write(servers, pl.LazyFrame({"k": ["a", "b", "a"]}).group_by("k").agg(pl.len()), topic, key="k")
    frame = dff.scan_kafka(
        topic,
        bootstrap_servers=servers,
        end="latest",
        schema={"len": pl.Int64},
        columns={"key": "k"},
        key="string",
    )
    assert sorted(frame.collect(engine=dff.Engine()).rows()) == [(1, "b"), (2, "a")]


def test_columns_that_cannot_be_sent_are_refused(servers: str) -> None:
    frame = pl.LazyFrame({"n": [1], "h": ["no headers"]})
    for more, expected in [
        ({"headers": "h"}, "headers h: expected List"),
        ({"timestamp": "h"}, "timestamp h: expected a Datetime"),
        ({"value": "bytes"}, "one column of type String or Binary"),
        ({"compression": "brotli"}, "compression: expected 'none'"),
    ]:
        arguments: dict[str, Any] = more
        with pytest.raises(CallError, match=expected):
            write(servers, frame, "never-made", **arguments)
