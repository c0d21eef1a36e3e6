"""`dff.monitoring.serve_metrics`: what a scrape says, against what the job says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import dataflare_fast as dff
from dataflare_fast.errors import CallError
from dataflare_fast.monitoring.families import FAMILIES, PREFIX
from dataflare_fast.monitoring.snapshot import take_snapshot

from .waiting import get, until

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ROWS = pl.DataFrame({"country": ["NO", "SE", "NO", None], "price": [1.0, 20.0, None, 300.0]})

QUERIES: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "rows": lambda bids: bids.filter(pl.col("price") > 1).select("price", "ts"),
    "windows": lambda bids: (
        bids.stream.with_watermark("ts", delay="1s").group_by_dynamic("ts", every="1s").agg(pl.len())
    ),
    "sessions": lambda bids: (
        bids.stream.with_watermark("ts", delay="1s")
        .stream.group_by_session("ts", "1s", group_by="auction")
        .agg(pl.len())
    ),
    "join": lambda bids: bids.join(bids.group_by("auction").agg(n=pl.len()), on="auction"),
    "running": lambda bids: bids.stream.with_watermark("ts", delay="1s").with_columns(
        before=pl.col("price").shift(1).over("auction", order_by="ts")
    ),
    "late": lambda bids: bids.stream.with_watermark("ts", delay="0s").stream.late(),
}

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scraped(job: dff.Job | list[dff.Job], accept: str = OPENMETRICS) -> Samples:
    with dff.monitoring.serve_metrics(job) as page:
        text, content_type = get(page.url, Accept=accept)
    assert content_type.startswith(accept.split(";")[0])
    assert "_created" not in text
    parse = parse_openmetrics if accept == OPENMETRICS else parse_text
    found: Samples = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def ran(lf: pl.LazyFrame, folder: Path, *, parallelism: int = 1) -> dff.Job:
    job = dff.Engine(parallelism=parallelism).start(
        lf.stream.sink_parquet(f"{folder}/out/", lazy=True), name="orders"
    )
    job.wait()
    return job


@pytest.mark.parametrize("accept", [OPENMETRICS, "text/plain"])
def test_scrape_says_what_the_job_counts(tmp_path: Path, accept: str) -> None:
    bids = dff.nexmark(events=5_000).bid.stream.with_watermark("ts", delay="4s")
    job = ran(bids.group_by_dynamic("ts", every="10s").agg(pl.len()), tmp_path, parallelism=2)
    found = scraped(job, accept)
    counted = job.metrics()
    assert {labels["pipeline"] for labels, _ in found["dataflare_records_in_total"]} == {"orders"}
    by_task = {int(labels["task"]): value for labels, value in found["dataflare_records_in_total"]}
    assert by_task == dict(zip(counted["task"], counted["rows_in"], strict=True))
    states = {
        labels["dataflare_pipeline_state"]: value for labels, value in found["dataflare_pipeline_state"]
    }
    assert states == {"finished": 1, "running": 0, "stopped": 0, "cancelled": 0, "failed": 0}


def test_every_family_has_its_name_in_the_table(tmp_path: Path) -> None:
    found = scraped(ran(dff.from_batches(ROWS), tmp_path))
    names = {name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)}
    assert names <= FAMILIES.keys()
    assert {"records_in_total", "busy_seconds_total", "workers", "build_info", "uptime_seconds"} <= names


def test_time_at_work_lies_within_the_wall_time(tmp_path: Path) -> None:
    job = ran(dff.nexmark(events=200_000).bid, tmp_path, parallelism=2)
    found = scraped(job)
    wall_s = job.status().uptime.total_seconds() * 2
    assert all(0 <= seconds <= wall_s for _, seconds in found["dataflare_busy_seconds_total"])
    assert {workers for _, workers in found["dataflare_workers"]} == {2}


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_operator_has_its_node_of_the_plan(name: str, tmp_path: Path) -> None:
    job = ran(QUERIES[name](dff.nexmark(events=500).bid), tmp_path, parallelism=2)
    snapshot = take_snapshot(job)
    nodes = job.plan_nodes()
    for task in snapshot.tasks:
        assert task["operator"].split()[0] == nodes[task["node"]]["operator"]
        assert all(one < task["task"] for one in task["inputs"])
    readers = {one for task in snapshot.tasks for one in task["inputs"]}
    assert {task["task"] for task in snapshot.tasks} - readers == {len(snapshot.tasks) - 1}


def test_metrics_of_a_query_have_their_kinds(tmp_path: Path) -> None:
    query = (
        dff.from_batches(ROWS)
        .stream.metric("orders_total", pl.len(), by="country")
        .stream.metric("highest_price", pl.col("price").max())
        .stream.metric("price", pl.col("price"), kind="histogram", buckets=[10, 100])
    )
    found = scraped(ran(query, tmp_path))
    orders = {labels["country"]: value for labels, value in found["orders_total"]}
    assert orders == {"NO": 2, "SE": 1, "": 1}
    assert found["highest_price"] == [({"pipeline": "orders"}, 300)]
    buckets = {labels["le"]: value for labels, value in found["price_bucket"]}
    assert buckets == {"10.0": 1, "100.0": 2, "+Inf": 3}
    assert found["price_count"][0][1] == 3
    assert found["price_sum"][0][1] == 321


def test_too_many_label_sets_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = dff.from_batches(pl.DataFrame({"user": range(1_001)}))
    found = scraped(ran(rows.stream.metric("users_total", pl.len(), by="user"), tmp_path))
    assert "users_total" not in found
    assert found["dataflare_metric_label_sets"] == [({"pipeline": "orders", "metric": "users_total"}, 1_001)]


def test_late_rows_and_dead_letters_are_counted_apart(tmp_path: Path) -> None:
    rows = pl.DataFrame({"ts": [1, 100, 2, 101], "text": ["1", "x", "3", "4"]})
    frame = dff.from_batches(rows).stream.with_watermark("ts", delay="1i")
    good = frame.with_columns(number=pl.col("text").cast(pl.Int64))
    job = dff.Engine(on_error="dead_letter", parallelism=1).start(
        good.stream.sink_parquet(f"{tmp_path}/good/", lazy=True),
        good.stream.errors().stream.sink_parquet(f"{tmp_path}/bad/", lazy=True),
        name="letters",
    )
    job.wait()
    found = scraped(job)
    assert sum(value for _, value in found["dataflare_late_records_total"]) == 1
    assert sum(value for _, value in found["dataflare_dead_letter_records_total"]) == 1


def test_watermark_and_lag_are_in_seconds(tmp_path: Path) -> None:
    bids = dff.nexmark(rate=10_000).bid.stream.with_watermark("ts", delay="4s")
    job = dff.Engine(parallelism=1).start(
        bids.stream.sink_parquet(f"{tmp_path}/out/", lazy=True), name="times"
    )
    try:
        before = until(lambda: _watermark(job), "a watermark")
        found = scraped(job)
        after = _watermark(job)
    finally:
        job.cancel()
    ((_, seconds),) = [one for one in found["dataflare_watermark_seconds"] if one[0]["kind"] == "watermark"]
    assert after is not None
    assert before / 1e6 <= seconds <= after / 1e6
    ((_, lag),) = [one for one in found["dataflare_event_time_lag_seconds"] if one[0]["kind"] == "watermark"]
    assert lag == pytest.approx(time.time() - seconds, abs=60)


def _watermark(job: dff.Job) -> int | None:
    found = job.metrics().filter(kind="watermark")["watermark"].item()
    return None if found is None else int(found)


def test_import_leaves_prometheus_alone() -> None:
    program = "import sys, dataflare_fast; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_address_that_others_reach_is_refused(tmp_path: Path) -> None:
    job = ran(dff.from_batches(ROWS), tmp_path)
    with pytest.raises(CallError, match=r"expected one of the loopback interface, got '0\.0\.0\.0'"):
        dff.monitoring.serve_metrics(job, address="0.0.0.0")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("orders", "counter", "'orders_total'"),
        ("orders_total", "gauge", "ending of counters"),
        ("the orders", None, "letters, digits"),
        ("dataflare_rows_total", None, "engine's own"),
    ],
)
def test_name_of_a_metric_must_fit_its_kind(name: str, kind: str | None, message: str) -> None:
    with pytest.raises(CallError, match=message):
        pl.LazyFrame({"a": [1]}).stream.metric(name, pl.len(), kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("buckets", [[], [1, 1], [2, 1], [float("inf")]])
def test_bounds_of_a_histogram_must_rise(buckets: list[float]) -> None:
    with pytest.raises(CallError, match="finite bounds that rise"):
        pl.LazyFrame({"a": [1]}).stream.metric("a", pl.col("a"), kind="histogram", buckets=buckets)


def test_histogram_changes_no_row() -> None:
    rows = dff.from_batches(ROWS[:2], ROWS[2:])
    counted = rows.stream.metric("price", pl.col("price"), by="country", kind="histogram", buckets=[10])
    dff.testing.check(counted, seeds=10)


def test_dashboard_and_rules_ask_for_names_that_exist() -> None:
    dashboard = json.loads(dff.monitoring.asset("grafana"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    texts = [target["expr"] for panel in panels for target in panel["targets"]]
    texts += re.findall(r"expr: (.*)", dff.monitoring.asset("recording"))
    asked = set(re.findall(r"\bdataflare_(\w+)", " ".join(texts)))
    assert asked
    assert asked <= FAMILIES.keys()


def test_documentation_names_every_family() -> None:
    text = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    for name, family in FAMILIES.items():
        assert f"| `{PREFIX}{name}` | {', '.join(family.labels)} | {family.text} |" in text
