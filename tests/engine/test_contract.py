"""The contract kit finds the faults that it is there to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pytest

import dataflare_fast as dff

ROWS = pl.DataFrame({"n": [1, 2, 3]})


class Numbers:
    schema = pl.Schema({"n": pl.Int64})
    bounded = True

    def splits(self) -> Sequence[str]:
        return ["even", "odd"]

    def read(self, split: str, offset: Any) -> Iterator[tuple[pl.DataFrame, Any]]:
        for n in range(offset or (0 if split == "even" else 1), 10, 2):
            yield pl.DataFrame({"n": [n]}), n + 2


class ForgetsTheOffset(Numbers):
    def read(self, split: str, offset: Any) -> Iterator[tuple[pl.DataFrame, Any]]:
        return super().read(split, None)


class OtherColumns(Numbers):
    schema = pl.Schema({"n": pl.Int32})


class Memory:
    shown: dict[int, list[dict[str, Any]]]

    def __init__(self, shown: dict[int, list[dict[str, Any]]]) -> None:
        self.shown = shown
        self.rows: list[dict[str, Any]] = []

    def write(self, rows: pl.DataFrame) -> None:
        self.rows += rows.to_dicts()

    def prepare(self, epoch: int) -> Any:
        prepared, self.rows = self.rows, []
        return prepared

    def confirm(self, epoch: int, prepared: Any) -> None:
        self.shown[epoch] = prepared


class ShowsAtOnce(Memory):
    def write(self, rows: pl.DataFrame) -> None:
        self.shown[0] = self.shown.get(0, []) + rows.to_dicts()


class AppendsAgain(Memory):
    def confirm(self, epoch: int, prepared: Any) -> None:
        self.shown.setdefault(epoch, []).extend(prepared)


def check(sink: type[Memory]) -> None:
    shown: dict[int, list[dict[str, Any]]] = {}

    def visible() -> pl.DataFrame:
        return pl.DataFrame([row for rows in shown.values() for row in rows], schema=ROWS.schema)

    dff.testing.check_sink(lambda: sink(shown), visible, ROWS)


def test_good_source_passes() -> None:
    dff.testing.check_source(Numbers())


def test_source_that_forgets_its_offset_is_found() -> None:
    with pytest.raises(AssertionError, match="read again"):
        dff.testing.check_source(ForgetsTheOffset())


def test_source_of_other_columns_is_found() -> None:
    with pytest.raises(AssertionError, match="Int32"):
        dff.testing.check_source(OtherColumns())


def test_good_sink_passes() -> None:
    check(Memory)


def test_sink_that_shows_rows_at_once_is_found() -> None:
    with pytest.raises(AssertionError, match="wait for confirm"):
        check(ShowsAtOnce)


def test_sink_that_confirms_twice_is_found() -> None:
    with pytest.raises(AssertionError, match="second confirm"):
        check(AppendsAgain)


def test_source_in_python_runs_in_the_engine() -> None:
    lf = dff.scan_source(Numbers())
    assert sorted(lf.collect(engine=dff.Engine(parallelism=2))["n"]) == list(range(10))


def test_sink_in_python_runs_in_the_engine() -> None:
    shown: dict[int, list[dict[str, Any]]] = {}
    sink = pl.LazyFrame(ROWS).stream.sink_to(Memory(shown), lazy=True)
    dff.Engine(parallelism=1).start(sink).wait()
    assert sorted(row["n"] for rows in shown.values() for row in rows) == [1, 2, 3]
