"""The command `dataflare`: each subcommand, its exit code, and the example that the documentation names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "hot_auctions.py"


def dataflare(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dataflare_fast.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run = dataflare("run", f"{EXAMPLE}:sink", "--checkpoint", "state", "--name", "hot", folder=folder)
    assert run.returncode == 0, run.stderr
    return folder


def test_run_writes_what_polars_counts(finished: Path) -> None:
    written = pl.read_parquet(finished / "hot-auctions" / "*.parquet")
    assert written["bids"].sum() == 200_000 * 46 // 50


def test_run_of_a_finished_job_says_so(finished: Path) -> None:
    again = dataflare("run", f"{EXAMPLE}:sink", "--checkpoint", "state", "--name", "hot", folder=finished)
    assert again.returncode == 0
    assert "had finished" in again.stderr


def test_explain_shows_exchange_and_the_end_of_state(tmp_path: Path) -> None:
    shown = dataflare("explain", f"{EXAMPLE}:hot", folder=tmp_path)
    assert shown.returncode == 0
    assert "exchange by auction" in shown.stdout
    assert "when the watermark has passed it" in shown.stdout


def test_checkpoint_is_listed_shown_and_verified(finished: Path) -> None:
    assert "finished" in dataflare("checkpoint", "ls", "state", folder=finished).stdout
    assert "offset" in dataflare("checkpoint", "show", "state", folder=finished).stdout
    verified = dataflare("checkpoint", "verify", "state", folder=finished)
    assert verified.returncode == 0
    assert "whole" in verified.stdout


def test_damaged_checkpoint_object_is_named_with_exit_code_1(tmp_path: Path) -> None:
    run = dataflare("demo", "--folder", "demo", "--events", "400000", "--rate", "1e9", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    record = max((tmp_path / "demo" / "state" / "hot-auctions" / "manifest").iterdir())
    record.write_text(record.read_text()[:-20])
    broken = dataflare("checkpoint", "verify", "demo/state", folder=tmp_path)
    assert broken.returncode == 1
    assert record.name in broken.stderr


def test_demo_proves_itself(tmp_path: Path) -> None:
    arguments = ["--folder", "demo", "--events", "600000", "--rate", "1e9"]
    assert dataflare("demo", *arguments, folder=tmp_path).returncode == 0
    proof = dataflare("demo", "--verify", "--folder", "demo", folder=tmp_path)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert "every row exactly once" in proof.stdout


def test_doctor_finds_a_working_installation(tmp_path: Path) -> None:
    found = dataflare("doctor", folder=tmp_path)
    assert found.returncode == 0
    assert "right" in found.stdout
    assert "avx2 path" in found.stdout or "baseline path" in found.stdout


@pytest.mark.parametrize("target", ["nothing", "missing.py:query", f"{EXAMPLE}:no_such_name"])
def test_wrong_call_is_exit_code_2_with_one_line(target: str, tmp_path: Path) -> None:
    wrong = dataflare("run", target, folder=tmp_path)
    assert wrong.returncode == 2
    assert len(wrong.stderr.strip().splitlines()) == 1
