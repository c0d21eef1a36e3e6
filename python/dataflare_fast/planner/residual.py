"""Expressions that the engine has no kernel for, evaluated by Polars, batch by batch.

Not here: which expressions these are (`compiled.py`), and how they become `pl.Expr` again (`rebuilding.py`).
The engine calls it once per batch, with the GIL held.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import polars as pl

from dataflare_fast.errors import CallError, InternalError
from dataflare_fast.planner.rebuilding import RebuildError, rebuild
from dataflare_fast.planner.schema import schema_from_json

__all__ = ["Failure", "ResidualEvaluator"]

Failure: TypeAlias = tuple[int, int, str]
"""Number of a row in its batch, number of the expression that it breaks, Polars' reason."""


class ResidualEvaluator:
    """Evaluates row-wise expressions on batches.

    Args:
        exprs_json: a JSON array of named expressions of the plan (`{"name": .., "expr": ..}`); each reads a
            column.
        schema_json: the columns that they read, as the plan's JSON. Arrow does not tell an Enum from a
            Categorical: with it, columns get these types. None: frames have their types already.

    Raises:
        CallError: an expression that Polars refuses whatever the rows are, such as a broken pattern.
        InternalError: an expression that the planner should not have let through.

    Example:
        >>> a = '{"kind": "column", "name": "a"}'
        >>> double = f'{{"kind": "binary", "op": "add", "left": {a}, "right": {a}}}'
        >>> evaluator = ResidualEvaluator(f'[{{"name": "b", "expr": {double}}}]')
        >>> evaluator(pl.DataFrame({"a": [1, None]}))["b"].to_list()
        [2, None]
    """

    def __init__(self, exprs_json: str, schema_json: str | None = None) -> None:
        try:
            self._expressions = [
                rebuild(named["expr"]).alias(named["name"]) for named in json.loads(exprs_json)
            ]
        except RebuildError as error:
            raise InternalError(f"residual expression: {error}") from error
        self._schema = None if schema_json is None else schema_from_json(json.loads(schema_json))
        self._made = None
        if self._schema is not None:
            self._made = self._without_rows(self._schema)

    def _without_rows(self, schema: pl.Schema) -> pl.Schema:
        """The columns that are made; evaluates no row, which finds constants that Polars does not take."""
        frame = pl.DataFrame(schema=schema)
        made = frame.lazy().select(self._expressions).collect_schema()
        try:
            frame.select_seq(self._expressions)
        except pl.exceptions.PolarsError as error:
            raise CallError(_reason(error)) from error
        return made

    def __call__(self, batch: pl.DataFrame | Any) -> pl.DataFrame:
        """Gives one column for each expression, in order, as long as the batch.

        Args:
            batch: a frame, or anything with `__arrow_c_stream__`; read in place, no copy.

        Raises:
            polars.exceptions.PolarsError: a row that cannot be computed; `evaluate` says which.
        """
        # Not `select`: its thread pool would compete with the engine's workers.
        made = self._frame(batch).select_seq(self._expressions)
        # `list.diff` of a null gives List(Null), whatever the type that Polars planned.
        return made if self._made is None else _retyped(made, self._made)

    def evaluate(self, batch: pl.DataFrame | Any) -> tuple[pl.DataFrame, list[Failure]]:
        """Gives one column for each expression, with nulls where a row cannot be computed, and those rows.

        A batch without such rows costs one evaluation, each failing row O(log rows) more.

        Args:
            batch: as above.
        """
        failures: list[Failure] = []
        return self._evaluate(self._frame(batch), 0, failures), failures

    def _evaluate(self, frame: pl.DataFrame, first: int, failures: list[Failure]) -> pl.DataFrame:
        try:
            return self(frame)
        except pl.exceptions.PolarsError:
            if frame.height == 0:
                raise
            if frame.height == 1:
                failures.append(self._failure(frame, first))
                return self._nulls(frame)
        half = frame.height // 2
        upper = self._evaluate(frame.head(half), first, failures)
        return upper.vstack(self._evaluate(frame.slice(half), first + half, failures))

    def _failure(self, frame: pl.DataFrame, row: int) -> Failure:
        for number, expression in enumerate(self._expressions):
            try:
                frame.select_seq(expression)
            except pl.exceptions.PolarsError as error:
                return row, number, _reason(error)
        raise InternalError("residual expressions: they fail together, and each alone does not")

    def _nulls(self, frame: pl.DataFrame) -> pl.DataFrame:
        made = self._made or frame.lazy().select(self._expressions).collect_schema()
        return pl.DataFrame({name: [None] for name in made}, schema=made)

    def _frame(self, batch: Any) -> pl.DataFrame:
        frame = batch if isinstance(batch, pl.DataFrame) else pl.DataFrame(batch)
        return frame if self._schema is None else _retyped(frame, self._schema)


def _reason(error: pl.exceptions.PolarsError) -> str:
    """Polars' reason without the expression, which the caller names."""
    return str(error).split("\n\nThis error occurred")[0]


def _retyped(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    others = [pl.col(name).cast(dtype) for name, dtype in schema.items() if frame.schema[name] != dtype]
    return frame.with_columns(others) if others else frame
