"""Bad input and bad places: a clear error or a right answer, never a hang, never lost rows.

Files have their own in `test_files.py`, Kafka in `kafka/`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError, UnavailableError

ENGINE = dff.Engine(parallelism=2)


def test_strings_of_ten_megabytes_pass_through_exchange_and_sink(tmp_path: Path) -> None:
    rows = pl.DataFrame({"k": [1, 2, 1], "text": ["x" * 10_000_000, "é" * 5_000_000, None]})
    query = dff.from_batches(rows[:1], rows[1:]).group_by("k").agg(pl.col("text").max())
    found = query.collect(engine=ENGINE).sort("k")
    assert_frame_equal(found, query.collect(engine="in-memory").sort("k"))
    dff.from_batches(rows).sink_parquet(f"{tmp_path}/out/", engine=ENGINE)
    assert_frame_equal(pl.read_parquet(tmp_path / "out" / "*.parquet"), rows)


def test_source_without_splits_ends_at_once() -> None:
    nothing = dff.from_batches(schema={"a": pl.Int64})
    assert nothing.filter(pl.col("a") > 1).collect(engine=ENGINE).height == 0
    assert nothing.select(pl.len()).collect(engine=ENGINE).item() == 0


def test_rows_without_columns_are_counted() -> None:
    rows = dff.from_batches(pl.DataFrame({"a": [1, 2, 3]}))
    assert rows.select(pl.len()).collect(engine=ENGINE).item() == 3


def test_misspelt_column_is_named() -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="prize"):
        dff.nexmark(events=100).bid.select("prize").collect(engine=ENGINE)


def test_cast_that_fails_names_value_and_expression() -> None:
    rows = dff.from_batches(pl.DataFrame({"a": ["1", "two", "3"]}))
    query = rows.select(pl.col("a").cast(pl.Int64))
    with pytest.raises(DataError, match="two"):
        query.collect(engine=ENGINE)
    assert query.collect(engine=dff.Engine(on_error="skip"))["a"].to_list() == [1, 3]


def test_state_above_the_memory_limit_fails_cleanly() -> None:
    groups = dff.nexmark(events=400_000).bid.group_by("bidder", "price", "auction").agg(pl.len())
    with pytest.raises(CallError, match="memory_limit"):
        groups.collect(engine=dff.Engine(memory_limit="1MiB"))


def test_checkpoint_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    engine = dff.Engine(name="job", checkpoint=tmp_path / "state")
    with pytest.raises(UnavailableError, match="state"):
        pl.LazyFrame({"a": [1]}).sink_parquet(f"{tmp_path}/out/", engine=engine)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_of_the_checkpoint_ends_the_job_and_loses_nothing(tiny_disk: Path, tmp_path: Path) -> None:
    bids = dff.nexmark(rate=500_000.0).bid
    groups = bids.stream.with_watermark("ts", delay="1h").group_by_dynamic(
        "ts", every="1h", group_by="bidder"
    )
    sink = groups.agg(pl.len()).stream.sink_parquet(f"{tmp_path}/out", lazy=True)
    full = dff.Engine(name="job", checkpoint=dff.Checkpoint(tiny_disk / "state", interval="20ms"))
    with pytest.raises(UnavailableError, match="checkpoint"):
        full.start(sink).wait("60s")
    assert not list((tmp_path / "out").glob("*.parquet"))
