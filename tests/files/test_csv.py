"""CSV by the rules of Polars (`pl.scan_csv`, `sink_csv`) and by ours (`dff.scan_csv`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError, UnsupportedQuery

from .formats import frame

ENGINE = dff.Engine(parallelism=2)
TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "quotes": ('a,b\n1,"x, y"\n2,"two\nlines ""and"" more"\n', {}),
    "line ends of Windows": ('a,b\r\n1,x\r\n2,"y\r\nz"\r\n', {}),
    "byte order mark": ("\ufeffa,b\n1,x\n", {}),
    "no last line break": ("a,b\n1,x\n2,y", {}),
    "blank lines": ("a,b\n1,x\n\n2,y\n\n", {}),
    "blank lines before the header": ("\n\na,b\n1,x\n", {}),
    "only a header": ("a,b\n", {}),
    "missing fields": ("a,b,c\n1\n2,x\n3,y,z\n", {}),
    "null values": ("a,b\n-,x\n2,-\n", {"null_values": "-"}),
    "null values of a column": ("a,b\n-,x\n2,-\n", {"null_values": {"a": "-"}}),
    "null values of all": ("a,b\n-,?\n2,-\n", {"null_values": ["-", "?"]}),
    "empty texts": ('a,b\n1,\n2,""\n', {"empty_string_is_null": False}),
    "comments": ("# it's \"odd\na,b\n1,x\n#2,y\n3,z\n", {"comment_prefix": "#"}),
    "long comments": ('// c\na,b\n1,x\n// "\n3,z\n', {"comment_prefix": "//"}),
    "separator": ("a;b\n1,5;x\n2,5;y\n", {"separator": ";", "decimal_comma": True}),
    "no quotes": ('a,b\n1,"x\n2,y"\n', {"quote_char": None}),
    "other quotes": ("a,b\n1,'x,\ny'\n", {"quote_char": "'"}),
    "no header": ("1,x\n2,y\n", {"has_header": False}),
    "skipped rows": ('"not\na",header\na,b\n1,x\n', {"skip_rows": 1}),
    "skipped lines": ('not "a header\na,b\n1,x\n', {"skip_lines": 1}),
    "rows after the header": ("a,b\nunits,-\n1,x\n", {"skip_rows_after_header": 1}),
    "too many fields": ("a,b\n1,x,9\n2,y\n", {"truncate_ragged_lines": True}),
    "dates": ("a,b\n2024-01-02,2024-01-02T03:04:05\n2023-12-31,\n", {"try_parse_dates": True}),
    "schema": ("a,b\n1,x\n", {"schema": {"b": pl.Categorical, "a": pl.Float32}}),
    "types": ("a,b,c\n1,true,2.5\n,false,\n", {"schema_overrides": {"a": pl.Int8}}),
    "names": ("a,b\n1,x\n", {"new_columns": ["p", "q"]}),
    "renamed": ("a,b\n1,x\n", {"with_column_names": lambda names: [name.upper() for name in names]}),
    "row index": ("a,b\n1,x\n2,y\n", {"row_index_name": "row", "row_index_offset": 5}),
    "paths": ("a,b\n1,x\n2,y\n", {"include_file_paths": "path"}),
    "first rows": ("a,b\n1,x\n2,y\n3,z\n", {"n_rows": 2}),
    "other line ends": ("a,b|1,x|2,y|", {"eol_char": "|"}),
    "quoted header": ('"a,1","b ""c"""\n1,x\n', {}),
    "lossy text": ("a,b\n1,x\udcff\n", {"encoding": "utf8-lossy"}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_read_as_polars_reads_them(tmp_path: Path, name: str) -> None:
    text, options = TEXTS[name]
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    scan = pl.scan_csv(path, **options)
    assert_frame_equal(scan.collect(engine=ENGINE), scan.collect(), categorical_as_str=True)
    last = scan.select(scan.collect_schema().names()[-1])
    assert_frame_equal(last.collect(engine=ENGINE), last.collect(), categorical_as_str=True)
    count = scan.select(pl.len())
    assert_frame_equal(count.collect(engine=ENGINE), count.collect())


def test_quoted_line_breaks_cross_chunks(tmp_path: Path) -> None:
    rows = frame(0, 60_000).with_columns(pl.col("word") + pl.lit('\n, "long" ' * 5))
    rows.write_csv(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").stat().st_size > 3 << 20
    for scan in (
        pl.scan_csv(tmp_path / "a.csv", try_parse_dates=True),
        dff.scan_csv(tmp_path / "a.csv", schema=rows.schema),
    ):
        assert_frame_equal(scan.collect(engine=ENGINE), rows)


def test_second_file_must_have_the_header_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,x\n")
    (tmp_path / "b.csv").write_text("b,a\nx,1\n")
    scan = pl.scan_csv(f"{tmp_path}/*.csv", schema={"a": pl.Int64, "b": pl.String})
    with pytest.raises(CallError, match=r"b\.csv: expected the header 'a,b' of the first file, got 'b,a'"):
        scan.collect(engine=ENGINE)
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(CallError, match=r"b\.csv: expected a header, got an empty file"):
        scan.collect(engine=ENGINE)


@pytest.mark.parametrize("rules", ["polars", "ours"])
def test_bad_rows_are_named_with_their_line_or_skipped_or_kept(tmp_path: Path, rules: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"x\ny"\noops,z\n3,ok\n4,too,many\n5,last\n')
    schema = {"a": pl.Int64(), "b": pl.String()}
    scan = pl.scan_csv(path, schema=schema) if rules == "polars" else dff.scan_csv(path, schema=schema)
    with pytest.raises(DataError, match=r"a\.csv line 4"):
        scan.collect(engine=ENGINE)
    expected = {"a": [1, 3, 5], "b": ["x\ny", "ok", "last"]}
    assert scan.collect(engine=dff.Engine(on_error="skip")).to_dict(as_series=False) == expected
    dead = dff.Engine(on_error="dead_letter")
    job = dead.start(
        scan.sink_parquet(f"{tmp_path}/good.parquet", lazy=True),
        scan.stream.errors().sink_parquet(f"{tmp_path}/bad.parquet", lazy=True),
    )
    job.wait()
    assert pl.read_parquet(tmp_path / "good.parquet").to_dict(as_series=False) == expected
    places = pl.read_parquet(tmp_path / "bad.parquet")["_error_offset"].to_list()
    assert [place.rpartition(" ")[2] for place in places] == ["4", "6"]


def test_ignore_errors_is_refused_with_on_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(UnsupportedQuery, match="on_error"):
        pl.scan_csv(tmp_path / "a.csv", ignore_errors=True).collect(engine=ENGINE)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mark": {"include_bom": True},
    "no header": {"include_header": False},
    "all quoted": {"quote_style": "always", "quote_char": "'", "separator": ";"},
    "formats": {
        "date_format": "%d.%m.%Y",
        "float_precision": 3,
        "null_value": "NULL",
        "line_terminator": "\r\n",
    },
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("rows", [0, 1, 20_000])
def test_text_is_written_as_polars_writes_it(tmp_path: Path, name: str, rows: int) -> None:
    lf = dff.from_batches(frame(0, rows)[: rows // 2], frame(rows // 2, rows - rows // 2))
    lf.sink_csv(tmp_path / "ours.csv", engine=ENGINE, **SETTINGS[name])
    lf.collect().write_csv(tmp_path / "polars.csv", **SETTINGS[name])
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "polars.csv").read_bytes()
