"""Rows and sources for random queries: every key type, late rows, null, NaN, both zeros, uneven splits.

Sums of the float columns are exact in any order (multiples of 2^-10 below 2^20), so that a lost row cannot
hide in a rounding error. Not here: queries (`random_queries.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

import polars as pl

from dataflare_fast.sources.batches import from_batches

__all__ = ["COLUMNS", "SOURCES", "random_source"]

SOURCES: Final = 24
"""So many different sources are drawn; queries share them, so that making rows costs next to nothing."""

_START: Final = datetime(2024, 3, 30, 20)  # Daylight saving begins in Berlin in the night that follows.
_FLOATS: Final = (1.5, 2.0, float("nan"), -0.0, 0.0, -3.25, 1024.0, float("nan"))
_WORDS: Final = ("a", "b", "B", "", "na\u00efve", "a longer text than twelve bytes")

Draw = Callable[[random.Random, int], Any]

COLUMNS: Final[dict[str, tuple[pl.DataType, Draw]]] = {
    "ts": (pl.Datetime("us"), lambda draw, at: _START + timedelta(seconds=at)),
    "tms": (pl.Datetime("ms"), lambda draw, at: _START + timedelta(seconds=at)),
    "n": (pl.Int64(), lambda draw, at: at),
    "n32": (pl.Int32(), lambda draw, at: at),
    "day": (pl.Date(), lambda draw, at: _START.date() + timedelta(days=at // 3600)),
    "k": (pl.String(), lambda draw, at: draw.choice(_WORDS)),
    "f": (pl.Float64(), lambda draw, at: draw.choice(_FLOATS)),
    "f32": (pl.Float32(), lambda draw, at: draw.choice(_FLOATS)),
    "v": (pl.Int64(), lambda draw, at: draw.randint(-5, 5)),
    "small": (pl.Int8(), lambda draw, at: draw.choice([-100, -1, 0, 1, 100])),
    "u": (pl.UInt32(), lambda draw, at: draw.randint(0, 9)),
    "flag": (pl.Boolean(), lambda draw, at: draw.random() < 0.5),
    "raw": (pl.Binary(), lambda draw, at: draw.choice([b"", b"\x00", b"\xff\xfe", b"abcdefghijklmnop"])),
    "clock": (pl.Time(), lambda draw, at: draw.choice([time(0), time(12, 30), time(23, 59, 59)])),
    "span": (pl.Duration("us"), lambda draw, at: timedelta(minutes=draw.randint(-2, 2))),
    "money": (pl.Decimal(12, 2), lambda draw, at: Decimal(draw.randint(-300, 300)) / 100),
    "kind": (pl.Enum(["x", "y", "z"]), lambda draw, at: draw.choice("xyz")),
    "born": (pl.Date(), lambda draw, at: date(1969, 12, draw.randint(29, 31))),
}
"""Name -> type, and how a value is drawn; the second argument is the row's event time in seconds."""

_TIMES: Final = frozenset(("ts", "tms", "n", "n32", "day"))


@cache
def random_source(number: int) -> pl.LazyFrame:
    """The source of a number below `SOURCES`; the same one each time."""
    draw = random.Random(f"source {number}")  # noqa: S311 - replayed, not secret
    most = draw.choice([3, 20, 60])
    splits = [
        [_batch(draw, draw.randint(0, most)) for _ in range(draw.randint(0, 3))]
        for _ in range(draw.randint(1, 4))
    ]
    return from_batches(*splits, schema={name: dtype for name, (dtype, _) in COLUMNS.items()})


def _batch(draw: random.Random, rows: int) -> pl.DataFrame:
    clock, made = 0, []
    for _ in range(rows):
        clock += draw.choice([0, 1, 30, 300, 1500])
        # One time for all columns of time: whichever becomes the event time, some rows are late.
        at = clock - draw.choice([0, 0, 0, 1, 60, 4000])
        made.append([_value(draw, name, at) for name in COLUMNS])
    schema = pl.Schema({name: dtype for name, (dtype, _) in COLUMNS.items()})
    return pl.DataFrame(made, schema=schema, orient="row")


def _value(draw: random.Random, name: str, at: int) -> Any:
    if draw.random() < (0.02 if name in _TIMES else 0.12):
        return None
    return COLUMNS[name][1](draw, at)
