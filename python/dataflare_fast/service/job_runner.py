"""The life of one job: its process is started, watched, stopped, and started again when it fails.

A step of `JobRunner` looks at what is wanted and what is there, and does one thing. What is wanted lies in
`FOLDER/record.json`, so a service that was started again goes on with it; the process does not notice. Not
here: which jobs there are (`supervisor.py`), what is shown of them (`views.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataflare_fast.config import parse_bytes
from dataflare_fast.errors import ConflictError, DataflareError, UnavailableError
from dataflare_fast.monitoring.snapshot import Snapshot
from dataflare_fast.service.control import ask
from dataflare_fast.service.settings import JobSettings, ServiceSettings, seconds
from dataflare_fast.service.views import History
from dataflare_fast.service.worker import write_whole

__all__ = ["JobRunner", "Record"]

_LOOK_S = 1.0
# A process that was told to stop and still runs gets no further checkpoint: it is ended.
_LONGEST_STOP_S = 60.0


@dataclass(slots=True)
class Record:
    """What outlives the service.

    Args:
        wanted: `run`, `pause` or `stop`.
        pid: of the process; None: none.
        born: when that process began, in the kernel's ticks: a pid may be used again.
        state: `running`, `waiting` (for its turn), `starting`, `stopping`, `backing off`, `paused`,
            `stopped`, `finished`, `failed`.
        reason: why it is not running.
        failures: Unix times of failures that still count.
        restarts: how often it was started again after a failure.
        retry_at_s: Unix time of the next start.
        restore: where the next start goes on: `latest` or a number.
        settings: of a job that was added through the API; None: the configuration's.
    """

    wanted: str = "run"
    pid: int | None = None
    born: int | None = None
    state: str = "stopped"
    reason: str | None = None
    failures: list[float] = field(default_factory=list)
    restarts: int = 0
    retry_at_s: float | None = None
    restore: str | int = "latest"
    settings: dict[str, Any] | None = None


class JobRunner:
    """One job.

    Args:
        name: of the job.
        settings: its own.
        service: of all.
        turns: as many as jobs may run at once.
        record: what an earlier service left; None: nothing.
    """

    def __init__(
        self,
        name: str,
        settings: JobSettings,
        service: ServiceSettings,
        turns: Turns,
        record: Record | None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.stream = settings.stream(service.streams)
        self.restart = settings.restart or service.restart
        self.folder = service.folder / "jobs" / name
        self.checkpoints = service.folder / "checkpoints" / name
        self.history = History(self.stream.backpressure_threshold)
        self.plan: dict[str, Any] | None = None
        self.record = Record(wanted="run" if settings.start else "stop") if record is None else record
        self._service = service
        self._turns = turns
        self._child: subprocess.Popen[bytes] | None = None
        self._told_at_s: float | None = None
        self._drain = False
        self._again: str | int = "latest"
        self._moved: tuple[float, int] = (time.time(), -1)
        self._wake = asyncio.Event()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._alive():
            turns.keep(name)
        else:
            self.load_last()

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest look."""
        return self.history.newest

    # What an operator asks for.

    def start(self, *, restore: str | int = "latest") -> None:
        """Wants it to run; also after a failure."""
        if self.record.wanted == "run" and self._alive():
            raise ConflictError(f"job '{self.name}' runs already")
        if self._told_at_s is not None:
            raise ConflictError(f"job '{self.name}' is being stopped; wait for it")
        self._forget_end()
        self.record.restore = restore
        self._want("run")

    def stop(self, *, wanted: str = "stop", drain: bool = False) -> None:
        """Wants it to leave with a savepoint (drain: after closing every window)."""
        if wanted == "pause" and not (self.record.wanted == "run" and self._alive()):
            raise ConflictError(f"job '{self.name}' is {self.record.state}: only a running job can be paused")
        self._drain = drain
        self.record.retry_at_s = None
        self._want(wanted)

    def resume(self) -> None:
        """Goes on after a pause."""
        if self.record.wanted != "pause":
            raise ConflictError(f"job '{self.name}' is {self.record.state}, not paused")
        self.start()

    def begin_again(self, *, restore: str | int = "latest") -> None:
        """Stops it (with a savepoint, unless it goes back to an older checkpoint) and starts it."""
        self._again = restore
        if self._alive():
            self._want("again")
        else:
            self.start(restore=restore)

    async def checkpoint(self) -> None:
        """Asks for a checkpoint now."""
        await ask(self.folder, {"do": "checkpoint"})

    async def cancel(self) -> None:
        """Leaves at once without a savepoint; rows since the last checkpoint come again."""
        self._want("stop")
        if self._alive():
            self._told_at_s = time.monotonic()
            await ask(self.folder, {"do": "cancel"})

    # What the service does about it.

    async def run(self) -> None:
        """Steps until the service ends. The job goes on then."""
        while True:
            try:
                await self._step()
            except (DataflareError, OSError) as error:
                self.record.reason = str(error)
            self._save()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            self._wake.clear()

    async def _step(self) -> None:
        if self._alive():
            if self.record.wanted != "run":
                await self._stop_process()
            else:
                await self._look()
        elif self.record.pid is not None:
            self._note_end()
        elif self.record.wanted == "run" and self.record.state not in ("finished", "failed"):
            self._start_process()
        elif self.record.wanted == "pause":
            self.record.state = "paused"
        elif self.record.wanted == "stop" and self.record.state not in ("finished", "failed"):
            self.record.state = "stopped"

    def _start_process(self) -> None:
        if self.record.retry_at_s is not None and time.time() < self.record.retry_at_s:
            self.record.state = "backing off"
            return
        if not self._turns.take(self.name):
            self.record.state = "waiting"
            self.record.reason = f"{self._turns.most} jobs run already (max_concurrent_streams)"
            return
        for name in ("result.json", "control.sock"):
            (self.folder / name).unlink(missing_ok=True)
        write_whole(self.folder / "spec.json", self._spec())
        secrets = {name: value.get_secret_value() for name, value in self.settings.environment.items()}
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours, a folder of ours
                [sys.executable, "-m", "dataflare_fast.service.worker", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **secrets},
                start_new_session=True,  # Ctrl-C in the service's terminal is for the service
            )
        self.history.begin()
        self.plan = None
        self._moved = (time.time(), -1)
        self.record.pid, self.record.born = self._child.pid, _born(self._child.pid)
        self.record.state, self.record.reason, self.record.retry_at_s = "starting", None, None
        self.record.restore = "latest"

    def _spec(self) -> dict[str, Any]:
        file = Path(self.settings.target.rpartition(":")[0])
        return {
            "name": self.name,
            "target": self.settings.target,
            "working_folder": str(file.absolute().parent),
            "checkpoint_folder": str(self._service.folder / "checkpoints"),
            "restore": self.record.restore,
            "log_limit_bytes": parse_bytes(self._service.log_limit, "log_limit", least=1),
            **self.stream.model_dump(exclude={"processing_timeout", "backpressure_threshold"}),
        }

    async def _look(self) -> None:
        if not (self.folder / "control.sock").exists():
            return  # it still imports, or plans
        try:
            found = Snapshot.from_json(await ask(self.folder, {"do": "look"}))
            if self.plan is None:
                self.plan = await ask(self.folder, {"do": "plan"})
        except UnavailableError:
            if self._alive():
                self.record.reason = "its process does not answer"
            return
        self.history.add(found)
        self.record.state, self.record.reason = "running", None
        self._check_progress(found)

    def _check_progress(self, found: Snapshot) -> None:
        """`processing_timeout`: rows wait and none has moved for so long."""
        status = found.status
        moved = sum(task["rows_in"] for task in found.tasks)
        waiting = [split["lag"] for split in found.splits]
        blocked = any(waiting) or bool(status["pending_rows"])
        if moved != self._moved[1] or not blocked:
            self._moved = (found.at_s, moved)
        limit = self.stream.processing_timeout
        if limit is not None and found.at_s - self._moved[0] > seconds(limit):
            self._kill()
            self._forget_process()
            self._fail(f"rows wait and none has moved for {limit} (processing_timeout)")

    async def _stop_process(self) -> None:
        now_s = time.monotonic()
        if self._told_at_s is None:
            self.record.state = "stopping"
            # A savepoint would push the checkpoint that it is to go back to out of those that are kept.
            goes_back = self.record.wanted == "again" and self._again != "latest"
            question = {"do": "cancel"} if goes_back else {"do": "stop", "drain": self._drain}
            try:
                await ask(self.folder, question)
            except UnavailableError:
                # It has not come so far that it answers: then it has nothing to lose.
                self._signal(signal.SIGTERM)
            self._told_at_s = now_s
        elif now_s - self._told_at_s > _LONGEST_STOP_S:
            self._kill()

    def _note_end(self) -> None:
        """The process is gone: what did it say?"""
        code = None if self._child is None else self._child.poll()
        self._forget_process()
        told, self._told_at_s = self._told_at_s is not None, None
        self.load_last()
        result = _json(self.folder / "result.json")
        if self.record.wanted == "again":
            self._forget_end()
            self.record.restore = self._again
            self.record.wanted = "run"
            if result is not None and result["state"] != "failed":
                return
        if result is None:
            if told:
                self.record.reason = "ended without a savepoint"
                return
            self._fail(f"its process ended without a word{_by_signal(code)}")
        elif result["state"] == "failed":
            if result["permanent"]:
                self.record.state, self.record.reason = "failed", result["error"]
                self.record.failures.append(time.time())
            else:
                self._fail(result["error"])
        elif result["state"] == "finished":
            self.record.state, self.record.reason = "finished", None
        elif self.record.wanted == "run":
            # Somebody else has stopped it.
            self.record.wanted, self.record.state = "stop", "stopped"
            self.record.reason = f"{result['state']} from outside"

    def _fail(self, reason: str) -> None:
        """Decides whether and when it starts again."""
        now_s = time.time()
        recent = [at for at in self.record.failures if now_s - at < seconds(self.restart.window)]
        self.record.failures = [*recent, now_s]
        if len(self.record.failures) > self.restart.limit:
            self.record.state, self.record.retry_at_s = "failed", None
            self.record.reason = (
                f"{reason}; failed {len(self.record.failures)} times within {self.restart.window}, "
                f"which is more than restart.limit ({self.restart.limit})"
            )
            return
        doubled = seconds(self.restart.first_delay) * 2.0 ** (len(self.record.failures) - 1)
        self.record.retry_at_s = now_s + min(doubled, seconds(self.restart.longest_delay))
        self.record.restarts += 1
        self.record.state, self.record.reason = "backing off", reason

    def load_last(self) -> None:
        """What a process that has ended wrote of itself."""
        last = _json(self.folder / "last.json")
        if last is not None:
            self.history.add(Snapshot.from_json(last["snapshot"]))
            self.plan = last["plan"]

    def _forget_process(self) -> None:
        self.record.pid = self.record.born = self._child = None
        self._turns.give(self.name)

    def _want(self, wanted: str) -> None:
        self.record.wanted = wanted
        self._save()
        self._wake.set()

    def _forget_end(self) -> None:
        self.record.failures, self.record.retry_at_s, self.record.reason = [], None, None
        if self.record.state in ("finished", "failed", "stopped", "paused", "backing off"):
            self.record.state = "waiting"

    def _alive(self) -> bool:
        pid = self.record.pid
        if pid is None:
            return False
        if self._child is not None:
            return self._child.poll() is None
        return _born(pid) == self.record.born

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._alive() and self.record.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.record.pid, number)

    def _pause_s(self) -> float:
        if self.record.retry_at_s is not None:
            return max(0.01, min(_LOOK_S, self.record.retry_at_s - time.time()))
        return 0.1 if self.record.state in ("starting", "stopping") else _LOOK_S

    def _save(self) -> None:
        write_whole(self.folder / "record.json", asdict(self.record))


class Turns:
    """Who may run: `max_concurrent_streams`.

    Args:
        most: how many at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: set[str] = set()

    def take(self, name: str) -> bool:
        """True: it may run, or does."""
        if name in self._taken:
            return True
        if len(self._taken) >= self.most:
            return False
        self._taken.add(name)
        return True

    def keep(self, name: str) -> None:
        """It runs already, so it counts, however many do."""
        self._taken.add(name)

    def give(self, name: str) -> None:
        """It has ended."""
        self._taken.discard(name)


def _born(pid: int) -> int | None:
    """When a process began, in the kernel's ticks; None: there is none, or only what is left of it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _by_signal(code: int | None) -> str:
    if code is None:
        return ""
    return f" (signal {signal.Signals(-code).name})" if code < 0 else f" (exit code {code})"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
