"""`dff.scan_kafka`: topics of Apache Kafka as a source; a partition is a split.

Not here: the client (`rust/connect`), writing to Kafka (`sinks/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import polars as pl

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath
from dataflare_fast.sources.reading import native_splits, read_native

__all__ = ["KafkaOffsets", "KafkaSource", "scan_kafka"]

KafkaOffsets: TypeAlias = Mapping[int, int] | Mapping[str, Mapping[int, int]]
"""Offsets by partition, or by topic and partition."""

_TEXTS = pl.List(pl.Struct({"key": pl.String, "value": pl.Binary}))
_COLUMNS: dict[str, Any] = {
    "key": pl.Binary(),
    "topic": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "timestamp": pl.Datetime("ms", "UTC"),
    "headers": _TEXTS,
}
_RAW = {"bytes": pl.Binary(), "string": pl.String()}
_STRUCTURED = ("json", "avro", "protobuf")
_REGISTRY = ("url", "user", "password", "token", "ca_file")


class KafkaSource(Source):
    """Topics, by name or by pattern."""

    def __init__(self, schema: pl.Schema, options: dict[str, Any]) -> None:
        super().__init__(schema, "kafka", bounded=options["end"] is not None)
        self._options = options

    def options(self) -> dict[str, Any]:
        return dict(self._options)

    def split_paths(self) -> Sequence[SplitPath]:
        self.refuse_if_endless()
        return [(index,) for index in range(len(native_splits(self)))]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        self.refuse_if_endless()
        return read_native(self, native_splits(self)[split[0]])


def scan_kafka(
    topics: str | Sequence[str] | None = None,
    *,
    bootstrap_servers: str,
    schema: Mapping[str, Any] | None = None,
    pattern: str | None = None,
    value: Literal["json", "avro", "protobuf", "bytes", "string"] = "json",
    key: Literal["bytes", "string", "json", "avro", "protobuf"] = "bytes",
    key_schema: Mapping[str, Any] | None = None,
    registry: str | Mapping[str, str] | None = None,
    start: Literal["earliest", "latest"] | datetime | KafkaOffsets = "earliest",
    end: Literal["latest"] | datetime | KafkaOffsets | None = None,
    columns: Mapping[str, str] | None = None,
    arrival: str | None = None,
    tombstones: Literal["error", "null", "drop"] = "error",
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
    group: str | None = None,
    outage_limit: str | timedelta = "5m",
    config: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Reads topics of Apache Kafka.

    Each partition is a split; partitions and topics that appear while the job runs, or while it is down, are
    read from their first message. A message that cannot be read follows `on_error`; the error names topic,
    partition, offset and field.

    Args:
        topics: one name or several.
        bootstrap_servers: `"host:port,host:port"`.
        schema: the fields of a value; a missing one is null, others are not read. Raw values may leave it
            out: their one column is `value`.
        pattern: a regular expression that whole names of topics match, instead of `topics`.
        value: how a value is written. Avro and Protobuf stand behind the id of their schema.
        key: how a key is written.
        key_schema: the fields of a key that is `"json"`, `"avro"` or `"protobuf"`: its column is a struct.
        registry: the schema registry: its URL, or a mapping of `url`, `user`, `password`, `token`, `ca_file`.
        start: where a job without a checkpoint begins: at a moment (naive: UTC), or at offsets; partitions
            that are not named then begin at their beginning.
        end: makes it bounded: each partition up to its end at the start of the job, up to a moment, or up to
            an offset.
        columns: which of `key`, `topic`, `partition`, `offset`, `timestamp`, `headers` to add, and under
            which name.
        arrival: adds a column of this name: when the engine took the message. A replay gives other values.
        tombstones: what a message without a value is: a bad message, a row of nulls, or no row.
        isolation: `"read_uncommitted"` also reads messages of open and aborted transactions.
        group: shows the offsets of committed checkpoints to the brokers under this consumer group. They are
            never read back.
        outage_limit: how long to wait for brokers, or a registry, that do not answer before the job fails.
        config: more settings, under librdkafka's names.

    Returns:
        A LazyFrame of the fields, then the added columns.

    Raises:
        CallError: a bad argument.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> bids = dff.scan_kafka("bids", bootstrap_servers="127.0.0.1:9092", schema={"price": pl.Int64})
        >>> bids.collect_schema()
        Schema({'price': Int64})
    """
    names = [topics] if isinstance(topics, str) else list(topics or [])
    if bool(names) == (pattern is not None):
        raise CallError(f"scan_kafka: expected topics or pattern, got {'both' if names else 'neither'}")
    _one_of("value", value, (*_STRUCTURED, *_RAW))
    _one_of("key", key, (*_STRUCTURED, *_RAW))
    _one_of("tombstones", tombstones, ("error", "null", "drop"))
    _one_of("isolation", isolation, ("read_committed", "read_uncommitted"))
    added = dict(columns or {})
    if unknown := sorted(set(added) - set(_COLUMNS)):
        raise CallError(f"scan_kafka: columns: expected some of {sorted(_COLUMNS)}, got {unknown}")
    fields = _value_fields(value, schema)
    kinds = _COLUMNS | {"key": _key_type(key, key_schema), "arrival": pl.Datetime("us", "UTC")}
    if key != "bytes" and "key" not in added:
        raise CallError(f'scan_kafka: key={key!r}: expected columns={{"key": "its name"}} too')
    if arrival is not None:
        added["arrival"] = arrival
    if taken := sorted(name for name in added.values() if name in fields):
        raise CallError(f"scan_kafka: columns: {taken} are already fields of the message; choose other names")
    if len(set(added.values())) < len(added):
        raise CallError(f"scan_kafka: columns: expected a name of its own for each, got {added}")
    options = {
        "topics": names,
        "pattern": pattern,
        "bootstrap_servers": bootstrap_servers,
        "value": "raw" if value in _RAW else value,
        "key": "raw" if key in _RAW else key,
        "tombstones": tombstones,
        "registry": _registry(registry, value, key),
        "start": _start(start, names),
        "end": None if end is None else _place("end", end, names, ("latest",)),
        "columns": added,
        "isolation": isolation,
        "group": group,
        "outage_limit_ms": duration_ns(outage_limit, "scan_kafka: outage_limit") // 1_000_000,
        "config": dict(config or {}),
    }
    schema_of_rows = fields | {name: kinds[kind] for kind, name in added.items()}
    return KafkaSource(pl.Schema(schema_of_rows), options).frame()


def _one_of(argument: str, found: str, expected: Sequence[str]) -> None:
    if found not in expected:
        raise CallError(f"scan_kafka: {argument}: expected one of {', '.join(expected)}, got {found!r}")


def _value_fields(value: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if value not in _RAW:
        if schema is None:
            raise CallError(f"scan_kafka: value={value!r}: expected schema={{name: type}}, got none")
        return dict(pl.Schema(schema))
    fields = dict(pl.Schema({"value": _RAW[value]} if schema is None else schema))
    if list(fields.values()) != [_RAW[value]]:
        raise CallError(
            f"scan_kafka: value={value!r}: expected one column of type {_RAW[value]} in schema, got {fields}"
        )
    return fields


def _key_type(key: str, key_schema: Mapping[str, Any] | None) -> Any:
    if (key in _STRUCTURED) != (key_schema is not None):
        expected = "key_schema={name: type}" if key in _STRUCTURED else "no key_schema"
        raise CallError(f"scan_kafka: key={key!r}: expected {expected}")
    return _RAW[key] if key_schema is None else pl.Struct(dict(pl.Schema(key_schema)))


def _registry(registry: str | Mapping[str, str] | None, value: str, key: str) -> dict[str, str] | None:
    needed = [one for one in (value, key) if one in ("avro", "protobuf")]
    if registry is None:
        if needed:
            raise CallError(f'scan_kafka: {needed[0]}: expected registry="http://...", got none')
        return None
    options = {"url": registry} if isinstance(registry, str) else dict(registry)
    unknown = sorted(set(options) - set(_REGISTRY))
    if unknown or "url" not in options:
        found = f"also {unknown}" if unknown else "no url"
        raise CallError(f"scan_kafka: registry: expected url and some of {_REGISTRY[1:]}, got {found}")
    return options


def _start(start: object, topics: Sequence[str]) -> Any:
    return _place("start", start, topics, ("earliest", "latest"))


def _place(argument: str, place: object, topics: Sequence[str], words: Sequence[str]) -> Any:
    """A word, a moment, or offsets, in the words of the plan."""
    expected = f"{', '.join(repr(word) for word in words)}, a datetime, or offsets by partition"
    if isinstance(place, str) and place in words:
        return place
    if isinstance(place, datetime):
        moment = place.replace(tzinfo=UTC) if place.tzinfo is None else place
        milliseconds = -(-(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
        return {"timestamp_ms": milliseconds}
    if not isinstance(place, Mapping) or not place:
        raise CallError(f"scan_kafka: {argument}: expected {expected}, got {place!r}")
    if all(isinstance(offset, int) for offset in place.values()):
        if len(topics) != 1:
            raise CallError(
                f"scan_kafka: {argument}: expected offsets by topic and partition, "
                f'{{"topic": {{0: 5}}}}, for several topics'
            )
        return {"offsets": {topics[0]: {str(number): offset for number, offset in place.items()}}}
    if all(isinstance(offsets, Mapping) for offsets in place.values()):
        by_topic = {
            topic: {str(number): offset for number, offset in offsets.items()}
            for topic, offsets in place.items()
        }
        return {"offsets": by_topic}
    raise CallError(f"scan_kafka: {argument}: expected {expected}, got {place!r}")
