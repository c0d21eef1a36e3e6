"""`.stream.map_batches` and `.stream.apply`: functions of Python as steps of a query."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError, DataflareError, UnsupportedQuery

ROWS = pl.DataFrame({"a": range(100), "l": [[row] * (row % 3) for row in range(100)]})
DOUBLED = {"a": pl.Int64, "twice": pl.Int64}


def doubled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("a", twice=pl.col("a") * 2)


def with_process(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("a", twice=pl.lit(os.getpid(), pl.Int64))


def failing(rows: pl.DataFrame) -> pl.DataFrame:
    if (rows["a"] == 57).any():
        raise KeyError("fifty-seven")
    return doubled(rows)


def dying(rows: pl.DataFrame) -> pl.DataFrame:
    os.kill(os.getpid(), signal.SIGKILL)
    return doubled(rows)


def source() -> pl.LazyFrame:
    return dff.from_batches([ROWS[:30], ROWS[30:60]], ROWS[60:])


def engine(**settings: int) -> dff.Engine:
    return dff.Engine(parallelism=2, batch_rows=10, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_function_sees_every_row_once_and_order_is_kept(workers: int) -> None:
    lf = source().stream.map_batches(doubled, DOUBLED, workers=workers)
    assert_frame_equal(lf.collect(engine=engine()), lf.collect())


def test_workers_are_other_processes_that_end_with_the_job() -> None:
    lf = source().stream.map_batches(with_process, DOUBLED, workers=2)
    processes = lf.collect(engine=engine())["twice"].unique().to_list()
    assert processes
    assert os.getpid() not in processes
    end_s = time.monotonic() + 10
    while any(Path(f"/proc/{one}").exists() for one in processes):
        assert time.monotonic() < end_s, "the processes still run"


@pytest.mark.parametrize("workers", [0, 1])
def test_exception_of_the_function_is_the_cause(workers: int) -> None:
    lf = source().stream.map_batches(failing, DOUBLED, workers=workers)
    with pytest.raises(DataError, match=r"map_batches\(failing\), input 0, split 0.*fifty-seven") as raised:
        lf.collect(engine=engine())
    assert isinstance(raised.value.__cause__, KeyError)
    if workers:
        assert "in failing" in str(raised.value.__cause__.__cause__)


def test_process_that_dies_is_named() -> None:
    lf = source().stream.map_batches(dying, DOUBLED, workers=1)
    with pytest.raises(DataflareError, match=r"died \(exit code -9\)"):
        lf.collect(engine=engine())


def test_function_that_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(CallError, match="at the top of a module"):
        source().stream.map_batches(lambda rows: rows, ROWS.schema, workers=1)


def test_other_columns_than_declared_are_an_error() -> None:
    lf = source().stream.map_batches(doubled, {"a": pl.Int64, "half": pl.Int64})
    with pytest.raises(DataflareError, match="expected the columns"):
        lf.collect(engine=engine())


def test_rows_may_become_more_or_fewer() -> None:
    def odd_twice(rows: pl.DataFrame) -> pl.DataFrame:
        odd = rows.select("a").filter(pl.col("a") % 2 == 1)
        return pl.concat([odd, odd])

    lf = source().stream.map_batches(odd_twice, {"a": pl.Int64})
    found = lf.group_by("a").agg(pl.len()).collect(engine=engine())
    assert found["len"].to_list() == [2] * 50


def test_segment_of_polars_runs_batch_by_batch() -> None:
    def segment(lf: pl.LazyFrame) -> pl.LazyFrame:
        python = pl.col("a").map_elements(hex, return_dtype=pl.String)
        return lf.filter(pl.col("a") > 3).explode("l").with_columns(b=python).drop("l")

    lf = source().stream.apply(segment)
    assert_frame_equal(lf.collect(engine=engine()), lf.collect())
    dff.testing.check(lf, seeds=20)


def test_event_time_goes_through_a_segment_that_keeps_its_column() -> None:
    times = pl.DataFrame({"ts": [datetime(2024, 1, 1, 0, 0, second) for second in range(60)]})
    rows = dff.from_batches([times[:20], times[20:]]).stream.with_watermark("ts", delay="2s")
    kept = rows.stream.apply(lambda lf: lf.with_columns(pl.col("ts").dt.second().alias("s")))
    windows = kept.group_by_dynamic("ts", every="10s").agg(pl.col("s").sum(), first=pl.col("s").first())
    assert "state of a window ends when the watermark has passed it" in dff.explain(windows)
    dff.testing.check(windows, seeds=20)
    lost = rows.stream.apply(lambda lf: lf.with_columns(pl.col("ts").dt.truncate("1h")))
    assert "event time ends here" in dff.explain(lost)


@pytest.mark.parametrize(
    ("segment", "part"),
    [
        (lambda lf: lf.with_columns(pl.col("a").cum_sum()), "cum_sum"),
        (lambda lf: lf.group_by("a").agg(pl.len()), "groupby in apply"),
        (lambda lf: lf.sort("a"), "sort in apply"),
        (lambda lf: lf.filter(pl.col("a") > pl.col("a").mean()), "mean"),
        (lambda lf: lf.head(3), "in apply"),
        (lambda lf: pl.concat([lf, ROWS.lazy()]), "in apply"),
    ],
)
def test_segment_that_looks_at_other_rows_is_refused(segment: object, part: str) -> None:
    lf = source().stream.apply(segment)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedQuery) as raised:
        lf.collect(engine=engine())
    assert part in str(raised.value)


def test_segment_must_be_a_frame() -> None:
    with pytest.raises(CallError, match=r"expected the function to give a pl\.LazyFrame"):
        source().stream.apply(lambda lf: lf.collect())  # type: ignore[arg-type, return-value]
