"""Plans a frame and shows its nodes, for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

import dataflare_fast.frame  # noqa: F401 - registers `.stream`
from dataflare_fast.errors import Refusal, UnsupportedQuery
from dataflare_fast.planner.plan import Planned, plan
from dataflare_fast.planner.sinks import Output, collect_output, sink_output

Node = dict[str, Any]


def planned(*outputs: pl.LazyFrame | Output) -> Planned:
    return plan([collect_output(one) if isinstance(one, pl.LazyFrame) else one for one in outputs])


def nodes(*outputs: pl.LazyFrame | Output) -> list[Node]:
    found: list[Node] = json.loads(planned(*outputs).json)["nodes"]
    return found


def operators(*outputs: pl.LazyFrame | Output) -> list[str]:
    return [node["operator"] for node in nodes(*outputs)]


def only(operator: str, *outputs: pl.LazyFrame | Output) -> Node:
    (found,) = (node for node in nodes(*outputs) if node["operator"] == operator)
    return found


def into_folder(frame: pl.LazyFrame) -> Output:
    return sink_output(frame.sink_parquet("out/", lazy=True))


def refusals(*outputs: pl.LazyFrame | Output) -> list[Refusal]:
    try:
        planned(*outputs)
    except UnsupportedQuery as error:
        return [one for one in error.refusals if isinstance(one, Refusal)]
    return []


def column(name: str) -> Node:
    return {"kind": "column", "name": name}
