"""All jobs of a service: those of its configuration, and those that were added while it runs.

Ending the service ends no job; a service on the same folder finds them again. Not here: the life of one job
(`job_runner.py`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dataflare_fast.config import parse_job_name
from dataflare_fast.errors import CallError, ConflictError
from dataflare_fast.service.job_runner import JobRunner, Record, Turns
from dataflare_fast.service.settings import JobSettings, ServiceSettings

__all__ = ["NoSuchJob", "Supervisor"]


class NoSuchJob(CallError):  # noqa: N818 - the name is the fact
    """The service has no job of this name."""


class Supervisor:
    """The jobs.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._turns = Turns(settings.max_concurrent_streams)
        self._runners: dict[str, JobRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        """Finds what an earlier service left, and starts what is to run."""
        found = {path.parent.name: _record(path) for path in self._jobs_folder.glob("*/record.json")}
        for name, job in self.settings.jobs.items():
            self._take(name, job, found.get(name))
        for name, record in found.items():
            if name not in self.settings.jobs and record.settings is not None:
                self._take(name, JobSettings(**record.settings), record)

    async def end(self) -> None:
        """Looks no more. The jobs go on."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def jobs(self) -> list[JobRunner]:
        """All of them, by name."""
        return [self._runners[name] for name in sorted(self._runners)]

    def job(self, name: str) -> JobRunner:
        """One.

        Raises:
            NoSuchJob: there is none of this name.
        """
        if name not in self._runners:
            raise NoSuchJob(f"no job '{name}'; the service has {', '.join(sorted(self._runners)) or 'none'}")
        return self._runners[name]

    def add(self, name: str, values: dict[str, Any]) -> JobRunner:
        """A job that the configuration does not have; it stays over restarts of the service.

        Raises:
            CallError: settings that are not right.
            ConflictError: there is one of this name.
        """
        parse_job_name(name)
        if name in self._runners:
            raise ConflictError(f"there is a job '{name}' already")
        if values.get("environment"):
            raise CallError(
                "environment: secrets belong into the configuration, which is not written down again"
            )
        try:
            settings = JobSettings(**values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise CallError("; ".join(lines)) from None
        file, colon, _ = settings.target.rpartition(":")
        if not colon or not Path(file).is_absolute() or not Path(file).is_file():
            raise CallError(
                f"target: expected /ABSOLUTE/FILE.py:NAME of a file that is there, got {settings.target}"
            )
        record = Record(wanted="run" if settings.start else "stop", settings=values)
        return self._take(name, settings, record)

    async def remove(self, name: str) -> None:
        """Forgets a job that was added and does not run; its checkpoints stay.

        Raises:
            ConflictError: it runs, or the configuration has it.
        """
        runner = self.job(name)
        if name in self.settings.jobs:
            raise ConflictError(f"job '{name}' stands in the configuration: remove it there")
        if runner.record.pid is not None:
            raise ConflictError(f"job '{name}' runs: stop it first")
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del self._runners[name]
        self._turns.give(name)
        shutil.rmtree(runner.folder)

    @property
    def _jobs_folder(self) -> Path:
        return self.settings.folder / "jobs"

    def _take(self, name: str, settings: JobSettings, record: Record | None) -> JobRunner:
        runner = JobRunner(name, settings, self.settings, self._turns, record)
        self._runners[name] = runner
        self._tasks[name] = asyncio.create_task(runner.run(), name=f"job {name}")
        return runner


def _record(path: Path) -> Record:
    return Record(**json.loads(path.read_text()))
