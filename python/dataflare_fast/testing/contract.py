"""The rules of `ReadableSource` and `WritableSink`, checked against a user's own class.

A broken rule is an AssertionError that says which one, and what was seen. Not here: the engine's use of them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from dataflare_fast.sources.python import ReadableSource
from dataflare_fast.words.sink import WritableSink

__all__ = ["check_sink", "check_source"]


def check_source(source: ReadableSource, *, batches: int = 10) -> None:
    """Checks that a source can be restarted anywhere and gives the same rows again.

    Args:
        source: the source; a bounded one is read whole if it has no more than `batches` batches a split.
        batches: how many batches of a split are read.

    Raises:
        AssertionError: a broken rule.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> class Numbers:
        ...     schema = pl.Schema({"n": pl.Int64})
        ...     bounded = True
        ...     def splits(self):
        ...         return ["all"]
        ...     def read(self, split, offset):
        ...         for n in range(offset or 0, 3):
        ...             yield pl.DataFrame({"n": [n]}), n + 1
        >>> dff.testing.check_source(Numbers())
    """
    assert isinstance(source.schema, pl.Schema), f"schema: expected a pl.Schema, got {source.schema!r}"
    assert isinstance(source.bounded, bool), f"bounded: expected True or False, got {source.bounded!r}"
    names = list(source.splits())
    assert all(isinstance(name, str) for name in names), f"splits(): expected texts, got {names}"
    assert len(set(names)) == len(names), f"splits(): expected different names, got {names}"
    assert list(source.splits()) == names, "splits(): the second call gives other names than the first"
    for name in names:
        _check_split(source, name, batches)


def _check_split(source: ReadableSource, split: str, batches: int) -> None:
    read = list(itertools.islice(source.read(split, None), batches))
    for number, (frame, offset) in enumerate(read):
        place = f"read('{split}'), batch {number}"
        assert isinstance(frame, pl.DataFrame), f"{place}: expected a frame, got {type(frame).__name__}"
        assert frame.schema == source.schema, f"{place}: expected {source.schema}, got {frame.schema}"
        assert _round_trip(offset) == offset, f"{place}: the offset {offset!r} is no JSON value"
    expected = _all([frame for frame, _ in read], source.schema)
    is_whole = source.bounded and len(read) < batches
    start = 0
    for number, (frame, offset) in enumerate(read):
        start += frame.height
        again = _rows(source, split, _round_trip(offset), None if is_whole else expected.height - start)
        try:
            assert_frame_equal(again, expected.slice(start))
        except AssertionError as error:
            raise AssertionError(
                f"rows of '{split}' read again from {offset!r}, the offset of batch {number}: {error}"
            ) from None


def _rows(source: ReadableSource, split: str, offset: Any, rows: int | None) -> pl.DataFrame:
    """The first rows behind an offset (None: all); batches may be cut elsewhere the second time."""
    found = pl.DataFrame(schema=source.schema)
    for frame, _ in source.read(split, offset) if rows != 0 else []:
        found = pl.concat([found, frame])
        if rows is not None and found.height >= rows:
            break
    return found.head(rows) if rows is not None else found


def check_sink(
    open_sink: Callable[[], WritableSink], visible: Callable[[], pl.DataFrame], rows: pl.DataFrame
) -> None:
    """Checks that a sink shows the rows of an epoch once, and not before it is confirmed.

    Args:
        open_sink: opens the same place, empty at first; called again where a process would have died.
        visible: the rows that a reader of the place sees.
        rows: at least three rows to write, all different.

    Raises:
        AssertionError: a broken rule.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> shown = {}
        >>> class Memory:
        ...     def __init__(self):
        ...         self.rows = []
        ...     def write(self, rows):
        ...         self.rows.append(rows)
        ...     def prepare(self, epoch):
        ...         prepared, self.rows = [rows.to_dicts() for rows in self.rows], []
        ...         return prepared
        ...     def confirm(self, epoch, prepared):
        ...         shown[epoch] = [row for rows in prepared for row in rows]
        >>> rows = pl.DataFrame({"n": [1, 2, 3]})
        >>> def visible():
        ...     return pl.DataFrame([row for rows in shown.values() for row in rows], schema=rows.schema)
        >>> dff.testing.check_sink(Memory, visible, rows)
    """
    assert rows.height >= 3, f"rows: expected at least three, got {rows.height}"
    assert rows.is_unique().all(), "rows: expected rows that are all different"
    first, second, third = rows.head(1), rows.slice(1, 1), rows.slice(2)
    sink = open_sink()

    sink.write(first)
    _sees(visible, rows.clear(), "write() alone shows rows: they must wait for confirm()")
    one = _prepare(sink, 1)
    _sees(visible, rows.clear(), "prepare() shows rows: they must wait for confirm()")
    # The rows of the next epoch come before this one is confirmed.
    sink.write(second)
    sink.confirm(1, one)
    _sees(visible, first, "confirm(1) must show the rows of epoch 1, and only those")
    sink.confirm(1, one)
    _sees(visible, first, "a second confirm(1) must change nothing")

    two = _prepare(sink, 2)
    sink = open_sink()  # The process died after the checkpoint and before confirm.
    sink.confirm(2, two)
    _sees(
        visible, pl.concat([first, second]), "confirm() in a new process must show what an old one prepared"
    )

    sink.write(third)
    _prepare(sink, 3)
    sink = open_sink()  # The process died before the checkpoint: the rows come again.
    sink.write(third)
    sink.confirm(4, _prepare(sink, 4))
    _sees(visible, rows, "rows that were prepared but never confirmed must not show when they come again")

    sink.confirm(5, _prepare(sink, 5))
    _sees(visible, rows, "an epoch without rows must change nothing")


def _prepare(sink: WritableSink, epoch: int) -> Any:
    prepared = sink.prepare(epoch)
    assert _round_trip(prepared) == prepared, f"prepare(): expected a JSON value, got {prepared!r}"
    return _round_trip(prepared)


def _sees(visible: Callable[[], pl.DataFrame], expected: pl.DataFrame, rule: str) -> None:
    found = visible()
    try:
        assert_frame_equal(found, expected, check_row_order=False)
    except AssertionError as error:
        raise AssertionError(f"{rule}; a reader sees {found.rows()}, expected {expected.rows()}") from error


def _round_trip(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"expected a JSON value, got {value!r}") from error


def _all(frames: list[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)
