"""The process of one job: `python -m dataflare_fast.service.worker FOLDER`.

Reads `FOLDER/spec.json`, runs the job, answers the service (`control.py`), and says in `FOLDER/result.json`
how it ended. It does not need the service to go on. Not here: deciding to start or to start again
(`job_runner.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dataflare_fast as dff
from dataflare_fast import _core
from dataflare_fast.errors import CallError, DataflareError
from dataflare_fast.monitoring.snapshot import take_snapshot
from dataflare_fast.planner.drawing import node_labels
from dataflare_fast.service.control import ControlServer
from dataflare_fast.targets import read_target

__all__ = ["main", "write_whole"]


def write_whole(path: Path, value: Any) -> None:
    """Writes JSON so that a reader finds the old file or the new one."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value))
    part.replace(path)


def main() -> None:
    """Runs the job of the folder that the command line names."""
    folder = Path(sys.argv[1]).absolute()
    spec = json.loads((folder / "spec.json").read_text())
    threading.Thread(
        target=_bound_log, args=(folder / "log", spec["log_limit_bytes"]), daemon=True, name="log"
    ).start()
    try:
        state = _run(folder, spec)
    except CallError as error:
        _end(folder, "failed", error, permanent=True)
    except DataflareError as error:
        _end(folder, "failed", error, permanent=False)
    except Exception as error:  # the user's file: any of Python's
        traceback.print_exc()
        _end(folder, "failed", error, permanent=False)
    else:
        _end(folder, state, None, permanent=False)


def _run(folder: Path, spec: dict[str, Any]) -> str:
    _say("info", "job starts", target=spec["target"], pid=os.getpid(), restore=spec["restore"])
    # Its file stands in its own folder, as when Python runs it.
    os.chdir(spec["working_folder"])
    sys.path.insert(0, spec["working_folder"])
    checkpoint = dff.Checkpoint(
        spec["checkpoint_folder"],
        interval=spec["checkpoint_interval"],
        keep=spec["checkpoints_kept"],
        restore=spec["restore"],
    )
    engine = dff.Engine(
        checkpoint=checkpoint,
        parallelism=spec["parallelism"],
        batch_rows=spec["batch_size"],
        memory_limit=spec["memory_limit"],
        on_error=spec["on_error"],
    )
    job = engine.start(*read_target(spec["target"]), name=spec["name"])
    signal.signal(signal.SIGTERM, lambda _signal, _frame: job._core.stop(False))
    server = ControlServer(folder, lambda question: _answer(job, question))
    _say("info", "job runs", attempt=job.status().attempt, restored_epoch=job.status().restored_epoch)
    try:
        while not job.wait("200ms"):
            pass
    finally:
        # The last counters, for who looks when the process is gone.
        write_whole(folder / "last.json", _last(job))
        server.close()
    return job.status().state


def _last(job: dff.Job) -> dict[str, Any]:
    return {"snapshot": take_snapshot(job).to_json(), "plan": _plan(job)}


def _answer(job: dff.Job, question: dict[str, Any]) -> Any:
    match question["do"]:
        case "look":
            return take_snapshot(job).to_json()
        case "plan":
            return _plan(job)
        case "stop":
            _say("info", "stop is asked for", drain=question["drain"])
            job._core.stop(question["drain"])
        case "cancel":
            _say("info", "cancel is asked for")
            job._core.cancel()
        case "checkpoint":
            _say("info", "a checkpoint is asked for")
            job.checkpoint()
        case other:
            raise CallError(f"expected look, plan, stop, cancel or checkpoint, got {other!r}")
    return None


def _plan(job: dff.Job) -> dict[str, Any]:
    """What may be shown of the plan: no options of connectors, which may be secrets."""
    text = _core.explain(job._plan_json or "")
    labels = node_labels(text)
    nodes = []
    for number, node in enumerate(job.plan_nodes()):
        label = labels.get(number)
        shown = {
            "node": number,
            "operator": node["operator"],
            "inputs": node["inputs"],
            "name": node.get("name"),
            "title": node["operator"] if label is None else label.title,
            "notes": [] if label is None else label.notes,
            "exchange": None if label is None else label.exchange,
            "event_time": node.get("event_time"),
            "columns": [one["name"] for one in node["schema"]],
        }
        if node["operator"] == "sink":
            shown["connector"] = node["connector"]
            options = node.get("options", {})
            shown["path"], shown["layout"] = options.get("path"), options.get("layout")
            if isinstance(shown["path"], str) and "://" not in shown["path"]:
                shown["path"] = str(Path(shown["path"]).absolute())
        nodes.append(shown)
    return {"text": text, "nodes": nodes}


def _end(folder: Path, state: str, error: BaseException | None, *, permanent: bool) -> None:
    text = None if error is None else f"{type(error).__name__}: {error}"
    _say("info" if error is None else "error", f"job {state}", error=text)
    write_whole(folder / "result.json", {"state": state, "error": text, "permanent": permanent})


def _say(level: str, event: str, **facts: Any) -> None:
    """One line of JSON in the log."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    known = {name: fact for name, fact in facts.items() if fact is not None}
    print(json.dumps({"at": at, "level": level, "event": event, **known}), file=sys.stderr, flush=True)


def _bound_log(path: Path, limit_bytes: int) -> None:
    """Keeps what has grown too long as `log.1`, and empties it; lines written in that moment are lost."""
    pause = threading.Event()
    while not pause.wait(5):
        if path.exists() and path.stat().st_size > limit_bytes:
            shutil.copyfile(path, path.with_name("log.1"))
            os.truncate(path, 0)


if __name__ == "__main__":
    main()
