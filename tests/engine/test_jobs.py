"""Jobs in the background: watch, wait, stop; names and restarts in a checkpoint folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.engine.engine_data import bids, endless, windows

import dataflare_fast as dff
from dataflare_fast.errors import CallError, UnsupportedQuery


def engine(folder: Path, name: str | None = "job") -> dff.Engine:
    return dff.Engine(name=name, parallelism=2, checkpoint=dff.Checkpoint(folder / "state", interval="50ms"))


def test_job_runs_to_its_end(tmp_path: Path) -> None:
    with dff.Engine().start(windows().sink_parquet(f"{tmp_path}/out/", lazy=True)) as job:
        assert job.wait()
        status = job.status()
    assert (status.state, status.rows_in, status.rows_out) == ("finished", 1000, windows().collect().height)
    assert job.metrics()["kind"].to_list().count("source") == 1


def test_wait_gives_up_after_its_timeout(tmp_path: Path) -> None:
    job = dff.Engine().start(endless().sink_parquet(f"{tmp_path}/out/", lazy=True))
    assert not job.wait("50ms")
    job.cancel()
    assert job.status().state == "cancelled"


def test_stopped_job_goes_on_where_it_was(tmp_path: Path) -> None:
    bounded = dff.nexmark(events=100_000, rate=200_000).bid.select("auction", "price", "ts")
    sink = bounded.sink_parquet(f"{tmp_path}/out/", lazy=True)
    job = engine(tmp_path).start(sink)
    job.wait("100ms")
    job.stop()
    assert job.status().state in ("stopped", "finished")
    again = engine(tmp_path).start(sink)
    again.wait()
    found = pl.read_parquet(tmp_path / "out/*.parquet")
    assert_frame_equal(found, bounded.collect(engine="in-memory"), check_row_order=False)


def test_drained_job_closes_its_windows(tmp_path: Path) -> None:
    grouped = (
        endless()
        .stream.with_watermark("ts", delay="1h")
        .group_by_dynamic("ts", every="1h", group_by="auction")
        .agg(pl.len())
    )
    job = dff.Engine().start(grouped.sink_parquet(f"{tmp_path}/out/", lazy=True))
    while job.status().rows_in == 0:
        job.wait("10ms")
    job.stop(drain=True)
    assert pl.read_parquet(tmp_path / "out/*.parquet")["len"].sum() == job.status().rows_in


def test_finished_job_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = windows().sink_parquet(f"{tmp_path}/out/", lazy=True)
    engine(tmp_path).start(sink).wait()
    again = engine(tmp_path).start(sink)
    assert again.was_finished
    assert again.wait()
    assert "had finished" in capsys.readouterr().err
    found = pl.read_parquet(tmp_path / "out/*.parquet")
    assert_frame_equal(found, windows().collect(engine="in-memory"), check_row_order=False)


def test_new_job_without_a_name_gets_one_that_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = windows().sink_parquet(f"{tmp_path}/out/", lazy=True)
    job = engine(tmp_path, name=None).start(sink)
    job.wait()
    assert job.name in capsys.readouterr().err
    assert engine(tmp_path, name=None).start(sink).name == job.name


def test_lazy_sink_that_polars_cannot_build_again_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(tmp_path).start(windows().sink_parquet(f"{tmp_path}/out/", lazy=True)).wait()
    assert ".stream.sink_parquet" in capsys.readouterr().err
    with pytest.raises(IsADirectoryError):
        windows().sink_parquet(f"{tmp_path}/out/", lazy=True)
    # With an engine, and as a word, the folder may be there.
    windows().sink_parquet(f"{tmp_path}/out/", engine=engine(tmp_path))
    assert engine(tmp_path).start(windows().stream.sink_parquet(f"{tmp_path}/out/", lazy=True)).was_finished


def test_collect_leaves_no_checkpoint(tmp_path: Path) -> None:
    windows().collect(engine=engine(tmp_path))
    assert not (tmp_path / "state").exists()


def test_frame_that_is_no_sink_is_refused() -> None:
    with pytest.raises(UnsupportedQuery, match="sink_parquet"):
        dff.Engine().start(bids())


def test_start_without_a_sink_is_refused() -> None:
    with pytest.raises(CallError, match="at least one"):
        dff.Engine().start()


def test_job_is_awaited(tmp_path: Path) -> None:
    async def run() -> str:
        sink = windows().sink_parquet(f"{tmp_path}/out/", lazy=True)
        async with dff.Engine().start(sink) as job:
            assert await job.wait_async()
        return job.status().state

    assert asyncio.run(run()) == "finished"


def test_error_inside_the_block_cancels_the_job(tmp_path: Path) -> None:
    sink = endless().sink_parquet(f"{tmp_path}/out/", lazy=True)
    with pytest.raises(LookupError), dff.Engine().start(sink) as job:
        raise LookupError
    assert job.status().state == "cancelled"


def test_checkpoint_is_read_with_offsets_watermarks_and_state(tmp_path: Path) -> None:
    windows().sink_parquet(f"{tmp_path}/out/", engine=engine(tmp_path))
    found = dff.read_checkpoint(tmp_path / "state")
    assert (found.job, found.finished, found.parallelism) == ("job", True, 2)
    assert found.offsets.height == 2
    assert found.watermarks.height == 2
    assert found.watermarks["largest_time"].max() == 999_000_000


def test_missing_epoch_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    windows().sink_parquet(f"{tmp_path}/out/", engine=engine(tmp_path))
    with pytest.raises(CallError, match="999"):
        dff.read_checkpoint(tmp_path / "state", epoch=999)
    with pytest.raises(CallError, match="none"):
        dff.read_checkpoint(tmp_path / "out")


@pytest.mark.parametrize(("presses", "says"), [(1, "left in order"), (2, "cancelled")])
def test_first_interrupt_stops_and_second_cancels(tmp_path: Path, presses: int, says: str) -> None:
    # The sink of the second program is slow, so that the job still stops when Ctrl-C comes again.
    program = f"""
        import threading
        import polars as pl, dataflare_fast as dff
        def write(rows):
            print("row", flush=True)
            if {presses} == 2:
                threading.Event().wait(1.5)
        bids = dff.nexmark(rate=1000).bid
        try:
            bids.sink_batches(write, engine=dff.Engine(checkpoint=r"{tmp_path}/state"))
            print("left in order")
        except KeyboardInterrupt:
            print("cancelled")
    """
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == "row\n"
    os.kill(child.pid, signal.SIGINT)
    while "Ctrl-C again cancels" not in child.stderr.readline():
        assert child.poll() is None
    if presses == 2:
        os.kill(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert out.splitlines()[-1:] == [says], err


def test_second_job_must_not_write_to_the_folder_of_another(tmp_path: Path) -> None:
    sink = endless().stream.sink_parquet(f"{tmp_path}/out", lazy=True)
    first = engine(tmp_path, name="first").start(sink)
    with pytest.raises(CallError, match="job 'first' of checkpoint folder"):
        engine(tmp_path, name="second").start(sink)
    while first.status().checkpoints_committed == 0:
        first.wait("10ms")
    first.stop()
    # It may come back for its rows; its own next start may.
    with pytest.raises(CallError, match="no other job writes to"):
        dff.Engine().start(sink)
    engine(tmp_path, name="first").start(sink).stop()


def test_folder_of_a_job_without_checkpoint_is_free_when_that_has_ended(tmp_path: Path) -> None:
    sink = endless().stream.sink_parquet(f"{tmp_path}/out", lazy=True)
    first = dff.Engine().start(sink)
    with pytest.raises(CallError, match="without a checkpoint"):
        dff.Engine().start(sink)
    first.cancel()
    first.wait()
    del first
    dff.Engine().start(sink).cancel()


def test_place_that_is_away_when_rows_are_published_does_not_end_the_job(tmp_path: Path) -> None:
    bids = dff.nexmark(rate=1_000, splits=1).bid.select("auction", "price", "ts")
    sink = bids.stream.sink_parquet(f"{tmp_path}/out", roll_after="0s", lazy=True)
    job = engine(tmp_path).start(sink)
    while job.status().checkpoints_committed < 2:
        job.wait("10ms")
    (tmp_path / "out").rename(tmp_path / "away")
    while not job.status().waits:
        job.wait("10ms")
    (waits,) = job.status().waits
    assert "committed, not published yet" in waits
    # One record may follow; the next one waits.
    job.wait("500ms")
    committed = job.status().checkpoints_committed
    job.wait("200ms")
    assert job.status().checkpoints_committed == committed
    assert job.status().state == "running"
    (tmp_path / "away").rename(tmp_path / "out")
    while job.status().waits or job.status().checkpoints_committed < committed + 2:
        job.wait("10ms")
    job.stop()
    check_prefix(tmp_path)


def test_job_that_dies_while_its_place_is_away_publishes_at_its_next_start(tmp_path: Path) -> None:
    bids = dff.nexmark(rate=1_000, splits=1).bid.select("auction", "price", "ts")
    sink = bids.stream.sink_parquet(f"{tmp_path}/out", roll_after="0s", lazy=True)
    job = engine(tmp_path).start(sink)
    while job.status().checkpoints_committed < 2:
        job.wait("10ms")
    (tmp_path / "out").rename(tmp_path / "away")
    while not job.status().waits:
        job.wait("10ms")
    job.cancel()
    job.wait()
    (tmp_path / "away").rename(tmp_path / "out")
    engine(tmp_path).start(sink).stop()
    check_prefix(tmp_path)


def check_prefix(folder: Path) -> None:
    """What is published of one split is the beginning of it."""
    found = pl.read_parquet(folder / "out/*.parquet")
    whole = dff.nexmark(events=100_000, splits=1).bid.select("auction", "price", "ts")
    assert_frame_equal(found, whole.head(found.height).collect(engine="in-memory"), check_row_order=False)
