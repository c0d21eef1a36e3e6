"""SQL over streams: Polars' own SQL, and the window functions and `EMIT` that it lacks.

Polars parses and plans the query; only `TUMBLE`, `HOP`, `CUMULATE`, `SESSION` in a FROM and a trailing `EMIT`
are rewritten first, by sqlglot, into frames that Polars then reads as tables. Not here: how a plan runs.
Called by users.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from dataflare_fast.errors import CallError, MissingExtraError
from dataflare_fast.sql_rewriting import needs_rewriting, number_sorted_rows, place_of, with_asof_joins

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["sql"]

_WINDOWS: Final = ("tumble", "hop", "cumulate", "session_")
_ARGUMENTS: Final = {
    "tumble": "TUMBLE(table, time, size)",
    "hop": "HOP(table, time, slide, size)",
    "cumulate": "CUMULATE(table, time, step, size)",
    "session_": "SESSION(table, time, gap)",
}
_EMIT: Final = re.compile(
    r"\bEMIT\s+(?:(?P<close>FINAL|ON\s+WINDOW\s+CLOSE)|(?P<update>CHANGES|UPDATES?)(?:\s+EVERY\s+(?P<every>.+?))?)\s*;?\s*$",
    re.IGNORECASE,
)
_HAS_WINDOW: Final = re.compile(r"\b(tumble|hop|cumulate|session)\s*\(", re.IGNORECASE)
_UNITS: Final = {
    "nanosecond": "ns",
    "microsecond": "us",
    "millisecond": "ms",
    "second": "s",
    "minute": "m",
    "hour": "h",
    "day": "d",
    "week": "w",
    "month": "mo",
    "quarter": "q",
    "year": "y",
}
_HAVING: Final = "\x01having"


def sql(query: str, **frames: pl.LazyFrame | pl.DataFrame) -> pl.LazyFrame:
    """Reads a SQL query over streams and tables as a LazyFrame.

    Everything that Polars' SQL has works as there. In addition a FROM may hold a window function, whose
    select groups by `window_start` (and `window_end`):

    | function | windows |
    |---|---|
    | `TUMBLE(t, ts, INTERVAL '10 seconds')` | of that size, one after the other |
    | `HOP(t, ts, slide, size)` | of `size`, one every `slide` |
    | `CUMULATE(t, ts, step, size)` | from the start of each `size` to each `step` within it |
    | `SESSION(t, ts, gap)` | of the rows of the other keys of GROUP BY that lie no further apart than `gap` |

    `a ASOF [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts` is `join_asof`, and `row_number()` may have several
    columns in its ORDER BY.

    Windows are half open, [start, end). `EMIT CHANGES [EVERY '1s']` or `EMIT FINAL` at the end is
    `.stream.emit(...)`. A frame keeps the watermark that `.stream.with_watermark` gave it.

    Args:
        query: one SELECT.
        frames: the tables by name.

    Returns:
        A LazyFrame; a plain query needs no extra package, what Polars' SQL lacks needs `dataflare_fast[sql]`.

    Raises:
        CallError: text that is no such query, with line and column where they are known.
        MissingExtraError: what Polars' SQL lacks, without sqlglot.

    Example:
        >>> import dataflare_fast as dff
        >>> bid = dff.nexmark(events=1_000).bid.stream.with_watermark("ts", delay="4s")
        >>> hot = dff.sql(
        ...     "select auction, window_start, count(*) as bids "
        ...     "from tumble(bid, ts, interval '10 seconds') group by auction, window_start",
        ...     bid=bid,
        ... )
        >>> hot.collect(engine=dff.Engine()).columns
        ['auction', 'window_start', 'bids']
    """
    tables = {name: frame.lazy() for name, frame in frames.items()}
    emit = _EMIT.search(query)
    text = query if emit is None else query[: emit.start()]
    is_rewritten = _HAS_WINDOW.search(text) or needs_rewriting(text)
    frame = _Compiler(tables, text).frame() if is_rewritten else _of_polars(text, tables, text)
    if emit is None:
        return frame
    if emit["close"]:
        return frame.stream.emit("close")
    every = None if emit["every"] is None else _duration(_parsed(f"select {emit['every']}").expressions[0])
    return frame.stream.emit("update", every=every)


def _of_polars(text: str, tables: Mapping[str, pl.LazyFrame], written: str) -> pl.LazyFrame:
    """Polars' frame of a query; `written` is what the user wrote."""
    try:
        frame = pl.SQLContext(tables).execute(text, eager=False)
        frame.collect_schema()  # names that no table has are found here, not when the query runs
    except (
        pl.exceptions.SQLInterfaceError,
        pl.exceptions.SQLSyntaxError,
        pl.exceptions.ColumnNotFoundError,
        pl.exceptions.SchemaError,
        pl.exceptions.InvalidOperationError,
    ) as error:
        reason = str(error).split("\n\nResolved plan until failure", maxsplit=1)[0]
        raise CallError(
            f"sql: expected a query that Polars' SQL reads, got {_short(written)}"
            f"{place_of(written, error)}: {reason}"
        ) from error
    return frame


def _sqlglot() -> Any:
    try:
        import sqlglot
    except ImportError as error:
        raise MissingExtraError(
            "sql", "TUMBLE, HOP, CUMULATE, SESSION, ASOF JOIN and ORDER BY of several columns in OVER"
        ) from error
    return sqlglot


def _parsed(text: str) -> Any:
    sqlglot = _sqlglot()
    try:
        # Polars' SQL is Postgres' in what a query leaves out, such as where nulls stand.
        return sqlglot.parse_one(_standard(text), read="postgres")
    except sqlglot.errors.SqlglotError as error:
        places = getattr(error, "errors", None) or [{}]
        first = places[0]
        where = f" at line {first['line']}, column {first['col']}" if "line" in first else ""
        reason = first.get("description", str(error))
        raise CallError(f"sql: expected one SELECT, got {_short(text)}{where}: {reason}") from error


def _standard(text: str) -> str:
    """Flink's spelling, `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...))`, as the plain one; places stay."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    text = re.sub(r"(?i)\bDESCRIPTOR\s*\(\s*(\w+)\s*\)", lambda one: one[1].ljust(len(one[0])), text)
    text = re.sub(r"(?i)(?<=\()\s*TABLE\s+(?=\w)", blank, text)
    # sqlglot keeps the bare word for itself.
    text = re.sub(r"(?i)\bSESSION(?=\s*\()", "session_", text)
    wrapped = re.compile(rf"(?i)\bTABLE\s*\((?=\s*(?:{'|'.join(_WINDOWS)})\s*\()")
    while (found := wrapped.search(text)) is not None:
        depth, end = 1, found.end()
        while end < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        text = text[: found.start()] + blank(found) + text[found.end() : end - 1] + " " + text[end:]
    return text


class _Compiler:
    """Turns selects over window functions and as-of joins into frames with names, from the inside out."""

    def __init__(self, tables: Mapping[str, pl.LazyFrame], text: str) -> None:
        self._tables = dict(tables)
        self._text = text
        self._made = 0

    def frame(self) -> pl.LazyFrame:
        return self._frame(_parsed(self._text))

    def _frame(self, tree: exp.Expression) -> pl.LazyFrame:
        from sqlglot import exp

        with_clause = tree.args.get("with_") or tree.args.get("with")
        if with_clause is not None:
            for table in with_clause.expressions:
                self._tables[table.alias] = self._frame(table.this)
            with_clause.pop()
        for select in list(tree.find_all(exp.Select))[::-1]:
            function = _window_function(select)
            if function is None:
                continue
            name = self._named(self._grouped(select, function))
            outside = exp.select("*").from_(exp.to_table(name))
            for clause in ("order", "limit", "offset", "distinct"):
                if select.args.get(clause) is not None:
                    outside.set(clause, select.args[clause].copy())
            if select is tree:
                tree = outside
            else:
                select.replace(outside)
        with_asof_joins(tree, self._table, self._named)
        number_sorted_rows(tree)
        return _of_polars(tree.sql(dialect="postgres"), self._tables, self._text)

    def _named(self, frame: pl.LazyFrame) -> str:
        self._made += 1
        name = f"window_{self._made}"
        self._tables[name] = frame
        return name

    def _table(self, argument: exp.Expression) -> pl.LazyFrame:
        from sqlglot import exp

        if isinstance(argument, exp.Subquery | exp.Select):
            return self._frame(argument.this if isinstance(argument, exp.Subquery) else argument)
        name = argument.name
        if name not in self._tables:
            raise CallError(f"sql: expected a table of {sorted(self._tables)}, got '{name}'")
        return self._tables[name]

    def _grouped(self, select: exp.Select, function: exp.Anonymous) -> pl.LazyFrame:
        """A select from a window function, without its ORDER BY and LIMIT."""
        kind = function.name.lower()
        table, time, *lengths = _checked_arguments(function, kind)
        if select.args.get("joins"):
            raise CallError(
                f"sql: expected {kind.upper().rstrip('_')}(...) alone in its FROM, got a join; "
                "join the result"
            )
        frame = self._table(table)
        column = time.name
        if column not in frame.collect_schema():
            raise CallError(
                f"sql: expected a time column of {frame.collect_schema().names()}, got '{column}'"
            )
        if (where := select.args.get("where")) is not None:
            frame = frame.filter(_expression(where.this))
        keys, outputs, aggregates = _select_list(select, kind)
        if (having := select.args.get("having")) is not None:
            aggregates.append(_expression(having.this).alias(_HAVING))
        durations = [_duration(length) for length in lengths]
        result = _GROUPINGS[kind](frame, column, durations, keys, aggregates)
        if having is not None:
            result = result.filter(pl.col(_HAVING))
        return result.select(outputs)


def _window_function(select: exp.Select) -> exp.Anonymous | None:
    from sqlglot import exp

    source = select.args.get("from_") or select.args.get("from")
    table = None if source is None else source.this
    function = table.this if isinstance(table, exp.Table) else None
    is_window = isinstance(function, exp.Anonymous) and function.name.lower() in _WINDOWS
    return function if is_window else None


def _checked_arguments(function: exp.Anonymous, kind: str) -> list[exp.Expression]:
    arguments: list[exp.Expression] = list(function.expressions)
    expected = 4 if kind in ("hop", "cumulate") else 3
    if len(arguments) != expected:
        raise CallError(f"sql: expected {_ARGUMENTS[kind]}, got {function.sql()}")
    return arguments


def _select_list(select: exp.Select, kind: str) -> tuple[list[pl.Expr], list[pl.Expr], list[pl.Expr]]:
    """Keys of the group, output columns over its result, and aggregates."""
    from sqlglot import exp

    group = select.args.get("group")
    grouped = [] if group is None else list(group.expressions)
    names = {one.sql() for one in map(_unqualified, grouped)}
    if "window_start" not in names and "window_end" not in names:
        raise CallError(
            f"sql: expected GROUP BY window_start (and further keys) above {kind.upper().rstrip('_')}(...), "
            f"got {group.sql().strip() if group is not None else 'no GROUP BY'}"
        )
    keys: list[pl.Expr] = []
    named: dict[str, str] = {}
    for number, one in enumerate(map(_unqualified, grouped)):
        text = one.sql()
        if text in ("window_start", "window_end"):
            named[text] = text
            continue
        named[text] = one.name if isinstance(one, exp.Column) else f"\x01key{number}"
        keys.append(_expression(one).alias(named[text]))
    outputs: list[pl.Expr] = []
    aggregates: list[pl.Expr] = []
    for number, item in enumerate(select.expressions):
        inner = _unqualified(item.this if isinstance(item, exp.Alias) else item)
        name = item.alias_or_name or inner.sql()
        text = inner.sql()
        if text in named:
            outputs.append(pl.col(named[text]).alias(name))
        elif text in ("window_start", "window_end"):
            outputs.append(pl.col(text).alias(name))
        else:
            made = f"\x01aggregate{number}"
            aggregates.append(_expression(inner).alias(made))
            outputs.append(pl.col(made).alias(name))
    return keys, outputs, aggregates


def _unqualified(expression: exp.Expression) -> exp.Expression:
    from sqlglot import exp

    def plain(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column) and node.table:
            return exp.column(node.name)
        return node

    return expression.copy().transform(plain)


def _expression(expression: exp.Expression) -> pl.Expr:
    text = _unqualified(expression).sql(dialect="postgres")
    try:
        return pl.sql_expr(text)
    except (pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError) as error:
        raise CallError(
            f"sql: expected an expression that Polars' SQL reads, got {_short(text)}: {error}"
        ) from error


def _duration(length: exp.Expression) -> str:
    """`INTERVAL '10' SECOND`, `INTERVAL '10 seconds'` or `'10s'` as Polars writes it."""
    from sqlglot import exp

    if isinstance(length, exp.Literal) and length.is_string:
        return length.name
    if isinstance(length, exp.Interval) and isinstance(length.this, exp.Literal) and length.unit is not None:
        unit = _UNITS.get(length.unit.name.lower().removesuffix("s"))
        if unit is not None and length.this.name.isdigit():
            return f"{length.this.name}{unit}"
    raise CallError(f"sql: expected a length such as INTERVAL '10 seconds' or '10s', got {length.sql()}")


def _tumble(
    frame: pl.LazyFrame, time: str, lengths: list[str], keys: list[pl.Expr], aggregates: list[pl.Expr]
) -> pl.LazyFrame:
    (size,) = lengths
    return _bounded(frame.group_by_dynamic(time, every=size, group_by=keys).agg(aggregates), time, size)


def _hop(
    frame: pl.LazyFrame, time: str, lengths: list[str], keys: list[pl.Expr], aggregates: list[pl.Expr]
) -> pl.LazyFrame:
    slide, size = lengths
    groups = frame.stream.group_by_hopping(time, every=slide, period=size, group_by=keys)
    return _bounded(groups.agg(aggregates), time, size)


def _cumulate(
    frame: pl.LazyFrame, time: str, lengths: list[str], keys: list[pl.Expr], aggregates: list[pl.Expr]
) -> pl.LazyFrame:
    step, size = lengths
    ends = list(_multiples(step, size))
    parts = [
        _bounded(
            frame.group_by_dynamic(time, every=size, period=end, group_by=keys).agg(aggregates), time, end
        )
        for end in ends
    ]
    return pl.concat(parts)


def _session(
    frame: pl.LazyFrame, time: str, lengths: list[str], keys: list[pl.Expr], aggregates: list[pl.Expr]
) -> pl.LazyFrame:
    (gap,) = lengths
    return frame.stream.group_by_session(time, gap, group_by=keys).agg(aggregates)


def _bounded(groups: pl.LazyFrame, time: str, size: str) -> pl.LazyFrame:
    start = pl.col(time)
    return groups.with_columns(window_start=start, window_end=start.dt.offset_by(size))


def _multiples(step: str, size: str) -> Iterator[str]:
    """`step`, twice `step`, … up to `size`."""
    one, whole = (re.fullmatch(r"(\d+)(\D+)", length) for length in (step, size))
    if one is None or whole is None or one[2] != whole[2] or int(whole[1]) % max(int(one[1]), 1):
        raise CallError(
            f"sql: expected CUMULATE with a size of whole steps in one unit, got {step} and {size}"
        )
    yield from (f"{ticks}{one[2]}" for ticks in range(int(one[1]), int(whole[1]) + 1, int(one[1])))


_GROUPINGS: Final[Mapping[str, Callable[..., pl.LazyFrame]]] = {
    "tumble": _tumble,
    "hop": _hop,
    "cumulate": _cumulate,
    "session_": _session,
}


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= 120 else f"{plain[:117]}...")
