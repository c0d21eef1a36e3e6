"""Which expressions the engine evaluates with its own kernels; the others Polars evaluates (`residual.py`).

The engine itself answers, by trying to compile the tree: a rule here would drift from its kernels. Used by
`row_wise.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from dataflare_fast import _core
from dataflare_fast.planner.schema import Json, schema_to_json

__all__ = ["has_kernels"]


def has_kernels(tree: Json, schema: Mapping[str, pl.DataType]) -> bool:
    """True if the engine evaluates all of a tree of the plan.

    Args:
        tree: the expression.
        schema: the columns in it.
    """
    return _core.is_compiled(json.dumps(tree), json.dumps(schema_to_json(schema)))
