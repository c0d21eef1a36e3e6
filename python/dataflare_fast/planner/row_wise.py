"""Row-wise expressions of Polars' plan -> expressions of ours (`Expr` in `rust/plan/src/expression.rs`).

Not here: the table of functions (`classes.py`), which of them the engine compiles (`compiled.py`), aggregates
(`aggregates.py`). Called through `expressions.py`. The whole tree is walked, every argument counts:
`meta.is_row_separable()` looks at the top only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from dataflare_fast.planner.classes import FunctionClass, Verdict, classify, holds_categorical
from dataflare_fast.planner.compiled import has_kernels
from dataflare_fast.planner.literals import first_of_series, literal_to_json, series_to_json
from dataflare_fast.planner.rebuilding import RebuildError, rebuild
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.schema import Json, dtype_to_json, why_unsupported
from dataflare_fast.planner.visitor.expressions import (
    ROUNDED_CONSTANT,
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    HiddenNode,
    LiteralNode,
    WhenNode,
)
from dataflare_fast.planner.wording import describe

__all__ = ["ExpressionContext", "meaningless", "shortened", "translate", "why_not_row_wise", "write_tree"]

_DEEPEST: Final = 100
"""Levels of an expression; a JSON reader stops at 128."""

_APPLY: Final = "`.stream.apply(lambda lf: ...)` around this step: Polars itself runs it, batch by batch"
_APPLY_FUNCTION: Final = (
    "`.stream.apply(lambda lf: ...)` around this step, or `.stream.map_native(fn, schema)` if compiled"
)


@dataclass(slots=True)
class ExpressionContext:
    """What expressions of one node share.

    Args:
        schema: the columns that the expressions read.
        refusals: takes what cannot run.
    """

    schema: Mapping[str, pl.DataType]
    refusals: Refusals
    generated: dict[str, str] = field(default_factory=dict)
    """Columns that `split_aggregate` generated, by what they hold."""


def translate(expr: ExprNode, context: ExpressionContext) -> Json:
    """Writes a row-wise expression as an expression of the plan.

    A tree that holds a function without a kernel is wrapped whole, for Polars. What cannot run is noted in
    `context.refusals`; the tree that comes back then has the right type and no other meaning.

    Args:
        expr: the expression, typed against the node below.
        context: the columns below, and where refusals go.
    """
    expr = _without_hints(expr)
    if not _may_run(expr, context):
        return meaningless(expr)
    tree = write_tree(expr)
    columns = {node.name: node.dtype for node in expr.walk() if isinstance(node, ColumnNode)}
    if has_kernels(tree, columns):
        return tree
    try:
        rebuilt = rebuild(tree)
    except RebuildError as error:
        context.refusals.add(describe(expr), f"the engine cannot evaluate {error} yet", _APPLY)
        return meaningless(expr)
    if not columns:
        # A constant that Polars' optimiser left standing; without columns a batch would have no height.
        return _constant(rebuilt, expr.dtype)
    given = pl.LazyFrame(schema=dict(context.schema)).select(rebuilt.alias("")).collect_schema()[""]
    if given != expr.dtype:
        context.refusals.add(
            describe(expr),
            f"the engine cannot evaluate it as {expr.dtype}: rebuilt, it gives {given}",
            _APPLY,
        )
        return meaningless(expr)
    return {"kind": "residual", "expr": tree, "dtype": dtype_to_json(expr.dtype)}


def _without_hints(node: ExprNode) -> ExprNode:
    """The expression without `set_sorted`: a wrong hint must not change the answer."""
    while isinstance(node, FunctionNode) and node.name == "set_sorted":
        node = node.args[0]
    return node.with_children(*(_without_hints(child) for child in node.children()))


def _may_run(expr: ExprNode, context: ExpressionContext) -> bool:
    """Notes every part that is not row-wise, or has a type that the engine lacks; True if there is none."""
    before = len(context.refusals)
    _check(expr, expr, context, depth=1)
    return len(context.refusals) == before


def _check(node: ExprNode, whole: ExprNode, context: ExpressionContext, depth: int) -> None:
    if depth > _DEEPEST:
        context.refusals.add(
            _where(node, whole),
            f"the expression has more than {_DEEPEST} levels",
            "compute parts of it in `with_columns` first",
        )
        return
    if (reason := why_unsupported(node.dtype)) is not None:
        context.refusals.add(
            _where(node, whole), reason, "cast to a type of at most 64 bits, or drop the column"
        )
        return
    if (refused := why_not_row_wise(node)) is not None:
        context.refusals.add(_where(node, whole), *refused)
        return
    for child in node.children():
        _check(child, whole, context, depth + 1)


def _where(node: ExprNode, whole: ExprNode) -> str:
    text = describe(node)
    return text if node is whole else f"{text} in {shortened(describe(whole))}"


def shortened(text: str, length: int = 200) -> str:
    """The text, cut to a length that a message can hold."""
    return text if len(text) <= length else text[: length - 3] + "..."


def why_not_row_wise(node: ExprNode) -> tuple[str, str] | None:
    """Reason and rewrite if this node (not what is below it) cannot run row by row."""
    if isinstance(node, HiddenNode):
        return _why_hidden(node)
    if isinstance(node, LiteralNode) and isinstance(node.value, pl.Series) and len(node.value) != 1:
        return (
            f"a Series of {len(node.value)} values has no place in a stream of rows",
            "a scalar, `is_in(series)`, or a join with it as a table",
        )
    if isinstance(node, CastNode) and holds_categorical(node.input.dtype) and node.dtype.is_numeric():
        return (
            "the codes of a Categorical depend on what the process saw before",
            "`pl.Enum`, whose codes are fixed, or its text with `cast(pl.String)`",
        )
    if not isinstance(node, FunctionNode):
        return None
    verdict = classify(node)
    if verdict is None:
        return f"`{node.name}` is not in the table of functions", _APPLY
    if verdict.function_class in (FunctionClass.ROW_WISE, FunctionClass.PLAN_TIME):
        return None
    reason, rewrite = _REFUSALS[verdict.function_class]
    return _with_condition(reason.format(node.name), verdict), rewrite.format(node.name)


def _why_hidden(node: HiddenNode) -> tuple[str, str]:
    if node.what == ROUNDED_CONSTANT:
        return (
            "Polars' plan shows an engine this time rounded to microseconds",
            "`pl.lit(pl.Series([value], dtype=...))`, which it shows whole",
        )
    if node.what.startswith("constant"):
        return f"Python cannot hold the {node.what}", "a constant between the years 1 and 9999"
    words = _HIDDEN_WORDS.get(node.what, f"`{node.what}`")
    if node.what in ("anonymousfunction", "rolling map", "fold", "reduce", "cum_fold", "cum_reduce"):
        return f"{words} runs Python code that the engine cannot see", _APPLY_FUNCTION
    return f"Polars' plan does not show {words} to an engine", _APPLY


_HIDDEN_WORDS: Final[dict[str, str]] = {
    "anonymousfunction": "a Python function (`map_elements`, `map_batches`, `inspect`)",
    "rolling map": "`rolling_map`",
    "business": "functions of business days",
    "list.eval": "what runs inside lists and arrays (`eval`, `agg`, `filter`, `unique`, `item`, ...)",
    "binary expr": "functions of `.bin`",
    "categorical expr": "functions of `.cat`",
    "extension expr": "functions of `.ext`",
    "total order min_by/max_by": "`sort_by(...).first()` and `.last()`",
    "struct.eval": "the fields inside `struct.eval`",
    "struct.with_fields": "the fields inside `struct.with_fields`",
}
"""The visitor's words for what it hides, in the user's."""


def _with_condition(reason: str, verdict: Verdict) -> str:
    return reason if verdict.reason is None else f"{reason} ({verdict.reason})"


_REFUSALS: Final[dict[FunctionClass, tuple[str, str]]] = {
    FunctionClass.RESHAPING: (
        "`{}` changes the number of rows beside other columns",
        "the frame's own `filter`, `drop_nulls` or `explode`, or keep the rows with `when`",
    ),
    FunctionClass.AGGREGATE: (
        "`{}` is an aggregate: it needs every row, and a stream has no last one",
        "`group_by_dynamic(...).agg(...)` or `group_by(...).agg(...)`, and a join if rows need the answer",
    ),
    FunctionClass.RUNNING: (
        "`{}` depends on earlier rows, which this place does not see",
        "the same in a `with_columns(...)` of its own below, and its column here",
    ),
    FunctionClass.WHOLE_COLUMN: (
        "`{}` depends on later rows, and a stream has no last one",
        "the same inside a closed window: aggregate with `group_by_dynamic(...).agg(...)` first",
    ),
    FunctionClass.NONDETERMINISTIC: (
        "`{}` gives another answer in another run, so exactly-once could not be proven",
        "a rule of the row itself, such as `filter(col(key).hash(seed) % 100 == 0)` for a sample",
    ),
    FunctionClass.USER_FUNCTION: (
        "`{}` runs Python code that the engine cannot see",
        _APPLY_FUNCTION,
    ),
    FunctionClass.BY_INNER: (
        "`{}` looks at other rows, which this place does not see",
        "the same in a `with_columns(...)` of its own below, and its column here",
    ),
}


def write_tree(node: ExprNode) -> Json:
    """The tree as it stands, in the plan's words; nothing in it is checked."""
    match node:
        case ColumnNode():
            return {"kind": "column", "name": node.name}
        case LiteralNode():
            value = first_of_series(node.value) if isinstance(node.value, pl.Series) else node.value
            return literal_to_json(value, node.dtype)
        case BinaryNode():
            return {
                "kind": "binary",
                "op": node.op,
                "left": write_tree(node.left),
                "right": write_tree(node.right),
            }
        case CastNode():
            return {
                "kind": "cast",
                "input": write_tree(node.input),
                "dtype": dtype_to_json(node.dtype),
                "strict": node.strict,
                "wrap": node.wrap,
            }
        case WhenNode():
            return {
                "kind": "when",
                "predicate": write_tree(node.predicate),
                "then": write_tree(node.then),
                "otherwise": write_tree(node.otherwise),
            }
        case FunctionNode():
            return {
                "kind": "function",
                "name": node.name,
                "args": [write_tree(arg) for arg in node.args],
                "options": {name: _option_to_json(value) for name, value in node.options.items()},
                "dtype": dtype_to_json(node.dtype),
            }
        case _:
            raise AssertionError(f"{type(node).__name__} passed the check")


def _option_to_json(value: Any) -> Json:
    if isinstance(value, pl.DataType):
        return dtype_to_json(value)
    if isinstance(value, pl.Series):
        return series_to_json(value)
    if isinstance(value, list | tuple):
        return [_option_to_json(item) for item in value]
    return value


def _constant(rebuilt: pl.Expr, dtype: pl.DataType) -> Json:
    values = pl.select(rebuilt.alias("")).to_series().cast(dtype)
    return literal_to_json(first_of_series(values), dtype)


def meaningless(expr: ExprNode) -> Json:
    """What stands for an expression that was refused, so that planning can go on and find the others."""
    dtype = pl.Null() if why_unsupported(expr.dtype) else expr.dtype
    return literal_to_json(None, dtype)
