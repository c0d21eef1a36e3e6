"""How keys and values become columns: JSON that changes, Avro, Protobuf, raw bytes, tombstones."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError, UnavailableError

from .broker import Registry, Rows, framed, new_topic, send, wait_until

NUMBERS = {"n": pl.Int64}


def read(servers: str, topic: str, *, on_error: Any = "raise", **more: Any) -> pl.DataFrame:
    frame = dff.scan_kafka(topic, bootstrap_servers=servers, end="latest", **more)
    return frame.collect(engine=dff.Engine(on_error=on_error))


def test_field_that_is_added_lost_or_retyped_follows_on_error(servers: str) -> None:
    topic = new_topic(servers, 1)
    send(
        servers,
        topic,
        [
            '{"n": 1, "t": "a"}',
            '{"n": 2, "t": "b", "new": [1]}',
            '{"n": 3}',
            '{"n": "4", "t": "d"}',
            '{"n": 5, "t": 5}',
        ],
    )
    schema = {"n": pl.Int64, "t": pl.String}
    kept = read(servers, topic, schema=schema, on_error="skip")
    assert kept.rows() == [(1, "a"), (2, "b"), (3, None)]
    with pytest.raises(DataError, match=rf'{topic}\[0\] offset 3.*field n: expected Int64, got "4"'):
        read(servers, topic, schema=schema)
    frame = dff.scan_kafka(topic, bootstrap_servers=servers, end="latest", schema=schema)
    rows, letters = Rows(), Rows()
    sinks = [frame.stream.sink_to(rows, lazy=True), frame.stream.errors().stream.sink_to(letters, lazy=True)]
    assert dff.Engine(on_error="dead_letter").start(*sinks).wait("60s")
    assert rows.all().rows() == kept.rows()
    reasons = letters.all().sort("_error_offset")
    assert reasons["_error_message"].to_list() == [
        'field n: expected Int64, got "4"',
        "field t: expected String, got 5",
    ]
    assert reasons["_error_offset"].to_list() == [f"{topic}[0] offset {offset}" for offset in (3, 4)]


def test_tombstones_are_errors_nulls_or_no_rows(servers: str) -> None:
    topic = new_topic(servers, 1)
    send(servers, topic, ['{"n": 1}', None, '{"n": 3}'], key=b"k")
    options: dict[str, Any] = {"schema": NUMBERS, "columns": {"key": "k", "offset": "at"}}
    with pytest.raises(DataError, match=rf"{topic}\[0\] offset 1.*tombstone"):
        read(servers, topic, **options)
    assert read(servers, topic, tombstones="drop", **options).rows() == [(1, b"k", 0), (3, b"k", 2)]
    assert read(servers, topic, tombstones="null", **options).rows() == [
        (1, b"k", 0),
        (None, b"k", 1),
        (3, b"k", 2),
    ]


def test_raw_values_and_keys_of_their_own_form(servers: str) -> None:
    topic = new_topic(servers, 1)
    send(servers, topic, [b"\xff\x00", "text"], key=b'{"id": 7}')
    assert read(servers, topic, value="bytes")["value"].to_list() == [b"\xff\x00", b"text"]
    assert read(servers, topic, value="string", schema={"line": pl.String}, on_error="skip").rows() == [
        ("text",)
    ]
    with pytest.raises(DataError, match="UTF-8"):
        read(servers, topic, value="string")
    keyed = read(servers, topic, value="bytes", key="json", key_schema={"id": pl.Int64}, columns={"key": "k"})
    assert keyed["k"].to_list() == [{"id": 7}, {"id": 7}]
    assert (
        read(servers, topic, value="bytes", key="string", columns={"key": "k"})["k"].to_list()
        == ['{"id": 7}'] * 2
    )
    with pytest.raises(DataError, match="key: field id: expected String, got 7"):
        read(servers, topic, value="bytes", key="json", key_schema={"id": pl.String}, columns={"key": "k"})


def test_arrival_is_a_column_that_explain_marks_as_not_repeatable(servers: str) -> None:
    topic = new_topic(servers, 1)
    send(servers, topic, ['{"n": 1}'])
    before = datetime.now(UTC)
    frame = dff.scan_kafka(topic, bootstrap_servers=servers, end="latest", schema=NUMBERS, arrival="came")
    came = frame.collect(engine=dff.Engine())["came"].item()
    assert before <= came <= datetime.now(UTC)
    assert "not repeatable: came is the time of arrival" in dff.explain(frame)


def avro(schema: dict[str, Any], row: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    return out.getvalue()


OLD = {
    "type": "record",
    "name": "Bid",
    "namespace": "shop",
    "fields": [
        {"name": "price", "type": "int"},
        {"name": "gone", "type": {"type": "map", "values": "string"}},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}
NEW = {
    "type": "record",
    "name": "Bid",
    "namespace": "shop",
    "fields": [
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": ["null", "long"]},
        {
            "name": "buyer",
            "type": {"type": "record", "name": "Buyer", "fields": [{"name": "id", "type": "long"}]},
        },
    ],
}
BIDS: dict[str, Any] = {
    "price": pl.Int64,
    "side": pl.String,
    "at": pl.Datetime("us"),
    "fee": pl.Decimal(12, 2),
    "tags": pl.List(pl.String),
    "buyer": pl.Struct({"id": pl.Int64}),
}
MOMENT = datetime(2024, 1, 1, 12, 30, 0, 5000, tzinfo=UTC)


def test_avro_is_read_by_the_schema_of_each_message(servers: str, registry: Registry) -> None:
    topic = new_topic(servers, 1)
    old, new = registry.add(OLD), registry.add(NEW)
    bid = {"price": 7, "gone": {"a": "b"}, "side": "SELL", "at": MOMENT, "fee": Decimal("-1.50")}
    second = {"tags": ["x", None], "at": MOMENT, "price": None, "buyer": {"id": 9}}
    values = [framed(old, avro(OLD, bid)), framed(new, avro(NEW, second))] * 3
    send(servers, topic, values)
    rows = read(servers, topic, value="avro", schema=BIDS, registry=registry.url)
    moment = MOMENT.replace(tzinfo=None)
    first = (7, "SELL", moment, Decimal("-1.50"), None, None)
    assert rows.rows() == [first, (None, None, moment, None, ["x", None], {"id": 9})] * 3
    assert sorted(registry.asked) == ["/schemas/ids/1", "/schemas/ids/2"]


def test_avro_of_a_type_that_does_not_fit_names_the_field(servers: str, registry: Registry) -> None:
    topic = new_topic(servers, 1)
    changed = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "string"}]}
    right, wrong = registry.add(NEW), registry.add(changed)
    row = {"tags": [], "at": MOMENT, "price": 1, "buyer": {"id": 9}}
    values = [
        framed(right, avro(NEW, row)),
        framed(wrong, avro(changed, {"price": "much"})),
        framed(99, b""),
        b"no frame",
        framed(right, avro(NEW, row) + b"more"),
        framed(right, avro(NEW, row)[:-1]),
    ]
    send(servers, topic, values)
    options: dict[str, Any] = {"value": "avro", "schema": {"price": pl.Int64}, "registry": registry.url}
    assert read(servers, topic, on_error="skip", **options).rows() == [(1,)]
    with pytest.raises(DataError, match=rf'{topic}\[0\] offset 1.*field price: expected Int64, got "much"'):
        read(servers, topic, **options)
    for start, reason in [
        (2, "has no schemas/ids/99"),
        (3, "a byte 0 and the id"),
        (4, "4 more bytes"),
        (5, "more bytes"),
    ]:
        with pytest.raises(DataError, match=reason):
            read(servers, topic, start={0: start}, **options)


def test_keys_in_avro_and_names_of_other_schemas(servers: str, registry: Registry) -> None:
    topic = new_topic(servers, 1)
    side = {"type": "enum", "name": "Side", "namespace": "shop", "symbols": ["BUY", "SELL"]}
    registry.add(side, subject="side/type")
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "side", "type": "Side"}],
    }
    reference = {"name": "shop.Side", "subject": "side%2Ftype", "version": 1}
    registry.subjects[("side%2Ftype", 1)] = registry.subjects[("side/type", 1)]
    value = registry.add(order, references=[{**reference, "subject": "side/type"}])
    key = registry.add({"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]})
    send(servers, topic, [framed(value, b"\x02")], key=framed(key, b"\x0e"))
    rows = read(
        servers,
        topic,
        value="avro",
        schema={"side": pl.String},
        key="avro",
        key_schema={"id": pl.Int64},
        columns={"key": "k"},
        registry=registry.url,
    )
    assert rows.rows() == [("SELL", {"id": 7})]


PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
enum Side { BUY = 0; SELL = 1; }
message Other { int64 n = 1; }
message Bid {
  message Buyer { uint64 id = 1; repeated string tags = 2; }
  sint64 price = 1;
  optional string note = 2;
  repeated int32 parts = 3;
  Side side = 4;
  google.protobuf.Timestamp at = 5;
  Buyer buyer = 6;
  map<string, double> rates = 7;
  fixed32 code = 8;
}
"""


def bid_of_protobuf() -> Any:
    """The message type of PROTO, by Google's own library."""
    from google.protobuf import timestamp_pb2

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="bid.proto", package="shop", syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    side = file.enum_type.add(name="Side")
    side.value.add(name="BUY", number=0)
    side.value.add(name="SELL", number=1)
    bid = file.message_type.add(name="Bid")
    buyer = bid.nested_type.add(name="Buyer")
    buyer.field.add(name="id", number=1, type=kinds.TYPE_UINT64, label=kinds.LABEL_OPTIONAL)
    buyer.field.add(name="tags", number=2, type=kinds.TYPE_STRING, label=kinds.LABEL_REPEATED)
    entry = bid.nested_type.add(name="RatesEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    single, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    bid.field.add(name="price", number=1, type=kinds.TYPE_SINT64, label=single)
    bid.oneof_decl.add(name="_note")
    bid.field.add(
        name="note", number=2, type=kinds.TYPE_STRING, label=single, proto3_optional=True, oneof_index=0
    )
    bid.field.add(name="parts", number=3, type=kinds.TYPE_INT32, label=many)
    bid.field.add(name="side", number=4, type=kinds.TYPE_ENUM, label=single, type_name=".shop.Side")
    moment = ".google.protobuf.Timestamp"
    bid.field.add(name="at", number=5, type=kinds.TYPE_MESSAGE, label=single, type_name=moment)
    bid.field.add(name="buyer", number=6, type=kinds.TYPE_MESSAGE, label=single, type_name=".shop.Bid.Buyer")
    rates = ".shop.Bid.RatesEntry"
    bid.field.add(name="rates", number=7, type=kinds.TYPE_MESSAGE, label=many, type_name=rates)
    bid.field.add(name="code", number=8, type=kinds.TYPE_FIXED32, label=single)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Bid"))


def test_protobuf_is_read_by_the_schema_of_each_message(servers: str, registry: Registry) -> None:
    topic = new_topic(servers, 1)
    schema = registry.add(PROTO, "PROTOBUF")
    bid = bid_of_protobuf()
    full = bid(price=-5, note="é", parts=[1, -2], side=1, code=7, rates={"x": 1.5})
    full.at.FromDatetime(MOMENT)
    full.buyer.id = 2**63
    full.buyer.tags.extend(["a", "b"])
    index = b"\x02\x02"  # one index: the second message of the file
    send(servers, topic, [framed(schema, index + one.SerializeToString()) for one in (full, bid())])
    columns: dict[str, Any] = {
        "price": pl.Int64,
        "note": pl.String,
        "parts": pl.List(pl.Int64),
        "side": pl.String,
        "at": pl.Datetime("us"),
        "buyer": pl.Struct({"id": pl.UInt64, "tags": pl.List(pl.String)}),
        "rates": pl.List(pl.Struct({"key": pl.String, "value": pl.Float64})),
        "code": pl.UInt32,
        "lacking": pl.Int8,
    }
    rows = read(servers, topic, value="protobuf", schema=columns, registry=registry.url)
    assert rows.row(0) == (
        -5, "é", [1, -2], "SELL", MOMENT.replace(tzinfo=None), {"id": 2**63, "tags": ["a", "b"]},
        [{"key": "x", "value": 1.5}], 7, None,
    )  # fmt: skip
    assert rows.row(1) == (0, None, [], "BUY", None, None, [], 0, None)
    with pytest.raises(DataError, match="field side: expected Boolean, got 1"):
        read(servers, topic, value="protobuf", schema={"side": pl.Boolean}, registry=registry.url)
    with pytest.raises(DataError, match="one of PROTOBUF"):
        read(servers, topic, value="avro", schema={"side": pl.String}, registry=registry.url)


def test_registry_that_does_not_answer_has_a_name_in_status_and_a_limit(
    servers: str, registry: Registry
) -> None:
    topic, rows = new_topic(servers, 1), Rows()
    send(
        servers,
        topic,
        [framed(registry.add(NEW), avro(NEW, {"tags": [], "at": MOMENT, "price": 1, "buyer": {"id": 9}}))],
    )
    registry.broken = True
    options: dict[str, Any] = {"value": "avro", "schema": {"price": pl.Int64}, "registry": registry.url}
    frame = dff.scan_kafka(topic, bootstrap_servers=servers, **options)
    with dff.Engine().start(frame.stream.sink_to(rows, lazy=True)) as job:
        wait_until(job, lambda: any("schema 1 of the schema registry" in wait for wait in job.status().waits))
        registry.broken = False
        wait_until(job, lambda: rows.count() == 1)
        assert not job.status().waits
    registry.broken = True
    with pytest.raises(UnavailableError, match=r"outage_limit.*status 503"):
        read(servers, topic, outage_limit="200ms", **options)


def test_registry_gets_the_credentials_and_no_message_shows_them(servers: str, registry: Registry) -> None:
    topic = new_topic(servers, 1)
    row = {"tags": [], "at": MOMENT, "price": 1, "buyer": {"id": 9}}
    send(servers, topic, [framed(registry.add(NEW), avro(NEW, row))])
    registry.required = "Basic bWU6aHVudGVyMg=="
    options: dict[str, Any] = {"value": "avro", "schema": {"price": pl.Int64}}
    secret = {"url": registry.url, "user": "me", "password": "hunter2"}
    assert read(servers, topic, registry=secret, **options).rows() == [(1,)]
    with pytest.raises(CallError, match="credentials that it accepts") as refused:
        read(servers, topic, registry={**secret, "password": "hunter3"}, **options)
    assert "hunter" not in str(refused.value)
    with pytest.raises(CallError, match="user and password as options") as refused:
        read(servers, topic, registry=registry.url.replace("//", "//me:hunter2@"), **options)
    assert "hunter" not in str(refused.value)


def test_bad_arguments_are_refused_with_what_to_write() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "topics or pattern, got neither"),
        ({"topics": "t", "pattern": "t"}, "got both"),
        ({"topics": "t", "value": "xml"}, "value: expected one of json"),
        ({"topics": "t"}, "expected schema="),
        ({"topics": "t", "value": "avro", "schema": NUMBERS}, "expected registry="),
        ({"topics": "t", "value": "bytes", "schema": NUMBERS}, "one column of type Binary"),
        ({"topics": "t", "schema": NUMBERS, "key": "json"}, "expected key_schema="),
        ({"topics": "t", "schema": NUMBERS, "key": "string"}, 'columns={"key"'),
        (
            {"topics": "t", "schema": NUMBERS, "tombstones": "keep"},
            "tombstones: expected one of error, null, drop",
        ),
        ({"topics": "t", "schema": NUMBERS, "start": "yesterday"}, "a datetime, or offsets"),
        ({"topics": ["t", "u"], "schema": NUMBERS, "start": {0: 1}}, "offsets by topic and partition"),
        ({"topics": "t", "schema": NUMBERS, "arrival": "n"}, "already fields"),
        ({"topics": "t", "schema": NUMBERS, "value": "avro", "registry": {"user": "me"}}, "no url"),
    ]
    for arguments, expected in refused:
        with pytest.raises(CallError, match=expected.replace("(", r"\(")):
            dff.scan_kafka(bootstrap_servers="127.0.0.1:1", **arguments)
