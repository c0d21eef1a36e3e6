"""`.stream.map_native` through the engine: compiled functions in whole queries, without the GIL."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.test_udf_abi import EXAMPLE, MORE, compiled

import dataflare_fast as dff
from dataflare_fast import udf
from dataflare_fast.errors import DataflareError


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("engine_prices", EXAMPLE.read_text(), tmp_path_factory.mktemp("engine_prices"))


def test_native_function_gives_what_plain_polars_gives_under_any_schedule(prices: ModuleType) -> None:
    to_euro = udf.column_function(prices, "to_euro", reads="price", writes="euro")
    bids = pl.DataFrame({"k": [1, 2, 1, 3] * 25, "price": [1.5, None, -3.0, 1e9] * 25})
    source = dff.from_batches(bids[:40], bids[40:])
    query = (
        source.stream.map_native(to_euro, schema={"k": pl.Int64, "price": pl.Float64, "euro": pl.Float64})
        .group_by("k")
        .agg(pl.col("euro").max())
    )
    dff.testing.check(query, seeds=30)


def test_rows_come_back_in_order(prices: ModuleType) -> None:
    double = udf.column_function(prices, "double_and_add_one", reads="a")
    frame = dff.from_batches(pl.DataFrame({"a": range(1000)}))
    query = frame.stream.map_native(double, schema={"a": pl.Int64})
    assert_frame_equal(query.collect(engine=dff.Engine(batch_rows=64)), query.collect())


def test_failing_function_names_itself_and_the_row(tmp_path: Path) -> None:
    more = compiled("engine_more", MORE, tmp_path)
    refuse = udf.column_function(more, "refuse_negative", reads="a")
    frame = dff.from_batches(pl.DataFrame({"a": [1.0, 2.0, -1.0]}))
    with pytest.raises(DataflareError, match="refuse_negative"):
        frame.stream.map_native(refuse, schema={"a": pl.Float64}).collect(engine=dff.Engine())
