"""Bad files of every format: an error that names the file and the place, never a crash, never silence."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError

from .formats import FORMATS, SCHEMA, Format, frame, write_files

ENGINE = dff.Engine(parallelism=2)
BINARY = [one for one in FORMATS if one.name in ("parquet", "ipc", "avro")]
TEXT = [one for one in FORMATS if one.name in ("csv", "ndjson")]
every_format = pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
binary = pytest.mark.parametrize("one", BINARY, ids=lambda one: one.name)


@binary
@pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
def test_truncated_file_is_named(tmp_path: Path, one: Format, kept: float) -> None:
    write_files(one, tmp_path / "in", 2, 1000)
    scan = one.scan(tmp_path / "in")
    bad = tmp_path / "in" / f"001.{one.suffix}"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: int(len(whole) * kept)] if kept == 0.5 else whole[: int(kept)])
    with pytest.raises(DataError, match=rf"001\.{one.suffix}"):
        scan.collect(engine=ENGINE)


@binary
def test_text_in_place_of_a_file_is_named(tmp_path: Path, one: Format) -> None:
    path = tmp_path / f"a.{one.suffix}"
    path.write_text("n,word\n1,x\n" * 100)
    with pytest.raises(DataError, match=rf"a\.{one.suffix}"):
        one.scan(path, schema=SCHEMA).collect(engine=ENGINE)


@binary
def test_later_file_with_another_type_column_or_without_one_is_named(tmp_path: Path, one: Format) -> None:
    write_files(one, tmp_path / "in", 1, 10)
    scan, later = one.scan(tmp_path / "in"), tmp_path / "in" / f"999.{one.suffix}"
    for rows, words in (
        (frame(0, 3).with_columns(pl.col("n").cast(pl.String)), "column 'n': expected Int64, got String"),
        (frame(0, 3).drop("half"), "column 'half': expected Float64, got a file without it"),
        (frame(0, 3).with_columns(more=1), "column 'more': expected the columns of the first file"),
    ):
        one.write(rows, later)
        fresh = one.scan(tmp_path / "in")
        for each in (scan, fresh):
            with pytest.raises(CallError, match=rf"(999\.{one.suffix}, {words})"):
                each.collect(engine=ENGINE)


@every_format
def test_files_without_rows_are_read(tmp_path: Path, one: Format) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, rows in enumerate([0, 5, 0]):
        one.write(frame(0, rows), folder / f"{number}.{one.suffix}")
    assert_frame_equal(one.scan(folder).collect(engine=ENGINE), frame(0, 5))
    options = {"schema": SCHEMA} if one.name == "avro" else {}
    assert one.scan(folder / f"0.{one.suffix}", **options).collect(engine=ENGINE).schema == SCHEMA


@every_format
def test_huge_field_is_read_whole(tmp_path: Path, one: Format) -> None:
    rows = frame(0, 3).with_columns(word=pl.Series(["a", 'x,\n"y" ' * 1_000_000, "b"]))
    one.write(rows, tmp_path / f"a.{one.suffix}")
    assert_frame_equal(one.scan(tmp_path / f"a.{one.suffix}").collect(engine=ENGINE), rows)


@every_format
def test_missing_file_and_a_folder_in_its_place_are_named(tmp_path: Path, one: Format) -> None:
    write_files(one, tmp_path / "in", 2, 10)
    scan = one.scan(tmp_path / "in")
    gone = tmp_path / "in" / f"001.{one.suffix}"
    lf = scan.filter(pl.col("n") >= 0)
    gone.unlink()
    assert_frame_equal(lf.collect(engine=ENGINE), frame(0, 10))
    with pytest.raises(CallError, match="splits: expected 'scan'"):
        one.scan(tmp_path / "in", splits="none")


@pytest.mark.parametrize("one", TEXT, ids=lambda one: one.name)
def test_damaged_compression_is_named_with_its_byte(tmp_path: Path, one: Format) -> None:
    for compression in ("gzip", "zstd"):
        path = tmp_path / f"a.{one.suffix}"
        getattr(frame(0, 50_000), f"write_{one.name}")(path, compression=compression, check_extension=False)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=rf"a\.{one.suffix}.*{compression} data behind byte \d+"):
            one.scan(path).collect(engine=ENGINE)
        half = len(whole) // 2
        path.write_bytes(whole[:half] + bytes(64) + whole[half + 64 :])
        with pytest.raises(DataError, match=rf"a\.{one.suffix}"):
            one.scan(path).collect(engine=ENGINE)
    (tmp_path / "b").write_bytes(b"BZh91AY&SY")
    with pytest.raises(CallError, match="gzip, zlib or zstd, got bzip2"):
        one.scan(tmp_path / "b").collect(engine=ENGINE)
