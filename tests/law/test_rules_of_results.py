"""Rules of `docs/semantics.md` about order, emission, types and errors, each in a test of its name."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError, UnsupportedQuery

ENGINE = dff.Engine(parallelism=2)
START = datetime(2024, 1, 1)
ROWS = pl.DataFrame({"k": ["a", "b", "a", None], "v": [1, 2, 3, 4]})


@pytest.mark.parametrize(
    "expr",
    [
        pl.col("v").sample(2),
        pl.col("v").shuffle(),
        pl.col("v").rank("random"),
        pl.col("v").sort(),
        pl.col("v").reverse(),
    ],
    ids=str,
)
def test_what_polars_answers_differently_by_run_or_needs_a_whole_column_is_refused(expr: pl.Expr) -> None:
    with pytest.raises(UnsupportedQuery):
        dff.from_batches(ROWS).select(expr).collect(engine=ENGINE)


def test_head_above_rows_without_order_is_refused_with_a_sort() -> None:
    groups = dff.from_batches(ROWS).group_by("k").agg(pl.col("v").sum())
    with pytest.raises(UnsupportedQuery, match="sort"):
        groups.head(1).collect(engine=ENGINE)
    dff.testing.check(groups.sort("k").head(1), seeds=10)


def test_head_over_several_endless_splits_takes_any_rows_and_only_as_the_last_step() -> None:
    bids = dff.nexmark(splits=3).bid
    assert bids.head(5).collect(engine=ENGINE).height == 5
    with pytest.raises(UnsupportedQuery, match="several splits"):
        bids.head(5).group_by("auction").agg(pl.len()).collect(engine=ENGINE)


def test_head_above_a_watermark_of_several_endless_splits_is_the_earliest_rows() -> None:
    columns = ("auction", "bidder", "ts")
    endless = dff.nexmark(splits=3, seed=5).bid.select(columns).stream.with_watermark("ts", delay="1s")
    bounded = dff.nexmark(splits=3, seed=5, events=3_000).bid.select(columns)
    expected = bounded.stream.with_watermark("ts", delay="1s").head(20).collect(engine="in-memory")
    assert_frame_equal(endless.head(20).collect(engine=ENGINE), expected)


def test_null_is_a_group_and_joins_nothing() -> None:
    rows = dff.from_batches(ROWS)
    groups = rows.group_by("k").agg(pl.len()).collect(engine=ENGINE)
    assert None in groups["k"].to_list()
    assert rows.join(rows.select("k"), on="k").collect(engine=ENGINE)["k"].null_count() == 0


def test_both_zeros_and_all_nans_are_one_key() -> None:
    rows = dff.from_batches(pl.DataFrame({"f": [0.0, -0.0, float("nan"), -float("nan"), None]}))
    groups = rows.group_by("f").agg(pl.len()).collect(engine=ENGINE)
    assert sorted(groups["len"].to_list()) == [1, 2, 2]


def test_null_key_stands_for_itself_in_several_columns() -> None:
    rows = pl.DataFrame({"a": [None, None, 1], "b": [1, None, None]}, schema={"a": pl.Int8, "b": pl.Int8})
    dff.testing.check(dff.from_batches(rows).group_by("a", "b").agg(pl.len()), seeds=10)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (pl.col("v") // 0, [None] * 4),
        (pl.col("v") % -3, [-2, -1, 0, -2]),
        (pl.col("v") + (2**63 - 2), [2**63 - 1, -(2**63), -(2**63) + 1, -(2**63) + 2]),
        (pl.col("v") / 2, [0.5, 1.0, 1.5, 2.0]),
    ],
    ids=str,
)
def test_integer_arithmetic_is_that_of_polars(expr: pl.Expr, expected: list[Any]) -> None:
    query = dff.from_batches(ROWS).select(expr)
    assert query.collect(engine="in-memory").to_series().to_list() == expected
    assert query.collect(engine=ENGINE).to_series().to_list() == expected


def test_sum_of_nothing_is_zero_and_small_integers_add_up_in_64_bits() -> None:
    data = {"v": [127, 127, 127], "k": [1, 1, 2]}
    rows = dff.from_batches(pl.DataFrame(data, schema={"v": pl.Int8, "k": pl.Int8}))
    sums = rows.group_by("k").agg(pl.col("v").sum(), none=pl.col("v").filter(pl.col("v") < 0).sum())
    assert sums.collect(engine=ENGINE).sort("k").rows() == [(1, 254, 0), (2, 127, 0)]


def test_sums_of_32_bits_stay_and_wrap_as_in_polars() -> None:
    rows = pl.DataFrame({"v": [2**31 - 1, 1]}, schema={"v": pl.Int32})
    query = dff.from_batches(rows).select(pl.col("v").sum())
    assert_frame_equal(query.collect(engine=ENGINE), query.collect(engine="in-memory"))


def test_counts_are_32_bits_unless_cast() -> None:
    rows = dff.from_batches(ROWS)
    counts = rows.select(pl.len(), wide=pl.len().cast(pl.Int64), different=pl.col("k").n_unique())
    found = counts.collect(engine=ENGINE)
    assert found.schema == {"len": pl.UInt32, "wide": pl.Int64, "different": pl.UInt32}
    assert found.rows() == [(4, 4, 3)]


def test_strict_cast_follows_on_error(tmp_path: Path) -> None:
    rows = dff.from_batches(pl.DataFrame({"s": ["1", "x", "3"]})).select(pl.col("s").cast(pl.Int64))
    with pytest.raises(DataError, match="x"):
        rows.collect(engine=ENGINE)
    assert rows.collect(engine=dff.Engine(on_error="skip"))["s"].to_list() == [1, 3]
    with pytest.raises(CallError, match="errors"):
        rows.collect(engine=dff.Engine(on_error="dead_letter"))


def test_updates_of_an_endless_group_carry_one_row_for_each_changed_key() -> None:
    counts = (
        dff.nexmark(splits=1, rate=50_000.0)
        .bid.group_by(pl.col("auction") % 3)
        .agg(pl.len())
        .stream.emit("update")
    )
    seen: dict[int, int] = {}
    for batch in itertools.islice(counts.collect_batches(engine=ENGINE), 5):
        assert batch["auction"].is_unique().all()
        assert set(batch["_change"].to_list()) <= {"+I", "+U", "-U"}
        for auction, count in batch.select("auction", "len").rows():
            assert count > seen.get(auction, 0)
            seen[auction] = count


def test_stopped_endless_job_holds_exactly_the_rows_before_its_offsets(tmp_path: Path) -> None:
    bids = dff.nexmark(splits=1, rate=20_000.0, seed=3).bid.select("auction", "price", "ts")
    sink = bids.stream.sink_parquet(f"{tmp_path}/out", roll_after="0s", lazy=True)
    engine = dff.Engine(name="job", checkpoint=dff.Checkpoint(tmp_path / "state", interval="20ms"))
    whole = dff.nexmark(splits=1, seed=3, events=200_000).bid.select("auction", "price", "ts")
    for _ in range(2):
        job = engine.start(sink)
        while job.status().checkpoints_committed < 2:
            job.wait("10ms")
        job.stop()
        found = pl.read_parquet(tmp_path / "out" / "*.parquet")
        (offset,) = dff.read_checkpoint(tmp_path / "state").offsets["offset"]
        before = dff.nexmark(splits=1, seed=3, events=int(offset)).bid.select(pl.len()).collect().item()
        assert found.height == before
        prefix = whole.head(found.height).collect(engine="in-memory")
        assert_frame_equal(found, prefix, check_row_order=False)


def test_final_sort_and_head_hold_whatever_the_schedule() -> None:
    rows = pl.DataFrame({"k": list(range(40)), "v": [7 * k % 11 for k in range(40)]})
    top = dff.from_batches(rows[:13], rows[13:]).sort("v", "k", descending=[True, False]).head(5)
    expected = top.collect(engine="in-memory")
    for seed in range(20):
        assert_frame_equal(dff.testing.simulate(top, seed=seed), expected)


def test_times_before_1970_floor() -> None:
    times = [datetime(1969, 12, 31, 23, 59, 55) + timedelta(seconds=step) for step in range(10)]
    rows = dff.from_batches(pl.DataFrame({"ts": times})).stream.with_watermark("ts", delay="1s")
    windows = rows.group_by_dynamic("ts", every="7s").agg(pl.len())
    dff.testing.check(windows, seeds=10)
    dff.testing.check(rows.group_by(pl.col("ts").dt.truncate("7s")).agg(pl.len()), seeds=10)


def test_windows_without_rows_are_not_produced_and_a_short_period_leaves_gaps() -> None:
    times = [START, START + timedelta(seconds=5), START + timedelta(hours=3, seconds=1)]
    rows = dff.from_batches(pl.DataFrame({"ts": times})).stream.with_watermark("ts", delay="1s")
    windows = rows.group_by_dynamic("ts", every="10s", period="2s").agg(pl.len())
    assert windows.collect(engine=ENGINE).sort("ts").rows() == [
        (START, 1),
        (START + timedelta(hours=3), 1),
    ]


def test_unmarked_and_marked_input_have_their_own_logical_order() -> None:
    times = [START + timedelta(seconds=second) for second in (3, 1, 2)]
    rows = dff.from_batches(pl.DataFrame({"ts": times, "v": [1, 2, 3]}))
    first = pl.col("v").first()
    assert rows.select(first).collect(engine=ENGINE).item() == 1
    marked = rows.stream.with_watermark("ts", delay="1m")
    assert marked.select(first).collect(engine=ENGINE).item() == 2
