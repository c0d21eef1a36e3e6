"""SQL statements drawn from seeds over three small tables, for a comparison with DuckDB.

Drawn so that the answer is one: ORDER BY with LIMIT is by a unique column, numbers are whole or halves. Nulls
stand everywhere but in `id` and `ts`. Not here: running and comparing (`test_sql_differential.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

__all__ = ["Statement", "statement", "tables"]

_START = datetime(2024, 1, 1)


def tables(seed: int = 1) -> dict[str, pl.DataFrame]:
    """`a` and `b` are streams in the order of `ts`, `c` is a lookup table."""
    draw = random.Random(seed)
    rows_a = [
        (
            number,
            _START + timedelta(seconds=7 * number),
            draw.choice(["a", "b", "c", None]),
            draw.choice([None, -3, 0, 1, 2, 3, 4, 7]),
            draw.choice([None, -2.0, 0.5, 1.5, 8.0]),
        )
        for number in range(48)
    ]
    rows_b = [
        (
            number,
            _START + timedelta(seconds=11 * number),
            draw.choice(["a", "b", "d", None]),
            draw.choice([None, 0, 1, 2, 3, 9]),
        )
        for number in range(30)
    ]
    time = pl.Datetime("us")
    return {
        "a": pl.DataFrame(
            rows_a, {"id": pl.Int64, "ts": time, "k": pl.String, "v": pl.Int64, "f": pl.Float64}, orient="row"
        ),
        "b": pl.DataFrame(rows_b, {"id": pl.Int64, "ts": time, "k": pl.String, "w": pl.Int64}, orient="row"),
        "c": pl.DataFrame(
            {"k": ["a", "b", "e", None], "label": ["A", "B", "E", "none"], "rank": [1, 2, 5, 9]}
        ),
    }


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Args:
        text: it.
        form: what kind of statement it is.
        ordered: its rows stand in one order.
    """

    text: str
    form: str
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class _Table:
    """What a FROM reads: by name, integer, text and real columns."""

    source: str
    unique: str
    time: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    reals: tuple[str, ...] = ()


_A = _Table("a", "a.id", "a.ts", ("a.id", "a.v"), ("a.k",), ("a.f",))
_B = _Table("b", "b.id", "b.ts", ("b.id", "b.w"), ("b.k",))
_JOIN_CONDITIONS = ("a.id = b.id", "a.k = b.k", "a.v = b.w", "a.k = b.k and a.v = b.w")


class _Draw:
    """Draws parts of statements."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def of(self, items: Sequence[str]) -> str:
        return self.random.choice(items)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def whole(self, low: int = -2, high: int = 8) -> str:
        return str(self.random.randint(low, high))

    def number(self, table: _Table, depth: int = 2) -> str:
        """A whole number of each row."""
        column = self.of(table.numbers)
        if depth == 0:
            return column
        inner = self.number(table, depth - 1)
        return self.of(
            [
                column,
                self.whole(),
                f"({inner} + {self.whole()})",
                f"({inner} * 2 - {self.of(table.numbers)})",
                f"abs({inner})",
                f"coalesce({inner}, {self.whole()})",
                f"nullif({inner}, {self.whole()})",
                f"case when {self.condition(table, depth - 1)} then {inner} else {self.whole()} end",
                f"greatest({column}, 2)",
                f"length({self.of(table.texts)})",
            ]
        )

    def condition(self, table: _Table, depth: int = 2) -> str:
        """Something that is true or false, or null."""
        number, text = self.of(table.numbers), self.of(table.texts)
        if depth == 0:
            return f"{number} > {self.whole()}"
        low = self.random.randint(-3, 6)
        one, other = self.condition(table, depth - 1), self.condition(table, depth - 1)
        choices = [
            f"{self.number(table, depth - 1)} {self.of(['<', '<=', '>', '>=', '=', '<>'])} {self.whole()}",
            f"{number} between {low} and {low + self.random.randint(0, 5)}",
            f"{number} not between {low} and {low + 2}",
            f"{number} in ({self.whole()}, {self.whole()}, {self.whole()})",
            f"{text} in ('a', 'd')",
            f"{text} not in ('b')",
            f"{text} is null",
            f"{number} is not null",
            f"{text} like '{self.of(['a%', '%b', '_', '%'])}'",
            f"{text} < 'b'",
            f"({text} is distinct from 'a')",
            f"({one} and {other})",
            f"({one} or {other})",
            f"not ({one})",
        ]
        if table.reals:
            choices.append(f"{self.of(table.reals)} {self.of(['<', '>='])} 1.0")
        return self.of(choices)

    def output(self, table: _Table) -> str:
        """A column of any type."""
        text = self.of(table.texts)
        choices = [
            self.number(table),
            text,
            f"upper({text})",
            f"{text} || '-x'",
            f"case when {self.condition(table)} then 'yes' else {text} end",
            f"coalesce({text}, 'none')",
            f"cast({self.of(table.numbers)} as double) / 2",
            self.condition(table),
        ]
        return self.of([*choices, *table.reals])

    def aggregate(self, table: _Table) -> str:
        number, condition = self.number(table, 1), self.condition(table, 1)
        choices = [
            "count(*)",
            f"count({self.of(table.numbers)})",
            f"count(distinct {self.of([*table.numbers, *table.texts])})",
            f"sum({number})",
            f"min({number})",
            f"max({number})",
            f"avg({self.of(table.numbers)})",
            f"sum({self.of(table.numbers)}) filter (where {condition})",
            f"count(*) filter (where {condition})",
            f"max({self.of(table.texts)})",
            f"sum(case when {condition} then 1 else 0 end)",
            f"stddev({self.of(table.numbers)})",
            f"median({self.of(table.numbers)})",
        ]
        choices += [f"sum({one})" for one in table.reals]
        return self.of(choices)

    def where(self, table: _Table, share: float = 0.7) -> str:
        return f" where {self.condition(table)}" if self.chance(share) else ""

    def table(self) -> _Table:
        return self.random.choice([_A, _A, _B])

    def source(self) -> _Table:
        """A table, a join or a subquery."""
        kind = self.random.random()
        if kind < 0.45:
            return self.table()
        if kind < 0.7:
            how = self.of(["join", "inner join", "left join", "right join", "full join"])
            return _Table(
                f"a {how} b on {self.of(_JOIN_CONDITIONS)}",
                "",
                "",
                ("a.id", "a.v", "b.id", "b.w"),
                ("a.k", "b.k"),
                ("a.f",),
            )
        if kind < 0.85:
            how = self.of(["join", "left join"])
            return _Table(f"a {how} c on a.k = c.k", "a.id", "a.ts", ("a.id", "a.v", "c.rank"), ("c.label",))
        table = self.table()
        name, number = table.source, table.numbers[1].split(".")[1]
        inner = f"select id, k, ts, {self.number(table)} as {number} from {name}{self.where(table)}"
        return _Table(f"({inner}) as {name}", table.unique, table.time, table.numbers, table.texts)


def _rows(draw: _Draw) -> Statement:
    table = draw.source()
    columns = [f"{draw.output(table)} as x{number}" for number in range(draw.random.randint(1, 4))]
    return Statement(f"select {', '.join(columns)} from {table.source}{draw.where(table)}", "rows")


def _distinct(draw: _Draw) -> Statement:
    table = draw.source()
    columns = [f"{draw.output(table)} as x{number}" for number in range(draw.random.randint(1, 2))]
    return Statement(
        f"select distinct {', '.join(columns)} from {table.source}{draw.where(table)}", "distinct"
    )


def _groups(draw: _Draw) -> Statement:
    table = draw.source()
    keys = [
        draw.of([*table.texts, *table.numbers[1:], draw.number(table, 1), draw.condition(table, 1)])
        for _ in range(draw.random.randint(1, 2))
    ]
    aggregates = [f"{draw.aggregate(table)} as y{number}" for number in range(draw.random.randint(1, 3))]
    # The same constant or column twice is one key; Polars wants distinct ones.
    keys = list(dict.fromkeys(key for key in keys if "." in key)) or [table.texts[0]]
    columns = [f"{key} as x{number}" for number, key in enumerate(keys)]
    having = ""
    if draw.chance(0.4):
        having = " having " + draw.of(
            ["count(*) > 2", f"sum({table.numbers[1]}) > 3", "count(*) between 1 and 9"]
        )
    return Statement(
        f"select {', '.join([*columns, *aggregates])} from {table.source}{draw.where(table, 0.4)} "
        f"group by {', '.join(keys)}{having}",
        "groups",
    )


def _totals(draw: _Draw) -> Statement:
    table = draw.source()
    aggregates = [f"{draw.aggregate(table)} as y{number}" for number in range(draw.random.randint(1, 4))]
    return Statement(f"select {', '.join(aggregates)} from {table.source}{draw.where(table)}", "totals")


def _sorted(draw: _Draw) -> Statement:
    table = draw.table()
    direction = draw.of(["asc nulls last", "desc nulls last", "desc nulls first"])
    limit = f" limit {draw.random.randint(1, 9)}" if draw.chance(0.7) else ""
    offset = f" offset {draw.random.randint(0, 4)}" if limit and draw.chance(0.5) else ""
    return Statement(
        f"select {table.unique} as x0, {table.numbers[1]} as x1, {draw.output(table)} as x2 "
        f"from {table.source}{draw.where(table, 0.4)} order by x1 {direction}, x0{limit}{offset}",
        "sorted",
        ordered=True,
    )


def _groups_of_groups(draw: _Draw) -> Statement:
    table = draw.table()
    inner = (
        f"select {table.texts[0]} as k, {table.numbers[1]} as n, count(*) as c from {table.source}"
        f"{draw.where(table, 0.4)} group by {table.texts[0]}, {table.numbers[1]}"
    )
    outer = draw.of(["max(c)", "sum(c)", "count(*)", "min(n)"])
    if draw.chance(0.5):
        return Statement(f"with t as ({inner}) select k, {outer} as y from t group by k", "nested groups")
    return Statement(f"select k, {outer} as y from ({inner}) as t group by k", "nested groups")


def _join_back(draw: _Draw) -> Statement:
    best = draw.of(["max", "min"])
    return Statement(
        f"with t as (select k, {best}(v) as m from a{draw.where(_A, 0.4)} group by k) "
        f"select a.id as x from a join t on a.k = t.k and a.v = t.m",
        "join with groups",
    )


def _sets(draw: _Draw) -> Statement:
    word = draw.of(["union all", "union", "except", "intersect"])
    column, other = draw.of([("k k"), ("v w"), ("id id")]).split()
    return Statement(
        f"select {column} as x from a{draw.where(_A, 0.4)} {word} "
        f"select {other} as x from b{draw.where(_B, 0.4)}",
        word,
    )


def _members(draw: _Draw) -> Statement:
    if draw.chance(0.5):
        return Statement(
            f"select a.id as x from a {draw.of(['semi', 'anti'])} join b on {draw.of(_JOIN_CONDITIONS)}"
            f"{draw.where(_A, 0.4)}",
            "semi and anti joins",
        )
    return Statement(
        f"select a.id as x from a where a.id in (select id from b{draw.where(_B)})", "semi and anti joins"
    )


def _top(draw: _Draw) -> Statement:
    table = draw.table()
    key, number, unique = (one.split(".")[1] for one in (table.texts[0], table.numbers[1], table.unique))
    order = draw.of(
        [
            f"{unique}",
            f"{unique} desc",
            f"{number} {draw.of(['asc', 'desc'])} nulls last, {unique} {draw.of(['asc', 'desc'])}",
        ]
    )
    window = f"row_number() over (partition by {key} order by {order})"
    rows = draw.random.randint(1, 3)
    where = draw.where(table, 0.4)
    if draw.chance(0.5):
        return Statement(
            f"select {unique} as x, {key} as y from {table.source}{where} qualify {window} <= {rows}",
            "top rows",
        )
    return Statement(
        f"select x, y, n from (select {unique} as x, {key} as y, {window} as n "
        f"from {table.source}{where}) as t where n <= {rows}",
        "top rows",
    )


def _running(draw: _Draw) -> Statement:
    table = draw.table()
    key, number, unique = (one.split(".")[1] for one in (table.texts[0], table.numbers[1], table.unique))
    over = draw.of([f"partition by {key} order by ts", "order by ts"])
    rows = draw.of(["unbounded", str(draw.random.randint(1, 4))])
    function = draw.of(
        [
            f"{draw.of(['sum', 'min', 'max', 'count'])}({number}) over "
            f"({over} rows between {rows} preceding and current row)",
            f"lag({number}) over ({over})",
            f"lag({number}, 2) over ({over})",
            f"first_value({number}) over ({over})",
            f"row_number() over ({over})",
            f"{number} - lag({number}) over ({over})",
            f"{draw.of(['sum', 'min', 'max', 'count', 'avg'])}({number}) over ({over})",
            f"count(*) over ({over})",
            f"{draw.of(['rank', 'dense_rank'])}() over ({over})",
            f"lead({number}) over ({over})",
        ]
    )
    return Statement(
        f"select {unique} as x, {function} as y from {table.source}{draw.where(table, 0.3)}", "running"
    )


def _as_of(draw: _Draw) -> Statement:
    left = draw.of(["", "left "])
    comparison = draw.of(["a.ts >= b.ts", "a.ts > b.ts", "b.ts <= a.ts", "a.ts <= b.ts", "a.ts < b.ts"])
    return Statement(
        f"select a.id as x, b.id as y, b.w as z from a asof {left}join b on a.k = b.k and {comparison}"
        f"{draw.where(_A, 0.3)}",
        "as-of joins",
    )


def _interval(draw: _Draw) -> Statement:
    seconds = draw.random.randint(1, 60)
    return Statement(
        "select a.id as x, b.id as y from a join b on a.k = b.k "
        f"where b.ts between a.ts and a.ts + interval '{seconds} seconds'"
        + (f" and {draw.condition(_A)}" if draw.chance(0.5) else ""),
        "interval joins",
    )


_FORMS: tuple[tuple[int, Callable[[_Draw], Statement]], ...] = (
    (24, _rows),
    (8, _distinct),
    (24, _groups),
    (8, _totals),
    (8, _sorted),
    (5, _groups_of_groups),
    (3, _join_back),
    (5, _sets),
    (4, _members),
    (6, _top),
    (7, _running),
    (4, _as_of),
    (4, _interval),
)


def statement(seed: int) -> Statement:
    """The statement of a seed."""
    draw = _Draw(seed)
    weights = [weight for weight, _ in _FORMS]
    form = draw.random.choices([one for _, one in _FORMS], weights)[0]
    return form(draw)
