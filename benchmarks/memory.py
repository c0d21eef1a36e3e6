"""Peak memory of a piece of work, from Linux's own high-water mark of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "watched"]

_STATUS = Path("/proc/self/status")


@dataclass(slots=True)
class Peak:
    """How much more memory was resident at most than at the start."""

    mib: float = 0.0


@contextmanager
def watched() -> Iterator[Peak]:
    """Resets the mark, and reads it when the work is done."""
    peak = Peak()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_mib("VmRSS")
    yield peak
    peak.mib = max(0.0, _status_mib("VmHWM") - before)


def _status_mib(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{_STATUS}: expected a line {field}, got none")
