"""`dff.explain`: what a query will do when it runs for ever, as text.

Not here: the text itself (`rust/plan/src/explain.rs`). Runs nothing.
"""

from __future__ import annotations

import polars as pl

from dataflare_fast import _core
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import Output, is_sink, sink_output

__all__ = ["explain"]


def explain(*frames: pl.LazyFrame) -> str:
    """Shows the operators of a job, sinks first, as the engine would run them.

    It names exchanges between workers, the kind of each frame, when state ends, where event time ends, what
    each sink promises, and marks expressions that Polars evaluates with `[polars]`.

    Args:
        frames: frames or lazy sinks of one job.

    Raises:
        UnsupportedQuery: what cannot run incrementally, all of it at once.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> print(dff.explain(pl.LazyFrame({"a": [1]}).filter(pl.col("a") > 0)))
        #2 sink result
            - takes final rows (append); where they go is not said yet
          #1 filter (col(a) > 0)
            #0 source batches
        <BLANKLINE>
    """
    outputs = [sink_output(one) if is_sink(one) else Output(frame=one, connector="result") for one in frames]
    return _core.explain(plan(outputs).json)
