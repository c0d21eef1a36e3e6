"""Real servers for the session, by the scripts that `DATAFLARE_SERVICES` names."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.kafka.broker import SERVICES


@contextmanager
def running(name: str) -> Iterator[dict[str, str]]:
    """One server in a folder of its own; what it prints, as names and values."""
    script = SERVICES / f"{name}.sh"
    if not script.exists():
        pytest.skip(f"no {name}: {script} is not there; set DATAFLARE_SERVICES")
    # Not below pytest's own folders: PostgreSQL runs as another user, who may not pass through those.
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "service"
        run = subprocess.run([script, "start", folder], text=True, capture_output=True)
        if run.returncode and "install.sh" in run.stderr:
            pytest.skip(f"no {name}: {run.stderr.strip()}")
        assert run.returncode == 0, run.stderr
        try:
            yield dict(line.split("=", 1) for line in run.stdout.splitlines())
        finally:
            subprocess.run([script, "kill", folder], check=True, capture_output=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with running("postgres") as found:
        yield found["POSTGRES_URL"]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with running("redis") as found:
        yield found["REDIS_URL"]
