"""What a running job shows: a live table on a terminal or in a notebook, JSON lines otherwise.

To standard error, but for notebooks.

Reads `Job.status()` and nothing else. Called by users and the command line.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dataflare_fast.job import Job, JobStatus

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["follow"]


def follow(job: Job, *, period_s: float = 0.5, below: Callable[[], str] | None = None) -> JobStatus:
    """Shows a job until it ends. Ctrl-C as in `Job.wait`.

    Args:
        job: the job.
        period_s: how often to look.
        below: a text under the table, asked for at each look.

    Returns:
        The last look.

    Raises:
        DataflareError: why the job failed.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> job = dff.Engine().start(pl.LazyFrame({"a": [1]}).sink_parquet("/tmp/dff-follow/", lazy=True))
        >>> dff.follow(job).state
        'finished'
    """
    period = timedelta(seconds=period_s)
    rates = _Rates()
    if (display := _notebook_display()) is not None:
        handle = display(job, display_id=True)
        while not job.wait(period):
            handle.update(job)
        handle.update(job)
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), auto_refresh=False) as live:
            while not job.wait(period):
                live.update(_table(job.status(), rates, below), refresh=True)
            live.update(_table(job.status(), rates, below), refresh=True)
    else:
        while not job.wait(period):
            print(_line(job.status(), rates), file=sys.stderr, flush=True)
        print(_line(job.status(), rates), file=sys.stderr, flush=True)
    return job.status()


def _notebook_display() -> Any | None:
    """IPython's `display`, if this runs in a notebook: then IPython is there and has a kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return sys.modules["IPython.display"].display


class _Rates:
    """Rows a second, from one look to the next."""

    def __init__(self) -> None:
        self._at_s = time.monotonic()
        self._rows = (0, 0)

    def since_last(self, status: JobStatus) -> tuple[float, float]:
        now_s, before = time.monotonic(), self._rows
        elapsed_s = max(now_s - self._at_s, 1e-9)
        self._at_s, self._rows = now_s, (status.rows_in, status.rows_out)
        return (status.rows_in - before[0]) / elapsed_s, (status.rows_out - before[1]) / elapsed_s


def _table(status: JobStatus, rates: _Rates, below: Callable[[], str] | None) -> Table:
    from rich.table import Table

    rows_in, rows_out = rates.since_last(status)
    late = status.rows_late / status.rows_in if status.rows_in else 0.0
    age = (
        "none yet" if status.checkpoint_age is None else f"{status.checkpoint_age.total_seconds():.1f} s ago"
    )
    table = Table(title=f"job '{status.name}', attempt {status.attempt}: {status.state}", min_width=60)
    table.add_column("what")
    table.add_column("now", justify="right")
    table.add_row("rows in", f"{status.rows_in:,}   ({rows_in:,.0f} /s)")
    table.add_row("rows out", f"{status.rows_out:,}   ({rows_out:,.0f} /s)")
    table.add_row("late", f"{status.rows_late:,}   ({late:.2%})")
    if status.pending_rows is not None:
        table.add_row("rows that wait", f"{status.pending_rows:,}")
    table.add_row("checkpoint", f"{status.checkpoint_epoch}   ({age})")
    if status.restored_epoch is not None:
        table.add_row("went on from", f"checkpoint {status.restored_epoch}")
    for reason in status.waits:
        table.add_row("waits for", reason)
    if status.checkpoint_failure is not None:
        table.add_row("last failure", status.checkpoint_failure)
    if below is not None:
        table.caption = below()
    return table


def _line(status: JobStatus, rates: _Rates) -> str:
    rows_in, rows_out = rates.since_last(status)
    values: dict[str, Any] = {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in dataclasses.asdict(status).items()
    }
    values |= {"rows_in_per_second": round(rows_in), "rows_out_per_second": round(rows_out)}
    return json.dumps(values)
