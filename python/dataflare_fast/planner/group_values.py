"""Functions of a whole group without an accumulator: what has to be listed for Polars to compute them.

`col("a").top_k_by("b", 3)` needs the values of `a` and `b` of the group, in logical order. The engine keeps
them as one list (`implode`); above it stands `list.agg` with the function over the list's elements. Not here:
the plan (`aggregates.py`), and how Polars evaluates it (`rebuilding_groups.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from dataflare_fast.planner.classes import (
    ORDERED_OVER_A_GROUP,
    OVER_A_GROUP,
    FunctionClass,
    classify,
)
from dataflare_fast.planner.rebuilding import RebuildError, rebuild
from dataflare_fast.planner.row_wise import write_tree
from dataflare_fast.planner.schema import Json, why_unsupported
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    HiddenNode,
    LiteralNode,
)
from dataflare_fast.planner.wording import describe

__all__ = ["FILTERS", "GroupValues", "is_row_wise"]

FILTERS: Final = frozenset(("filter", "drop_nulls", "drop_nans"))
"""What leaves rows out, and can be a condition of an aggregate."""


_REWRITE: Final = "an aggregate of the list in docs/expressions.md, or `implode()` and list functions above"

_NARROW: Final = "cast its input to a type of at most 64 bits"
_BY_FIELD: Final = "`arg_min` or `arg_max` of a field or item"


def is_row_wise(node: ExprNode) -> bool:
    """True if nothing in it looks at another row."""
    for part in node.walk():
        if isinstance(part, HiddenNode):
            return False
        if isinstance(part, FunctionNode):
            verdict = classify(part)
            if verdict is None or verdict.function_class not in (
                FunctionClass.ROW_WISE,
                FunctionClass.PLAN_TIME,
            ):
                return False
    return True


@dataclass(slots=True)
class GroupValues:
    """The lists that a function of a group needs."""

    inputs: list[ExprNode] = field(default_factory=list)
    """Row-wise expressions whose values are listed, side by side."""
    refused: tuple[ExprNode, str, str] | None = None
    """What cannot be computed so, why, and what to write instead."""
    is_ordered: bool = False
    """The answer depends on the order of the values."""

    def columns(self) -> ExprNode:
        """The one column that holds the inputs: theirs, or a struct of all."""
        if len(self.inputs) == 1:
            return self.inputs[0]
        fields = {str(index): one.dtype for index, one in enumerate(self.inputs)}
        return FunctionNode(pl.Struct(fields), "struct", tuple(self.inputs))

    def tree(self, node: ExprNode) -> Json:
        """The function over the elements of the list, in the plan's words."""
        self._read(node)
        if self.refused is not None:
            return None
        tree = write_tree(self._over_elements(node))
        try:
            rebuild(tree)
        except RebuildError as error:
            self._refuse(node, f"the engine cannot evaluate {error} yet")
        return tree

    def _read(self, node: ExprNode) -> None:
        if is_row_wise(node):
            if any(isinstance(part, ColumnNode) for part in node.walk()):
                self._list(node)
            return
        if (reason := why_unsupported(node.dtype)) is not None:
            self._refuse(node, reason, _NARROW)
        elif isinstance(node, FunctionNode) and node.name in ("arg_min", "arg_max"):
            if node.args[0].dtype.is_nested():
                self._refuse(node, "Polars gives null for it in a group, whatever the values are", _BY_FIELD)
        elif isinstance(node, FunctionNode) and node.name == "product" and node.args[0].dtype.is_decimal():
            reason = "Polars rounds after each factor, so the product depends on how it groups them"
            self._refuse(node, reason, "cast its input to Float64")
        elif isinstance(node, HiddenNode):
            self._refuse(node, f"Polars' plan does not show {describe(node)} to an engine")
        elif isinstance(node, LiteralNode) or (isinstance(node, FunctionNode) and not _is_known(node)):
            self._refuse(node, f"`{describe(node)}` has no meaning over the rows of one group")
        if isinstance(node, FunctionNode) and node.name in ORDERED_OVER_A_GROUP:
            self.is_ordered = True
        for child in node.children():
            self._read(child)

    def _list(self, values: ExprNode) -> None:
        if any(isinstance(part, LiteralNode) and _is_long(part) for part in values.walk()):
            self._refuse(values, "a Series of several values has no place among the rows of a group")
        for part in values.walk():
            if (reason := why_unsupported(part.dtype)) is not None:
                self._refuse(part, reason, _NARROW)
        if values not in self.inputs:
            self.inputs.append(values)

    def _refuse(self, node: ExprNode, reason: str, rewrite: str = _REWRITE) -> None:
        self.refused = self.refused or (node, reason, rewrite)

    def _over_elements(self, node: ExprNode) -> ExprNode:
        if node in self.inputs:
            place = None if len(self.inputs) == 1 else str(self.inputs.index(node))
            return FunctionNode(node.dtype, "element", (), {"field": place, "name": _name(node)})
        if isinstance(node, FunctionNode) and node.name in ("arg_min", "arg_max"):
            node = _first_of_equals(node)
        return node.with_children(*(self._over_elements(child) for child in node.children()))


def _first_of_equals(node: FunctionNode) -> FunctionNode:
    """Of equal texts Polars takes the first in a group, and another one in a list."""
    (values,) = node.args
    if values.dtype not in (pl.String, pl.Binary):
        return node
    extreme = FunctionNode(values.dtype, node.name.removeprefix("arg_"), node.args)
    return FunctionNode(node.dtype, "arg_max", (BinaryNode(pl.Boolean(), "eq", values, extreme),))


def _is_known(node: FunctionNode) -> bool:
    verdict = classify(node)
    if node.name == "implode" or verdict is None:
        return False
    row_wise = verdict.function_class in (FunctionClass.ROW_WISE, FunctionClass.PLAN_TIME)
    return row_wise or (
        node.name in OVER_A_GROUP and verdict.function_class is not FunctionClass.NONDETERMINISTIC
    )


def _is_long(node: LiteralNode) -> bool:
    return isinstance(node.value, pl.Series) and len(node.value) != 1


def _name(node: ExprNode) -> str:
    """The name that Polars gives a column made of it: that of its first column."""
    return next((part.name for part in node.walk() if isinstance(part, ColumnNode)), "")
