"""Rules of `docs/semantics.md`, each in a test of its name."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError, UnsupportedQuery

from .rows import source

ENGINE = dff.Engine(parallelism=2)
START = datetime(2024, 1, 1)


def seconds(*values: float | None) -> pl.Series:
    moments = [None if value is None else START + timedelta(seconds=value) for value in values]
    return pl.Series("ts", moments, dtype=pl.Datetime("us"))


def ticks(price: list[int], *times: float | None) -> pl.DataFrame:
    return pl.DataFrame({"ts": seconds(*times), "price": price})


def tens(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.group_by_dynamic("ts", every="10s").agg(pl.col("price").sum())


def test_predicate_above_with_watermark_changes_no_lateness() -> None:
    rows = dff.from_batches(ticks([9, 0, 9], 1, 100, 5)).stream.with_watermark("ts", delay="4s")
    found = rows.filter(pl.col("price") > 1).collect(engine=ENGINE)
    assert found["price"].to_list() == [9]
    assert_frame_equal(found, rows.filter(pl.col("price") > 1).collect())


def test_row_at_the_watermark_is_on_time_and_null_time_is_late() -> None:
    rows = dff.from_batches(ticks([1, 2, 3, 4], 10, 6, 5, None)).stream.with_watermark("ts", delay="4s")
    assert rows.collect(engine=ENGINE)["price"].to_list() == [2, 1]
    assert rows.stream.late().collect(engine=ENGINE)["price"].to_list() == [3, 4]


def test_lateness_of_a_split_ignores_other_splits() -> None:
    ahead, behind = ticks([1], 1000), ticks([2, 3], 1, 2)
    rows = dff.from_batches(ahead, behind).stream.with_watermark("ts", delay="4s")
    dff.testing.check(rows, seeds=40)
    assert rows.collect(engine=ENGINE).height == 3


def test_one_far_earlier_row_changes_no_other_window() -> None:
    times = [100, 103, 111, 119, 125]
    plain = tens(dff.from_batches(ticks([1, 2, 3, 4, 5], *times)).stream.with_watermark("ts", delay="1d"))
    early = ticks([7, 1, 2, 3, 4, 5], -40_000.5, *times)
    more = tens(dff.from_batches(early).stream.with_watermark("ts", delay="1d"))
    found = more.collect(engine=ENGINE).sort("ts")
    assert_frame_equal(found[1:], plain.collect(engine=ENGINE).sort("ts"))


def test_row_of_the_year_9999_does_not_make_the_rest_late() -> None:
    rows = pl.DataFrame(
        {"ts": [START, datetime(9999, 1, 1), START + timedelta(seconds=1)], "price": [1, 2, 3]}
    )
    guarded = dff.from_batches(rows).stream.with_watermark("ts", delay="4s", ahead="1h")
    found = guarded.collect(engine=dff.Engine(on_error="skip"))
    assert found["price"].to_list() == [1, 3]


def test_windows_of_windows_need_no_new_word() -> None:
    rows = dff.from_batches(ticks(list(range(60)), *range(60)))
    minutes = (
        tens(rows.stream.with_watermark("ts", delay="4s"))
        .group_by_dynamic("ts", every="30s")
        .agg(pl.col("price").max())
    )
    dff.testing.check(minutes, seeds=40)


def test_day_that_has_25_hours_is_one_window() -> None:
    hours = [datetime(2024, 10, 26, 22) + timedelta(hours=hour) for hour in range(30)]
    local = pl.col("ts").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    rows = dff.from_batches(pl.DataFrame({"ts": hours, "price": [1] * 30}))
    days = (
        rows.stream.with_watermark("ts", delay="1h")
        .with_columns(local)
        .group_by_dynamic("ts", every="1d")
        .agg(pl.col("price").sum())
    )
    assert days.collect(engine=ENGINE).sort("ts")["price"].to_list() == [25, 5]
    dff.testing.check(days, seeds=20)


def test_split_without_rows_holds_nothing_back() -> None:
    empty = ticks([1], 1).clear()
    rows = dff.from_batches(ticks([1, 2], 1, 20), empty, ticks([3], 5))
    dff.testing.check(tens(rows.stream.with_watermark("ts", delay="4s")), seeds=40)


def test_group_by_of_bounded_input_goes_into_a_sink_of_final_rows(tmp_path: Path) -> None:
    rows = pl.LazyFrame({"k": [1, 2, 1], "v": [1, 2, 3]})
    rows.group_by("k").agg(pl.col("v").sum()).sink_parquet(f"{tmp_path}/out/", engine=ENGINE)
    assert pl.read_parquet(tmp_path / "out" / "*.parquet").sort("k").rows() == [(1, 4), (2, 2)]


def test_group_by_of_endless_input_is_refused_with_the_fix(tmp_path: Path) -> None:
    endless = dff.nexmark().bid.group_by("auction").agg(pl.len())
    with pytest.raises(UnsupportedQuery, match="emit"):
        endless.sink_parquet(f"{tmp_path}/out/", engine=ENGINE)


def test_collect_of_endless_input_is_refused_unless_head_bounds_it() -> None:
    bids = dff.nexmark(splits=1).bid
    with pytest.raises(UnsupportedQuery, match="head"):
        bids.collect(engine=ENGINE)
    assert bids.head(5).collect(engine=ENGINE).height == 5


def test_aggregate_inside_a_row_wise_expression_is_refused() -> None:
    with pytest.raises(UnsupportedQuery, match="mean"):
        pl.LazyFrame({"a": [1, 2]}).with_columns(pl.col("a") - pl.col("a").mean()).collect(engine=ENGINE)


def test_all_refusals_come_at_once() -> None:
    frame = pl.LazyFrame({"a": [1, 2], "b": [1, 2]})
    with pytest.raises(UnsupportedQuery) as refused:
        frame.select(pl.col("a").sort(), pl.col("b").reverse()).collect(engine=ENGINE)
    assert "sort" in str(refused.value)
    assert "reverse" in str(refused.value)


def test_select_of_aggregates_gives_one_row_even_for_no_input() -> None:
    nothing = pl.LazyFrame({"a": []}, schema={"a": pl.Int64}).select(pl.col("a").sum(), pl.len().alias("n"))
    assert nothing.collect(engine=ENGINE).rows() == [(0, 0)]


def test_dates_as_event_time_make_days() -> None:
    days = pl.DataFrame({"ts": [date(2024, 2, day) for day in (27, 28, 29)] * 3, "price": range(9)})
    rows = dff.from_batches(days).stream.with_watermark("ts", delay="1d")
    dff.testing.check(rows.group_by("ts").agg(pl.col("price").sum()), seeds=20)


def test_restart_of_a_finished_job_returns_at_once(tmp_path: Path) -> None:
    engine = dff.Engine(name="once", checkpoint=tmp_path / "state")
    query = tens(dff.from_batches(ticks([1, 2], 1, 20)).stream.with_watermark("ts", delay="4s"))
    query.sink_parquet(f"{tmp_path}/out/", engine=engine)
    before = sorted((tmp_path / "out").iterdir())
    query.sink_parquet(f"{tmp_path}/out/", engine=engine)
    assert sorted((tmp_path / "out").iterdir()) == before


def test_checkpoint_of_another_query_is_refused_by_name(tmp_path: Path) -> None:
    bids = dff.nexmark(rate=1000.0).bid
    checkpoint = dff.Checkpoint(tmp_path / "state", interval="10ms")
    engine = dff.Engine(name="job", checkpoint=checkpoint)
    old = bids.stream.with_watermark("ts", delay="4s").group_by_dynamic("ts", every="10s").agg(pl.len())
    job = engine.start(old.stream.sink_parquet(f"{tmp_path}/out", lazy=True))
    while job.status().checkpoints_committed == 0:
        job.wait("10ms")
    job.stop()
    new = bids.stream.with_watermark("ts", delay="4s").group_by_dynamic("ts", every="7s").agg(pl.len())
    with pytest.raises(CallError, match="aggregate"):
        engine.start(new.stream.sink_parquet(f"{tmp_path}/out", lazy=True))


def test_zombie_process_can_commit_nothing(tmp_path: Path) -> None:
    bids = dff.nexmark(rate=1000.0).bid
    engine = dff.Engine(name="job", checkpoint=dff.Checkpoint(tmp_path / "state", interval="10ms"))
    zombie = engine.start(bids.select("auction").stream.sink_parquet(f"{tmp_path}/out", lazy=True))
    while zombie.status().checkpoints_committed == 0:
        zombie.wait("10ms")
    # A second start of the same job: from now on the first one is an older attempt.
    successor = engine.start(bids.select("auction").stream.sink_parquet(f"{tmp_path}/out", lazy=True))
    with pytest.raises(dff.errors.ConflictError, match="attempt 2"):
        zombie.wait("30s")
    successor.stop()
    assert successor.status().state == "stopped"


def test_updates_of_an_interval_end_with_the_rows_of_polars() -> None:
    rows = pl.DataFrame({"k": [1, 2, 1, 3] * 500, "v": range(2_000)})
    groups = dff.from_batches([rows[:700], rows[700:]]).group_by("k").agg(pl.len(), pl.col("v").sum())
    throttled = groups.stream.emit("update", every="1h").collect(
        engine=dff.Engine(parallelism=2, batch_rows=10)
    )
    # The clock does not come so far: nothing but the end makes results leave, each key once.
    assert throttled.height <= 2 * 3
    final = throttled.drop("_change").unique("k", keep="last", maintain_order=True)
    assert_frame_equal(final, groups.collect(), check_row_order=False)


def test_late_rows_stand_split_by_split() -> None:
    rows = dff.from_batches(ticks([1, 2, 3, 4], 100, 7, 5, None), ticks([5, 6], 100, 1))
    late = rows.stream.with_watermark("ts", delay="4s").stream.late()
    first = late.select(pl.col("price").first(), last=pl.col("price").last())
    assert first.collect(engine=ENGINE).rows() == [(2, 6)]
    dff.testing.check(first, seeds=20)


def test_month_start_keeps_the_time_of_day_and_closes_nothing() -> None:
    # Jan 2 18:00 has a later month start than Jan 3 06:00.
    hours = [datetime(2024, 1, 1) + timedelta(hours=6 * step) for step in range(40)]
    rows = dff.from_batches(pl.DataFrame({"ts": hours})).stream.with_watermark("ts", delay="1h")
    dff.testing.check(rows.group_by(pl.col("ts").dt.month_start()).agg(pl.len()), seeds=20)


@pytest.mark.parametrize("ahead", [None, "10h"])
def test_watermark_above_two_sources_never_waits_in_a_circle(ahead: str | None) -> None:
    # A batch of one split behind a batch of the other, on two workers the other way round.
    rows = pl.concat([source(1), source(2)]).stream.with_watermark("ts", delay="10m", ahead=ahead)
    for seed in range(120):
        dff.testing.simulate(rows.group_by_dynamic("ts", every="1h").agg(pl.len()), seed=seed)


@pytest.mark.parametrize(
    "value", [pl.col("price").last(), pl.col("ts").last().dt.second(), pl.col("ts").first()], ids=str
)
def test_first_and_last_of_a_whole_frame_need_no_tail(value: pl.Expr) -> None:
    rows = dff.from_batches(ticks([1, 2, 3], 5, 1, 3), ticks([4], 4))
    dff.testing.check(rows.stream.with_watermark("ts", delay="1m").select(value), seeds=20)


def test_first_of_late_rows_follows_the_splits() -> None:
    rows = dff.from_batches(ticks([1, 2, 3], 100, 7, 5), ticks([4, 5], 100, 1))
    late = rows.stream.with_watermark("ts", delay="4s").stream.late()
    dff.testing.check(late.head(3), seeds=20)


def test_head_above_a_filter_above_a_head() -> None:
    query = source(1).slice(2, 7).filter(pl.col("n") > 3).head(1)
    dff.testing.check(query, seeds=300)


def test_count_of_rows_of_the_lowest_rank() -> None:
    ranked = source(1).filter(pl.col("n").rank("ordinal").over("k") <= 2)
    dff.testing.check(ranked.select(pl.len()), seeds=20)


def test_rank_of_other_keys_inside_an_aggregate_is_refused() -> None:
    ranks = pl.col("n").rank("ordinal").over("k")
    with pytest.raises(UnsupportedQuery, match="over keys it looks at later rows"):
        dff.explain(source(1).select((ranks + 1).max(), pl.len()))


def test_last_of_a_concat() -> None:
    rows = source(1)
    dff.testing.check(pl.concat([rows, rows]).select(pl.col("v").last()), seeds=20)
    with pytest.raises(UnsupportedQuery, match=r"tail\(2\)"):
        dff.explain(pl.concat([rows, rows]).tail(2))


def test_session_of_all_rows_takes_lists() -> None:
    sessions = source(1).stream.with_watermark("ts", delay="10m").stream.group_by_session("ts", "5m")
    dff.testing.check(sessions.agg("v", pl.col("n").sort().head(2), pl.len()), seeds=20)


def test_metric_above_a_concat_or_a_rank_counts_rows() -> None:
    rows = source(1)
    ranked = rows.filter(pl.col("n").rank("ordinal").over("k") <= 2)
    for below in (pl.concat([rows, rows]), ranked):
        dff.testing.check(below.stream.metric("rows", pl.len()), seeds=5)


def test_enum_stays_an_enum_in_functions_of_python() -> None:
    kinds = dff.from_batches(pl.DataFrame({"kind": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y", "z"]))}))
    for query in (
        kinds.stream.map_batches(lambda rows: rows.head(9), kinds.collect_schema()),
        kinds.stream.apply(lambda lf: lf.filter(pl.col("kind") != "y")),
    ):
        dff.testing.check(query, seeds=5)


def test_concat_of_frames_in_event_time_order_has_none_though_the_time_is_gone() -> None:
    rows = source(1).stream.with_watermark("ts", delay="10m").select("k", "v", "f")
    with pytest.raises(UnsupportedQuery, match="unique\\(keep='last'\\)"):
        dff.explain(pl.concat([rows, rows.filter(pl.col("v") > 0)]).unique("k", keep="last"))
