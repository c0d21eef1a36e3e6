"""`group_by_hopping`: the offset with which Polars' `group_by_dynamic` has all windows that hold a row.

Polars starts each key's windows at the one that begins at or before its first row; earlier windows that also
hold that row need a negative offset. It must be a multiple of `every`, or the grid moves.
"""

from __future__ import annotations

import re
from datetime import timedelta

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError

__all__ = ["hopping_offset"]

_COUNTED = re.compile(r"(\d+)(i|mo|q|y)")
_MONTHS = {"mo": 1, "q": 3, "y": 12}


def hopping_offset(every: str | timedelta, period: str | timedelta) -> str:
    """The offset, in Polars' spelling.

    Raises:
        CallError: one of them is zero, or they have no common unit.
    """
    step, step_unit = _length(every, "every")
    length, unit = _length(period, "period")
    if unit != step_unit:
        raise CallError(
            f"group_by_hopping: expected every and period in one kind of unit, got {every!r} and {period!r}; "
            "months have no fixed number of days"
        )
    steps_back = -(-length // step) - 1
    return f"-{steps_back * step}{unit}"


def _length(value: str | timedelta, setting: str) -> tuple[int, str]:
    counted = _COUNTED.fullmatch(value) if isinstance(value, str) else None
    if counted is None:
        length, unit = duration_ns(value, f"group_by_hopping: {setting}"), "ns"
    else:
        count, unit = int(counted[1]), counted[2]
        length, unit = (count, "i") if unit == "i" else (count * _MONTHS[unit], "mo")
    if length == 0:
        raise CallError(f"group_by_hopping: {setting}: expected more than zero, got {value!r}")
    return length, unit
