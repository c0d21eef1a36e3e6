"""Reads a split with the engine's own reader, for plain Polars: one reader, one meaning of a format.

Called by sources whose reader is written in Rust. Not here: the readers (`rust/connect`).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from dataflare_fast.sources.leaf import Source

__all__ = ["native_splits", "read_native"]


def native_splits(source: Source) -> Sequence[str]:
    """The names of a source's splits, in logical order."""
    names: Sequence[str] = _core().source_splits(*_description(source))
    return names


def read_native(source: Source, split: str) -> Iterator[pl.DataFrame]:
    """The rows of one split of a bounded source."""
    batches: Iterator[Any] = _core().read_split(*_description(source), split)
    for batch in batches:
        yield pl.DataFrame(batch).cast(source.schema)


def _core() -> Any:
    # Late, so that describing a source needs no compiled module.
    return importlib.import_module("dataflare_fast._core")


def _description(source: Source) -> tuple[str, str, str]:
    from dataflare_fast.planner.schema import schema_to_json

    return source.connector, json.dumps(source.options()), json.dumps(schema_to_json(source.schema))
