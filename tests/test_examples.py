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


def test_folder_of_csv_becomes_parquet_by_day_and_place(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "csv_folder.py"))["main"]
    rows = main(tmp_path)
    assert (rows.height, rows["day"].n_unique(), rows["place"].unique().sort().to_list()) == (
        144,
        3,
        ["cellar", "roof"],
    )
    assert len(list((tmp_path / "out").glob("day=*/place=*/*.parquet"))) >= 6
