"""What a job uses while it waits: memory under a slow sink, processor time without input."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

import dataflare_fast as dff

pytestmark = pytest.mark.slow


def test_slow_sink_with_a_fast_source_keeps_memory_flat() -> None:
    script = """
        import threading
        from pathlib import Path
        import dataflare_fast as dff

        PAGE = 4096
        pause = threading.Event()
        sizes = []

        def slow(batch):
            pause.wait(0.02)

        bids = dff.nexmark().bid.select("auction", "price", "ts")
        marked = bids.stream.with_watermark("ts", delay="1s")
        batches = marked.sink_batches(slow, lazy=True)
        job = dff.Engine(parallelism=2).start(batches)
        for _ in range(60):
            job.wait("1s")
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE)
        rows = job.status().rows_in
        job.cancel()
        print(rows, max(sizes[10:20]), max(sizes[50:]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows, early, late = map(int, done.stdout.split())
    assert rows > 100_000
    assert late < early * 1.05 + 2**20


class Silent:
    """Not one row, and no end until it is told to."""

    schema = pl.Schema({"v": pl.Int64()})
    bounded = False

    def __init__(self) -> None:
        self.ended = threading.Event()

    def splits(self) -> list[str]:
        return ["only"]

    def read(self, split: str, offset: Any) -> Iterator[tuple[pl.DataFrame, Any]]:
        self.ended.wait(60)
        yield from ()


def test_idle_job_uses_less_than_a_tenth_of_a_second_in_ten() -> None:
    source = Silent()
    groups = dff.scan_source(source).filter(pl.col("v") > 0)
    job = dff.Engine(parallelism=4).start(groups.sink_batches(lambda batch: None, lazy=True))
    job.wait("1s")
    before = time.process_time()
    job.wait("10s")
    used = time.process_time() - before
    source.ended.set()
    job.wait("10s")
    assert used < 0.1
