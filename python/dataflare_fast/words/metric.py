"""`metric`: an aggregate of the rows that go by, for `job.metrics()` and `/metrics`. Changes no row.

A histogram is two metrics, one below the other: counts by upper bound, and a sum. Not here: how they are kept
and shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.words.marks import Identity

__all__ = ["DEFAULT_BUCKETS", "Metric", "MetricKind", "histogram", "metric_kind"]

MetricKind = Literal["counter", "gauge", "histogram"]

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, as Prometheus' clients have them."""

# Prometheus' data model; colons are for recording rules, and for the parts of a histogram here.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = "dataflare_"


class Metric(Identity):
    """The rows below, counted.

    Args:
        upstream: the rows.
        name: of the metric.
        expr: one aggregate of them, a number.
        by: the columns whose values have a number each.
        kind: for who shows it.
        bounds: of a histogram's counts.
    """

    def __init__(
        self,
        upstream: pl.LazyFrame,
        name: str,
        expr: pl.Expr,
        by: Sequence[str],
        kind: MetricKind = "gauge",
        bounds: Sequence[float] = (),
    ) -> None:
        schema = upstream.collect_schema()
        _check_labels(name, by, schema)
        value = expr.alias("\x01value")
        # What the planner reads: the aggregate as Polars resolves it. Over an empty frame, because above a
        # filter or a concat Polars makes other ones of it.
        self.grouped = pl.DataFrame(schema=schema).lazy().group_by(list(by) or [schema.names()[0]]).agg(value)
        dtype = self.grouped.collect_schema()["\x01value"]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise CallError(f"metric '{name}': expected an aggregate that is a number, got one of {dtype}")
        super().__init__(upstream, schema, f"metric({name})")
        self.metric = name
        self.expr = expr
        self.by = tuple(by)
        self.kind = kind
        self.bounds = tuple(bounds)


def metric_kind(name: str, kind: MetricKind | None) -> MetricKind:
    """The kind that a metric has, if its name may have it.

    Raises:
        CallError: a name that no monitoring system takes, or one of another kind.
    """
    if _NAME.fullmatch(name) is None:
        raise CallError(
            f"metric: expected a name of letters, digits and '_' such as 'orders_total', got {name!r}"
        )
    if name.startswith(_OURS):
        raise CallError(f"metric '{name}': names that begin with '{_OURS}' are the engine's own")
    if kind not in (None, "counter", "gauge", "histogram"):
        raise CallError(f"metric '{name}': kind: expected 'counter', 'gauge' or 'histogram', got {kind!r}")
    counts = name.endswith("_total")
    if kind is None:
        return "counter" if counts else "gauge"
    if kind == "counter" and not counts:
        raise CallError(f"metric '{name}': a counter's name ends in '_total': '{name}_total'")
    if kind != "counter" and counts:
        raise CallError(f"metric '{name}': '_total' is the ending of counters, and this is a {kind}")
    return kind


def histogram(
    lf: pl.LazyFrame, name: str, expr: pl.Expr, by: Sequence[str], buckets: Sequence[float]
) -> pl.LazyFrame:
    """Counts the values of `expr` by upper bound, and adds them up. Nulls are not values.

    Raises:
        CallError: bounds that do not rise, no number, or a column `le` that is there already.
    """
    bounds = [float(one) for one in buckets]
    if not bounds or not all(map(math.isfinite, bounds)) or any(one >= two for one, two in pairwise(bounds)):
        raise CallError(f"metric '{name}': buckets: expected finite bounds that rise, got {list(buckets)}")
    schema = lf.collect_schema()
    _check_labels(name, by, schema)
    taken = [one for one in ("le", "sum") if one in by] + (["le"] if "le" in schema else [])
    if taken:
        raise CallError(f"metric '{name}': the name '{taken[0]}' is the histogram's own; rename that column")
    dtype = lf.select(expr.alias(_VALUE)).collect_schema()[_VALUE]
    if not dtype.is_numeric():
        raise CallError(f"metric '{name}': expected a column of numbers, got {dtype}")
    value = expr.cast(pl.Float64)
    bound = pl.lit(math.inf)
    for one in reversed(bounds):
        bound = pl.when(value <= one).then(pl.lit(one)).otherwise(bound)
    with_bound = lf.with_columns(value.alias(_VALUE), bound.alias("le"))
    counted = Metric(with_bound, f"{name}:bucket", pl.col(_VALUE).count(), [*by, "le"], "histogram", bounds)
    summed = Metric(counted.frame(), f"{name}:sum", pl.col(_VALUE).sum(), by, "histogram")
    return summed.frame().select(schema.names())


_VALUE = "_metric_value"


def _check_labels(name: str, by: Sequence[str], schema: pl.Schema) -> None:
    if "value" in by:
        raise CallError(f"metric '{name}': by: the name 'value' is taken; rename that column")
    missing = [one for one in by if one not in schema]
    if missing:
        raise CallError(f"metric '{name}': by: expected columns of {schema.names()}, got {missing}")
    odd = [one for one in by if _NAME.fullmatch(one) is None or one.startswith("__") or one == "pipeline"]
    if odd:
        raise CallError(
            f"metric '{name}': by: expected names of letters, digits and '_' other than 'pipeline', got "
            f"{odd}; rename the column below"
        )
