"""`dff.Checkpoint`: where a job keeps its state, and when it writes it. Values, no behaviour.

Called by `Engine`. Not here: reading a checkpoint (`contents.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from dataflare_fast.config import parse_count, parse_duration_ns
from dataflare_fast.errors import CallError

__all__ = ["Checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where and when the jobs of an engine write checkpoints. Each job has the folder `<path>/<name>/`.

    Args:
        path: a folder; it is made when a job starts.
        interval: from the start of one checkpoint to the start of the next.
        min_pause: the least time from the end of one to the start of the next.
        timeout: a checkpoint that takes longer is abandoned; its rows belong to the next one.
        keep: how many checkpoints are kept.
        restore: `"latest"`; the number of a kept epoch; `"ignore-state"` starts from the beginning.

    Raises:
        CallError: a value that is out of range.

    Example:
        >>> import dataflare_fast as dff
        >>> dff.Checkpoint("state/", interval="1s").keep
        3
    """

    path: str | Path
    interval: str | timedelta = field(default="10s", kw_only=True)
    min_pause: str | timedelta = field(default="0s", kw_only=True)
    timeout: str | timedelta = field(default="10m", kw_only=True)
    keep: int = field(default=3, kw_only=True)
    restore: str | int = field(default="latest", kw_only=True)

    def __post_init__(self) -> None:
        if not str(self.path):
            raise CallError(f"checkpoint: path: expected a folder, got {self.path!r}")
        if "://" in str(self.path):
            raise CallError(
                f"checkpoint: path: expected a local folder, got {str(self.path)!r}; "
                "object stores arrive in a later release"
            )
        self.to_json()

    @property
    def folder(self) -> Path:
        """The folder of all jobs."""
        return Path(self.path)

    def to_json(self) -> dict[str, Any]:
        """The settings as `_core.start` reads them."""
        return {
            "path": str(self.folder.absolute()),
            "interval_ns": parse_duration_ns(self.interval, "checkpoint: interval", least_ns=1),
            "min_pause_ns": parse_duration_ns(self.min_pause, "checkpoint: min_pause"),
            "timeout_ns": parse_duration_ns(self.timeout, "checkpoint: timeout", least_ns=1),
            "keep": parse_count(self.keep, "checkpoint: keep", least=1),
            "restore": self._restore(),
        }

    def _restore(self) -> str | dict[str, int]:
        match self.restore:
            case "latest":
                return "latest"
            case "ignore-state":
                return "ignore_state"
            case bool() | str():
                raise CallError(
                    "checkpoint: restore: expected 'latest', 'ignore-state' or the number of an epoch, "
                    f"got {self.restore!r}"
                )
            case epoch:
                return {"epoch": parse_count(epoch, "checkpoint: restore", least=1)}
