"""`dff.scan_parquet`, `scan_ipc`, `scan_ndjson`, `scan_csv`, `scan_avro`: files, or a followed folder.

The whole scan is one split, files in path order, unless `splits` says otherwise. Not here: what they share
(`files.py`); `pl.scan_*`, which the planner takes as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.planner.schema import schema_to_json
from dataflare_fast.sources.files import Splits, file_source, files_below, local_path

__all__ = ["scan_avro", "scan_csv", "scan_ipc", "scan_ndjson", "scan_parquet"]


def scan_parquet(
    path: str | Path,
    *,
    schema: Mapping[str, Any] | None = None,
    follow: bool = False,
    poll: str | timedelta = "1s",
    splits: Splits = "scan",
    hive_schema: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Reads Parquet files in path order, as one split.

    Args:
        path: a file, a folder or a pattern. Names that begin with `.` or `_` do not count.
        schema: the columns; without it, those of the first file.
        follow: also reads files that arrive later: the source is endless.
        poll: how often to look for new files.
        splits: `"file"`: each file is a split, so that files are read at the same time and each has its own
            watermark; `"hive"`: the files of each folder are one.
        hive_schema: columns that the names of folders hold, as in `year=2024/`, and their types.

    Returns:
        A LazyFrame.

    Raises:
        CallError: no file and no schema; a bad argument.

    Example:
        >>> pl.DataFrame({"a": [1, 2]}).write_parquet("/tmp/scan.parquet")
        >>> dff.scan_parquet("/tmp/scan.parquet").collect(engine=dff.Engine())["a"].to_list()
        [1, 2]
    """
    columns = _schema("parquet", path, schema, pl.read_parquet_schema)
    return file_source("parquet", path, columns, follow=follow, poll=poll, splits=splits, hive=hive_schema)


def scan_ipc(
    path: str | Path,
    *,
    schema: Mapping[str, Any] | None = None,
    follow: bool = False,
    poll: str | timedelta = "1s",
    splits: Splits = "scan",
    hive_schema: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Reads Arrow IPC files (Feather V2) in path order, as one split.

    Use it for `pl.scan_ipc`, whose plan Polars does not show.

    Args:
        path: as for `scan_parquet`; of a folder, names in `.arrow`, `.ipc` and `.feather`.
        schema: as for `scan_parquet`.
        follow: as for `scan_parquet`.
        poll: as for `scan_parquet`.
        splits: as for `scan_parquet`.
        hive_schema: as for `scan_parquet`.

    Returns:
        A LazyFrame.

    Raises:
        CallError: no file and no schema; a bad argument.

    Example:
        >>> pl.DataFrame({"a": [1, 2]}).write_ipc("/tmp/scan.arrow")
        >>> dff.scan_ipc("/tmp/scan.arrow").collect(engine=dff.Engine())["a"].to_list()
        [1, 2]
    """
    columns = _schema("ipc", path, schema, pl.read_ipc_schema)
    return file_source("ipc", path, columns, follow=follow, poll=poll, splits=splits, hive=hive_schema)


def scan_ndjson(
    path: str | Path,
    *,
    schema: Mapping[str, Any],
    follow: bool = False,
    poll: str | timedelta = "1s",
    splits: Splits = "scan",
    hive_schema: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Reads NDJSON files in path order, as one split; plain or in gzip, zlib or zstd.

    Args:
        path: as for `scan_parquet`; of a folder, names in `.ndjson`, `.jsonl` and `.json`.
        schema: the columns; nothing is guessed.
        follow: as for `scan_parquet`.
        poll: as for `scan_parquet`.
        splits: as for `scan_parquet`.
        hive_schema: as for `scan_parquet`.

    Returns:
        A LazyFrame.

    Raises:
        CallError: a bad argument.

    Example:
        >>> pl.DataFrame({"a": [1, 2]}).write_ndjson("/tmp/scan.ndjson")
        >>> scan = dff.scan_ndjson("/tmp/scan.ndjson", schema={"a": pl.Int64})
        >>> scan.collect(engine=dff.Engine())["a"].to_list()
        [1, 2]
    """
    columns = pl.Schema(schema)
    return file_source("ndjson", path, columns, follow=follow, poll=poll, splits=splits, hive=hive_schema)


def scan_csv(
    path: str | Path,
    *,
    schema: Mapping[str, Any],
    has_header: bool = True,
    separator: str = ",",
    quote_char: str | None = '"',
    comment_prefix: str | None = None,
    null_value: str = "",
    follow: bool = False,
    poll: str | timedelta = "1s",
    splits: Splits = "scan",
    hive_schema: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Reads CSV files in path order, as one split; plain or in gzip, zlib or zstd.

    RFC 4180 with an explicit schema: nothing is guessed, a record has as many fields as the schema, a header
    names its columns in their order, times are ISO 8601. For the rules of Polars use `pl.scan_csv`.

    Args:
        path: as for `scan_parquet`; of a folder, names in `.csv`, `.tsv` and `.txt`.
        schema: the columns of the files, in their order.
        has_header: the first record of each file names the columns.
        separator: one byte between fields.
        quote_char: one byte around fields that hold separators or line breaks; None: there are no quotes.
        comment_prefix: lines that begin so are no rows.
        null_value: the text that stands for null.
        follow: as for `scan_parquet`.
        poll: as for `scan_parquet`.
        splits: as for `scan_parquet`.
        hive_schema: as for `scan_parquet`.

    Returns:
        A LazyFrame.

    Raises:
        CallError: a bad argument.

    Example:
        >>> pl.DataFrame({"a": [1, 2]}).write_csv("/tmp/scan.csv")
        >>> scan = dff.scan_csv("/tmp/scan.csv", schema={"a": pl.Int64})
        >>> scan.collect(engine=dff.Engine())["a"].to_list()
        [1, 2]
    """
    columns = pl.Schema(schema)
    csv = {
        "columns": schema_to_json(columns),
        "has_header": has_header,
        "separator": _byte(separator, "separator"),
        "quote_char": None if quote_char is None else _byte(quote_char, "quote_char"),
        "comment_prefix": comment_prefix,
        "null_value": null_value,
    }
    return file_source(
        "csv",
        path,
        columns,
        follow=follow,
        poll=poll,
        splits=splits,
        hive=hive_schema,
        settings={"csv": csv},
    )


def scan_avro(
    path: str | Path,
    *,
    schema: Mapping[str, Any] | None = None,
    follow: bool = False,
    poll: str | timedelta = "1s",
    splits: Splits = "scan",
    hive_schema: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Reads Avro files (object containers) in path order, as one split.

    Args:
        path: as for `scan_parquet`.
        schema: the columns; without it, those of the first file that has rows.
        follow: as for `scan_parquet`.
        poll: as for `scan_parquet`.
        splits: as for `scan_parquet`.
        hive_schema: as for `scan_parquet`.

    Returns:
        A LazyFrame.

    Raises:
        CallError: no file and no schema; a bad argument.

    Example:
        >>> pl.DataFrame({"a": [1, 2]}).write_avro("/tmp/scan.avro")
        >>> dff.scan_avro("/tmp/scan.avro").collect(engine=dff.Engine())["a"].to_list()
        [1, 2]
    """
    columns = pl.Schema(schema) if schema is not None else _avro_schema(path)
    return file_source("avro", path, columns, follow=follow, poll=poll, splits=splits, hive=hive_schema)


def _schema(
    format_name: str,
    path: str | Path,
    schema: Mapping[str, Any] | None,
    of_file: Callable[[str], Mapping[str, Any]],
) -> pl.Schema:
    """The columns that were given, or those of the first file."""
    if schema is not None:
        return pl.Schema(schema)
    found = files_below(local_path(path, f"scan_{format_name}"), format_name)
    if not found:
        raise CallError(f"scan_{format_name}: expected a file at {path} or a schema=, got neither")
    return pl.Schema(of_file(found[0]))


def _avro_schema(path: str | Path) -> pl.Schema:
    for one in files_below(local_path(path, "scan_avro"), "avro"):
        # Polars reads no schema from a file without rows.
        with contextlib.suppress(pl.exceptions.ComputeError):
            return pl.read_avro(one, n_rows=0).schema
    raise CallError(f"scan_avro: expected an Avro file with rows at {path} or a schema=, got neither")


def _byte(text: str, name: str) -> int:
    if len(text.encode()) != 1:
        raise CallError(f"scan_csv: {name}: expected one byte, got {text!r}")
    return text.encode()[0]
