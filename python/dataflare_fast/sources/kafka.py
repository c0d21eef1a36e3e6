"""`dff.scan_kafka`: topics of Apache Kafka as a source; a partition is a split.

Not here: the client (`rust/connect`), writing to Kafka (`sinks/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import polars as pl

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath
from dataflare_fast.sources.reading import native_splits, read_native

__all__ = ["KafkaSource", "scan_kafka"]

_TEXTS = pl.List(pl.Struct({"key": pl.String, "value": pl.Binary}))
_COLUMNS: dict[str, Any] = {
    "key": pl.Binary(),
    "topic": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "timestamp": pl.Datetime("ms", "UTC"),
    "headers": _TEXTS,
}


class KafkaSource(Source):
    """A list of topics."""

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
    topics: str | Sequence[str],
    *,
    bootstrap_servers: str,
    schema: Mapping[str, Any],
    value: Literal["json"] = "json",
    start: Literal["earliest", "latest"] = "earliest",
    end: Literal["latest"] | None = None,
    columns: Mapping[str, str] | None = None,
    outage_limit: str | timedelta = "5m",
    config: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Reads topics of Apache Kafka.

    Args:
        topics: one name or several.
        bootstrap_servers: `"host:port,host:port"`.
        schema: the fields of a message; a missing one is null, others are not read.
        value: how a message is written.
        start: where a job without a checkpoint begins.
        end: `"latest"` makes it bounded: each partition up to its end at the start of the job.
        columns: which of `key`, `topic`, `partition`, `offset`, `timestamp`, `headers` to add, and under
            which name.
        outage_limit: how long to wait for brokers that do not answer before the job fails.
        config: more settings, under librdkafka's names.

    Returns:
        A LazyFrame of the fields, then the added columns.

    Raises:
        CallError: a bad argument.
    """
    names = [topics] if isinstance(topics, str) else list(topics)
    if not names:
        raise CallError("scan_kafka: expected at least one topic, got none")
    if value != "json":
        raise CallError(f"scan_kafka: value: expected 'json', got {value!r}")
    if start not in ("earliest", "latest") or end not in ("latest", None):
        raise CallError(
            f"scan_kafka: expected start 'earliest' or 'latest', end 'latest' or None, got {start!r}, {end!r}"
        )
    added = dict(columns or {})
    if unknown := sorted(set(added) - set(_COLUMNS)):
        raise CallError(f"scan_kafka: columns: expected some of {sorted(_COLUMNS)}, got {unknown}")
    fields = dict(pl.Schema(schema))
    if taken := sorted(name for name in added.values() if name in fields):
        raise CallError(f"scan_kafka: columns: {taken} are already fields of the message; choose other names")
    fields |= {name: _COLUMNS[kind] for kind, name in added.items()}
    options = {
        "topics": names,
        "bootstrap_servers": bootstrap_servers,
        "value": value,
        "start": start,
        "end": end,
        "columns": added,
        "outage_limit_ms": duration_ns(outage_limit, "scan_kafka: outage_limit") // 1_000_000,
        "config": dict(config or {}),
    }
    return KafkaSource(pl.Schema(fields), options).frame()
