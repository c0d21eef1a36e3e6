"""`python -m benchmarks scaling [q1 w1 ...]`: two workers against two processes.

Each process has one worker and half of the data, a split. They share nothing but the machine, so that they
show what it gives: memory, caches, clock. All are started anew each round; the two begin at the same moment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

import dataflare_fast as dff
from benchmarks.queries import QUERIES
from benchmarks.stream import bids, run_engine, splits

__all__ = ["main"]

BAR = 0.9
QUERIES_OF_SCALING = ("q1", "w1", "w2")
REPLAYS = {"q1": 200}
FEW_REPLAYS = 32


def main(words: Sequence[str]) -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    parser.add_argument("queries", nargs="*", default=list(QUERIES_OF_SCALING))
    parser.add_argument("--events", type=int, default=4_348_000, help="of one replay, all three kinds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=["whole", "0", "1"], help="what a process of the benchmark runs")
    given = parser.parse_args(words)
    if given.part is not None:
        _part(given.queries[0], given.part, given.events)
        return 0
    for name in given.queries:
        ratios = []
        for _ in range(given.rounds):
            halves = _together(name, ["0", "1"], given.events)
            whole = _together(name, ["whole"], given.events)
            ratios.append(halves / whole)
        verdict = "met" if median(ratios) >= BAR else "MISSED"
        shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{name}  two workers reach {median(ratios):.2f} of two processes ({shown}; "
            f"bar {BAR}: {verdict})",
            flush=True,
        )
    return 0


def _together(name: str, parts: list[str], events: int) -> float:
    """Seconds until the last of these processes is done."""
    command = [sys.executable, "-m", "benchmarks", "scaling", name, "--events", str(events), "--part"]
    started = [
        subprocess.Popen([*command, part], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for part in parts
    ]
    for process in started:
        _line(process)
    for process in started:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    seconds = [float(_line(process)) for process in started]
    for process in started:
        process.communicate()
    return max(seconds)


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise RuntimeError(f"{process.args!r}: expected a line, got none; exit code {process.wait()}")
    return line


def _part(name: str, part: str, events: int) -> None:
    """One process: prepares, waits for a line, runs, prints its seconds."""
    query = QUERIES[name]
    both = splits(bids(events), REPLAYS.get(name, FEW_REPLAYS), shift=query.has_windows)
    source = dff.from_batches(*both) if part == "whole" else dff.from_batches(both[int(part)])
    parallelism = 2 if part == "whole" else 1
    run_engine(query, dff.from_batches(both[0][:8]), parallelism=parallelism)
    print("ready", flush=True)
    sys.stdin.readline()
    print(run_engine(query, source, parallelism=parallelism).seconds, flush=True)
