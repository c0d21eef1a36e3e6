"""When results leave, and which sinks take them (semantics, section 5)."""

from __future__ import annotations

import polars as pl
import pytest

from dataflare_fast.planner.sinks import Output, batches_output, collect_output, sink_output
from dataflare_fast.sources.batches import from_batches
from dataflare_fast.sources.nexmark import nexmark

from .planning import into_folder, only, refusals

BOUNDED = nexmark(events=100).bid
ENDLESS = nexmark().bid
WATERMARKED = ENDLESS.stream.with_watermark("ts", delay="4s")


def ignore(_batch: pl.DataFrame) -> None:
    """A `sink_batches` function."""


def parts(*outputs: pl.LazyFrame | Output) -> list[str]:
    return [one.part for one in refusals(*outputs)]


def test_bounded_groups_leave_once_at_the_end() -> None:
    assert only("aggregate", BOUNDED.group_by("auction").len())["emit"]["mode"] == "close"
    assert not refusals(into_folder(BOUNDED.group_by("auction").len()))


def test_window_of_an_endless_frame_leaves_when_it_closes() -> None:
    windows = WATERMARKED.group_by_dynamic("ts", every="10s").agg(pl.len())
    assert only("aggregate", into_folder(windows))["emit"]["mode"] == "close"


def test_endless_groups_do_not_fit_into_an_append_sink() -> None:
    (refusal,) = refusals(into_folder(ENDLESS.group_by("auction").len()))
    assert "'auction'" in refusal.part
    assert "with_watermark" in refusal.rewrite
    assert "sink_kafka(..., key=['auction'])" in refusal.rewrite


def test_endless_groups_fit_into_a_keyed_kafka_sink() -> None:
    counts = ENDLESS.group_by("auction").len()
    sink = sink_output(counts.stream.sink_kafka("t", bootstrap_servers="h:1", key="auction", lazy=True))
    assert only("aggregate", sink)["emit"]["mode"] == "update"
    other = sink_output(counts.stream.sink_kafka("t", bootstrap_servers="h:1", key="len", lazy=True))
    assert len(refusals(other)) == 1


def test_changes_reach_a_function_only_when_asked_for() -> None:
    counts = ENDLESS.group_by("auction").len()
    assert len(refusals(batches_output(counts, ignore))) == 1
    updates = batches_output(counts.stream.emit("update", every="1s"), ignore)
    assert only("aggregate", updates)["emit"] == {"mode": "update", "every_ns": 1_000_000_000}


def test_update_of_a_window_is_a_changing_frame() -> None:
    windows = WATERMARKED.group_by_dynamic("ts", every="10s").agg(pl.len()).stream.emit("update")
    assert len(refusals(into_folder(windows))) == 1
    assert only("aggregate", batches_output(windows, ignore))["emit"]["mode"] == "update"


def test_close_without_event_time_never_comes() -> None:
    assert 'emit("close")' in parts(into_folder(ENDLESS.group_by("auction").len().stream.emit("close")))


def test_emit_without_a_group_is_refused() -> None:
    assert parts(BOUNDED.stream.emit("update")) == ['emit("update")']


def test_emit_passes_row_wise_steps() -> None:
    counts = ENDLESS.group_by("auction").len().with_columns(pl.col("len") + 1).stream.emit("update")
    assert only("aggregate", batches_output(counts, ignore))["emit"]["mode"] == "update"


def test_collect_of_an_endless_frame_names_three_rewrites() -> None:
    (refusal,) = refusals(collect_output(WATERMARKED))
    assert refusal.part == "collect of an endless frame"
    assert refusal.rewrite.count(";") == 2


def test_head_as_the_last_step_of_collect_takes_any_rows() -> None:
    assert only("head", ENDLESS.head(5))["rows"] == 5
    assert only("head", WATERMARKED.group_by_dynamic("ts", every="1s").agg(pl.len()).head(3))["rows"] == 3


def test_head_of_an_endless_frame_elsewhere_needs_an_order() -> None:
    assert parts(into_folder(ENDLESS.head(5))) == ["head(5)"]
    assert not refusals(into_folder(WATERMARKED.head(5)))
    assert parts(ENDLESS.head(5).group_by("auction").len()) == ["head(5)"]


def test_head_of_bounded_groups_needs_a_sort() -> None:
    groups = BOUNDED.group_by("auction").len()
    assert parts(groups.head(3)) == ["head(3)"]
    assert not refusals(groups.sort("auction").head(3))


def test_single_file_of_an_endless_frame_is_refused_with_a_folder() -> None:
    (refusal,) = refusals(sink_output(WATERMARKED.sink_parquet("out.parquet", lazy=True)))
    assert "'out/'" in refusal.rewrite


@pytest.mark.parametrize(
    "above",
    [
        lambda lf: lf.filter(pl.col("len") > 1),
        lambda lf: lf.select("len"),
        lambda lf: lf.group_by("len").agg(n=pl.len()),
        lambda lf: pl.concat([lf, lf]),
    ],
)
def test_what_would_take_rows_back_is_refused(above: object) -> None:
    counts = ENDLESS.group_by("auction").len().stream.emit("update")
    assert callable(above)
    assert refusals(batches_output(above(counts), ignore))


def test_filter_on_the_key_of_a_changing_frame_runs() -> None:
    counts = ENDLESS.group_by("auction").len().stream.emit("update").filter(pl.col("auction") > 3)
    assert not refusals(batches_output(counts, ignore))


def test_first_above_a_concat_of_watermarked_frames_is_refused() -> None:
    both = pl.concat([WATERMARKED, WATERMARKED.filter(pl.col("price") > 3)])
    windows = both.group_by_dynamic("ts", every="1h")
    assert len(refusals(into_folder(windows.agg(pl.col("price").first())))) == 1
    assert not refusals(into_folder(windows.agg(pl.col("price").max())))
    one = both.stream.with_watermark("ts", delay="0s").group_by_dynamic("ts", every="1h")
    found = refusals(into_folder(one.agg(pl.col("price").first())))
    assert ["twice" in refusal.part for refusal in found] == [True]


def test_watermark_above_groups_is_refused() -> None:
    lf = from_batches(pl.DataFrame({"ts": [1], "k": [1]})).group_by("ts").len()
    assert parts(lf.stream.with_watermark("ts", delay="1i")) == ["with_watermark('ts')"]
