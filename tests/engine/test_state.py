"""`job.state`: what operators keep, read from the newest checkpoint while the job runs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError


def counted() -> pl.LazyFrame:
    rows = pl.DataFrame({"user": ["anna", "ben", "anna", "a much longer name than sixteen bytes"] * 5})
    return dff.from_batches(rows).group_by("user").agg(pl.len(), names=pl.col("user")).stream.name("counts")


def job_of(folder: Path) -> dff.Job:
    engine = dff.Engine(name="counting", checkpoint=folder / "state", parallelism=2)
    return engine.start(counted().stream.sink_parquet(str(folder / "out") + "/", lazy=True))


def kept_rows(job: dff.Job) -> int:
    return int(job.state().filter(pl.col("operator").str.starts_with("counts"))["rows"].sum())


def test_rows_and_bytes_of_each_operator_are_shown(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.wait()
    found = job.state()
    assert found.columns == ["operator", "table", "rows", "bytes", "epoch"]
    assert found["bytes"].is_sorted(descending=True)
    assert found["epoch"].unique().to_list() == [job.status().checkpoint_epoch]


def test_running_job_shows_keys_and_values_with_their_bytes(tmp_path: Path) -> None:
    bids = dff.nexmark(rate=20_000).bid.stream.with_watermark("ts", delay="1h")
    windows = bids.group_by_dynamic("ts", every="1h", group_by="auction")
    counts = windows.agg(pl.len(), last=pl.col("channel").max()).stream.name("counts")
    checkpoint = dff.Checkpoint(tmp_path / "state", interval="50ms")
    engine = dff.Engine(name="counting", checkpoint=checkpoint, parallelism=2)
    sink = counts.stream.sink_parquet(str(tmp_path / "out") + "/", lazy=True)
    with engine.start(sink) as job:
        while job.status().checkpoint_epoch == 0 or kept_rows(job) == 0:
            assert not job.wait("20ms")
        rows = job.state("counts")
        assert job.status().state == "running"
    assert {"auction", "table", "bytes"} <= set(rows.columns)
    assert rows["bytes"].to_list() == [8 + 8 + 8 + len(name) + 16 for name in rows[:, 3]]
    by_key = rows.group_by("auction").agg(pl.col("bytes").sum())
    assert by_key.height == rows["auction"].n_unique()


def test_bytes_follow_the_values(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"k": ["a", "four", None], "n": [1, None, 3], "l": [["x"], [], None], "s": [{"a": 1, "b": True}] * 3}
    )
    from dataflare_fast.checkpoint.state import _row_bytes

    found = frame.select(bytes=_row_bytes(frame))
    texts, numbers, structs = [1 + 16, 4 + 16, 16], 8, 8 + 1
    lists = [1 + 16 + 16, 16, 16]
    expected = [text + numbers + one + structs for text, one in zip(texts, lists, strict=True)]
    assert_frame_equal(found, pl.DataFrame({"bytes": expected}, schema={"bytes": pl.UInt64}))


def test_what_cannot_be_shown_is_said_with_the_fix(tmp_path: Path) -> None:
    plain = dff.Engine().start(counted().stream.sink_parquet(str(tmp_path / "plain") + "/", lazy=True))
    plain.wait()
    with pytest.raises(CallError, match=r"Engine\(checkpoint=...\)"):
        plain.state()
    job = job_of(tmp_path)
    job.wait()
    with pytest.raises(CallError, match=r"expected one of .* got 'nobody'"):
        job.state("nobody")
