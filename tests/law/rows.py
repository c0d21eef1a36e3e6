"""Rows for whole queries: late ones, null times, null and NaN keys, equal times, three uneven splits."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import polars as pl

import dataflare_fast as dff

SCHEMA = pl.Schema(
    {"ts": pl.Datetime("us"), "k": pl.String(), "f": pl.Float64(), "v": pl.Int64(), "n": pl.Int64()}
)
_START = datetime(2024, 3, 30, 20)  # Daylight saving begins in Berlin in the night that follows.
_FLOATS = [1.5, 2.0, float("nan"), None, -0.0, 0.0]


def batch(draw: random.Random, rows: int) -> pl.DataFrame:
    """`f` holds multiples of 2^-10 only, so that sums are exact in any order."""
    clock, made = 0, []
    for _ in range(rows):
        clock += draw.choice([0, 1, 30, 300, 1500])
        second = clock - draw.choice([0, 0, 0, 1, 60, 4000])
        moment = _START + timedelta(seconds=second) if draw.random() > 0.02 else None
        value = draw.randint(-5, 5) if draw.random() > 0.1 else None
        made.append((moment, draw.choice(["a", "b", "c", None]), draw.choice(_FLOATS), value, second))
    return pl.DataFrame(made, schema=SCHEMA, orient="row")


def source(seed: int) -> pl.LazyFrame:
    draw = random.Random(seed)
    splits = [[batch(draw, draw.randint(0, 60)) for _ in range(draw.randint(1, 4))] for _ in range(3)]
    return dff.from_batches(*splits)
