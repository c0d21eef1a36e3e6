"""`dataflare run FILE.py:NAME` and `dataflare explain FILE.py:NAME`.

NAME is a LazyFrame (a lazy sink to run it), a list of them, or a function without arguments that gives one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import dataflare_fast as dff
from dataflare_fast.progress import follow
from dataflare_fast.targets import read_target

__all__ = ["explain", "run"]

_Target = Annotated[str, typer.Argument(help="FILE.py:NAME", metavar="FILE.py:NAME")]


def run(
    target: _Target,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder for checkpoints.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the job.")] = None,
    parallelism: Annotated[int | None, typer.Option(help="Worker threads.")] = None,
    interval: Annotated[str, typer.Option(help="Between checkpoints.")] = "10s",
) -> None:
    """Runs lazy sinks until their input ends or Ctrl-C."""
    settings = None if checkpoint is None else dff.Checkpoint(checkpoint, interval=interval)
    engine = dff.Engine(checkpoint=settings, parallelism=parallelism)
    with engine.start(*read_target(target), name=name) as job:
        follow(job)


def explain(target: _Target) -> None:
    """Shows how the engine would run a query."""
    for frame in read_target(target):
        print(dff.explain(frame))
