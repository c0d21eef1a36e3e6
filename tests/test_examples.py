"""Every bounded frame of the examples: the engine gives the rows of Polars, under any schedule."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff

EXAMPLES = Path(__file__).parent.parent / "examples"
FRAMES = {
    f"{name}:{frame}": value
    for name in ("access_log", "payments", "sensors")
    for frame, value in runpy.run_path(str(EXAMPLES / f"{name}.py")).items()
    if isinstance(value, pl.LazyFrame)
}


@pytest.mark.parametrize("name", FRAMES)
def test_frame_of_an_example_is_that_of_polars(name: str) -> None:
    expected = FRAMES[name].collect(engine="in-memory")
    assert expected.height > 0
    found = FRAMES[name].collect(engine=dff.Engine(parallelism=2))
    assert_frame_equal(found, expected, check_row_order=False)


@pytest.mark.parametrize("name", FRAMES)
def test_frame_of_an_example_keeps_the_law_under_any_schedule(name: str) -> None:
    dff.testing.check(FRAMES[name], seeds=4)
