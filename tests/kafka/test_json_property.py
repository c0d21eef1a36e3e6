"""JSON messages against Polars' own reader of JSON lines, on texts drawn by Hypothesis.

Both refuse or both give the same row, but for what `docs/kafka.md` says differs: a String column takes only
texts here, and a time may be a number.
"""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflare_fast as dff

from .broker import new_topic, send

SCHEMA: dict[str, Any] = {
    "i": pl.Int64,
    "small": pl.Int32,
    "u": pl.UInt64,
    "f": pl.Float64,
    "b": pl.Boolean,
    "t": pl.String,
    "s": pl.Struct({"a": pl.Int64, "b": pl.String}),
    "l": pl.List(pl.Int64),
}
INTEGERS = st.one_of(
    st.integers(-200, 200),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30]),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=20)
PAIRS = st.fixed_dictionaries({}, optional={"a": INTEGERS | st.none(), "b": TEXTS | st.none()})
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "i": INTEGERS | FLOATS | st.none() | st.booleans(),
    "small": INTEGERS,
    "u": INTEGERS | TEXTS,
    "f": FLOATS | INTEGERS | st.none(),
    "b": st.booleans() | st.none() | INTEGERS,
    "t": TEXTS | st.none(),
    "s": PAIRS | st.none() | st.just([]),
    "l": st.lists(INTEGERS | st.none(), max_size=4) | st.none() | st.just({}),
    "not wanted": st.recursive(TEXTS | FLOATS, lambda inner: st.lists(inner, max_size=3)),
}
OBJECTS = st.fixed_dictionaries({}, optional=FIELDS)


def in_polars(text: str) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(io.BytesIO(text.encode()), schema=SCHEMA)
    except pl.exceptions.PolarsError:
        return None


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.lists(OBJECTS, min_size=10, max_size=60), st.booleans(), st.data())
def test_messages_become_the_rows_that_polars_makes_of_them(
    servers: str, objects: list[dict[str, Any]], escaped: bool, data: st.DataObject
) -> None:
    texts = [json.dumps(one, ensure_ascii=escaped) for one in objects]
    cut = data.draw(st.sampled_from(texts))
    texts.append(cut[: data.draw(st.integers(1, len(cut) - 1))])
    topic = new_topic(servers, 1)
    send(servers, topic, texts)
    frame = dff.scan_kafka(
        topic, bootstrap_servers=servers, schema=SCHEMA, end="latest", columns={"offset": "at"}
    )
    found = frame.collect(engine=dff.Engine(on_error="skip"))
    rows = {row["at"]: row for row in found.to_dicts()}
    for offset, text in enumerate(texts):
        expected, row = in_polars(text), rows.get(offset)
        if expected is None or expected.height == 0:
            assert row is None, (text, row)
        else:
            assert row is not None, text
            assert {**row} == {**expected.row(0, named=True), "at": offset}, text
