"""`dataflare run FILE.py:NAME` and `dataflare explain FILE.py:NAME`.

NAME is a LazyFrame (a lazy sink to run it), a list of them, or a function without arguments that gives one.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import dataflare_fast as dff
from dataflare_fast.errors import CallError
from dataflare_fast.progress import follow

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
    with engine.start(*_frames(target), name=name) as job:
        follow(job)


def explain(target: _Target) -> None:
    """Shows how the engine would run a query."""
    for frame in _frames(target):
        print(dff.explain(frame))


def _frames(target: str) -> list[pl.LazyFrame]:
    file, colon, name = target.rpartition(":")
    if not colon or not file:
        raise CallError(f"expected FILE.py:NAME, got {target}")
    if not Path(file).is_file():
        raise CallError(f"expected a Python file, got {file}, which is not there")
    names = runpy.run_path(file)
    if name not in names:
        raise CallError(f"{file} has no name '{name}'")
    value = names[name]
    if callable(value) and not isinstance(value, pl.LazyFrame):
        value = value()
    frames = list(value) if isinstance(value, list | tuple) else [value]
    if not frames or not all(isinstance(frame, pl.LazyFrame) for frame in frames):
        raise CallError(f"{target}: expected a LazyFrame or a list of them, got {type(value).__name__}")
    return frames
