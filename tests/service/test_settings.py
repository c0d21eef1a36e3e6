"""The configuration: where values come from, what is refused, and what DataFlare's names do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.monitoring.waiting import until

from dataflare_fast.errors import CallError
from dataflare_fast.service.reading_settings import read_settings, settings_schema, shown_settings

from .conftest import Make
from .running import COUNTED


def written(folder: Path, text: str, name: str = "service.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_arguments_beat_variables_beat_secrets_beat_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "port: 1\naddress: localhost\nmax_concurrent_streams: 1\nlog_limit: 1MiB\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("port", "address", "max_concurrent_streams"):
        (secrets / name).write_text({"address": "::1"}.get(name, "2"))
    monkeypatch.setenv("DATAFLARE_PORT", "3")
    monkeypatch.setenv("DATAFLARE_ADDRESS", "127.0.0.2")
    found = read_settings(file, {"port": 4}, secrets=secrets)
    assert (found.port, found.address, found.max_concurrent_streams, found.log_limit) == (
        4,
        "127.0.0.2",
        2,
        "1MiB",
    )


def test_nested_variable_changes_one_setting_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "[streams]\nbatch_size = 10\ncheckpoints_kept = 20\n", "service.toml")
    monkeypatch.setenv("DATAFLARE_STREAMS__BATCH_SIZE", "11")
    streams = read_settings(file).streams
    assert (streams.batch_size, streams.checkpoints_kept) == (11, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1", "prot: no such setting; the nearest is 'port'"),
        ("streams: {bach_size: 1}", "streams.bach_size: no such setting; the nearest is 'batch_size'"),
        ("jobs: {a: {target: a.py:b, batchsize: 1}}", "jobs.a.batchsize: .* nearest is 'batch_size'"),
        ("streams: {checkpoint_interval: 10}", "checkpoint_interval: "),
        ("streams: {checkpoint_interval: 10 apples}", "expected a duration such as"),
        ("address: 0.0.0.0", "there is no authentication"),
        ("jobs: {'../a': {target: a.py:b}}", "expected letters, digits"),
        ("jobs: {a: {target: a.py}}", "expected FILE.py:NAME"),
        ("port: [", "service.yaml"),
    ],
)
def test_wrong_setting_is_named_with_the_nearest_right_one(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        read_settings(written(tmp_path, text))


def test_variable_that_is_nearly_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLARE_PORTT", "1")
    with pytest.raises(CallError, match="nearest is DATAFLARE_PORT"):
        read_settings()


def test_secret_is_never_shown(tmp_path: Path) -> None:
    text = "jobs: {a: {target: 'a.py:b', environment: {PASSWORD: hunter2}}}"
    found = read_settings(written(tmp_path, text))
    assert found.jobs["a"].environment["PASSWORD"].get_secret_value() == "hunter2"
    assert "hunter2" not in json.dumps(shown_settings(found)) + repr(found)
    wrong = written(tmp_path, "jobs: {a: {target: 1, environment: {PASSWORD: [hunter2]}}}", "wrong.yaml")
    with pytest.raises(CallError) as refused:
        read_settings(wrong)
    assert "hunter2" not in str(refused.value)


def test_folder_of_jobs_is_read(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "orders.py").write_text(COUNTED)
    found = read_settings(written(tmp_path, "jobs_folder: jobs"))
    assert found.jobs["orders"].target == f"{tmp_path}/jobs/orders.py:job"


def test_schema_names_every_setting() -> None:
    schema = json.dumps(settings_schema())
    for name in (
        "max_concurrent_streams",
        "processing_timeout",
        "backpressure_threshold",
        "checkpoint_interval",
    ):
        assert name in schema


def test_command_line_shows_and_checks(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dataflare_fast.cli", "config", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = written(tmp_path, "port: 1\n")
    assert json.loads(run("show", "--config", str(good)).stdout)["port"] == 1
    assert "all is well" in run("check", "--config", str(good)).stdout
    bad = run("check", "--config", str(written(tmp_path, "prot: 1", "bad.yaml")))
    assert bad.returncode == 2
    assert "nearest is 'port'" in bad.stderr


def test_service_without_its_extra_is_one_clear_error(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['starlette'] = None\n"
        "from importlib import util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'starlette' else find(name, *rest)\n"
        "sys.argv = ['dataflare', 'serve']\n"
        "from dataflare_fast.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "dataflare: dataflare serve needs the extra 'service': pip install 'dataflare-fast[service]'"
    ]


@pytest.mark.slow
def test_max_concurrent_streams_lets_the_others_wait(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(COUNTED)
    (tmp_path / "b.py").write_text(COUNTED.replace("out/", "other/"))
    jobs = {"a": {"target": "a.py:sink"}, "b": {"target": "b.py:sink", "start": False}}
    service = make(jobs, max_concurrent_streams=1)
    service.runs("a")
    service.post("jobs/b/start")
    assert "max_concurrent_streams" in service.is_in("b", "waiting")["reason"]
    service.post("jobs/a/stop")
    service.runs("b")


def test_batch_size_cuts_the_input(make: Make, tmp_path: Path) -> None:
    rows = "import polars as pl\nimport dataflare_fast as dff\n"
    rows += "rows = dff.from_batches(pl.DataFrame({'a': range(1000)}))\n"
    rows += "sink = rows.stream.sink_parquet('out/', lazy=True)\n"
    (tmp_path / "a.py").write_text(rows)
    service = make({"a": {"target": "a.py:sink"}}, streams={"batch_size": 100})
    source = service.is_in("a", "finished")["operators"][0]
    assert source["batches_in"] == 10


@pytest.mark.slow
def test_checkpoint_interval_is_the_jobs_own(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(COUNTED)
    own = {"target": "a.py:sink", "checkpoint_interval": "20ms", "checkpoints_kept": 2}
    service = make({"a": own}, streams={"checkpoint_interval": "1h"})
    service.when("a", lambda one: one.get("checkpoint_epoch", 0) > 5, "has checkpoints")
    until(lambda: len(service.get("jobs/a/checkpoints")) == 2, "older checkpoints go")


@pytest.mark.slow
def test_job_that_does_not_move_is_started_again_after_processing_timeout(make: Make, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        COUNTED.replace(
            "sink = windows",
            "import threading\n"
            "def wait(frame):\n    threading.Event().wait(600)\n    return frame\n"
            "rows = dff.nexmark(rate=1e6).bid.select('price')\n"
            "stuck = rows.stream.map_batches(wait, schema={'price': pl.Int64})\n"
            "stuck = stuck.stream.sink_parquet('stuck/', lazy=True)\nsink = windows",
        )
    )
    jobs = {"stuck": {"target": "stuck.py:stuck", "processing_timeout": "1s"}}
    service = make(jobs, restart={"first_delay": "10ms"})
    service.when("stuck", lambda one: one["restarts"] > 0, "is started again")
    service.when("stuck", lambda one: "processing_timeout" in str(one["reason"]), "says why")
