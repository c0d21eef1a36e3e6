"""`group_by_dynamic` -> the plan's `Window`: which grids run, and the offset that works for the others.

A grid runs if no window depends on the first row of its key: Polars starts each key's windows there, so a
window that holds that row and begins earlier needs an offset that reaches back. Not here: grid arithmetic
(the engine).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import polars as pl

from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.visitor.plan import DynamicIR

__all__ = [
    "Parts",
    "duration_text",
    "duration_to_json",
    "has_dst",
    "refuse_unsupported_grid",
    "window_to_json",
]

Parts: TypeAlias = tuple[int, int, int, int, bool, bool]

_DAY_NS: Final = 86_400_000_000_000
_HOUR_NS: Final = 3_600_000_000_000
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIXED_ZONES: Final = re.compile(r"UTC|GMT|Etc/.*|[+-]\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class _Length:
    """A signed duration as months or as fixed ticks; both only where Polars mixes them."""

    months: int
    ticks: int

    @classmethod
    def of(cls, parts: Parts) -> _Length:
        months, weeks, days, ticks, _, negative = parts
        sign = -1 if negative else 1
        return cls(sign * months, sign * ((weeks * 7 + days) * _DAY_NS + ticks))

    @property
    def is_mixed(self) -> bool:
        return self.months != 0 and self.ticks != 0


def window_to_json(dynamic: DynamicIR, dtype: pl.DataType) -> Json:
    """The window as the plan writes it."""
    index = dtype.is_integer()
    start = dynamic.start_by
    return {
        "column": dynamic.column,
        "every": duration_to_json(dynamic.every, index),
        "period": duration_to_json(dynamic.period, index),
        "offset": duration_to_json(dynamic.offset, index),
        "closed": dynamic.closed,
        "label": dynamic.label,
        "include_boundaries": dynamic.include_boundaries,
        "start_by": {"weekday": _WEEKDAYS.index(start)} if start in _WEEKDAYS else "window",
    }


def refuse_unsupported_grid(dynamic: DynamicIR, dtype: pl.DataType, refusals: Refusals) -> None:
    """Notes what keeps the grid from running, with the offset or rewrite that works."""
    lengths = f"every='{duration_text(dynamic.every)}', period='{duration_text(dynamic.period)}'"
    part = f"group_by_dynamic('{dynamic.column}', {lengths})"
    if dynamic.start_by not in ("window_bound", *_WEEKDAYS):
        refusals.add(
            part,
            "start_by='datapoint' makes every window depend on the first row of its key",
            "start_by='window' with an offset= that shifts the grid",
        )
        return
    if dynamic.label not in ("left", "right"):
        refusals.add(
            part, "label='datapoint' names a window by its first row", "label='left', and pl.col(...).min()"
        )
    if has_dst(dtype):
        _refuse_on_dst(dynamic, part, refusals)
    offset = _working_offset(dynamic)
    if offset is None:
        return
    if offset == "":
        refusals.add(
            part,
            "every and period have no common unit, so no offset reaches back to a first window",
            "every and period both in months, or both in days and shorter",
        )
        return
    refusals.add(
        part,
        f"with closed='{dynamic.closed}' and offset='{duration_text(dynamic.offset)}' the first windows "
        "of a key would depend on its first row",
        f"offset='{offset}'" + (" (or .stream.group_by_hopping)" if dynamic.closed == "left" else ""),
    )


def has_dst(dtype: pl.DataType) -> bool:
    """True for a zone whose offset from UTC may change."""
    zone = getattr(dtype, "time_zone", None)
    return zone is not None and not _FIXED_ZONES.fullmatch(zone)


def _working_offset(dynamic: DynamicIR) -> str | None:
    """None: the grid runs as it is. Else the offset that works, or "" if there is none."""
    every, period, offset = (_Length.of(one) for one in (dynamic.every, dynamic.period, dynamic.offset))
    if every.is_mixed or period.is_mixed or (every.months != 0) != (period.months != 0):
        return ""
    in_months = every.months != 0
    step, length = (every.months, period.months) if in_months else (every.ticks, period.ticks)
    back = -(offset.months if in_months else offset.ticks)
    match dynamic.closed:
        case "left" | "none":
            runs_alone, needed = length <= step, length - step
        case "right":
            runs_alone, needed = length <= step, length
        case _:
            runs_alone, needed = length < step, length
    if runs_alone or (back >= needed and (in_months or offset.months == 0)):
        return None
    # More steps back on the same grid.
    steps = -(-(needed - back) // step)
    if in_months:
        rest = (dynamic.offset[0], 0, 0, 0, False, dynamic.offset[5])
        if dynamic.offset[:4] != rest[:4]:
            return ""
        return f"-{back + steps * step}mo"
    ticks = back + steps * step
    return f"-{ticks}i" if dynamic.every[4] else f"-{_ticks_text(ticks)}"


def _refuse_on_dst(dynamic: DynamicIR, part: str, refusals: Refusals) -> None:
    months, weeks, days, ticks, *_ = dynamic.every
    calendar = bool(months or weeks or days)
    if not calendar and ticks > _HOUR_NS:
        refusals.add(
            part,
            "a physical every above 1h has no fixed grid on a time zone with daylight saving",
            "dt.convert_time_zone('UTC') first, or every='1d'",
        )
    if dynamic.start_by in _WEEKDAYS:
        back = (7 - _WEEKDAYS.index(dynamic.start_by)) % 7
        refusals.add(
            part,
            f"with start_by='{dynamic.start_by}' on a zone with daylight saving Polars counts back to it in "
            "hours, so that weeks move with the first row",
            "start_by='window', whose weeks begin on Monday" + (f", and offset='-{back}d'" if back else ""),
        )
    if calendar and dynamic.offset[3]:
        refusals.add(
            part,
            f"a physical offset '{duration_text(dynamic.offset)}' beside a calendar every moves "
            "with daylight saving",
            "dt.convert_time_zone('UTC') first, or an offset in days",
        )


def duration_to_json(parts: Parts, index: bool) -> Json:
    """A duration as the plan writes it."""
    months, weeks, days, ticks, _, negative = parts
    return {
        "months": months,
        "weeks": weeks,
        "days": days,
        "nanoseconds": ticks,
        "negative": negative,
        "index": index,
    }


def duration_text(parts: Parts) -> str:
    """The duration in Polars' spelling."""
    months, weeks, days, ticks, index, negative = parts
    text = "".join(f"{count}{unit}" for count, unit in ((months, "mo"), (weeks, "w"), (days, "d")) if count)
    if ticks:
        text += f"{ticks}i" if index else _ticks_text(ticks)
    return ("-" if negative and text else "") + (text or "0s")


def _ticks_text(ticks: int) -> str:
    text = ""
    units = [("d", _DAY_NS), ("h", _HOUR_NS), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3)]
    for unit, size in [*units, ("ns", 1)]:
        count, ticks = divmod(ticks, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
