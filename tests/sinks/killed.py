"""A job in a process of its own, killed between two steps of its sink, then run to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

_JOB = """
import os, signal, sys
import polars as pl
import dataflare_fast as dff
from dataflare_fast.words.sink import SinkWord

class Numbers:
    schema = pl.Schema({"n": pl.Int64, "text": pl.String})
    bounded = True
    def splits(self):
        return ["all"]
    def read(self, split, offset):
        for start in range(offset or 0, ROWS, 20):
            rows = pl.DataFrame({"n": range(start, start + 20)})
            yield rows.with_columns(text=pl.col("n").cast(pl.String)), start + 20

step, place = sys.argv[1], sys.argv[2]
ROWS = 400

class Dies:
    "Hands on to the sink, and dies before or behind a call of `step`."
    def __init__(self, sink):
        self.sink = sink
        self.left = 2
    def __getattr__(self, name):
        call = getattr(self.sink, name)
        def around(*arguments):
            when, what = step.split(" ") if step else ("", "")
            dies = what == name and not (name == "confirm" and arguments[1] is None)
            if dies:
                self.left -= 1
            if dies and when == "before" and self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(*arguments)
            if dies and when == "after" and self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        return around

def around(init):
    def made(self, *arguments, carried=None, **more):
        init(self, *arguments, carried=Dies(carried), **more)
    return made
SinkWord.__init__ = around(SinkWord.__init__)

lf = dff.scan_source(Numbers())
sink = lf.SINK
checkpoint = dff.Checkpoint(place, interval="5ms")
dff.Engine(name="job", parallelism=2, batch_rows=20, checkpoint=checkpoint).start(sink).wait()
"""


def killed_job(place: Path, sink: str) -> pl.DataFrame:
    """Runs a job whose sink is this expression; gives the rows that must be there."""
    code = _JOB.replace("SINK", sink)
    steps = ["after prepare", "before confirm", "after confirm"]
    for step in steps:
        run = subprocess.run([sys.executable, "-c", code, step, str(place)], env=os.environ, timeout=60)
        assert run.returncode in (0, -signal.SIGKILL), step
    subprocess.run([sys.executable, "-c", code, "", str(place)], check=True, timeout=60, env=os.environ)
    return pl.DataFrame({"n": range(400)}).with_columns(text=pl.col("n").cast(pl.String))
