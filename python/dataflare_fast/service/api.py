"""The routes of `/api/v1`: one table, from which Starlette's routes and the OpenAPI document are made.

Handlers read from the supervisor and from disks; whatever blocks runs in a thread. Not here: errors as
problems, the checks of who asks (`app.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dataflare_fast import _core
from dataflare_fast.errors import CallError
from dataflare_fast.service import stored
from dataflare_fast.service.job_runner import JobRunner
from dataflare_fast.service.reading_settings import shown_settings
from dataflare_fast.service.supervisor import Supervisor

__all__ = ["ROUTES", "Parameter", "Route"]

_PERIOD_S = 1.0

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of a query string.

    Args:
        name: of it.
        type: of JSON Schema.
        text: what it does.
    """

    name: str
    type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation.

    Args:
        method: of HTTP.
        path: below `/api/v1`.
        handler: of it.
        name: its operationId.
        text: one sentence.
        parameters: of the query string.
        body: the properties of the JSON body, each with its JSON Schema; None: no body.
        required: those that must be there.
        answer: what comes back: `object`, `array` or `stream`.
        status: of success.
    """

    method: str
    path: str
    handler: Handler
    name: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | None = None
    required: tuple[str, ...] = ()
    answer: str = "object"
    status: int = 200
    problems: tuple[int, ...] = field(default=(400, 404))


def _supervisor(request: Request) -> Supervisor:
    found: Supervisor = request.app.state.supervisor
    return found


def _job(request: Request) -> JobRunner:
    return _supervisor(request).job(request.path_params["job"])


def summary(runner: JobRunner) -> dict[str, Any]:
    """A job in a line of the list."""
    record = runner.record
    return {
        "name": runner.name,
        "state": record.state,
        "wanted": record.wanted,
        "reason": record.reason,
        "pid": record.pid,
        "restarts": record.restarts,
        "retry_at_s": record.retry_at_s,
        "target": runner.settings.target,
        **runner.history.facts(),
    }


def detail(runner: JobRunner) -> dict[str, Any]:
    """Everything that changes while a job runs."""
    snapshot = runner.snapshot
    return {
        **summary(runner),
        "operators": runner.history.operators(),
        "splits": [] if snapshot is None else snapshot.splits,
        "metrics": [] if snapshot is None else snapshot.to_json()["metrics"],
        "history": runner.history.points(),
        "threshold": runner.history.threshold,
    }


async def _service(request: Request) -> Response:
    jobs = _supervisor(request).jobs()
    states = [one.record.state for one in jobs]
    return JSONResponse(
        {
            "version": _core.__version__,
            "jobs": len(jobs),
            "states": {state: states.count(state) for state in sorted(set(states))},
            "max_concurrent_streams": _supervisor(request).settings.max_concurrent_streams,
        }
    )


async def _configuration(request: Request) -> Response:
    return JSONResponse(shown_settings(_supervisor(request).settings))


async def _jobs(request: Request) -> Response:
    return JSONResponse([summary(one) for one in _supervisor(request).jobs()])


async def _add(request: Request) -> Response:
    values = await _body(request, ("name", "target"))
    name = values.pop("name")
    return JSONResponse(summary(_supervisor(request).add(name, values)), 201)


async def _show(request: Request) -> Response:
    return JSONResponse(detail(_job(request)))


async def _remove(request: Request) -> Response:
    await _supervisor(request).remove(request.path_params["job"])
    return JSONResponse({})


async def _start(request: Request) -> Response:
    runner = _job(request)
    runner.start()
    return JSONResponse(summary(runner), 202)


async def _pause(request: Request) -> Response:
    runner = _job(request)
    runner.stop(wanted="pause")
    return JSONResponse(summary(runner), 202)


async def _resume(request: Request) -> Response:
    runner = _job(request)
    runner.resume()
    return JSONResponse(summary(runner), 202)


async def _stop(request: Request) -> Response:
    runner = _job(request)
    runner.stop(drain=bool((await _body(request)).get("drain", False)))
    return JSONResponse(summary(runner), 202)


async def _cancel(request: Request) -> Response:
    runner = _job(request)
    await runner.cancel()
    return JSONResponse(summary(runner), 202)


async def _restart(request: Request) -> Response:
    runner = _job(request)
    runner.begin_again()
    return JSONResponse(summary(runner), 202)


async def _savepoint(request: Request) -> Response:
    runner = _job(request)
    await runner.checkpoint()
    return JSONResponse(summary(runner), 202)


async def _restore(request: Request) -> Response:
    runner = _job(request)
    epoch = (await _body(request, ("epoch",)))["epoch"]
    kept = [one["epoch"] for one in await asyncio.to_thread(stored.checkpoints, runner.checkpoints)]
    if isinstance(epoch, bool) or epoch not in kept:
        raise CallError(f"restore: epoch: expected one of {kept}, got {epoch!r}")
    runner.begin_again(restore=epoch)
    return JSONResponse(summary(runner), 202)


async def _operators(request: Request) -> Response:
    return JSONResponse(_job(request).history.operators())


async def _plan(request: Request) -> Response:
    return JSONResponse(_job(request).plan or {"text": "", "nodes": []})


async def _checkpoints(request: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(stored.checkpoints, _job(request).checkpoints))


async def _state(request: Request) -> Response:
    folder, epoch = _job(request).checkpoints, _whole(request, "epoch", least=1)
    table = request.query_params.get("table")
    if table is None:
        return JSONResponse(await asyncio.to_thread(stored.state_tables, folder, epoch))
    found = await asyncio.to_thread(
        stored.state_rows,
        folder,
        table,
        epoch=epoch,
        column=request.query_params.get("column"),
        equals=request.query_params.get("equals"),
        offset=_whole(request, "offset", least=0) or 0,
        limit=_whole(request, "limit", least=1) or 100,
    )
    return JSONResponse(found)


async def _dead_letters(request: Request) -> Response:
    runner = _job(request)
    if runner.plan is None:
        return JSONResponse({"sinks": []})
    limit = _whole(request, "limit", least=1) or 100
    return JSONResponse(await asyncio.to_thread(stored.dead_letters, runner.plan, limit))


async def _log(request: Request) -> Response:
    folder, lines = _job(request).folder, _whole(request, "lines", least=1) or 200
    search = request.query_params.get("search") or None
    found = await asyncio.to_thread(stored.log_lines, folder, lines=min(lines, 10_000), search=search)
    return JSONResponse(found)


async def _events(request: Request) -> Response:
    supervisor, wanted = _supervisor(request), request.query_params.get("job")
    if wanted is not None:
        supervisor.job(wanted)

    async def events() -> AsyncIterator[str]:
        while not await request.is_disconnected():
            yield _event("jobs", [summary(one) for one in supervisor.jobs()])
            if wanted is not None and wanted in {one.name for one in supervisor.jobs()}:
                yield _event("job", detail(supervisor.job(wanted)))
            await asyncio.sleep(_PERIOD_S)

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def _event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"


async def _body(request: Request, required: tuple[str, ...] = ()) -> dict[str, Any]:
    text = await request.body()
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise CallError("body: expected JSON") from None
    if not isinstance(found, dict):
        raise CallError("body: expected an object of JSON")
    missing = [name for name in required if name not in found]
    if missing:
        raise CallError(f"body: expected {', '.join(missing)}")
    return found


def _whole(request: Request, name: str, *, least: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**63:
        raise CallError(f"{name}: expected a whole number of at least {least}, got {text!r}")
    return int(text)


def _get(
    path: str, handler: Handler, name: str, text: str, *parameters: Parameter, answer: str = "object"
) -> Route:
    return Route(
        method="GET", path=path, handler=handler, name=name, text=text, parameters=parameters, answer=answer
    )


def _ask(word: str, handler: Handler, text: str, body: dict[str, Any] | None = None, *required: str) -> Route:
    return Route(
        method="POST",
        path=f"/jobs/{{job}}/{word}",
        handler=handler,
        name=word,
        text=text,
        body=body,
        required=required,
        status=202,
        problems=(400, 404, 409, 503),
    )


_LIMIT = Parameter("limit", "integer", "Most rows; up to 1000.")
_NEW_JOB = {
    "name": {"type": "string"},
    "target": {"type": "string", "description": "/ABSOLUTE/FILE.py:NAME"},
    "start": {"type": "boolean"},
    "batch_size": {"type": "integer", "minimum": 1},
    "parallelism": {"type": "integer", "minimum": 1},
    "checkpoint_interval": {"type": "string"},
}

ROUTES = [
    _get("", _service, "service", "The service in a few numbers."),
    _get("/configuration", _configuration, "configuration", "Its settings; secrets are stars."),
    _get("/jobs", _jobs, "jobs", "All jobs.", answer="array"),
    Route(
        method="POST",
        path="/jobs",
        handler=_add,
        name="addJob",
        text="Adds a job, and starts it.",
        body=_NEW_JOB,
        required=("name", "target"),
        status=201,
        problems=(400, 409),
    ),
    _get("/jobs/{job}", _show, "job", "One job with its operators, splits, metrics and history."),
    Route(
        method="DELETE",
        path="/jobs/{job}",
        handler=_remove,
        name="removeJob",
        text="Forgets a job that was added and does not run.",
        problems=(404, 409),
    ),
    _ask("start", _start, "Starts a job at its newest checkpoint."),
    _ask("pause", _pause, "Stops it with a savepoint, until it is resumed."),
    _ask("resume", _resume, "Goes on after a pause."),
    _ask(
        "stop",
        _stop,
        "Stops it with a savepoint; drain: closes every window first.",
        {"drain": {"type": "boolean"}},
    ),
    _ask("cancel", _cancel, "Ends it without a savepoint; rows since the last checkpoint come again."),
    _ask("restart", _restart, "Stops it with a savepoint and starts it."),
    _ask("savepoint", _savepoint, "Asks for a checkpoint now."),
    _ask(
        "restore",
        _restore,
        "Starts it at a chosen checkpoint; rows since then come again.",
        {"epoch": {"type": "integer", "minimum": 1}},
        "epoch",
    ),
    _get("/jobs/{job}/operators", _operators, "operators", "Its steps, with rates.", answer="array"),
    _get("/jobs/{job}/plan", _plan, "plan", "Its plan, as a text and as nodes."),
    _get(
        "/jobs/{job}/checkpoints",
        _checkpoints,
        "checkpoints",
        "Its checkpoints, newest first.",
        answer="array",
    ),
    _get(
        "/jobs/{job}/state",
        _state,
        "state",
        "The tables of a checkpoint, or a page of one.",
        Parameter("table", "string", "Which one; without it: all their names."),
        Parameter("epoch", "integer", "Of a kept checkpoint; without it the newest."),
        Parameter("column", "string", "Only rows whose column reads as equals."),
        Parameter("equals", "string", "Without it: null."),
        Parameter("offset", "integer", "Rows before the page."),
        _LIMIT,
    ),
    _get(
        "/jobs/{job}/dead-letters",
        _dead_letters,
        "deadLetters",
        "The newest rows that could not be computed.",
        _LIMIT,
    ),
    _get(
        "/jobs/{job}/log",
        _log,
        "log",
        "The newest lines of its log.",
        Parameter("lines", "integer", "Most lines."),
        Parameter("search", "string", "A text that a line must hold."),
        answer="array",
    ),
    _get(
        "/events",
        _events,
        "events",
        "A look each second: jobs, and job if one is named.",
        Parameter("job", "string", "Its name."),
        answer="stream",
    ),
]
"""In the order of the document."""
