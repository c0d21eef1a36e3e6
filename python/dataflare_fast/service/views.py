"""What is shown of a job: rates between two looks, the one bottleneck, a few minutes of history.

Values in, values out; kept in memory. Not here: taking looks (`monitoring/snapshot.py`), what lies on disks
(`stored.py`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from dataflare_fast.monitoring.snapshot import Snapshot

__all__ = ["History", "bottleneck"]

# Five minutes of looks a second.
_POINTS = 300


class History:
    """The looks at one job since its process began.

    Args:
        threshold: share of its time at work from which a step is called the bottleneck.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.newest: Snapshot | None = None
        self._before: Snapshot | None = None
        self._points: deque[dict[str, Any]] = deque(maxlen=_POINTS)

    def begin(self) -> None:
        """A new process: its counters begin at nothing."""
        self.newest = self._before = None

    def add(self, snapshot: Snapshot) -> None:
        """One more look."""
        if self.newest is not None and snapshot.status["uptime"] < self.newest.status["uptime"]:
            self.begin()
        self._before, self.newest = self.newest, snapshot
        facts = self.facts()
        lags = [one["event_time_lag_s"] for one in snapshot.tasks if one["event_time_lag_s"] is not None]
        self._points.append(
            {
                "at_s": round(snapshot.at_s, 3),
                "rows_in_per_s": facts["rows_in_per_s"],
                "rows_out_per_s": facts["rows_out_per_s"],
                "lag_s": max(lags, default=None),
                "state_bytes": facts["state_bytes"],
                "pending_rows": snapshot.status["pending_rows"],
            }
        )

    def points(self) -> list[dict[str, Any]]:
        """The history, oldest first."""
        return list(self._points)

    def operators(self) -> list[dict[str, Any]]:
        """The steps of the job in the order of the data, with rates and shares since the last look."""
        if self.newest is None:
            return []
        before = {} if self._before is None else {one["task"]: one for one in self._before.tasks}
        elapsed_s = self._elapsed_s()
        shown = [_operator(task, before.get(task["task"]), elapsed_s) for task in self.newest.tasks]
        for one in shown:
            one["at_its_limit"] = one["busy_share"] >= self.threshold
        return shown

    def facts(self) -> dict[str, Any]:
        """The job in a few numbers."""
        if self.newest is None:
            return {}
        status, operators = self.newest.status, self.operators()
        lags = [one["event_time_lag_s"] for one in operators if one["event_time_lag_s"] is not None]
        running = status["state"] == "running"
        return {
            "attempt": status["attempt"],
            "uptime_s": status["uptime"],
            "rows_in": status["rows_in"],
            "rows_out": status["rows_out"],
            "rows_in_per_s": sum(one["rows_in_per_s"] for one in operators if one["kind"] == "source"),
            "rows_out_per_s": sum(one["rows_in_per_s"] for one in operators if one["kind"] == "sink"),
            "rows_late": status["rows_late"],
            "dead_letters": sum(one["dead_letters"] for one in operators),
            "pending_rows": status["pending_rows"],
            "waits": status["waits"],
            "lag_s": max(lags, default=None) if running else None,
            "state_bytes": sum(one["state_bytes"] for one in operators),
            "memory_bytes": self.newest.resident_bytes if running else 0,
            "cpu_s": self.newest.cpu_s,
            "checkpoint_epoch": status["checkpoint_epoch"],
            "checkpoint_age_s": status["checkpoint_age"],
            "checkpoint_duration_s": status["checkpoint_duration"],
            "checkpoint_bytes": status["checkpoint_bytes"],
            "checkpoints_committed": status["checkpoints_committed"],
            "checkpoints_abandoned": status["checkpoints_abandoned"],
            "checkpoint_failure": status["checkpoint_failure"],
            "restored_epoch": status["restored_epoch"],
            "bottleneck": bottleneck(operators, self.threshold) if running else None,
        }

    def _elapsed_s(self) -> float:
        """Between the two looks by the job's own clock; it stands still when the job has ended."""
        if self.newest is None:
            return 0.0
        since = 0.0 if self._before is None else self._before.status["uptime"]
        return float(self.newest.status["uptime"] - since)


def _operator(task: dict[str, Any], before: dict[str, Any] | None, elapsed_s: float) -> dict[str, Any]:
    def grown(name: str) -> float:
        return float(task[name] - (0 if before is None else before[name]))

    wall_ns = max(elapsed_s, 1e-9) * 1e9 * task["workers"]
    moved = elapsed_s > 1e-3
    busy = min(1.0, grown("busy_ns") / wall_ns) if moved else 0.0
    kept = ("task", "operator", "kind", "node", "inputs", "exchanged", "workers", "rows_in", "rows_out")
    return {
        **{name: task[name] for name in kept},
        "rows_in_per_s": round(grown("rows_in") / elapsed_s) if moved else 0,
        "rows_out_per_s": round(grown("rows_out") / elapsed_s) if moved else 0,
        "busy_share": round(busy, 4),
        "rows_late": task["rows_late"],
        "dead_letters": task["rows_aside"] - task["rows_late"],
        "batches_in": task["batches_in"],
        "bytes_in": task["bytes_in"],
        "state_bytes": task["state_bytes"],
        "watermark_s": task["watermark_s"],
        "event_time_lag_s": task["event_time_lag_s"],
    }


def bottleneck(operators: list[dict[str, Any]], threshold: float) -> dict[str, Any] | None:
    """The one step that holds the others up, and why; None: none does.

    The busiest one, if it works nearly all the time: rows come through no faster than through it.
    """
    busiest = max(operators, key=lambda one: one["busy_share"], default=None)
    if busiest is None or busiest["busy_share"] < threshold:
        return None
    return {
        "task": busiest["task"],
        "operator": busiest["operator"],
        "reason": f"it works {busiest['busy_share']:.0%} of the time",
    }
