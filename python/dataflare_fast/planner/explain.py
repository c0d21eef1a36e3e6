"""`dff.explain`: what a query will do when it runs for ever, as text and, in notebooks, as a picture.

Not here: the text itself (`rust/plan/src/explain.rs`), the picture (`drawing.py`). Runs nothing.
"""

from __future__ import annotations

from html import escape

import polars as pl

from dataflare_fast import _core
from dataflare_fast.planner.drawing import draw
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import Output, is_sink, sink_output

__all__ = ["Explanation", "explain"]


class Explanation(str):
    """The text of `dff.explain`; notebooks show it as a graph with the text behind it."""

    __slots__ = ("_plan_json",)

    _plan_json: str

    @classmethod
    def of(cls, plan_json: str) -> Explanation:
        """Explains a plan."""
        made = cls(_core.explain(plan_json))
        made._plan_json = plan_json
        return made

    def _repr_html_(self) -> str:
        text = f"<details><summary>as text</summary><pre>{escape(self)}</pre></details>"
        return f"<div>{draw(self, self._plan_json)}{text}</div>"


def explain(*frames: pl.LazyFrame) -> Explanation:
    """Shows the operators of a job, sinks first, as the engine would run them.

    It names exchanges between workers, the kind of each frame, when state ends, where event time ends, what
    each sink promises, and marks expressions that Polars evaluates with `[polars]`.

    Args:
        frames: frames or lazy sinks of one job.

    Returns:
        The text. As the last value of a notebook's cell it is shown as a graph.

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
    return Explanation.of(plan(outputs).json)
