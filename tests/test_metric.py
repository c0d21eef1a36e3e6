"""`.stream.metric`: numbers of the rows that go by, for `job.metrics(name)`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, UnsupportedQuery

ROWS = pl.DataFrame({"a": range(1_000), "k": ["x", "y", "x", None] * 250})


def source() -> pl.LazyFrame:
    return dff.from_batches([ROWS[:300], ROWS[300:600]], ROWS[600:])


def run(lf: pl.LazyFrame, folder: Path) -> dff.Job:
    job = dff.Engine(parallelism=2, batch_rows=50).start(lf.sink_parquet(f"{folder}/out/", lazy=True))
    job.wait()
    return job


def test_metric_counts_all_rows_on_all_workers(tmp_path: Path) -> None:
    counted = source().stream.metric("rows", pl.len()).filter(pl.col("a") < 10)
    job = run(counted, tmp_path)
    assert job.metrics("rows").rows() == [(1_000,)]
    assert job.metrics()["kind"].to_list().count("metric") == 1


def test_metric_by_columns_has_a_number_for_each_value(tmp_path: Path) -> None:
    doubled = (pl.col("a") * 2).filter(pl.col("a") > 100).sum()
    job = run(source().stream.metric("doubled", doubled, by="k").select("a"), tmp_path)
    expected = ROWS.group_by("k").agg(value=doubled)
    assert_frame_equal(job.metrics("doubled"), expected, check_row_order=False)


def test_metric_changes_no_row() -> None:
    dff.testing.check(source().stream.metric("rows", pl.len(), by="k").select("a"), seeds=10)


def test_unknown_metric_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    job = run(source().stream.metric("rows", pl.len()), tmp_path)
    with pytest.raises(CallError, match=r"expected one of \['rows'\], got 'others'"):
        job.metrics("others")


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        (pl.col("a").sum() / pl.len(), "more than one aggregate"),
        (pl.col("a").first(), "depends on the order"),
    ],
)
def test_expression_that_is_not_one_free_aggregate_is_refused(expr: pl.Expr, message: str) -> None:
    with pytest.raises(UnsupportedQuery, match=message):
        source().stream.metric("m", expr).collect(engine=dff.Engine())


def test_metric_of_text_or_of_missing_columns_is_refused() -> None:
    with pytest.raises(CallError, match="an aggregate that is a number"):
        source().stream.metric("m", pl.col("k").max())
    with pytest.raises(CallError, match="by: expected columns"):
        source().stream.metric("m", pl.len(), by="b")
