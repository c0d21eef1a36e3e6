"""A real Prometheus scrapes a job and evaluates our recording rules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import dataflare_fast as dff

from .waiting import get_json, until

SERVICES = Path(os.environ.get("DATAFLARE_SERVICES", Path(__file__).parents[3] / "shared" / "services"))


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[dict[str, str]]:
    script = SERVICES / "prometheus.sh"
    if not script.exists() or shutil.which("prometheus") is None:
        pytest.skip(f"no Prometheus: it needs {script} and the program; set DATAFLARE_SERVICES")
    started = subprocess.run([script, "start", tmp_path / "p"], text=True, stdout=subprocess.PIPE, check=True)
    try:
        yield dict(line.split("=", 1) for line in started.stdout.splitlines())
    finally:
        subprocess.run([script, "stop", tmp_path / "p"], check=True, stdout=subprocess.DEVNULL)


def test_prometheus_scrapes_a_job_and_evaluates_the_rules(prometheus: dict[str, str], tmp_path: Path) -> None:
    url, conf = prometheus["PROMETHEUS_URL"], Path(prometheus["PROMETHEUS_CONF"])
    rules = dff.monitoring.asset("recording").replace("interval: 15s", "interval: 1s")
    (conf / "rules" / "recording.yml").write_text(rules)
    urllib.request.urlopen(urllib.request.Request(f"{url}/-/reload", method="POST"), timeout=10).close()
    bids = dff.nexmark(rate=10_000).bid.stream.with_watermark("ts", delay="1s")
    job = dff.Engine(parallelism=1).start(
        bids.stream.sink_parquet(f"{tmp_path}/out/", lazy=True), name="scraped"
    )

    def answer(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get_json(f"{url}/api/v1/query?query={quote(query)}")["data"]["result"]
        return found

    with dff.monitoring.serve_metrics(job) as page:
        target = page.url.removeprefix("http://").removesuffix("/metrics")
        (conf / "targets" / "job.json").write_text(json.dumps([{"targets": [target]}]))
        until(lambda: answer('dataflare_records_in_total{pipeline="scraped",kind="source"} > 0'), "rows")
        (rate,) = until(lambda: answer("pipeline:dataflare_records_in:rate1m > 0"), "a rate by our rule")
        assert rate["metric"]["pipeline"] == "scraped"
        health = get_json(f"{url}/api/v1/rules")["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in health} <= {"ok", "unknown"}
    job.cancel()


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool")
    path = tmp_path / "recording.yml"
    path.write_text(dff.monitoring.asset("recording"))
    checked = subprocess.run(
        ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
