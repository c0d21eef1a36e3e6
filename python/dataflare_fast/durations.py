"""Physical durations as users write them: `"4s"`, `"1h30m"`, a `timedelta`, or `"10i"` on an integer column.

The units are Polars' (d = 24 h, w = 7 d). Calendar units (mo, q, y) have no fixed length and are refused
here; windows take them, and Polars parses those itself. Used by the words, sources and settings.
"""

from __future__ import annotations

import re
from datetime import timedelta

import polars as pl

from dataflare_fast.errors import CallError

__all__ = ["duration_ns", "duration_ticks"]

_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_PART = re.compile(r"(\d+)(ns|us|µs|μs|ms|mo|s|m|h|d|w|q|y|i)")
_TICK_NS = {"ms": 1_000_000, "us": 1_000, "ns": 1}


def duration_ns(value: str | timedelta, setting: str) -> int:
    """Reads a physical duration in nanoseconds.

    Args:
        value: such as `"1h30m"`; not negative.
        setting: its name, for the message.

    Raises:
        CallError: no duration, a negative one, or one with calendar units or `i`.
    """
    if isinstance(value, timedelta):
        total = (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1_000
    else:
        parts = _parts(value, setting)
        if any(unit == "i" for _, unit in parts):
            raise CallError(
                f"{setting}: expected a duration such as '4s', got '{value}', which counts integers"
            )
        total = sum(count * _NS[unit] for count, unit in parts)
    if total < 0:
        raise CallError(f"{setting}: expected a duration that is not negative, got {value!r}")
    return total


def duration_ticks(value: str | timedelta, dtype: pl.DataType, setting: str) -> int:
    """Reads a physical duration in the units of a time column, rounded down.

    Rounding down decides the same for every row: t < m - d and t < m - floor(d) are one condition for whole t
    and m.

    Args:
        value: such as `"4s"`, or `"10i"` for an integer column.
        dtype: of the time column.
        setting: the name of the setting, for the message.

    Raises:
        CallError: no duration, or one that does not fit the column.
    """
    if dtype.is_integer():
        parts = [] if isinstance(value, timedelta) else _parts(value, setting)
        if not parts or any(unit != "i" for _, unit in parts):
            raise CallError(
                f"{setting}: expected a count such as '10i' for a column of {dtype}, got {value!r}"
            )
        return sum(count for count, _ in parts)
    if isinstance(dtype, pl.Date):
        return duration_ns(value, setting) // _NS["d"]
    if isinstance(dtype, pl.Datetime):
        return duration_ns(value, setting) // _TICK_NS[dtype.time_unit]
    raise CallError(f"{setting}: expected a time column of Datetime, Date or integers, got {dtype}")


def _parts(value: str, setting: str) -> list[tuple[int, str]]:
    written: list[tuple[str, str]] = _PART.findall(value)
    found = [(int(count), unit) for count, unit in written]
    if not found or "".join(f"{count}{unit}" for count, unit in written) != value:
        raise CallError(f"{setting}: expected a duration such as '4s' or '1h30m', got {value!r}")
    for _, unit in found:
        if unit in ("mo", "q", "y"):
            raise CallError(
                f"{setting}: '{value}' has no fixed length; months, quarters and years are refused here"
            )
    return found
