"""What SQL has and Polars' SQL lacks or reads otherwise, written in words that it reads.

`ASOF JOIN` becomes a frame of `join_asof`; a `row_number()` with several columns in its ORDER BY (of which
Polars would take one direction for all) numbers the rows of a sorted table. Trees are sqlglot's. Not here:
window functions of a FROM (`sql.py`). Called by `sql.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import polars as pl

from dataflare_fast.errors import CallError

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["needs_rewriting", "number_sorted_rows", "place_of", "with_asof_joins"]

_ASOF: Final = re.compile(r"\basof\s+(left\s+)?join\b", re.IGNORECASE)
_OVER_SEVERAL: Final = re.compile(r"\bover\s*\([^()]*\border\s+by\b[^()]*,", re.IGNORECASE)
_COMPARISONS: Final = {"GTE": ("backward", True), "GT": ("backward", False), "LTE": ("forward", True)} | {
    "LT": ("forward", False)
}
_FLIPPED: Final = {"GTE": "LTE", "GT": "LT", "LTE": "GTE", "LT": "GT"}


def needs_rewriting(text: str) -> bool:
    """True if a query may hold something that this module rewrites."""
    return bool(_ASOF.search(text) or _OVER_SEVERAL.search(text))


def number_sorted_rows(tree: exp.Expression) -> None:
    """Moves the ORDER BY of `row_number()` with several columns into the table that it reads."""
    from sqlglot import exp

    for select in list(tree.find_all(exp.Select))[::-1]:
        windows = [one for one in select.find_all(exp.Window) if one.parent_select is select]
        ordered = [one for one in windows if one.args.get("order") is not None]
        if not any(len(one.args["order"].expressions) > 1 for one in ordered):
            continue
        _check_numbering(select, ordered)
        order = ordered[0].args["order"].copy()
        source = select.args.get("from_") or select.args.get("from")
        assert source is not None, "checked above"
        inner = exp.select("*").from_(source.this.copy())
        if (where := select.args.get("where")) is not None:
            inner.set("where", where.copy())
            select.set("where", None)
        inner.set("order", exp.Order(expressions=[one.copy() for one in order.expressions]))
        source.set("this", inner.subquery(source.this.alias_or_name or "sorted"))
        for one in ordered:
            one.set("order", None)


def _check_numbering(select: exp.Select, ordered: list[exp.Window]) -> None:
    from sqlglot import exp

    texts = sorted({one.args["order"].sql() for one in ordered})
    if len(texts) > 1:
        raise CallError(
            f"sql: expected one ORDER BY in all windows of a SELECT where one has several columns, got "
            f"{' and'.join(texts).strip()}; put each into a subquery of its own"
        )
    for one in ordered:
        if not isinstance(one.this, exp.RowNumber):
            raise CallError(
                f"sql: expected row_number() above ORDER BY with several columns, got {one.this.sql()}; "
                "order by one column"
            )
    source = select.args.get("from_") or select.args.get("from")
    others = [name for name in ("joins", "group", "having", "distinct") if select.args.get(name)]
    if source is None or others:
        found = "no FROM" if source is None else f"a SELECT with {others[0].rstrip('s')}"
        raise CallError(
            f"sql: expected row_number() with{texts[0]} over one table, got {found}; "
            "put that into a subquery in the FROM"
        )


def with_asof_joins(
    tree: exp.Expression,
    frame_of: Callable[[exp.Expression], pl.LazyFrame],
    named: Callable[[pl.LazyFrame], str],
) -> None:
    """Replaces `a ASOF [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts` by a table of joined rows.

    Args:
        tree: the query; it is changed.
        frame_of: the frame of a table or subquery.
        named: gives a frame a name that the query can read it by.
    """
    from sqlglot import exp

    for select in list(tree.find_all(exp.Select))[::-1]:
        joins = select.args.get("joins") or []
        if not any(_is_asof(one) for one in joins):
            continue
        source = select.args.get("from_") or select.args.get("from")
        if len(joins) > 1 or source is None:
            raise CallError(
                "sql: expected ASOF JOIN as the only join of its SELECT; put it into a subquery in the FROM"
            )
        left, right = source.this, joins[0].this
        frames = {one.alias_or_name: frame_of(one) for one in (left, right)}
        if len(frames) < 2:
            raise CallError(f"sql: expected names for both sides of ASOF JOIN, got {left.sql()} twice")
        rename = _Columns({name: frame.collect_schema().names() for name, frame in frames.items()})
        joined = _joined(joins[0], frames, rename)
        select.set("joins", None)
        source.set("this", exp.to_table(named(joined)))
        _expand_stars(select, rename)
        for column in list(select.find_all(exp.Column)):
            if column.parent_select is select:
                rename.write(column)


def _is_asof(join: exp.Join) -> bool:
    return str(join.args.get("method", "")).upper() == "ASOF"


class _Columns:
    """The columns of joined rows: those of the left by their names, those of the right as `right.name`."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        (self.left, self._left_names), (self.right, self._right_names) = names.items()

    def side(self, column: exp.Column) -> str:
        """`left` or `right`."""
        if column.table:
            if column.table not in (self.left, self.right):
                raise CallError(
                    f"sql: expected a column of '{self.left}' or '{self.right}', got {column.sql()}"
                )
            return "left" if column.table == self.left else "right"
        found = [
            side
            for side, names in (("left", self._left_names), ("right", self._right_names))
            if column.name in names
        ]
        if len(found) != 1:
            both = "of both sides: write which" if found else "of neither side"
            raise CallError(f"sql: expected a column of one side of ASOF JOIN, got '{column.name}' {both}")
        return found[0]

    def right_name(self, name: str) -> str:
        """What a column of the right side is called."""
        return f"{self.right}.{name}"

    def write(self, column: exp.Column) -> None:
        """Rewrites a reference."""
        from sqlglot import exp

        if isinstance(column.this, exp.Star):
            raise CallError("sql: expected columns of ASOF JOIN by name, got a star of one side")
        name = column.name if self.side(column) == "left" else self.right_name(column.name)
        new = exp.column(name, quoted=True)
        is_output = isinstance(column.parent, exp.Select) and column.arg_key == "expressions"
        column.replace(exp.alias_(new, column.name, quoted=True) if is_output else new)

    def outputs(self) -> list[exp.Expression]:
        """What a star stands for: all of the left, those of the right whose name is free."""
        from sqlglot import exp

        free = [name for name in self._right_names if name not in self._left_names]
        columns = [exp.column(name, table=self.left) for name in self._left_names]
        return [*columns, *(exp.column(name, table=self.right) for name in free)]


def _expand_stars(select: exp.Select, columns: _Columns) -> None:
    from sqlglot import exp

    written: list[exp.Expression] = []
    for one in select.expressions:
        written += columns.outputs() if isinstance(one, exp.Star) else [one]
    select.set("expressions", written)


def _joined(join: exp.Join, frames: dict[str, pl.LazyFrame], columns: _Columns) -> pl.LazyFrame:
    from sqlglot import exp

    left, right = frames.values()
    condition = join.args.get("on")
    parts = (
        []
        if condition is None
        else list(condition.flatten() if isinstance(condition, exp.And) else [condition])
    )
    keys: list[tuple[str, str]] = []
    times: list[tuple[str, str, str]] = []
    for part in parts:
        sides = (part.args.get("this"), part.args.get("expression"))
        if not all(isinstance(one, exp.Column) for one in sides):
            raise _refused(part)
        one, other = sides
        kind = type(part).__name__
        if columns.side(one) == "right":
            one, other, kind = other, one, _FLIPPED.get(kind, kind)
        if (columns.side(one), columns.side(other)) != ("left", "right"):
            raise _refused(part)
        if kind == "EQ":
            keys.append((one.name, other.name))
        elif kind in _COMPARISONS:
            times.append((one.name, other.name, kind))
        else:
            raise _refused(part)
    if len(times) != 1:
        raise CallError(
            "sql: expected ASOF JOIN ... ON equal keys AND one comparison of times (a.ts >= b.ts), got "
            f"{len(times)} comparisons"
        )
    left_on, right_on, kind = times[0]
    strategy, exact = _COMPARISONS[kind]
    renamed = right.rename({name: columns.right_name(name) for name in right.collect_schema().names()})
    joined = left.join_asof(
        renamed,
        left_on=left_on,
        right_on=columns.right_name(right_on),
        by_left=[one for one, _ in keys] or None,
        by_right=[columns.right_name(other) for _, other in keys] or None,
        strategy="backward" if strategy == "backward" else "forward",
        allow_exact_matches=exact,
        coalesce=False,
        check_sortedness=False,
    )
    if str(join.args.get("side") or "").upper() == "LEFT":
        return joined
    return joined.filter(pl.col(columns.right_name(right_on)).is_not_null())


def _refused(part: exp.Expression) -> CallError:
    return CallError(
        f"sql: expected ASOF JOIN ... ON equal columns AND one comparison of times, got {part.sql()}"
    )


def place_of(text: str, error: Exception) -> str:
    """` at line l, column c`, if the error names a word that stands in the text just once."""
    message = str(error)
    if re.search(r"Line: \d+, Column: \d+", message):
        return ""  # Polars says it
    for named in re.findall(r"['\"`]([\w.]+)['\"`]", message) + re.findall(
        r"unable to find column (\w+)", message
    ):
        word = named.rsplit(".", 1)[-1]
        found = list(re.finditer(rf"\b{re.escape(word)}\b", text))
        if len(found) == 1:
            start = found[0].start()
            line = text.count("\n", 0, start) + 1
            return f" at line {line}, column {start - (text.rfind(chr(10), 0, start) + 1) + 1}"
    return ""
