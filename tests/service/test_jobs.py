"""Jobs of a service: started, paused, stopped, restored, killed; and over the service's own end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from .conftest import Make
from .running import COUNTED

FAILING = """
import polars as pl
import dataflare_fast as dff

def sink():
    raise OSError("the database is away")
"""


def counted(folder: Path) -> dict[str, Any]:
    (folder / "counted.py").write_text(COUNTED)
    return {"counted": {"target": "counted.py:sink"}}


def output_is_one_row_for_each_window(folder: Path) -> bool:
    rows = pl.read_parquet(folder / "out" / "part-*.parquet")
    return bool(rows.select(pl.struct("ts", "auction").is_unique().all()).item())


def test_job_runs_is_paused_resumed_and_stopped_and_loses_no_window(make: Make, tmp_path: Path) -> None:
    service = make(counted(tmp_path))
    first = service.runs("counted")
    service.post("jobs/counted/pause")
    paused = service.is_in("counted", "paused")
    assert paused["pid"] is None
    service.post("jobs/counted/resume")
    second = service.runs("counted")
    assert second["attempt"] == first["attempt"] + 1
    assert second["restored_epoch"] >= first["checkpoint_epoch"]
    service.post("jobs/counted/stop")
    service.is_in("counted", "stopped")
    assert output_is_one_row_for_each_window(tmp_path)


@pytest.mark.slow
def test_job_outlives_its_service_and_is_found_again(make: Make, tmp_path: Path) -> None:
    service = make(counted(tmp_path))
    before = service.runs("counted")
    service.end(signal.SIGKILL)
    os.kill(before["pid"], 0)
    service.start()
    after = service.runs("counted")
    assert after["pid"] == before["pid"]
    assert after["attempt"] == before["attempt"]
    service.post("jobs/counted/stop")
    service.is_in("counted", "stopped")
    service.end()
    service.start()
    assert service.job("counted")["state"] == "stopped"


@pytest.mark.slow
def test_killed_job_is_started_again_where_it_was(make: Make, tmp_path: Path) -> None:
    service = make(counted(tmp_path), restart={"first_delay": "10ms"})
    before = service.runs("counted")
    os.kill(before["pid"], signal.SIGKILL)
    after = service.when("counted", lambda job: job["pid"] not in (None, before["pid"]), "has a new process")
    assert after["restarts"] == 1
    again = service.runs("counted")
    assert again["restored_epoch"] >= before["checkpoint_epoch"]
    assert output_is_one_row_for_each_window(tmp_path)


@pytest.mark.slow
def test_job_that_fails_again_and_again_stays_down_and_says_why(make: Make, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    jobs = {"failing": {"target": "failing.py:sink"}, **counted(tmp_path)}
    service = make(jobs, restart={"limit": 2, "first_delay": "10ms"})
    failed = service.is_in("failing", "failed")
    assert "the database is away" in failed["reason"]
    assert "failed 3 times" in failed["reason"]
    assert service.runs("counted")["restarts"] == 0
    log = service.get("jobs/failing/log?search=job+starts")
    assert len(log) == 3


@pytest.mark.slow
def test_query_that_cannot_run_is_not_tried_again(make: Make, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        COUNTED.replace(".stream.name", ".select(pl.col('bids').shift(-1)).stream.name")
    )
    service = make({"wrong": {"target": "wrong.py:sink"}})
    failed = service.is_in("wrong", "failed")
    assert failed["restarts"] == 0
    assert "cannot run incrementally" in failed["reason"]


def test_job_goes_back_to_a_chosen_checkpoint(make: Make, tmp_path: Path) -> None:
    service = make(counted(tmp_path), streams={"checkpoints_kept": 50})
    service.runs("counted")
    service.when("counted", lambda job: job["checkpoint_epoch"] >= 4, "has checkpoints")
    chosen = service.get("jobs/counted/checkpoints")[-2]["epoch"]
    service.post("jobs/counted/restore", epoch=chosen)
    restored = service.when("counted", lambda job: job.get("restored_epoch") == chosen, "went back")
    assert restored["attempt"] == 2
    status, problem = service.ask("POST", "jobs/counted/restore", {"epoch": 99_999})
    assert status == 400
    assert "expected one of" in problem["detail"]


@pytest.mark.slow
def test_job_is_added_and_removed_while_the_service_runs(make: Make, tmp_path: Path) -> None:
    counted(tmp_path)
    service = make({})
    service.post("jobs", name="added", target=f"{tmp_path}/counted.py:sink", batch_size=500)
    service.runs("added")
    assert service.ask("DELETE", "jobs/added")[0] == 409
    service.end()
    service.start()
    service.runs("added")
    service.post("jobs/added/stop")
    service.is_in("added", "stopped")
    assert service.ask("DELETE", "jobs/added")[0] == 200
    assert service.get("jobs") == []


def test_second_service_on_the_folder_is_refused(make: Make, tmp_path: Path) -> None:
    service = make({})
    command = [sys.executable, "-m", "dataflare_fast.cli", "serve", "--config", str(service.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "belongs to a service that runs" in second.stderr
    assert service.ask("GET", "/healthz")[0] == 200
