"""The API: its document, its problems, who may ask, what it shows of files; metrics; events; the command
line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.monitoring.waiting import until

from dataflare_fast.service.api import ROUTES

from .running import COUNTED, Service

LETTERS = """
import polars as pl
import dataflare_fast as dff

rows = dff.from_batches(pl.DataFrame({"text": ["1", "x", "3"]}))
good = rows.with_columns(number=pl.col("text").cast(pl.Int64))
sinks = [
    good.stream.sink_parquet("good/", lazy=True),
    good.stream.errors().stream.sink_parquet("bad/", lazy=True),
]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "counted.py").write_text(COUNTED)
    (folder / "letters.py").write_text(LETTERS)
    jobs = {
        "counted": {"target": "counted.py:sink", "environment": {"PASSWORD": "hunter2"}},
        "letters": {"target": "letters.py:sinks", "on_error": "dead_letter"},
    }
    made = Service(folder, jobs, {})
    made.start()
    made.runs("counted")
    made.is_in("letters", "finished")
    yield made
    made.end_everything()


def test_document_has_every_route(service: Service) -> None:
    document = service.get("openapi.json")
    assert document["openapi"] == "3.1.0"
    operations = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert operations == {route.name for route in ROUTES}
    for path in document["paths"].values():
        for operation in path.values():
            assert {"summary", "responses"} <= operation.keys()


def test_every_reading_route_answers_as_its_document_says(service: Service) -> None:
    for route in ROUTES:
        if route.method == "GET" and route.answer != "stream":
            found = service.get(f"/api/v1{route.path.format(job='counted')}")
            assert isinstance(found, list) == (route.answer == "array"), route.path


@pytest.mark.parametrize("value", ["", "-1", "x", "9" * 40, "%00", "../../etc/passwd", "1e3", "٣"])
def test_bad_input_is_a_problem_and_never_a_failure(service: Service, value: str) -> None:
    quoted = quote(value, safe="%")
    paths = [
        f"jobs/{quoted or 'x'}",
        f"jobs/counted/state?table={quoted}",
        f"jobs/counted/state?epoch={quoted}",
    ]
    paths += [f"jobs/counted/log?lines={quoted}", f"jobs/counted/dead-letters?limit={quoted}"]
    for path in paths:
        status, found = service.ask("GET", path)
        assert status in (200, 400, 404), (path, found)
    for word in ("restore", "stop"):
        status, _ = service.ask("POST", f"jobs/counted-not/{word}", {"epoch": value})
        assert status == 404
    status, problem = service.ask("POST", "jobs", {"name": value, "target": value})
    assert status == 400
    assert problem["detail"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Host": "evil.example"}, "host"),
        ({"Origin": "http://evil.example"}, "another site"),
        ({"Content-Type": "text/plain"}, "application/json"),
    ],
)
def test_request_of_a_foreign_page_is_refused(service: Service, headers: dict[str, str], reason: str) -> None:
    status, problem = service.ask("POST", "jobs/counted/stop", {"drain": False}, headers)
    assert status == 403
    assert reason in problem["detail"]
    assert service.job("counted")["state"] == "running"


def test_state_is_paged_and_looked_up(service: Service) -> None:
    until(lambda: service.get("jobs/counted/state")["tables"], "state")
    tables = {one["table"]: one for one in service.get("jobs/counted/state")["tables"]}
    table = max(tables, key=lambda name: int(tables[name]["bytes"]))
    page = service.get(f"jobs/counted/state?table={table}&limit=3")
    assert len(page["values"]) == 3
    names = [one["name"] for one in page["columns"]]
    auction = page["values"][0][names.index("auction")]
    asked = f"jobs/counted/state?table={table}&epoch={page['epoch']}&column=auction&equals={auction}"
    status, found = service.ask("GET", asked)
    if status == 200:  # else that checkpoint is gone by now
        assert {row[names.index("auction")] for row in found["values"]} == {auction}


def test_dead_letters_are_shown_with_their_reason(service: Service) -> None:
    (sink,) = service.get("jobs/letters/dead-letters")["sinks"]
    names = [one["name"] for one in sink["columns"]]
    assert sink["rows"] == 1
    assert sink["values"][0][names.index("text")] == "x"
    assert sink["values"][0][names.index("_error_message")]
    assert service.job("letters")["dead_letters"] == 1


def test_metrics_of_all_jobs_are_on_one_page(service: Service) -> None:
    _, text = service.ask(
        "GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    samples = [sample for family in parsed for sample in family.samples]
    read = {one.labels["pipeline"] for one in samples if one.name == "dataflare_records_in_total"}
    assert read == {"counted", "letters"}
    assert any(one.name == "bids_total" and one.value > 0 for one in samples)


def test_events_come_each_second(service: Service) -> None:
    with urllib.request.urlopen(f"{service.url}/api/v1/events?job=counted", timeout=20) as stream:
        events: list[str] = []
        while len(events) < 4:
            line = stream.readline().decode()
            if line.startswith("event: "):
                events.append(line.removeprefix("event: ").strip())
                data = json.loads(stream.readline().decode().removeprefix("data: "))
    assert events == ["jobs", "job", "jobs", "job"]
    assert data["name"] == "counted"


def test_secrets_are_nowhere(service: Service) -> None:
    shown = [
        service.get("configuration"),
        service.get("jobs"),
        service.job("counted"),
        service.get("jobs/counted/log"),
    ]
    assert "hunter2" not in json.dumps(shown)
    held = [path for path in service.folder.rglob("*.json") if "hunter2" in path.read_text()]
    assert held == []


def test_command_line_asks_the_service(service: Service) -> None:
    def run(*arguments: str) -> Any:
        command = [sys.executable, "-m", "dataflare_fast.cli", *arguments, "--service", service.url]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    jobs = {one["name"]: one for one in json.loads(run("ps", "--json").stdout)}
    assert jobs["counted"]["state"] == "running"
    assert "counted" in run("ps").stdout
    assert len(run("top", "--json", "--looks", "2").stdout.splitlines()) == 2
    assert "job runs" in run("logs", "counted").stdout
    assert "hot/" in run("state", "counted").stdout
    before = service.job("counted")["checkpoint_epoch"]
    assert run("savepoint", "counted").returncode == 0
    service.when("counted", lambda job: job["checkpoint_epoch"] > before, "has a further checkpoint")
    wrong = run("stop", "missing")
    assert wrong.returncode == 2
    assert "no job 'missing'" in wrong.stderr


def test_console_has_its_policy_and_nothing_from_elsewhere(service: Service) -> None:
    with urllib.request.urlopen(f"{service.url}/console/", timeout=20) as answer:
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assets = Path(__file__).parents[2] / "python" / "dataflare_fast" / "console" / "assets"
    for text in [page, *(path.read_text() for path in assets.iterdir())]:
        outside = re.findall(r"(?:https?:)?//[a-z][^\s\"']*\.[^\s\"']*", text)
        assert set(outside) <= {"http://www.w3.org/2000/svg"}
    assert service.ask("GET", "/console/%2e%2e%2f__init__.py")[0] == 404
