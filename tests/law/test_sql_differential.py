"""Generated SQL: the engine under a drawn schedule, Polars and DuckDB give the same rows.

A statement that the engine cannot run incrementally must be refused by name, and few are. A failure shows its
seed and statement.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import UnsupportedQuery

from .random_sql import Statement, statement, tables

LEAST_SHARE = 0.95
"""Of statements that are answered. The rest wait for later rows, as `lead` does."""


@cache
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    for name, frame in tables().items():
        connection.register(name, frame.to_arrow())
    return connection


@cache
def streams() -> dict[str, pl.LazyFrame]:
    """`a` and `b` as streams of two splits with event time, `c` as a table."""
    found = tables()
    timed = {
        name: dff.from_batches([found[name][0::2]], [found[name][1::2]]).stream.with_watermark(
            "ts", delay="1h"
        )
        for name in ("a", "b")
    }
    return {**timed, "c": found["c"].lazy()}


def comparable(frame: pl.DataFrame, *, ordered: bool) -> pl.DataFrame:
    """Numbers in one type: DuckDB sums to 128 bits, Polars counts in 32."""
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    wide = frame.with_columns(pl.col(numbers).cast(pl.Float64)) if numbers else frame
    return wide if ordered else wide.sort(wide.columns, nulls_last=True)


def hold(one: Statement, seed: int) -> bool:
    """Compares one statement; gives False if it was refused."""
    found = pl.from_arrow(database().sql(one.text).to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    wanted = comparable(found, ordered=one.ordered)
    lf = dff.sql(one.text, **streams())
    ours = comparable(lf.collect(engine="in-memory"), ordered=one.ordered)
    assert_frame_equal(ours, wanted, check_dtypes=False)
    try:
        dff.testing.check(lf, seeds=range(seed, seed + 1))
    except UnsupportedQuery:
        return False
    if one.ordered:
        answer = lf.collect(engine=dff.Engine(parallelism=2))
        assert_frame_equal(comparable(answer, ordered=True), wanted, check_dtypes=False)
    return True


def hold_all(seeds: range) -> None:
    answered: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for seed in seeds:
        one = statement(seed)
        try:
            (answered if hold(one, seed) else refused)[one.form] += 1
        except Exception as error:
            error.add_note(f"seed {seed}, {one.form}: {one.text}")
            raise
    share = answered.total() / (answered.total() + refused.total())
    assert share >= LEAST_SHARE, f"{share:.3f} answered; refused: {dict(refused)}"


@pytest.mark.parametrize("block", range(3))
def test_generated_statements_give_the_rows_of_duckdb(block: int) -> None:
    hold_all(range(block * 100, (block + 1) * 100))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(50))
def test_many_generated_statements_give_the_rows_of_duckdb(block: int) -> None:
    hold_all(range(10_000 + block * 100, 10_000 + (block + 1) * 100))


def test_every_form_of_statement_is_drawn() -> None:
    forms = Counter(statement(seed).form for seed in range(300))
    expected = {
        *("rows", "distinct", "groups", "totals", "sorted", "nested groups", "join with groups", "union all"),
        *("union", "except", "intersect", "semi and anti joins", "top rows", "running", "as-of joins"),
        "interval joins",
    }
    assert set(forms) == expected
    texts = " ".join(statement(seed).text for seed in range(300))
    words = [
        "having",
        "case when",
        " in (",
        "between",
        "qualify",
        "full join",
        "limit",
        "with t as",
        "filter (",
    ]
    assert [word for word in words if word not in texts] == []
