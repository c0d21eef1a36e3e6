"""`dataflare serve`, and the commands that ask a running service: `ps`, `top`, `start`, `stop`, `savepoint`,
...

Not here: what the service does (`service/`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataflare_fast.cli.client import Client, Json, Service
from dataflare_fast.service.extra import need_service

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["register"]

_URL = "http://127.0.0.1:8642"
_Name = Annotated[str, typer.Argument(help="Of the job.", metavar="JOB")]
_Config = Annotated[Path | None, typer.Option(help="A YAML or TOML file.")]
_Secrets = Annotated[
    Path | None, typer.Option(help="A folder of files, each a setting named as its variable.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, command in _COMMANDS.items():
        app.command(name)(command)
    app.add_typer(config_app, name="config")


def serve(
    config: _Config = None,
    secrets: _Secrets = None,
    port: Annotated[int | None, typer.Option(help="0: a free one.")] = None,
    address: Annotated[str | None, typer.Option(help="Of the loopback interface.")] = None,
    folder: Annotated[Path | None, typer.Option(help="State of jobs, and their logs.")] = None,
) -> None:
    """Runs many jobs, each in a process of its own, with an API, metrics and a console."""
    need_service("dataflare serve")
    from dataflare_fast.service.reading_settings import read_settings
    from dataflare_fast.service.serving import serve as serve_settings

    given: dict[str, Any] = {
        "port": port,
        "address": address,
        "folder": None if folder is None else folder.absolute(),
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    serve_settings(read_settings(config, arguments, secrets=secrets))


config_app = typer.Typer(no_args_is_help=True, help="The configuration of `dataflare serve`.")


@config_app.command("show")
def config_show(config: _Config = None, secrets: _Secrets = None) -> None:
    """Prints what a service would use; secrets are stars."""
    need_service("dataflare config")
    from dataflare_fast.service.reading_settings import read_settings, shown_settings

    print(json.dumps(shown_settings(read_settings(config, secrets=secrets)), indent=2))


@config_app.command("schema")
def config_schema() -> None:
    """Prints the JSON Schema of the configuration."""
    need_service("dataflare config")
    from dataflare_fast.service.reading_settings import settings_schema

    print(json.dumps(settings_schema(), indent=2))


@config_app.command("check")
def config_check(config: _Config = None, secrets: _Secrets = None) -> None:
    """Says what is wrong, all of it; exit code 2 if anything is."""
    need_service("dataflare config")
    from dataflare_fast.service.reading_settings import read_settings
    from dataflare_fast.targets import split_target

    found = read_settings(config, secrets=secrets)
    for job in found.jobs.values():
        split_target(job.target)
    print(f"all is well: {len(found.jobs)} jobs")


def ps(service: Service = _URL, as_json: Json = False) -> None:
    """Lists the jobs of the service."""
    jobs = Client(service).get("/jobs")
    if as_json:
        print(json.dumps(jobs))
        return
    _print(_table(jobs))


def top(
    service: Service = _URL,
    as_json: Json = False,
    looks: Annotated[int | None, typer.Option(help="Ends after so many; without it Ctrl-C ends it.")] = None,
) -> None:
    """Shows the jobs of the service, once a second."""
    client = Client(service)
    from rich.live import Live

    shown = 0
    with Live(auto_refresh=False) if not as_json else _Lines() as live:
        while looks is None or shown < looks:
            if shown:
                time.sleep(1)
            jobs = client.get("/jobs")
            live.update(json.dumps(jobs) if as_json else _table(jobs), refresh=True)
            shown += 1


def start(
    job: Annotated[
        str, typer.Argument(help="A job that is stopped, or FILE.py:NAME for a new one.", metavar="JOB")
    ],
    name: Annotated[str | None, typer.Option(help="Of a new job.")] = None,
    service: Service = _URL,
    as_json: Json = False,
) -> None:
    """Starts a job; FILE.py:NAME adds it first."""
    client = Client(service)
    file, colon, target = job.rpartition(":")
    if colon:
        path = Path(file).absolute()
        _say(client.post("/jobs", name=name or path.stem, target=f"{path}:{target}"), as_json)
    else:
        _say(client.post(f"{client.job(job)}/start"), as_json)


def stop(
    job: _Name,
    drain: Annotated[
        bool, typer.Option("--drain", help="Close every window first; the job is then finished.")
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="At once, without a savepoint.")] = False,
    service: Service = _URL,
    as_json: Json = False,
) -> None:
    """Stops a job with a savepoint."""
    client = Client(service)
    if cancel:
        _say(client.post(f"{client.job(job)}/cancel"), as_json)
    else:
        _say(client.post(f"{client.job(job)}/stop", drain=drain), as_json)


def restore(
    job: _Name,
    epoch: Annotated[int, typer.Option(help="Of a kept checkpoint.")],
    service: Service = _URL,
    as_json: Json = False,
) -> None:
    """Starts a job again at a chosen checkpoint; rows since then come again."""
    client = Client(service)
    _say(client.post(f"{client.job(job)}/restore", epoch=epoch), as_json)


def _asking(word: str, text: str) -> Callable[..., None]:
    def command(job: _Name, service: Service = _URL, as_json: Json = False) -> None:
        client = Client(service)
        _say(client.post(f"{client.job(job)}/{word}"), as_json)

    command.__doc__ = text
    return command


def logs(
    job: _Name,
    lines: Annotated[int, typer.Option(help="Most lines.")] = 100,
    search: Annotated[str | None, typer.Option(help="A text that a line must hold.")] = None,
    service: Service = _URL,
    as_json: Json = False,
) -> None:
    """Shows the newest lines of a job's log."""
    client = Client(service)
    for line in client.get(f"{client.job(job)}/log", lines=lines, search=search):
        if as_json:
            print(json.dumps(line))
        else:
            facts = " ".join(f"{name}={fact}" for name, fact in line.get("facts", {}).items())
            print(" ".join(filter(None, [line.get("at"), line.get("level"), line["text"], facts])))


def state(
    job: _Name,
    table: Annotated[str | None, typer.Option(help="Which one; without it: all their names.")] = None,
    column: Annotated[str | None, typer.Option(help="Only rows of one value of this column ...")] = None,
    equals: Annotated[str | None, typer.Option(help="... which is this one.")] = None,
    epoch: Annotated[int | None, typer.Option(help="Of a kept checkpoint; without it the newest.")] = None,
    limit: Annotated[int, typer.Option(help="Most rows.")] = 20,
    service: Service = _URL,
    as_json: Json = False,
) -> None:
    """Shows the state of a job as its newest checkpoint has it."""
    client = Client(service)
    found = client.get(
        f"{client.job(job)}/state", table=table, column=column, equals=equals, epoch=epoch, limit=limit
    )
    if as_json:
        print(json.dumps(found))
        return
    from rich.table import Table

    if table is None:
        shown = Table(title=f"{job}, checkpoint {found['epoch']}")
        for heading in ("table", "bytes", "columns"):
            shown.add_column(heading)
        for one in found["tables"]:
            columns = ", ".join(f"{column['name']}: {column['type']}" for column in one["columns"])
            shown.add_row(one["table"], f"{one['bytes']:,}", columns)
    else:
        shown = Table(title=f"{table}, checkpoint {found['epoch']}, {found['rows']:,} rows")
        for one in found["columns"]:
            shown.add_column(one["name"])
        for row in found["values"]:
            shown.add_row(*map(str, row))
    _print(shown)


def _print(table: Table) -> None:
    """In a pipe there is no width to keep to."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=240)).print(table)


def _say(job: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(job) if as_json else f"{job['name']}: {job['state']}, wanted: {job['wanted']}")


class _Lines:
    """A line for each look, where a live table has no place."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def update(self, text: object, *, refresh: bool) -> None:
        print(text, flush=True)


def _table(jobs: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(min_width=60)
    for heading in ("job", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("in/s", "out/s", "lag", "state", "checkpoint", "restarts"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why")
    for job in jobs:
        age, lag, bottleneck = job.get("checkpoint_age_s"), job.get("lag_s"), job.get("bottleneck")
        why = job["reason"] or (
            "" if bottleneck is None else f"{bottleneck['operator']}: {bottleneck['reason']}"
        )
        table.add_row(
            job["name"],
            job["state"],
            f"{job.get('rows_in_per_s', 0):,.0f}",
            f"{job.get('rows_out_per_s', 0):,.0f}",
            "" if lag is None else f"{lag:,.1f} s",
            f"{job.get('state_bytes', 0):,}",
            "none" if age is None else f"{job['checkpoint_epoch']} ({age:.0f} s)",
            str(job["restarts"]),
            why,
        )
    return table


_COMMANDS: dict[str, Callable[..., None]] = {
    "serve": serve,
    "ps": ps,
    "top": top,
    "start": start,
    "stop": stop,
    "pause": _asking("pause", "Stops a job with a savepoint, until it is resumed."),
    "resume": _asking("resume", "Goes on after a pause."),
    "restart": _asking("restart", "Stops a job with a savepoint and starts it."),
    "savepoint": _asking("savepoint", "Asks for a checkpoint now."),
    "restore": restore,
    "logs": logs,
    "state": state,
}
