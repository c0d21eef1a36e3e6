"""The planner's one door to expressions: `translate` for row-wise ones, `split_aggregate` for those of
`agg(...)`.

Not here: anything else. Called by the planner for every expression of every node; the work is in
`row_wise.py` and `aggregates.py`.
"""

from dataflare_fast.planner.aggregates import (
    LiftedAggregates,
    SplitAggregate,
    lift_aggregates,
    split_aggregate,
)
from dataflare_fast.planner.row_wise import ExpressionContext, translate

__all__ = [
    "ExpressionContext",
    "LiftedAggregates",
    "SplitAggregate",
    "lift_aggregates",
    "split_aggregate",
    "translate",
]
