"""`dataflare doctor`: what this installation is, for a report of a problem."""

from __future__ import annotations

import os
import platform
import sys

import polars as pl

import dataflare_fast as dff
from dataflare_fast import _core, _native
from dataflare_fast.planner.visitor.plan import read_plan

__all__ = ["doctor"]


def doctor() -> None:
    """Checks the installation and says what it consists of."""
    read_plan(pl.LazyFrame({"a": [1]}))
    answer = pl.LazyFrame({"a": [1, 2, 3]}).select(pl.col("a").sum()).collect(engine=dff.Engine()).item()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"dataflare_fast  {dff.__version__}   {_core.__file__ if hasattr(_core, '__file__') else ''}")
    print(f"native module   {getattr(_native, '__file__', '')}")
    print(f"python          {sys.version.split()[0]}   {platform.platform()}")
    print(f"polars          {pl.__version__}   (supported: >=2.1, <2.2)")
    print(f"cores           {cores}")
    print(
        f"kernels         {len(_core.compiled_functions())} functions compiled, {_core.processor_path()} path"
    )
    print(f"a query         {'right' if answer == 6 else f'WRONG: {answer}'}")
