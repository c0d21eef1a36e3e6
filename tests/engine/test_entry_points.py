"""Every way that Polars has to run a query, against Polars in memory."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.engine.engine_data import bids, endless, windows

import dataflare_fast as dff
from dataflare_fast.errors import CallError, ClosedError, DataflareError, UnsupportedQuery

pytestmark = pytest.mark.filterwarnings("ignore:.*considered unstable")

ENGINE = dff.Engine(parallelism=2)


def same(found: pl.DataFrame, lf: pl.LazyFrame) -> None:
    assert_frame_equal(found, lf.collect(engine="in-memory"), check_row_order=False)


def test_collect_gives_the_rows_of_polars_in_order() -> None:
    lf = bids().filter(pl.col("price") % 3 == 0).with_columns(double=pl.col("price") * 2)
    assert_frame_equal(lf.collect(engine=ENGINE), lf.collect(engine="in-memory"))


def test_collect_gives_windows() -> None:
    same(windows().collect(engine=ENGINE), windows())


def test_collect_of_no_rows_keeps_the_columns() -> None:
    lf = bids().filter(pl.col("price") < 0)
    assert_frame_equal(lf.collect(engine=ENGINE), lf.collect(engine="in-memory"))


def test_collect_of_an_endless_frame_is_refused() -> None:
    with pytest.raises(UnsupportedQuery, match="never come back"):
        endless().collect(engine=ENGINE)


def test_head_ends_an_endless_collect() -> None:
    assert endless().head(5).collect(engine=ENGINE).height == 5


def test_engine_affinity_chooses_the_engine() -> None:
    lf = endless().head(3)
    with pl.Config():
        pl.Config.set_engine_affinity(ENGINE)
        assert lf.collect().height == 3


def test_execute_gives_a_result_that_goes_on_lazily() -> None:
    same(windows().execute(engine=ENGINE).lazy().collect(), windows())


def test_background_query_gives_its_result() -> None:
    query = windows().collect(engine=ENGINE, background=True)
    same(query.fetch_blocking(), windows())
    found = query.fetch()
    assert found is not None
    same(found, windows())


def test_cancelled_background_query_has_no_result() -> None:
    running = endless().head(10**9).collect(engine=ENGINE, background=True)
    running.cancel()
    with pytest.raises(ClosedError, match="cancelled"):
        running.fetch_blocking()


def test_collect_all_runs_all_frames() -> None:
    wide = bids().select("auction", "price")
    found = pl.collect_all([wide, windows()], engine=ENGINE)
    same(found[0], wide)
    same(found[1], windows())


def test_collect_async_is_awaited() -> None:
    async def run() -> pl.DataFrame:
        return await windows().collect_async(engine=ENGINE)

    same(asyncio.run(run()), windows())


def test_collect_all_async_is_awaited() -> None:
    async def run() -> list[pl.DataFrame]:
        return await pl.collect_all_async([windows(), bids()], engine=ENGINE)

    found = asyncio.run(run())
    same(found[0], windows())
    same(found[1], bids())


def test_cancelled_await_cancels_the_query() -> None:
    async def run() -> None:
        future = endless().head(10**9).collect_async(engine=ENGINE)
        await asyncio.wait_for(future, timeout=0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_error_of_the_query_reaches_the_await() -> None:
    async def run() -> None:
        await bids().select(pl.col("price").cast(pl.Int8)).collect_async(engine=ENGINE)

    with pytest.raises(DataflareError, match="price"):
        asyncio.run(run())


def test_collect_batches_gives_all_rows_in_chunks() -> None:
    batches = list(bids().collect_batches(engine=ENGINE, chunk_size=64))
    assert max(batch.height for batch in batches) <= 64
    same(pl.concat(batches), bids())


def test_closing_collect_batches_ends_an_endless_query() -> None:
    batches = endless().collect_batches(engine=ENGINE)
    assert next(batches).height > 0
    batches.close()  # type: ignore[attr-defined]  # ours has it, Polars' own has not
    assert list(batches) == []


def test_lazy_collect_batches_starts_with_the_first_batch() -> None:
    batches = bids().collect_batches(engine=ENGINE, lazy=True)
    same(pl.concat(list(batches)), bids())


def test_collect_batches_is_an_arrow_stream() -> None:
    same(pl.DataFrame(bids().collect_batches(engine=ENGINE)), bids())


def test_sink_batches_calls_the_function() -> None:
    seen: list[pl.DataFrame] = []
    bids().sink_batches(seen.append, engine=ENGINE)
    same(pl.concat(seen), bids())


def test_workers_take_turns_in_a_function_that_takes_rows_in_any_order() -> None:
    calls = threading.Lock()
    seen: list[pl.DataFrame] = []

    def take(batch: pl.DataFrame) -> None:
        assert calls.acquire(blocking=False), "called twice at a time"
        # Gives up Python's lock, so that another worker could come in.
        time.sleep(0)
        seen.append(batch)
        calls.release()

    bids().sink_batches(take, maintain_order=False, engine=ENGINE)
    same(pl.concat(seen), bids())


@pytest.mark.parametrize("maintain_order", [True, False])
def test_true_from_sink_batches_ends_an_endless_job(maintain_order: bool) -> None:
    seen: list[int] = []

    def take(batch: pl.DataFrame) -> bool:
        seen.append(batch.height)
        return True

    endless().sink_batches(take, maintain_order=maintain_order, engine=ENGINE)
    assert len(seen) == 1


def test_exception_in_sink_batches_is_the_cause() -> None:
    def fail(_batch: pl.DataFrame) -> None:
        raise LookupError("no such place")

    with pytest.raises(DataflareError, match="no such place") as raised:
        bids().sink_batches(fail, engine=ENGINE)
    assert isinstance(raised.value.__cause__, LookupError)


def test_sink_parquet_writes_a_folder_of_parts(tmp_path: Path) -> None:
    windows().sink_parquet(f"{tmp_path}/out/", engine=ENGINE)
    same(pl.read_parquet(tmp_path / "out/*.parquet"), windows())


def test_sink_parquet_writes_a_file(tmp_path: Path) -> None:
    bids().sink_parquet(tmp_path / "out.parquet", engine=ENGINE)
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet"), bids().collect(engine="in-memory"))


def test_sink_ndjson_writes_lines(tmp_path: Path) -> None:
    lf = bids().select("auction", "price")
    lf.sink_ndjson(tmp_path / "out.ndjson", engine=ENGINE)
    assert_frame_equal(pl.read_ndjson(tmp_path / "out.ndjson"), lf.collect(engine="in-memory"))


def test_lazy_sink_is_run_by_collect(tmp_path: Path) -> None:
    found = bids().sink_parquet(f"{tmp_path}/out/", lazy=True).collect(engine=ENGINE)
    assert found.shape == (0, 0)
    same(pl.read_parquet(tmp_path / "out/*.parquet"), bids())


def test_setting_without_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="storage_options"):
        bids().sink_parquet(tmp_path / "x.parquet", engine=ENGINE, storage_options={"key": "value"})


def test_gevent_is_refused() -> None:
    with pytest.raises(CallError, match="asyncio"):
        ENGINE.collect_async(bids(), optimizations=pl.QueryOptFlags(), gevent=True)
