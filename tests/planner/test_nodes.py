"""Which nodes a frame becomes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from dataflare_fast.errors import CallError, UnsupportedQuery
from dataflare_fast.planner.csv_text import CsvReader
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import batches_output, collect_output, sink_output
from dataflare_fast.sources.batches import Batches, from_batches
from dataflare_fast.sources.nexmark import nexmark

from .planning import column, into_folder, nodes, only, operators, planned, refusals

BIDS = nexmark(events=100).bid
ENDLESS = nexmark().bid
WATERMARKED = ENDLESS.stream.with_watermark("ts", delay="4s")


def test_frame_in_memory_is_a_source_of_one_split() -> None:
    job = planned(pl.LazyFrame({"a": [1, 2]}).filter(pl.col("a") > 1))
    source = json.loads(job.json)["nodes"][0]
    assert source["connector"] == "batches"
    assert source["bounded"] is True
    carried = job.objects[source["options"]["object"]]
    assert isinstance(carried, Batches)
    assert [frame.to_dict(as_series=False) for frame in carried.splits[0]] == [{"a": [1, 2]}]


def test_filter_and_select_are_filter_and_project() -> None:
    lf = from_batches(pl.DataFrame({"a": [1], "b": [2]}))
    found = nodes(lf.filter(pl.col("a") > 0).select(c=pl.col("a") + pl.col("b")))
    assert [node["operator"] for node in found] == ["source", "filter", "project", "sink"]
    assert found[2]["exprs"] == [
        {"name": "c", "expr": {"kind": "binary", "op": "add", "left": column("a"), "right": column("b")}}
    ]
    assert found[3]["schema"] == [{"name": "c", "dtype": "int64"}]


def test_source_reads_only_the_columns_that_are_needed() -> None:
    (source, *_) = nodes(BIDS.filter(pl.col("price") > 0).select("auction"))
    assert [field["name"] for field in source["schema"]] == ["auction", "price"]


def test_source_of_two_frames_is_read_once() -> None:
    found = nodes(BIDS.select("auction"), BIDS.select("price"))
    assert [node["operator"] for node in found].count("source") == 1
    assert [field["name"] for field in found[0]["schema"]] == ["auction", "price"]


def test_equal_parts_are_one_node() -> None:
    windows = WATERMARKED.group_by_dynamic("ts", every="10s").agg(pl.len())
    found = operators(into_folder(windows), into_folder(windows.filter(pl.col("len") > 1)))
    assert found.count("aggregate") == 1


def test_source_read_twice_by_a_concat_has_two_edges() -> None:
    found = nodes(pl.concat([BIDS, BIDS]))
    (union,) = (node for node in found if node["operator"] == "union")
    assert len(set(union["inputs"])) == 2


def test_predicate_and_projection_of_a_leaf_stand_above_its_watermark() -> None:
    found = nodes(into_folder(WATERMARKED.filter(pl.col("price") > 0).select("price")))
    assert [node["operator"] for node in found] == ["source", "watermark", "filter", "project", "sink"]
    assert [field["name"] for field in found[0]["schema"]] == ["price", "ts"]


def test_head_stands_below_the_filter_that_polars_pushed_beside_it() -> None:
    assert operators(BIDS.head(5).filter(pl.col("price") > 0)) == ["source", "head", "filter", "sink"]


def test_sort_and_slice_are_one_node() -> None:
    sort = only("sort", BIDS.sort("price", descending=True).slice(2, 3))
    assert sort["by"] == [{"column": "price", "descending": True, "nulls_last": False}]
    assert sort["slice"] == [2, 3]


def test_sort_by_an_expression_computes_it_below_and_drops_it_above() -> None:
    found = nodes(BIDS.select("price").sort(pl.col("price") % 10))
    assert [node["operator"] for node in found] == ["source", "project", "sort", "project", "sink"]
    assert [field["name"] for field in found[-1]["schema"]] == ["price"]


def test_sort_by_event_time_of_an_endless_frame_is_its_logical_order() -> None:
    assert operators(into_folder(WATERMARKED.sort("ts"))) == ["source", "watermark", "sink"]


def test_sort_below_a_group_that_needs_no_order_is_dropped() -> None:
    assert "sort" not in operators(BIDS.sort("price").group_by("auction").agg(pl.col("price").max()))
    assert refusals(BIDS.sort("price").group_by("auction").agg(pl.col("price").first()))


def test_windows_of_windows_may_be_sorted_between_for_polars() -> None:
    small = WATERMARKED.group_by_dynamic("ts", every="10s", group_by="auction").agg(n=pl.len())
    large = small.sort("ts").group_by_dynamic("ts", every="1m").agg(pl.col("n").max())
    assert operators(into_folder(large)).count("aggregate") == 2


def test_first_of_a_frame_sorted_by_event_time_is_first_in_logical_order() -> None:
    bids = BIDS.stream.with_watermark("ts", delay="1s").sort("ts")
    assert "sort" not in operators(bids.group_by("auction").agg(pl.col("price").first()))


def test_unnest_is_a_projection() -> None:
    lf = from_batches(pl.DataFrame({"s": [{"x": 1, "y": 2}], "z": [3]}))
    assert [named["name"] for named in only("project", lf.unnest("s"))["exprs"]] == ["x", "y", "z"]


@pytest.mark.parametrize("connector", ["parquet", "ndjson"])
def test_files_are_read_in_path_order(tmp_path: Path, connector: str) -> None:
    for name in ("b", "a"):
        frame = pl.DataFrame({"n": [1, 2]})
        getattr(frame, f"write_{connector}")(tmp_path / f"{name}.{connector}")
    scan = getattr(pl, f"scan_{connector}")(tmp_path / f"*.{connector}")
    source = only("source", scan.filter(pl.col("n") > 1))
    assert source["connector"] == connector
    assert [Path(path).name for path in source["options"]["paths"]] == [f"a.{connector}", f"b.{connector}"]
    assert (source["options"]["polars"] is None) == (connector == "parquet")


def test_lazy_sink_says_where_rows_go() -> None:
    folder = only("sink", sink_output(BIDS.sink_parquet("out/", lazy=True, mkdir=True)))
    assert folder["connector"] == "parquet"
    assert (folder["options"]["path"], folder["options"]["layout"]) == ("out/", "folder")
    assert folder["options"]["mkdir"] is True
    single = only("sink", sink_output(BIDS.sink_ndjson("out.ndjson", lazy=True)))
    assert (single["connector"], single["options"]["layout"]) == ("ndjson", "file")
    assert single["maintain_order"] is True
    by_key = pl.PartitionBy("out", key=["auction", "bidder"], include_key=False)
    hive = only("sink", sink_output(BIDS.sink_parquet(by_key, lazy=True)))["options"]
    assert (hive["path"], hive["layout"], hive["keys"]) == ("out/", "hive", ["auction", "bidder"])
    assert hive["include_keys"] is False
    by_rows = pl.PartitionBy("out", max_rows_per_file=10)
    parts = only("sink", sink_output(BIDS.sink_csv(by_rows, lazy=True)))["options"]
    assert (parts["layout"], parts["roll_rows"]) == ("folder", 10)


def test_sink_of_ours_says_where_rows_go() -> None:
    frame = BIDS.stream.sink_kafka("t", bootstrap_servers="h:1", key="auction", lazy=True)
    sink = only("sink", sink_output(frame))
    assert sink["connector"] == "kafka"
    assert (sink["options"]["topic"], sink["options"]["key"]) == ("t", ["auction"])


def test_function_of_sink_batches_travels_beside_the_plan() -> None:
    taken: list[pl.DataFrame] = []
    job = planned(batches_output(BIDS, taken.append))
    sink = json.loads(job.json)["nodes"][job.sinks[0]]
    assert job.objects[sink["options"]["object"]] == taken.append


def test_late_rows_come_from_their_watermark() -> None:
    found = nodes(into_folder(WATERMARKED.select("price")), into_folder(WATERMARKED.stream.late()))
    operators_found = [node["operator"] for node in found]
    assert operators_found.count("watermark") == 1
    late = next(node for node in found if node["operator"] == "late")
    assert found[late["inputs"][0]]["operator"] == "watermark"


def test_name_names_the_operator_that_keeps_state() -> None:
    counts = WATERMARKED.group_by_dynamic("ts", every="10s").agg(n=pl.len() + 1).stream.name("counts")
    assert only("aggregate", into_folder(counts))["name"] == "counts"
    assert only("sink", into_folder(BIDS.stream.name("bids")))["name"] == "bids"


def test_select_of_aggregates_is_a_group_without_keys() -> None:
    group = only("aggregate", BIDS.select(pl.len(), pl.col("price").max()))
    assert group["keys"] == []
    assert [one["function"] for one in group["aggregates"]] == ["len", "max"]


def test_key_that_hides_an_input_column_does_not_hide_it_from_aggregates() -> None:
    lf = BIDS.group_by(pl.col("price") % 2).agg(pl.col("price").max().alias("highest"))
    found = nodes(lf)
    below = next(node for node in found if node["operator"] == "project")
    (aggregate,) = next(node for node in found if node["operator"] == "aggregate")["aggregates"]
    exprs = {named["name"]: named["expr"] for named in below["exprs"]}
    assert exprs["price"]["op"] == "mod"
    assert exprs[aggregate["column"]] == column("price")


def test_types_that_the_engine_lacks_are_refused_by_column() -> None:
    wide = from_batches(pl.DataFrame({"n": [1]}, schema={"n": pl.Int128}))
    assert [refusal.part for refusal in refusals(wide)] == ["column 'n'"]


def test_everything_that_cannot_run_is_named_at_once() -> None:
    lf = BIDS.map_batches(lambda one: one).with_columns(pl.col("price") - pl.col("price").mean()).tail(3)
    with pytest.raises(UnsupportedQuery) as caught:
        planned(lf)
    text = str(caught.value)
    assert "tail(3)" in text
    assert 'col("price").mean()' in text
    assert "map_batches" in text
    assert text.count("Instead: ") == 3


def test_frame_that_is_no_sink_is_refused_by_start() -> None:
    assert [one.part for one in refusals(sink_output(BIDS))] == ["a frame that is no sink"]


def test_dead_letters_need_a_sink() -> None:
    with pytest.raises(CallError, match="errors"):
        plan([collect_output(BIDS)], on_error="dead_letter")
    parsed = BIDS.with_columns(pl.col("channel").cast(pl.Int64))
    plan([collect_output(parsed), collect_output(parsed.stream.errors())], on_error="dead_letter")


def test_unknown_leaf_is_refused() -> None:
    deferred = pl.defer(lambda: pl.DataFrame({"a": [1]}), schema={"a": pl.Int64})
    assert [one.part for one in refusals(deferred)] == ["a leaf of register_io_source or pl.defer"]


def test_counting_rows_needs_no_column_and_keeps_the_height() -> None:
    job = planned(pl.LazyFrame({"a": [1, 2, 3]}).select(pl.len()))
    (batches,) = job.objects
    assert isinstance(batches, Batches)
    assert batches.splits[0][0].height == 3
    assert [field["name"] for field in nodes(BIDS.select(pl.len()))[0]["schema"]] == ["auction"]


@pytest.mark.parametrize("connector", ["parquet", "ndjson"])
def test_counting_rows_of_files_reads_a_row_number(tmp_path: Path, connector: str) -> None:
    getattr(pl.DataFrame({"n": [1, 2]}), f"write_{connector}")(tmp_path / f"a.{connector}")
    scan = getattr(pl, f"scan_{connector}")(tmp_path / f"*.{connector}")
    found = nodes(scan.select(pl.len()))
    assert [node["operator"] for node in found] == ["source", "aggregate", "sink"]
    assert found[0]["schema"] == [{"name": found[0]["options"]["row_index"]["name"], "dtype": "uint32"}]


def test_count_of_a_concat_is_a_sum_in_64_bits() -> None:
    assert operators(pl.concat([BIDS, BIDS.head(3)]).select(pl.len())).count("aggregate") == 3


def test_step_above_a_sink_is_refused() -> None:
    sink = BIDS.stream.sink_console(lazy=True)
    for lf in (sink.select("price"), sink.with_columns(a=1)):
        assert "a step above sink_console" in [one.part for one in refusals(sink_output(lf))]


def test_window_expression_is_refused_as_such() -> None:
    (refusal,) = refusals(BIDS.select(pl.col("price").sum().over("auction")))
    assert "`sum` over a key needs all its rows" in refusal.reason


def test_sorted_rows_reach_every_sink_in_order() -> None:
    assert only("sink", into_folder(BIDS.sort("price")))["maintain_order"] is True
    assert only("sink", into_folder(BIDS))["maintain_order"] is False


def test_unsupported_polars_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflare_fast.planner.visitor.plan._VISITOR_MAJOR", 99)
    with pytest.raises(CallError, match=r"expected >=2\.1,<2\.2 .*install a supported Polars"):
        planned(BIDS)


def test_csv_is_parsed_and_printed_by_polars(tmp_path: Path) -> None:
    pl.DataFrame({"n": [1], "m": ["x"]}).write_csv(tmp_path / "a.csv")
    for scan in (pl.scan_csv(tmp_path / "a.csv"), pl.scan_csv(tmp_path / "a.csv").select(pl.len())):
        source = only("source", scan)
        assert source["connector"] == "csv"
        assert source["options"]["csv"]["has_header"] is True
    job = planned(pl.scan_csv(tmp_path / "a.csv").select("n"))
    parser = job.objects[0]
    assert isinstance(parser, CsvReader)
    assert parser.parse(b"1,x\n2\n").to_dict(as_series=False) == {"n": [1, 2]}
    assert only("sink", sink_output(BIDS.sink_csv("out.csv", lazy=True)))["connector"] == "csv"


def test_groups_in_order_of_appearance_are_refused_where_order_counts() -> None:
    (refusal,) = refusals(BIDS.group_by("auction", maintain_order=True).agg(pl.len()))
    assert "sort" in refusal.rewrite
    windows = WATERMARKED.group_by(pl.col("ts").dt.truncate("10s"), maintain_order=True).agg(pl.len())
    assert not refusals(into_folder(windows))
    assert not refusals(BIDS.group_by("auction", maintain_order=True).agg(pl.len()).sort("auction"))


def test_sink_of_ours_runs_only_with_an_engine() -> None:
    with pytest.raises(CallError, match="lazy=True"):
        BIDS.stream.sink_console()


def test_hint_of_polars_below_sorted_head_is_no_filter() -> None:
    lf = from_batches(pl.DataFrame({"k": [1], "v": [2]}))
    counts = lf.group_by("k").agg(pl.len()).sort("len", "k").head(1)
    assert "filter" not in operators(counts)
    filtered = lf.filter(pl.col("v") > 0).sort("v").head(1)
    (predicate,) = [node["predicate"] for node in nodes(filtered) if node["operator"] == "filter"]
    assert predicate["op"] == "gt"


def test_watermark_above_head_is_refused() -> None:
    lf = from_batches(pl.DataFrame({"n": [1], "v": [2]})).head(3).stream.with_watermark("n", delay="1i")
    (refusal,) = refusals(lf)
    assert "no place in a split" in refusal.reason
    assert "head takes the earliest" in refusal.rewrite


def test_head_keeps_the_order_of_a_concat_that_polars_pushed_it_into() -> None:
    lf = pl.concat([from_batches(pl.DataFrame({"n": [1]})), from_batches(pl.DataFrame({"n": [2]}))]).head(3)
    assert operators(lf.select(pl.col("n").first())).count("head") >= 1


def test_tail_that_polars_puts_below_last_is_none() -> None:
    lf = from_batches(pl.DataFrame({"n": [1], "v": [2]}))
    assert "head" not in operators(lf.select(pl.col("v").last()))
    assert "head" not in operators(lf.with_columns(d=pl.col("v") * 2).select(pl.col("d").last()))
    assert refusals(lf.tail(1).select(pl.col("v").sum()))
