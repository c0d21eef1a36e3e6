"""What lies on disks: checkpoints, rows of state, dead letters, logs; a page at a time.

Plain reading of files, from any thread; a running job is not disturbed. Not here: writing them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from dataflare_fast.checkpoint.folder import checkpoint_record, checkpoint_records
from dataflare_fast.errors import CallError, DataError

__all__ = ["checkpoints", "dead_letters", "log_lines", "state_rows", "state_tables"]

_MOST_ROWS = 1_000
# What a log is searched in, from its end.
_LOG_BYTES = 4 << 20


def checkpoints(job: Path) -> list[dict[str, Any]]:
    """The kept checkpoints of a job, newest first."""
    if not (job / "format").is_file():
        return []
    written = {
        record["epoch"]: path.stat().st_mtime
        for path in (job / "manifest").glob("*.json")
        if (record := json.loads(path.read_text()))["kind"] == "checkpoint"
    }
    return [_checkpoint(record, written.get(record["epoch"])) for record in reversed(checkpoint_records(job))]


def state_tables(job: Path, epoch: int | None) -> dict[str, Any]:
    """The tables of a checkpoint, with their columns."""
    record = checkpoint_record(job, epoch)
    return {
        "epoch": record["epoch"],
        "tables": [
            {
                "table": name,
                "bytes": sum(one["size"] for one in objects),
                "columns": [
                    {"name": column, "type": str(dtype)}
                    for column, dtype in _scan(job, objects).collect_schema().items()
                ],
            }
            for name, objects in _tables(record).items()
        ],
    }


def state_rows(
    job: Path,
    table: str,
    *,
    epoch: int | None = None,
    column: str | None = None,
    equals: str | None = None,
    offset: int = 0,
    limit: int = 100,
) -> dict[str, Any]:
    """A page of a table: those rows whose `column` reads as `equals`, if given.

    Raises:
        CallError: no such table or column.
    """
    record = checkpoint_record(job, epoch)
    tables = _tables(record)
    if table not in tables:
        raise CallError(f"state: table: expected one of {sorted(tables)}, got {table!r}")
    frame = _scan(job, tables[table])
    schema = frame.collect_schema()
    if column is not None:
        if column not in schema:
            raise CallError(f"state: column: expected one of {schema.names()}, got {column!r}")
        if not schema[column].is_nested():
            frame = frame.filter(_matches(column, schema[column], equals))
    rows = frame.select(pl.len()).collect().item()
    page = frame.slice(offset, min(limit, _MOST_ROWS)).collect()
    return {"epoch": record["epoch"], "table": table, "rows": rows, "offset": offset, **_page(page)}


def dead_letters(plan: dict[str, Any], limit: int) -> dict[str, Any]:
    """The newest rows of each sink that takes `.stream.errors()`."""
    nodes = plan["nodes"]
    sinks = [node for node in nodes if node["operator"] == "sink" and _takes_errors(nodes, node)]
    return {"sinks": [_letters(sink, min(limit, _MOST_ROWS)) for sink in sinks]}


def log_lines(folder: Path, *, lines: int, search: str | None) -> list[dict[str, Any]]:
    """The newest lines of a job's log, oldest first; those of the service's own form are taken apart."""
    texts: list[str] = []
    for path in (folder / "log.1", folder / "log"):
        if path.is_file():
            texts += _end_of(path)
    found = [text for text in texts if text and (search is None or search.lower() in text.lower())]
    return [_line(text) for text in found[-lines:]]


def _takes_errors(nodes: list[dict[str, Any]], node: dict[str, Any]) -> bool:
    """The rows of several steps come together between their `errors` and the sink."""
    if node["operator"] == "errors":
        return True
    return any(_takes_errors(nodes, nodes[one]) for one in node["inputs"])


def _matches(column: str, dtype: pl.DataType, equals: str | None) -> pl.Expr:
    if equals is None:
        return pl.col(column).is_null()
    if dtype == pl.String:
        return pl.col(column) == equals
    return pl.col(column).cast(pl.String, strict=False) == equals


def _checkpoint(record: dict[str, Any], written_s: float | None) -> dict[str, Any]:
    objects = [one for own in record["operators"].values() for one in own]
    return {
        "epoch": record["epoch"],
        "attempt": record["attempt"],
        "parallelism": record["parallelism"],
        "finished": record["finished"],
        "written_at_s": written_s,
        "state_bytes": sum(one["size"] for one in objects),
        "operators": {name: sum(one["size"] for one in own) for name, own in record["operators"].items()},
        "splits": sum(len(splits) for splits in record["sources"].values()),
    }


def _tables(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for operator, objects in record["operators"].items():
        for one in objects:
            tables.setdefault(f"{operator}/{one['table']}", []).append(one)
    return tables


def _scan(job: Path, objects: list[dict[str, Any]]) -> pl.LazyFrame:
    return pl.concat([pl.scan_ipc(job / one["name"]) for one in objects])


def _page(frame: pl.DataFrame) -> dict[str, Any]:
    columns = [{"name": name, "type": str(dtype)} for name, dtype in frame.schema.items()]
    # Through Polars' own JSON: it knows times, decimals and nested values.
    return {"columns": columns, "values": [list(row.values()) for row in json.loads(frame.write_json())]}


def _letters(sink: dict[str, Any], limit: int) -> dict[str, Any]:
    path, connector = sink.get("path"), sink["connector"]
    shown: dict[str, Any] = {"sink": connector, "path": path, "rows": 0, "columns": [], "values": []}
    scans: dict[str, Callable[..., pl.LazyFrame]] = {
        "parquet": pl.scan_parquet,
        "ipc": pl.scan_ipc,
        "csv": pl.scan_csv,
        "ndjson": pl.scan_ndjson,
    }
    if path is None or connector not in scans:
        return {**shown, "note": f"rows in a {connector} sink are not shown here"}
    place = Path(path)
    files = sorted(one for one in place.rglob("*") if one.is_file() and not one.name.startswith((".", "_")))
    files = files if place.is_dir() else [place] if place.is_file() else []
    if not files:
        return {**shown, "note": "nothing is published yet"}
    try:
        frame = scans[connector](files)
        rows = frame.select(pl.len()).collect().item()
        return {**shown, "rows": rows, **_page(frame.tail(limit).collect())}
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"dead letters: {path}: {error}") from error


def _end_of(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LOG_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return lines if size <= _LOG_BYTES else lines[1:]


def _line(text: str) -> dict[str, Any]:
    if text.startswith('{"at"'):
        try:
            found = json.loads(text)
        except ValueError:
            return {"text": text}
        at, level, event = found.pop("at"), found.pop("level"), found.pop("event")
        return {"at": at, "level": level, "text": event, "facts": found}
    return {"text": text}
