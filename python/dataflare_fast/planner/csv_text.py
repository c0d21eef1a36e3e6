"""CSV in the words of Polars: what `pl.scan_csv` and `sink_csv` say, for the engine and back for Polars.

The engine cuts files into whole rows and calls `CsvReader.parse` with some of them at a time, and
`CsvWriter.print` with batches. Not here: `dff.scan_csv`, which Polars does not parse; where rows end
(`rust/connect`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.planner.schema import Json

__all__ = ["CsvReader", "CsvWriter", "csv_columns", "csv_ends"]

_STYLES: Final = {"Necessary": "necessary", "Always": "always", "NonNumeric": "non_numeric", "Never": "never"}


def _parse_options(reader: Mapping[str, Any]) -> dict[str, Any]:
    """Polars' JSON back into arguments of `pl.scan_csv`, without those about the beginning of a file."""
    options = reader["parse_options"]
    nulls = options["null_values"]
    if isinstance(nulls, dict):
        (kind, values), *_ = nulls.items()
        nulls = dict(values) if kind == "Named" else values
    return {
        "separator": chr(options["separator"]),
        "quote_char": None if options["quote_char"] is None else chr(options["quote_char"]),
        "eol_char": chr(options["eol_char"]),
        "comment_prefix": _comment_prefix(options),
        "null_values": nulls,
        "empty_string_is_null": options["missing_is_null"],
        "encoding": "utf8" if options["encoding"] == "Utf8" else "utf8-lossy",
        "truncate_ragged_lines": options["truncate_ragged_lines"],
        "try_parse_dates": options["try_parse_dates"],
        "decimal_comma": options["decimal_comma"],
    }


def _comment_prefix(options: Mapping[str, Any]) -> str | None:
    prefix = options["comment_prefix"]
    if prefix is None:
        return None
    (value,) = prefix.values()
    return chr(value) if isinstance(value, int) else str(value)


def csv_columns(reader: Mapping[str, Any], paths: Sequence[str]) -> list[str]:
    """The names of all columns of the files, in their order, wanted or not.

    Raises:
        CallError: the schema of the scan has other columns than the first file.
    """
    named = reader["column_names_overwrite"]
    if named:
        return list(named)
    schema = reader["schema"]
    declared = None if not schema else list(schema.get("fields", schema))
    if declared is not None and not reader["has_header"]:
        return declared
    scan = pl.scan_csv(
        paths[0],
        has_header=reader["has_header"],
        skip_rows=reader["skip_rows"],
        skip_lines=reader["skip_lines"],
        skip_rows_after_header=reader["skip_rows_after_header"],
        infer_schema=False,
        infer_schema_length=reader["infer_schema_length"],
        raise_if_empty=reader["raise_if_empty"],
        glob=False,
        **_parse_options(reader),
    )
    found = scan.collect_schema().names()
    if declared is not None and set(declared) != set(found):
        raise CallError(
            f"scan_csv: expected the columns of schema= ({', '.join(declared)}) in the header of {paths[0]}, "
            f"got {', '.join(found)}"
        )
    return found


def csv_ends(reader: Mapping[str, Any]) -> dict[str, Json]:
    """What the engine must know to find rows."""
    options = reader["parse_options"]
    return {
        "columns": [],
        "has_header": reader["has_header"],
        "separator": options["separator"],
        "quote_char": options["quote_char"],
        "eol_char": options["eol_char"],
        "comment_prefix": _comment_prefix(options),
        "skip_lines": reader["skip_lines"],
        "skip_rows": reader["skip_rows"],
        "skip_rows_after_header": reader["skip_rows_after_header"],
    }


class CsvReader:
    """Parses rows of CSV as `pl.scan_csv` would.

    Args:
        reader: Polars' own reader options, from the plan.
        columns: the names of all columns of the files.
        wanted: the columns that are read.
    """

    def __init__(self, reader: Mapping[str, Any], columns: Sequence[str], wanted: pl.Schema) -> None:
        self._options = _parse_options(reader)
        # By place, whatever the names are: the header says how many fields a row has.
        places = {name: f"c{place}" for place, name in enumerate(columns)}
        nulls = self._options["null_values"]
        if isinstance(nulls, dict):
            self._options["null_values"] = {places[name]: text for name, text in nulls.items()}
        self._schema = {place: wanted.get(name, pl.String()) for name, place in places.items()}
        self._wanted = [pl.col(places[name]).alias(name) for name in wanted]
        header = self._options["separator"].join(places.values()) + self._options["eol_char"]
        self._header = header.encode()

    def parse(self, text: bytes) -> pl.DataFrame:
        """Whole rows, without a header, as a frame of the wanted columns."""
        scan = pl.scan_csv(self._header + text, has_header=True, schema=self._schema, **self._options)
        return scan.select(self._wanted).collect(engine="in-memory")


class CsvWriter:
    """Prints rows as `sink_csv` would.

    Args:
        settings: Polars' own writer options, from the plan.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        texts = settings["serialize_options"]
        self._with_header = settings["include_header"]
        self._with_mark = settings["include_bom"]
        self._options = {
            "separator": chr(texts["separator"]),
            "quote_char": chr(texts["quote_char"]),
            "line_terminator": texts["line_terminator"],
            "date_format": texts["date_format"],
            "time_format": texts["time_format"],
            "datetime_format": texts["datetime_format"],
            "float_scientific": texts["float_scientific"],
            "float_precision": texts["float_precision"],
            "decimal_comma": texts["decimal_comma"],
            "null_value": texts["null"],
            "quote_style": _STYLES[texts["quote_style"]],
        }

    def print(self, rows: pl.DataFrame, is_first: bool) -> bytes:
        """The text of some rows, with the header before the first ones."""
        text: str = rows.write_csv(
            include_header=is_first and self._with_header,
            include_bom=is_first and self._with_mark,
            **self._options,
        )
        return text.encode()
