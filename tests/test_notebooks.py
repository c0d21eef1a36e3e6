"""What notebooks get: pictures of plans and jobs, batches for `async for`, results to await, progress."""

from __future__ import annotations

import asyncio
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast.errors import DataflareError
from dataflare_fast.results import Batches

ROWS = pl.DataFrame({"a": range(1_000), "k": ["x<y", "z"] * 500})


def batches_of(lf: pl.LazyFrame, **settings: Any) -> Batches:
    """With the type that our engine gives; Polars names its own."""
    return cast("Batches", lf.collect_batches(engine=dff.Engine(**settings)))


def query() -> pl.LazyFrame:
    return dff.from_batches(ROWS[:300], ROWS[300:]).filter(pl.col("k") == "x<y").group_by("k").agg(pl.len())


def svg_of(html: str) -> ET.Element:
    return ET.fromstring(html[html.index("<svg") : html.index("</svg>") + len("</svg>")])


def boxes(svg: ET.Element) -> list[str]:
    named = "{http://www.w3.org/2000/svg}"
    return [
        one.findtext(f"{named}title") or ""
        for one in svg.iter(f"{named}g")
        if one.find(f"{named}title") is not None
    ]


def test_explanation_is_its_text_and_a_graph_with_a_box_for_each_node() -> None:
    explanation = dff.explain(query())
    assert explanation.startswith("#")
    svg = svg_of(explanation._repr_html_())
    assert len(boxes(svg)) == explanation.count("#")
    assert any('"x<y"' in one for one in boxes(svg))
    assert "~ exchange" in explanation
    assert "stroke-dasharray" in explanation._repr_html_()


def test_job_shows_its_state_its_graph_and_its_operators(tmp_path: Path) -> None:
    job = dff.Engine(name="shown").start(query().sink_parquet(f"{tmp_path}/out/", lazy=True))
    job.wait()
    html = job._repr_html_()
    assert "job 'shown', attempt 1: finished" in html
    assert "<td>1,000</td>" in html
    assert any(one.startswith("sink") for one in boxes(svg_of(html)))


def test_batches_can_be_awaited() -> None:
    async def read() -> list[int]:
        async with batches_of(dff.from_batches(ROWS), batch_rows=100) as batches:
            return [batch.height async for batch in batches]

    assert sum(asyncio.run(read())) == ROWS.height


def test_leaving_batches_early_ends_the_job() -> None:
    async def first() -> int:
        async with batches_of(dff.nexmark().bid) as batches:
            async for batch in batches:
                return batch.height
        return 0

    assert asyncio.run(first()) > 0


def test_failure_reaches_who_awaits_batches() -> None:
    bad = dff.from_batches(pl.DataFrame({"a": ["1", "x"]})).select(pl.col("a").cast(pl.Int64))

    async def read() -> None:
        async for _ in batches_of(bad):
            pass

    with pytest.raises(DataflareError, match="x"):
        asyncio.run(read())


def test_result_can_be_awaited_beside_others() -> None:
    async def both() -> list[pl.DataFrame]:
        engine = dff.Engine(parallelism=1)
        return list(
            await asyncio.gather(query().collect_async(engine=engine), query().collect_async(engine=engine))
        )

    assert [one["len"].to_list() for one in asyncio.run(both())] == [[500], [500]]


def test_query_in_the_background_gives_its_result() -> None:
    running = query().collect(engine=dff.Engine(), background=True)
    assert running.fetch_blocking()["len"].to_list() == [500]


def test_progress_in_a_notebook_updates_one_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, job: dff.Job) -> None:
            shown.append(job._repr_html_())

    def display(job: dff.Job, *, display_id: bool) -> Handle:
        assert display_id
        shown.append(job._repr_html_())
        return Handle()

    class Shell:
        kernel = object()

    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = Shell
    ipython.display = ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    job = dff.Engine().start(query().sink_parquet(f"{tmp_path}/out/", lazy=True))
    assert dff.follow(job, period_s=0.01).state == "finished"
    assert len(shown) >= 2
    assert "finished" in shown[-1]
