"""A running job: watch it, wait for it, stop it.

`Engine.start` makes it. Not here: planning and settings (`engine.py`), the live table (`progress.py`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from dataflare_fast import _core
from dataflare_fast.checkpoint.contents import CheckpointContents, read_checkpoint
from dataflare_fast.checkpoint.state import state_of_operator, state_of_operators
from dataflare_fast.config import parse_duration_ns
from dataflare_fast.errors import CallError, DataError
from dataflare_fast.interrupts import Interrupts
from dataflare_fast.planner.drawing import draw

__all__ = ["Job", "JobStatus", "wait_with_interrupts"]

# How long one call into the engine may wait, so that Python sees signals in between.
_SLICE_S = 0.1
# How often a checkpoint that vanishes while it is read is looked for again.
_READS = 20

_SPLITS: dict[str, Any] = {
    "source": pl.String,
    "split": pl.String,
    "offset": pl.String,
    "pending_rows": pl.UInt64,
    "lag": pl.UInt64,
    "ended": pl.Boolean,
}

_METRICS: dict[str, Any] = {
    "operator": pl.String,
    "task": pl.UInt32,
    "kind": pl.String,
    "rows_in": pl.UInt64,
    "rows_out": pl.UInt64,
    "rows_aside": pl.UInt64,
    "batches_in": pl.UInt64,
    "bytes_in": pl.UInt64,
    "busy_ns": pl.UInt64,
    "state_bytes": pl.UInt64,
    "watermark": pl.Int64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One look at a job.

    Args:
        name: of the job.
        state: `running`, `finished` (the input has ended), `stopped`, `cancelled` or `failed`.
        attempt: how often the job was started in its checkpoint folder.
        uptime: since this start.
        rows_in: rows that sources have read.
        rows_out: rows that sinks have taken.
        rows_late: rows that came behind a watermark.
        pending_rows: rows known to wait at the sources; None: no source knows.
        waits: what the job waits for, by name.
        checkpoint_epoch: the newest committed one.
        checkpoints_committed: by this start.
        checkpoints_abandoned: given up; their rows are in later ones.
        checkpoint_age: since the newest commit; None: none yet.
        checkpoint_duration: of the newest one.
        checkpoint_bytes: of the newest one.
        checkpoint_failure: why the last one was abandoned.
        restored_epoch: where this start went on from; None: from the beginning.
    """

    name: str
    state: str
    attempt: int
    uptime: timedelta
    rows_in: int
    rows_out: int
    rows_late: int
    pending_rows: int | None
    waits: tuple[str, ...]
    checkpoint_epoch: int
    checkpoints_committed: int
    checkpoints_abandoned: int
    checkpoint_age: timedelta | None
    checkpoint_duration: timedelta
    checkpoint_bytes: int
    checkpoint_failure: str | None
    restored_epoch: int | None


class Job:
    """A job in the background. Its threads belong to the engine; none of its methods holds the GIL.

    As a context manager: leaving the block stops the job (a savepoint), leaving it by an error cancels it.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> job = dff.Engine().start(pl.LazyFrame({"a": [1, 2]}).sink_parquet("/tmp/dff-job-doc/", lazy=True))
        >>> job.wait()
        True
        >>> job.status().state
        'finished'
    """

    def __init__(
        self,
        core: _core.Job,
        name: str,
        plan_json: str | None = None,
        checkpoint_path: str | Path | None = None,
        parallelism: int = 1,
    ) -> None:
        self._core = core
        self._plan_json = plan_json
        self._nodes: list[dict[str, Any]] | None = None
        self._checkpoint_path = checkpoint_path
        self.name = name
        self.parallelism = parallelism

    @property
    def was_finished(self) -> bool:
        """True if an earlier start of this job had already seen the end of the input: nothing was run."""
        return self._core.was_finished

    def wait(self, timeout: str | timedelta | None = None) -> bool:
        """Waits for the end.

        In the main thread the first Ctrl-C stops the job as `stop` does, and the second cancels it.

        Args:
            timeout: such as `"30s"`; None: for ever.

        Returns:
            True if the job has ended, False if the time was over first.

        Raises:
            DataflareError: why the job failed.
            KeyboardInterrupt: the second Ctrl-C.
        """
        left_s = None if timeout is None else parse_duration_ns(timeout, "wait: timeout") / 1e9
        return wait_with_interrupts(self._core, lambda: self._core.stop(False), left_s)

    def stop(self, *, drain: bool = False) -> None:
        """Leaves in good order, and waits for it.

        Args:
            drain: False: a savepoint; windows stay open in the checkpoint, and the next start goes on there.
                True: reads no more, closes every window, finishes.

        Raises:
            DataflareError: why the job failed.
        """
        self._core.stop(drain)
        self.wait()

    def cancel(self) -> None:
        """Leaves at once, without a checkpoint; rows since the last one come again. Waits for it."""
        self._core.cancel()
        self.wait()

    def checkpoint(self) -> None:
        """Asks for a checkpoint now; `status().checkpoint_epoch` says when it is there."""
        self._core.checkpoint()

    def status(self) -> JobStatus:
        """One look at the job."""
        found: dict[str, Any] = json.loads(self._core.status())
        age_ns = found.pop("checkpoint_age_ns")
        return JobStatus(
            name=self.name,
            uptime=_elapsed(found.pop("uptime_ns")),
            waits=tuple(found.pop("waits")),
            checkpoint_age=None if age_ns is None else _elapsed(age_ns),
            checkpoint_duration=_elapsed(found.pop("checkpoint_duration_ns")),
            **found,
        )

    def metrics(self, name: str | None = None) -> pl.DataFrame:
        """Counters of all operators, or the values of one `.stream.metric`, all workers together.

        Args:
            name: of a metric; None: the operators.

        Returns:
            One row for each operator, in the order of the data; rows_aside are late rows and dead letters,
            watermark is in units of the time column (null: none yet); busy and blocked (no room for results)
            are sums over workers. Of a metric: the columns of its `by` and `value`, as of at most a fifth of
            a second ago; none before its first row. Of a histogram: `by`, `le`, `value` (how many values are
            not above `le`) and `sum` (of all values).

        Raises:
            CallError: the job has no metric of this name, or has not shown it yet.
        """
        if name is not None:
            values = dict(self._core.metric_values())
            if f"{name}:bucket" in values and f"{name}:sum" in values:
                bounds = next(
                    one["bounds"] for one in self.plan_nodes() if one.get("metric") == f"{name}:bucket"
                )
                return _histogram(
                    pl.DataFrame(values[f"{name}:bucket"]), pl.DataFrame(values[f"{name}:sum"]), bounds
                )
            if name not in values:
                shown = sorted({one.partition(":")[0] for one in values})
                raise CallError(f"metrics: expected one of {shown}, got '{name}'")
            return pl.DataFrame(values[name])
        return pl.DataFrame(json.loads(self._core.metrics()), schema=_METRICS)

    def state(self, operator: str | None = None) -> pl.DataFrame:
        """What the operators keep, as of the newest checkpoint; the job runs on.

        Args:
            operator: whose keys and values to show, by its name in the answer without it (`.stream.name`
                gives it one); None: how much each operator keeps.

        Returns:
            Without `operator` one row for each state table, the largest first: operator, table, rows, bytes,
            epoch. With it the rows of its tables: their columns, `table`, and `bytes` of each row, so that
            `job.state("counts").group_by("user").agg(pl.col("bytes").sum())` are bytes by key.

        Raises:
            CallError: the job runs without a checkpoint, has none yet, or no operator of that name.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> counts = dff.nexmark(events=1_000).bid.group_by("auction").len().stream.name("counts")
            >>> engine = dff.Engine(name="demo", checkpoint="/tmp/dff-state-doc/")
            >>> job = engine.start(counts.stream.sink_parquet("/tmp/dff-state-out/", lazy=True))
            >>> job.wait()
            True
            >>> job.state().columns
            ['operator', 'table', 'rows', 'bytes', 'epoch']
        """
        if self._checkpoint_path is None:
            raise CallError(
                "state: expected a job with a checkpoint, got one without; start it by an "
                "Engine(checkpoint=...), or see metrics() for the bytes that each operator holds now"
            )
        if self.status().checkpoint_epoch == 0:
            raise CallError(
                "state: expected a committed checkpoint, got none yet; checkpoint() asks for one now"
            )
        contents = self._newest_checkpoint(self._checkpoint_path)
        return state_of_operators(contents) if operator is None else state_of_operator(contents, operator)

    def _newest_checkpoint(self, path: str | Path) -> CheckpointContents:
        for _ in range(_READS):
            try:
                return read_checkpoint(path)
            except DataError:
                # The job has committed meanwhile, and taken files away that are no longer needed.
                continue
        return read_checkpoint(path)

    def metric_kinds(self) -> dict[str, str]:
        """The metrics that the job has shown so far, each with its kind: counter, gauge or histogram."""
        shown = {name.partition(":")[0] for name, _ in self._core.metric_values()}
        kinds = {
            one["metric"].partition(":")[0]: one["metric_kind"]
            for one in self.plan_nodes()
            if one["operator"] == "metric"
        }
        return {name: kind for name, kind in kinds.items() if name in shown}

    def plan_nodes(self) -> list[dict[str, Any]]:
        """The nodes of the plan in the order of the data, as `metrics()` numbers them. May hold secrets."""
        if self._nodes is None:
            self._nodes = [] if self._plan_json is None else json.loads(self._plan_json)["nodes"]
        return self._nodes

    def splits(self) -> pl.DataFrame:
        """How far the splits of all sources are.

        Returns:
            One row for each split: `offset` is where its next batch begins, as checkpoints hold it; `lag` is
            how far that is behind the end of the split in the source's own count (offsets of Kafka, where
            markers of transactions count too); null: not known.
        """
        return pl.DataFrame(json.loads(self._core.splits()), schema=_SPLITS)

    async def wait_async(self, timeout: str | timedelta | None = None) -> bool:
        """`wait` for asyncio. Cancelling the await leaves the job alone."""
        left_s = None if timeout is None else parse_duration_ns(timeout, "wait: timeout") / 1e9
        return await _wait_async(self._core, left_s)

    async def stop_async(self, *, drain: bool = False) -> None:
        """`stop` for asyncio."""
        self._core.stop(drain)
        await _wait_async(self._core, None)

    async def cancel_async(self) -> None:
        """`cancel` for asyncio."""
        self._core.cancel()
        await _wait_async(self._core, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.stop_async()
        else:
            await self.cancel_async()

    def __repr__(self) -> str:
        return f"Job({self.name!r}, {self.status().state})"

    def _repr_html_(self) -> str:
        """For notebooks: the state, the graph, the counters of all operators."""
        status, metrics = self.status(), self.metrics()
        age = status.checkpoint_age
        facts = {
            "rows in": f"{status.rows_in:,}",
            "rows out": f"{status.rows_out:,}",
            "late": f"{status.rows_late:,}",
            "running for": f"{status.uptime.total_seconds():.1f} s",
            "checkpoint": "none"
            if age is None
            else f"{status.checkpoint_epoch}, {age.total_seconds():.1f} s ago",
            **({"waits for": ", ".join(status.waits)} if status.waits else {}),
            **({"last failure": status.checkpoint_failure} if status.checkpoint_failure else {}),
        }
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(fact)}</td></tr>" for name, fact in facts.items()
        )
        title = f"<b>job '{escape(self.name)}', attempt {status.attempt}: {escape(status.state)}</b>"
        graph = ""
        if self._plan_json is not None:
            graph = draw(_core.explain(self._plan_json), self._plan_json)
        operators = f"<details><summary>operators</summary>{metrics._repr_html_()}</details>"
        return f"<div>{title}<table>{cells}</table>{graph}{operators}</div>"


def wait_with_interrupts(core: _core.Job, stop: Callable[[], None] | None, left_s: float | None) -> bool:
    """Waits under the Ctrl-C rules.

    Args:
        core: the job.
        stop: what the first Ctrl-C does; None: it cancels.
        left_s: how long at most; None: for ever.

    Returns:
        True if the job has ended.

    Raises:
        KeyboardInterrupt: Ctrl-C has cancelled the job.
    """
    end_s = None if left_s is None else time.monotonic() + left_s
    with Interrupts(stop, core.cancel) as interrupts:
        while not (ended := core.wait(_slice_s(end_s))) and (end_s is None or time.monotonic() < end_s):
            pass
    if interrupts.cancelled:
        raise KeyboardInterrupt
    return ended


async def _wait_async(core: _core.Job, left_s: float | None) -> bool:
    end_s = None if left_s is None else time.monotonic() + left_s
    while not (ended := await asyncio.to_thread(core.wait, _slice_s(end_s))):
        if end_s is not None and time.monotonic() >= end_s:
            break
    return ended


def _slice_s(end_s: float | None) -> float:
    return _SLICE_S if end_s is None else min(_SLICE_S, max(0.0, end_s - time.monotonic()))


def _histogram(counts: pl.DataFrame, sums: pl.DataFrame, bounds: list[float]) -> pl.DataFrame:
    """Every bound of every label set, with what is not above it."""
    by = [column for column in sums.columns if column != "value"]
    ladder = pl.DataFrame({"le": [*bounds, float("inf")]})
    every = sums.rename({"value": "sum"}).join(ladder, how="cross")
    value = pl.col("value").fill_null(0).cum_sum()
    return (
        every.join(counts, on=[*by, "le"], how="left", nulls_equal=True)
        .sort("le")
        .with_columns(value.over(by) if by else value)
        .select(*by, "le", "value", "sum")
    )


def _elapsed(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=nanoseconds // 1000)
