"""Starts, kills and asks a service; writes the programs of its jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.monitoring.waiting import until

__all__ = ["COUNTED", "Service"]

# Windows of a second over rows that never end.
COUNTED = """
import polars as pl
import dataflare_fast as dff

bids = dff.nexmark(rate=20_000).bid.stream.with_watermark("ts", delay="1s")
counted = bids.stream.metric("bids_total", pl.len())
windows = counted.group_by_dynamic("ts", every="1s", group_by="auction").agg(pl.len().alias("bids"))
sink = windows.stream.name("hot").stream.sink_parquet("out/", roll_after="0s", lazy=True)
"""


class Service:
    """One service.

    Args:
        folder: of its configuration.
        jobs: by name.
        settings: the others.
    """

    def __init__(self, folder: Path, jobs: dict[str, Any], settings: dict[str, Any]) -> None:
        self.folder = folder
        self.config = folder / "service.yaml"
        streams = {"checkpoint_interval": "200ms", "parallelism": 1, **settings.pop("streams", {})}
        values = {"port": 0, "folder": "state", "streams": streams, "jobs": jobs, **settings}
        self.config.write_text(json.dumps(values))  # JSON is YAML
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        state = self.folder / "state" / "service.json"
        state.unlink(missing_ok=True)
        command = [sys.executable, "-m", "dataflare_fast.cli", "serve", "--config", str(self.config)]
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.url = until(lambda: _url(state), "the service says its address")
        until(self._answers, "the service answers")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)

    def end_everything(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)
        for record in (self.folder / "state" / "jobs").glob("*/record.json"):
            pid = json.loads(record.read_text())["pid"]
            if pid is not None and b"service.worker" in _command_line(pid):
                os.kill(pid, signal.SIGKILL)

    def get(self, path: str) -> Any:
        return self.ask("GET", path)[1]

    def post(self, path: str, **body: Any) -> Any:
        status, found = self.ask("POST", path, body)
        assert status < 300, found
        return found

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{self.url}{path if path.startswith('/') else '/api/v1/' + path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read().decode()
                is_json = "json" in answer.headers["Content-Type"]
                return answer.status, json.loads(text) if is_json else text
        except urllib.error.HTTPError as error:
            kind, text = error.headers["Content-Type"], error.read().decode()
            return error.code, json.loads(text) if "problem+json" in kind else f"{kind}: {text}"

    def job(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"jobs/{name}")
        return found

    def when(self, name: str, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The job, once it is so."""

        def look() -> dict[str, Any] | None:
            job = self.job(name)
            return job if condition(job) else None

        return until(look, f"{name}: {what}", within_s=60)

    def runs(self, name: str) -> dict[str, Any]:
        """The job, once it has read rows and written a checkpoint."""
        return self.when(
            name,
            lambda job: job["state"] == "running" and job["rows_in"] > 0 and job["checkpoint_epoch"] > 0,
            "runs",
        )

    def is_in(self, name: str, state: str) -> dict[str, Any]:
        return self.when(name, lambda job: job["state"] == state, f"is {state}")

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/healthz")[0] == 200
        except OSError:
            return False


def _url(state: Path) -> str | None:
    return json.loads(state.read_text())["url"] if state.exists() else None


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
