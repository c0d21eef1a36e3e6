"""`python -m benchmarks memory`: what the import and a row-wise job take, each in a process of its own.

Memory is Linux's resident size; a job's is its peak above the bare import of the package.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median

__all__ = ["main"]

BAR_MIB = 50
BAR_SECONDS = 0.3

_IMPORT = (
    "import time; began = time.perf_counter(); import dataflare_fast; print(time.perf_counter() - began)"
)


def main(words: Sequence[str]) -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--events", type=int, default=8_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--job", action="store_true", help="what a process of the benchmark runs")
    given = parser.parse_args(words)
    if given.job:
        _job(given.events)
        return 0
    seconds = median(float(_run("-c", _IMPORT)) for _ in range(given.rounds))
    print(f"import of the package {seconds:.2f} s (bar {BAR_SECONDS}: {_verdict(seconds, BAR_SECONDS)})")
    command = ("-m", "benchmarks.footprint", "--job", "--events", str(given.events))
    mib = median(float(_run(*command)) for _ in range(given.rounds))
    print(
        f"row-wise job, Nexmark to Parquet, {given.events:,} events, two workers: {mib:.0f} MiB above the "
        f"import at its peak (bar {BAR_MIB}: {_verdict(mib, BAR_MIB)})"
    )
    return 0


def _verdict(value: float, bar: float) -> str:
    return "met" if value <= bar else "MISSED"


def _run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout


def _job(events: int) -> None:
    """Prints MiB."""
    import polars as pl

    import dataflare_fast as dff
    from benchmarks.memory import watched

    with tempfile.TemporaryDirectory(prefix="dataflare-bench-") as folder, watched() as peak:
        engine = dff.Engine(name="bench", parallelism=2, checkpoint=dff.Checkpoint(f"{folder}/state"))
        bid = dff.nexmark(events=events, splits=2).bid
        bid.select("auction", "bidder", (pl.col("price") * 0.908).alias("price"), "ts").sink_parquet(
            f"{folder}/out/", engine=engine
        )
    print(peak.mib)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
