"""One look at a job as plain values, which any process can send, keep and show.

Taken in the process that runs the job; read by the exporter (`collector.py`), the service and its console.
Not here: looking at checkpoints, rates (`service/views.py`).
"""

from __future__ import annotations

import math
import resource
import time
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import polars as pl

from dataflare_fast.job import Job
from dataflare_fast.monitoring.tasks import TaskPlace, task_places

__all__ = ["Snapshot", "UserMetric", "take_snapshot"]

# Label sets of one metric that are shown; beyond, whoever stores them would be the next to fail.
_MOST_LABEL_SETS = 1_000
_PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMetric:
    """The values of one `.stream.metric`.

    Args:
        name: as the query's author wrote it.
        kind: counter, gauge or histogram.
        by: the names of its labels.
        label_sets: how many there are.
        rows: the values of `by`, then the value; of a histogram counts by upper bound, then the sum. Empty if
            there are too many.
    """

    name: str
    kind: str
    by: tuple[str, ...]
    label_sets: int
    rows: list[list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One look.

    Args:
        pipeline: the name of the job.
        at_s: Unix time.
        status: the fields of `JobStatus`; durations in seconds.
        tasks: the rows of `Job.metrics()` with their place in the plan, workers, and times in seconds.
        splits: the rows of `Job.splits()`.
        metrics: what the query counts for itself.
        cpu_s: of the process.
        resident_bytes: of the process.
    """

    pipeline: str
    at_s: float
    status: dict[str, Any]
    tasks: list[dict[str, Any]]
    splits: list[dict[str, Any]]
    metrics: list[UserMetric]
    cpu_s: float
    resident_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As values of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        known = {one.name: value[one.name] for one in fields(cls)}
        metrics = [UserMetric(**{**one, "by": tuple(one["by"])}) for one in value["metrics"]]
        return cls(**{**known, "metrics": metrics})


def take_snapshot(job: Job) -> Snapshot:
    """Reads the counters of a job; costs it nothing."""
    tasks = job.metrics().to_dicts()
    # After the counters: what they hold lies within the uptime.
    at_s, found = time.time(), job.status()
    status: dict[str, Any] = {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in asdict(found).items()
    }
    ticks = dict(enumerate(map(_ticks_per_second, job.plan_nodes())))
    places = task_places([task["kind"] for task in tasks], job.plan_nodes())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Snapshot(
        pipeline=job.name,
        at_s=at_s,
        status={**status, "waits": list(found.waits)},
        tasks=[
            _task(task, place, job.parallelism, ticks.get(place.node), at_s)
            for task, place in zip(tasks, places, strict=True)
        ],
        splits=job.splits().to_dicts(),
        metrics=_user_metrics(job),
        cpu_s=usage.ru_utime + usage.ru_stime,
        resident_bytes=_resident_bytes(usage),
    )


def _task(
    task: dict[str, Any], place: TaskPlace, workers: int, ticks: float | None, at_s: float
) -> dict[str, Any]:
    """Adds what follows from the counters and the plan."""
    watermark_s = None
    # The largest time of all stands for "after the last row".
    if task["watermark"] is not None and ticks is not None and task["watermark"] < 2**63 - 1:
        watermark_s = task["watermark"] / ticks
    return {
        **task,
        "node": place.node,
        "inputs": list(place.inputs),
        "exchanged": place.exchanged,
        "workers": workers,
        "rows_late": task["rows_aside"] if task["kind"] == "watermark" else 0,
        "watermark_s": watermark_s,
        "event_time_lag_s": None if watermark_s is None else at_s - watermark_s,
    }


def _ticks_per_second(node: dict[str, Any]) -> float | None:
    """Of the node's event time; None: it has none, or one that counts integers."""
    dtype = next((one["dtype"] for one in node["schema"] if one["name"] == node.get("event_time")), None)
    if isinstance(dtype, dict) and "datetime" in dtype:
        return {"ms": 1e3, "us": 1e6, "ns": 1e9}[dtype["datetime"]["unit"]]
    return 1 / 86_400 if dtype == "date" else None


def _resident_bytes(usage: resource.struct_rusage) -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return usage.ru_maxrss * 1024  # without /proc: the most so far


def _user_metrics(job: Job) -> list[UserMetric]:
    return [_user_metric(name, kind, job.metrics(name)) for name, kind in sorted(job.metric_kinds().items())]


def _user_metric(name: str, kind: str, frame: pl.DataFrame) -> UserMetric:
    values = ("le", "value", "sum") if kind == "histogram" else ("value",)
    by = tuple(column for column in frame.columns if column not in values)
    sets = frame.select(pl.struct(by).n_unique()).item() if by else min(1, frame.height)
    rows = [[*map(_label, row[: len(by)]), *map(_number, row[len(by) :])] for row in frame.rows()]
    return UserMetric(
        name=name, kind=kind, by=by, label_sets=sets, rows=[] if sets > _MOST_LABEL_SETS else rows
    )


def _label(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float | str:
    """JSON has no infinity."""
    number = float("nan") if value is None else float(value)
    return number if math.isfinite(number) else str(number)
