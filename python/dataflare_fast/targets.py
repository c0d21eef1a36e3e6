"""`FILE.py:NAME`: which frames of a program are meant. The command line and the service read it.

Not here: running them.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl

from dataflare_fast.errors import CallError

__all__ = ["read_target", "split_target"]


def split_target(target: str) -> tuple[Path, str]:
    """The file and the name.

    Raises:
        CallError: not of that form, or no such file.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not file:
        raise CallError(f"expected FILE.py:NAME, got {target}")
    if not Path(file).is_file():
        raise CallError(f"expected a Python file, got {file}, which is not there")
    return Path(file), name


def read_target(target: str) -> list[pl.LazyFrame]:
    """Runs the file; NAME is a LazyFrame, a list of them, or a function without arguments that gives one.

    Raises:
        CallError: no such file or name, or something else.
    """
    file, name = split_target(target)
    names = runpy.run_path(str(file))
    if name not in names:
        raise CallError(f"{file} has no name '{name}'")
    value = names[name]
    if callable(value) and not isinstance(value, pl.LazyFrame):
        value = value()
    frames = list(value) if isinstance(value, list | tuple) else [value]
    if not frames or not all(isinstance(frame, pl.LazyFrame) for frame in frames):
        raise CallError(f"{target}: expected a LazyFrame or a list of them, got {type(value).__name__}")
    return frames
