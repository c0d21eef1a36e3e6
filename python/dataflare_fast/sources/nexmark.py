"""`dff.nexmark`: auctions, bids and persons of the Nexmark benchmark, made by a generator in Rust.

The rows are a function of seed, splits and position. Not here: the generator (`rust/connect`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath
from dataflare_fast.sources.reading import native_splits, read_native

__all__ = ["Nexmark", "nexmark"]

_TIME = pl.Datetime("us")
_COLUMNS: dict[str, dict[str, Any]] = {
    "person": {
        "id": pl.Int64,
        "name": pl.String,
        "email_address": pl.String,
        "credit_card": pl.String,
        "city": pl.String,
        "state": pl.String,
        "ts": _TIME,
        "extra": pl.String,
    },
    "auction": {
        "id": pl.Int64,
        "item_name": pl.String,
        "description": pl.String,
        "initial_bid": pl.Int64,
        "reserve": pl.Int64,
        "ts": _TIME,
        "expires": _TIME,
        "seller": pl.Int64,
        "category": pl.Int64,
        "extra": pl.String,
    },
    "bid": {
        "auction": pl.Int64,
        "bidder": pl.Int64,
        "price": pl.Int64,
        "channel": pl.String,
        "url": pl.String,
        "ts": _TIME,
        "extra": pl.String,
    },
}


class NexmarkSource(Source):
    """One of the three streams of a generator."""

    def __init__(self, kind: str, events: int | None, rate: float | None, seed: int, splits: int) -> None:
        super().__init__(pl.Schema(_COLUMNS[kind]), "nexmark", bounded=events is not None)
        self._options = {"kind": kind, "events": events, "rate": rate, "seed": seed, "splits": splits}

    @property
    def single_split(self) -> bool:
        return self._options["splits"] == 1

    def options(self) -> dict[str, Any]:
        return dict(self._options)

    def split_paths(self) -> Sequence[SplitPath]:
        self.refuse_if_endless()
        return [(index,) for index in range(len(native_splits(self)))]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        self.refuse_if_endless()
        # Plain Polars wants the rows, not their pace.
        unpaced = copy(self)
        unpaced._options = {**self._options, "rate": None}
        return read_native(unpaced, native_splits(self)[split[0]])


@dataclass(frozen=True, slots=True)
class Nexmark:
    """The three streams of one generator."""

    person: pl.LazyFrame
    auction: pl.LazyFrame
    bid: pl.LazyFrame


def nexmark(
    *, events: int | None = None, rate: float | None = None, seed: int = 0, splits: int = 2
) -> Nexmark:
    """Auctions, bids and persons of the Nexmark benchmark.

    Args:
        events: how many events there are in all, of all three kinds; None: it never ends.
        rate: events a second; None: as fast as they are taken.
        seed: equal seeds give equal rows.
        splits: how many splits each stream has.

    Returns:
        `.person`, `.auction` and `.bid`, each a LazyFrame; their event time is `ts`.

    Raises:
        CallError: a number that is out of range.
    """
    for name, value, least in [("events", events, 0), ("seed", seed, 0), ("splits", splits, 1)]:
        if value is not None and value < least:
            raise CallError(f"nexmark: {name}: expected at least {least}, got {value}")
    if rate is not None and not rate > 0:
        raise CallError(f"nexmark: rate: expected more than 0 events a second, got {rate}")
    streams = {kind: NexmarkSource(kind, events, rate, seed, splits).frame() for kind in _COLUMNS}
    return Nexmark(**streams)
