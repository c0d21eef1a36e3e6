"""Files in and out, by the whole engine; the oracle is Polars in memory, kills show exactly-once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError
from dataflare_fast.planner.sinks import sink_target

ENGINE = dff.Engine(parallelism=2)


def write_files(folder: Path, files: int, rows: int) -> pl.DataFrame:
    """`files` Parquet and NDJSON files of `rows` rows each; all of them as one frame."""
    frames = []
    for file in range(files):
        numbers = pl.int_range(file * rows, (file + 1) * rows, eager=True)
        frame = pl.DataFrame({"n": numbers, "word": numbers.cast(pl.String), "half": numbers / 2})
        frame.write_parquet(folder / f"{file:03}.parquet", row_group_size=1000)
        frame.write_ndjson(folder / f"{file:03}.ndjson")
        frames.append(frame)
    return pl.concat(frames)


def test_scans_of_files_are_one_split_in_path_order(tmp_path: Path) -> None:
    write_files(tmp_path, 3, 5000)
    schema = {"n": pl.Int64, "word": pl.String, "half": pl.Float64}
    for scan in (
        pl.scan_parquet(tmp_path / "*.parquet"),
        pl.scan_parquet(tmp_path / "*.parquet", row_index_name="row", include_file_paths="file"),
        pl.scan_ndjson(sorted(tmp_path.glob("*.ndjson")), schema=schema),
    ):
        frame = scan.filter(pl.col("n") % 3 == 0)
        assert_frame_equal(frame.collect(engine=ENGINE), frame.collect())


def test_files_are_written_as_polars_reads_and_writes_them(tmp_path: Path) -> None:
    rows = write_files(tmp_path, 2, 3000)
    scan = pl.scan_parquet(tmp_path / "*.parquet")
    scan.sink_parquet(tmp_path / "one.pq", engine=ENGINE)
    assert_frame_equal(pl.read_parquet(tmp_path / "one.pq"), rows)
    scan.sink_ndjson(tmp_path / "one.jsonl", engine=ENGINE)
    assert (tmp_path / "one.jsonl").read_text() == rows.write_ndjson()
    scan.sink_parquet(f"{tmp_path}/out/", engine=ENGINE)
    assert_frame_equal(pl.read_parquet(f"{tmp_path}/out/").sort("n"), rows)
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_empty_result_leaves_a_file_with_its_columns(tmp_path: Path) -> None:
    write_files(tmp_path, 1, 10)
    nothing = pl.scan_parquet(tmp_path / "*.parquet").filter(pl.col("n") < 0)
    nothing.sink_parquet(f"{tmp_path}/out/", engine=ENGINE)
    assert_frame_equal(pl.read_parquet(f"{tmp_path}/out/"), nothing.collect())


def test_schema_change_between_files_names_file_column_and_types(tmp_path: Path) -> None:
    write_files(tmp_path, 2, 10)
    pl.DataFrame({"n": ["x"], "word": ["y"], "half": [0.5]}).write_parquet(tmp_path / "999.parquet")
    with pytest.raises(CallError, match=r"999\.parquet, column 'n': expected Int64, got String"):
        pl.scan_parquet(tmp_path / "*.parquet").collect(engine=ENGINE)


def test_corrupt_parquet_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, 2, 10)
    scan = pl.scan_parquet(tmp_path / "*.parquet")
    bytes_ = (tmp_path / "001.parquet").read_bytes()
    (tmp_path / "001.parquet").write_bytes(bytes_[: len(bytes_) // 2])
    with pytest.raises(DataError, match=r"001\.parquet"):
        scan.collect(engine=ENGINE)


def test_truncated_json_is_named_with_its_line_or_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"n":1}\n{"n":2}\n{"n":')
    scan = pl.scan_ndjson(tmp_path / "a.ndjson", schema={"n": pl.Int64})
    with pytest.raises(DataError, match=r"a\.ndjson line 3"):
        scan.collect(engine=ENGINE)
    skipping = dff.Engine(on_error="skip")
    assert scan.collect(engine=skipping)["n"].to_list() == [1, 2]


def test_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, 1, 10)
    scan = pl.scan_parquet(tmp_path / "*.parquet")
    scan.sink_parquet(f"{tmp_path}/out/", engine=ENGINE)
    with pytest.raises(CallError, match="no other run has written to"):
        scan.sink_parquet(f"{tmp_path}/out/", engine=ENGINE)


JOB = """
import sys
import polars as pl
import dataflare_fast as dff

checkpoint = dff.Checkpoint(sys.argv[1] + "/state", interval="20ms")
engine = dff.Engine(name="copy", parallelism=int(sys.argv[2]), checkpoint=checkpoint)
pl.scan_parquet(sys.argv[1] + "/*.parquet").sink_parquet(sys.argv[1] + "/out/", engine=engine)
"""


def newest_record(folder: Path) -> int:
    """Its number; old records are removed, so their count says little."""
    return max((int(path.stem) for path in (folder / "state").rglob("manifest/*.json")), default=0)


def test_killed_folder_job_writes_each_row_once(tmp_path: Path) -> None:
    rows = write_files(tmp_path, 300, 5000)
    chance = random.Random(5)
    killed = 0
    for attempt in range(4):
        before = newest_record(tmp_path)
        job = subprocess.Popen([sys.executable, "-c", JOB, str(tmp_path), str(1 + attempt % 3)])
        # The attempt and one checkpoint: then it dies somewhere in the next.
        while job.poll() is None and newest_record(tmp_path) < before + 2:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        job.send_signal(signal.SIGKILL)
        killed += job.wait() == -signal.SIGKILL
    assert killed > 1
    subprocess.run([sys.executable, "-c", JOB, str(tmp_path), "2"], check=True)
    assert_frame_equal(pl.read_parquet(f"{tmp_path}/out/").sort("n"), rows)
    assert not (tmp_path / ".out.unpublished").exists()


def arrive(folder: Path, number: int) -> None:
    """A file of ten rows, at once."""
    unfinished = folder / "_unfinished"
    pl.DataFrame({"n": range(number * 10, number * 10 + 10)}).write_parquet(unfinished)
    unfinished.rename(folder / f"{number:03}.parquet")


def test_followed_folder_is_read_once_over_stops(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    arrive(folder, 0)
    endless = dff.scan_parquet(folder, follow=True, poll="5ms")
    checkpoint = dff.Checkpoint(str(tmp_path / "state"), interval="20ms")
    engine = dff.Engine(name="follow", checkpoint=checkpoint)
    out = f"{tmp_path}/out/"
    for stopped, running in ((2, 3), (1, 5), (4, 6)):
        arrive(folder, stopped)
        job = engine.start(endless.sink_parquet(sink_target(out), lazy=True))
        arrive(folder, running)
        expected = 30 if stopped == 2 else 20
        while job.status().rows_in < expected:
            time.sleep(0.001)
        job.stop(drain=stopped == 4)
        job.wait()
    assert pl.read_parquet(out)["n"].sort().to_list() == list(range(70))
