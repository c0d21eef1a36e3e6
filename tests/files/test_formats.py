"""Every format in and out: the rows of Polars, in path order, once over kills; folders that are followed."""

from __future__ import annotations

import gzip
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, UnsupportedQuery

from .formats import BY_NAME, FORMATS, SCHEMA, Format, frame, write_files

ENGINE = dff.Engine(parallelism=3)
every_format = pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)


@every_format
def test_files_are_read_in_path_order_as_polars_wrote_them(tmp_path: Path, one: Format) -> None:
    rows = write_files(one, tmp_path / "in", 3, 2500)
    scan = one.scan(tmp_path / "in")
    assert_frame_equal(scan.collect(engine=ENGINE), rows)
    assert_frame_equal(scan.collect(), rows)
    some = scan.filter(pl.col("n") % 3 == 0).select("half", "word")
    assert_frame_equal(some.collect(engine=ENGINE), some.collect())
    assert scan.select(pl.len()).collect(engine=ENGINE).item() == 7500


@every_format
def test_each_file_may_be_a_split(tmp_path: Path, one: Format) -> None:
    rows = write_files(one, tmp_path / "in", 4, 1500)
    scan = one.scan(f"{tmp_path}/in/*.{one.suffix}", splits="file")
    assert_frame_equal(scan.collect(engine=ENGINE), rows)
    assert_frame_equal(scan.collect(), rows)
    counted = scan.group_by("day").agg(pl.len(), pl.col("n").max())
    assert_frame_equal(counted.collect(engine=ENGINE), counted.collect(), check_row_order=False)


@every_format
def test_rows_are_written_once_into_a_file_and_into_parts(tmp_path: Path, one: Format) -> None:
    rows = frame(0, 3000)
    engine = dff.Engine(parallelism=3)
    for target in (f"{tmp_path}/one.{one.suffix}", f"{tmp_path}/parts/"):
        with engine.start(one.sink(dff.from_batches(rows[:1000], rows[1000:]), target)) as job:
            job.wait()
        found = one.read(target)
        assert_frame_equal(found if target.endswith(one.suffix) else found.sort("n"), rows)
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


@every_format
def test_nothing_leaves_a_file_with_the_columns(tmp_path: Path, one: Format) -> None:
    target = f"{tmp_path}/none/"
    dff.Engine().start(one.sink(dff.from_batches(frame(0, 5)).filter(pl.col("n") < 0), target)).wait()
    assert one.read(target).is_empty()
    assert len(list(Path(target).iterdir())) == 1
    assert one.scan(target).collect(engine=ENGINE).schema == SCHEMA


JOB = """
import sys
import polars as pl
import dataflare_fast as dff
sys.path.insert(0, sys.argv[4])
from tests.files.formats import BY_NAME

folder, one = sys.argv[1], BY_NAME[sys.argv[3]]
checkpoint = dff.Checkpoint(folder + "/state", interval="20ms")
engine = dff.Engine(name="copy", parallelism=int(sys.argv[2]), checkpoint=checkpoint)
engine.start(one.sink(one.scan(folder + "/in"), folder + "/out/")).wait()
"""
ROOT = str(Path(__file__).parents[2])


def newest_record(folder: Path) -> int:
    """Its number; old records are removed, so their count says little."""
    return max((int(path.stem) for path in (folder / "state").rglob("manifest/*.json")), default=0)


@every_format
def test_killed_job_writes_each_row_once(tmp_path: Path, one: Format) -> None:
    rows = write_files(one, tmp_path / "in", 150, 4000)
    chance = random.Random(one.name)
    killed = 0
    for attempt in range(4):
        before = newest_record(tmp_path)
        arguments = [str(tmp_path), str(1 + attempt % 3), one.name, ROOT]
        job = subprocess.Popen([sys.executable, "-c", JOB, *arguments])
        # The attempt and one checkpoint: then it dies somewhere in the next.
        while job.poll() is None and newest_record(tmp_path) < before + 2:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        job.send_signal(signal.SIGKILL)
        killed += job.wait() == -signal.SIGKILL
    assert killed > 0
    subprocess.run([sys.executable, "-c", JOB, str(tmp_path), "2", one.name, ROOT], check=True)
    assert_frame_equal(one.read(tmp_path / "out").sort("n"), rows)
    assert not (tmp_path / ".out.unpublished").exists()


@every_format
def test_followed_folder_is_read_once_over_stops(tmp_path: Path, one: Format) -> None:
    folder = tmp_path / "in"
    folder.mkdir()

    def arrive(number: int) -> None:
        unfinished = folder / "_unfinished"
        one.write(frame(number * 10, 10), unfinished)
        unfinished.rename(folder / f"{number:03}.{one.suffix}")

    arrive(0)
    options = {} if one.name in ("csv", "ndjson") else {"schema": SCHEMA}
    endless = one.scan(folder, follow=True, poll="5ms", **options)
    engine = dff.Engine(name="follow", checkpoint=dff.Checkpoint(f"{tmp_path}/state", interval="20ms"))
    for stopped, running in ((2, 3), (1, 5), (4, 6)):
        arrive(stopped)
        job = engine.start(one.sink(endless, f"{tmp_path}/out/"))
        arrive(running)
        while job.status().rows_in < (30 if stopped == 2 else 20):
            time.sleep(0.001)
        job.stop(drain=stopped == 4)
        job.wait()
    assert_frame_equal(one.read(tmp_path / "out").sort("n"), frame(0, 70))


@every_format
def test_folders_of_a_hive_layout_are_columns(tmp_path: Path, one: Format) -> None:
    for year, place in ((2023, "a b"), (2024, "c%2Fd"), (2024, "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / f"year={year}" / f"place={place}"
        folder.mkdir(parents=True)
        one.write(frame(year, 20), folder / f"x.{one.suffix}")
    keys = {"year": pl.Int32(), "place": pl.String()}
    scan = one.scan(tmp_path, hive_schema=keys)
    assert dict(scan.collect_schema()) == dict(SCHEMA) | keys
    found = scan.group_by("year", "place").agg(pl.len(), pl.col("n").sum()).sort("year", "place")
    total = sum(range(2024, 2044))
    expected = {
        "year": [2023, 2024, 2024],
        "place": ["a b", None, "c/d"],
        "len": [20, 20, 20],
        "n": [total - 20, total, total],
    }
    assert found.collect(engine=ENGINE).to_dict(as_series=False) == expected
    split = one.scan(tmp_path, hive_schema=keys, splits="hive").select(pl.len(), pl.col("place").n_unique())
    assert split.collect(engine=ENGINE).row(0) == (60, 3)
    wrong = one.scan(tmp_path, hive_schema={"year": pl.Int32(), "place": pl.Int64()})
    with pytest.raises(CallError, match="column 'place': expected Int64, got 'a b'"):
        wrong.collect(engine=ENGINE)


def test_folder_with_files_around_another_folder_is_one_split(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for number, name in enumerate(["a", "b/x", "c"]):
        frame(number * 10, 10).write_ipc(tmp_path / f"{name}.arrow")
    scan = dff.scan_ipc(tmp_path, splits="hive")
    assert scan.collect(engine=ENGINE)["n"].sort().to_list() == list(range(30))
    assert_frame_equal(scan.collect(engine=ENGINE), scan.collect())


@pytest.mark.parametrize("name", ["parquet", "ipc", "csv", "ndjson"])
@pytest.mark.parametrize("include_key", [True, False])
def test_partition_by_writes_what_polars_reads_back(tmp_path: Path, name: str, include_key: bool) -> None:
    rows = frame(0, 500).with_columns(
        key=pl.Series(["a/b", None, "ü", ""]).gather(pl.int_range(500, eager=True) % 4),
        at=pl.col("day").cast(pl.Datetime("us")),
    )
    target = pl.PartitionBy(tmp_path / "out", key=["key", "at"], include_key=include_key)
    sink = getattr(dff.from_batches(rows[:300], rows[300:]), f"sink_{name}")
    sink(target, engine=ENGINE)
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert {len(path.relative_to(tmp_path / "out").parts) for path in files} == {3}
    hive = {"key": pl.String(), "at": pl.Datetime("us")}
    if name == "parquet":
        found = pl.scan_parquet(f"{tmp_path}/out/", hive_schema=hive).collect()
        assert_frame_equal(found.select(rows.columns).sort("n"), rows)
        ours = pl.scan_parquet(f"{tmp_path}/out/", hive_schema=hive).select(rows.columns)
        assert_frame_equal(ours.collect(engine=ENGINE).sort("n"), rows)
    columns = pl.Schema(dict(SCHEMA) | hive) if include_key else SCHEMA
    scans: dict[str, Any] = {
        "parquet": dff.scan_parquet,
        "ipc": dff.scan_ipc,
        "csv": dff.scan_csv,
        "ndjson": dff.scan_ndjson,
    }
    found = scans[name](tmp_path / "out", schema=columns, hive_schema=hive).collect(engine=ENGINE)
    assert_frame_equal(found.select(rows.columns).sort("n"), rows)


def test_types_that_avro_holds_are_read_back_by_polars(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "small": pl.Series([1, None, 3], dtype=pl.UInt32),
            "flag": [True, None, False],
            "bytes": [b"a", None, b""],
            "at": pl.Series([0, None, 1_700_000_000_123_456], dtype=pl.Datetime("us")),
            "list": [[1, None], None, []],
            "kind": pl.Series(["x", None, "y"], dtype=pl.Categorical),
            "single": pl.Series([1.5, None, -0.0], dtype=pl.Float32),
        }
    )
    dff.from_batches(rows).stream.sink_avro(f"{tmp_path}/a.avro", engine=ENGINE)
    as_written = rows.with_columns(pl.col("small").cast(pl.Int64), pl.col("kind").cast(pl.String))
    assert_frame_equal(pl.read_avro(f"{tmp_path}/a.avro"), as_written)
    assert_frame_equal(dff.scan_avro(f"{tmp_path}/a.avro").collect(engine=ENGINE), as_written)
    wide = dff.from_batches(pl.DataFrame({"big": pl.Series([1], dtype=pl.UInt64)}))
    with pytest.raises(CallError, match="column 'big': expected a type that Avro holds"):
        wide.stream.sink_avro(f"{tmp_path}/b.avro", engine=ENGINE)


def test_partition_by_bounds_files_by_rows(tmp_path: Path) -> None:
    rows = dff.from_batches(*[frame(k * 10, 10) for k in range(10)])
    rows.sink_parquet(pl.PartitionBy(tmp_path / "out", max_rows_per_file=30), engine=dff.Engine())
    heights = [pl.read_parquet(path).height for path in (tmp_path / "out").iterdir()]
    assert (sum(heights), max(heights) <= 30, len(heights) > 2) == (100, True, True)


def test_partition_by_an_expression_is_refused_with_the_column_to_make(tmp_path: Path) -> None:
    rows = dff.from_batches(frame(0, 5))
    computed = (
        pl.col("day").dt.year().alias("year"),
        pl.col("word").str.to_uppercase(),
        pl.col("n").alias("word"),
    )
    for key in computed:
        with pytest.raises(UnsupportedQuery, match="with_columns"):
            rows.sink_parquet(pl.PartitionBy(tmp_path / "out", key=key), engine=ENGINE)
    with pytest.raises(CallError, match=r"key 'half'.*expected an integer"):
        rows.sink_parquet(pl.PartitionBy(tmp_path / "out", key="half"), engine=ENGINE)


@pytest.mark.parametrize("name", ["csv", "ndjson"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_text_is_written_and_read_by_both(tmp_path: Path, name: str, compression: str) -> None:
    one, rows = BY_NAME[name], frame(0, 5000)
    suffix = {"gzip": "gz", "zstd": "zst"}[compression]
    path = f"{tmp_path}/rows.{name}.{suffix}"
    getattr(dff.from_batches(rows), f"sink_{name}")(path, compression=compression, engine=ENGINE)
    assert_frame_equal(one.read(path), rows)
    for scan in (one.scan(path), getattr(pl, f"scan_{name}")(path, schema=SCHEMA)):
        assert_frame_equal(scan.collect(engine=ENGINE), rows)


def test_files_of_one_scan_may_be_compressed_each_in_its_way(tmp_path: Path) -> None:
    compressions: list[Literal["uncompressed", "gzip", "zstd"]] = ["uncompressed", "gzip", "zstd"]
    for number, compression in enumerate(compressions):
        rows = frame(number * 100, 100)
        rows.write_csv(tmp_path / f"{number}.csv", compression=compression, check_extension=False)
        rows.write_ndjson(tmp_path / f"{number}.ndjson", compression=compression, check_extension=False)
    expected = frame(0, 300)
    for scan in (
        dff.scan_csv(tmp_path, schema=SCHEMA),
        dff.scan_ndjson(tmp_path, schema=SCHEMA),
        pl.scan_csv(f"{tmp_path}/*.csv", schema=SCHEMA),
    ):
        assert_frame_equal(scan.collect(engine=ENGINE), expected)
    (tmp_path / "0.csv").write_bytes(gzip.compress(b"n,word,half,day\n1,a,,2024-01-01\n")[:-9])
    with pytest.raises(
        dff.errors.DataError, match=r"0\.csv.*gzip data behind byte \d+ of the text is cut off"
    ):
        dff.scan_csv(tmp_path, schema=SCHEMA).collect(engine=ENGINE)


def test_scan_ipc_of_polars_names_ours(tmp_path: Path) -> None:
    frame(0, 3).write_ipc(tmp_path / "a.arrow")
    with pytest.raises(UnsupportedQuery, match=r"dff\.scan_ipc"):
        pl.scan_ipc(tmp_path / "a.arrow").filter(pl.col("n") > 0).collect(engine=ENGINE)


def test_file_urls_are_paths(tmp_path: Path) -> None:
    folder = tmp_path / "with blank"
    rows = write_files(BY_NAME["ipc"], folder, 2, 10)
    assert_frame_equal(dff.scan_ipc(folder.as_uri()).collect(engine=ENGINE), rows)
    for target in (f"{folder.as_uri()}.parquet", f"{folder.as_uri()}.parts/"):
        dff.scan_ipc(folder).sink_parquet(target, engine=ENGINE)
        assert_frame_equal(pl.scan_parquet(target).collect(engine=ENGINE).sort("n"), rows)
    with pytest.raises(CallError, match="expected a path of this machine"):
        dff.scan_ipc("s3://bucket/a.arrow")


def test_one_file_of_an_endless_frame_is_refused_with_the_folder() -> None:
    endless = dff.nexmark().bid.select("auction")
    with pytest.raises(UnsupportedQuery, match="'out/rows/'"):
        dff.Engine().start(endless.stream.sink_avro("out/rows.avro", lazy=True))
