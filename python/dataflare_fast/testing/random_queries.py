"""Random whole queries: sources, chains of steps, watermarks, windows, groups, a final sort; all from a seed.

`random_query(seed)` draws one, `check_random_query(seed)` runs it under random schedules and compares it with
Polars. The vocabulary is in `query_tables.py`, the rows are in `random_rows.py`; a step is one function here
and one line of `_STEPS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import polars as pl

from dataflare_fast.testing.check import simulate
from dataflare_fast.testing.comparison import assert_same_rows
from dataflare_fast.testing.query_tables import (
    AGGREGATES,
    EXPRESSIONS,
    INTEGER_WINDOWS,
    KEYS,
    PREDICATES,
    RUNNING,
    TIME_KEYS,
    WINDOWS,
    Aggregate,
    Rule,
    kind_of,
)
from dataflare_fast.testing.random_rows import COLUMNS, SOURCES, random_source

__all__ = ["RandomQuery", "check_random_query", "random_query"]

_DELAYS: Final = {"datetime": ("0s", "10m", "2h"), "date": ("0d", "1d"), "integer": ("0i", "100i", "5000i")}
_TIMES: Final = ("ts", "tms", "n", "n32", "day")
_CALENDAR: Final = ("d", "w", "mo", "q", "y")


@dataclass(frozen=True, slots=True)
class RandomQuery:
    """A query and how it was put together.

    Args:
        seed: draws it again.
        frame: over bounded sources.
        steps: one line for each step.
        in_order: its rows have an order, which counts.
    """

    seed: int
    frame: pl.LazyFrame
    steps: tuple[str, ...]
    in_order: bool

    def __str__(self) -> str:
        return "\n  ".join([f"random query {self.seed}:", *self.steps])


def random_query(seed: int) -> RandomQuery:
    """Draws a query.

    Args:
        seed: decides everything.

    Example:
        >>> import dataflare_fast as dff
        >>> dff.testing.random_query(1).steps == dff.testing.random_query(1).steps
        True
    """
    draft = _Draft(random.Random(f"query {seed}"))  # noqa: S311 - replayed, not secret
    draft.start()
    for _ in range(draft.draw.randint(0, 3)):
        draft.step()
    if draft.draw.random() < 0.7:
        _watermark(draft)
    for _ in range(draft.draw.randint(0, 3)):
        draft.step()
    for _ in range(draft.draw.choice([0, 1, 1, 1, 1, 2])):
        draft.draw.choice(_GROUPS)(draft)
        for _ in range(draft.draw.randint(0, 2)):
            draft.step()
    in_order = draft.draw.random() < 0.2
    if in_order:
        _final_sort(draft)
    return RandomQuery(seed, draft.frame, tuple(draft.steps), in_order)


def check_random_query(seed: int, *, schedules: int = 2) -> None:
    """Asserts that a random query gives Polars' answer, however it is run.

    Args:
        seed: of the query and of its schedules.
        schedules: so many are drawn: cuts, workers, deaths, abandoned epochs, rescales.

    Raises:
        AssertionError: another answer; shows the query and the seeds, which repeat it.
    """
    query = random_query(seed)
    try:
        expected = query.frame.collect(engine="in-memory")
        for schedule in range(seed, seed + schedules):
            found = simulate(query.frame, seed=schedule)
            _compare(found, expected, f"schedule {schedule}", in_order=query.in_order)
    except Exception as error:
        error.add_note(f"check_random_query({seed}) repeats it\n{query}")
        raise


def _compare(found: pl.DataFrame, expected: pl.DataFrame, where: str, *, in_order: bool) -> None:
    if found.schema != expected.schema:
        raise AssertionError(f"{where}: expected {expected.schema}, got {found.schema}")
    ours, theirs = _one_zero(found), _one_zero(expected)
    if not in_order:
        ours, theirs = (frame.sort(pl.all(), nulls_last=True) for frame in (ours, theirs))
    if not ours.equals(theirs):
        assert_same_rows(found, expected, 0.0)  # says where; the rows are the same only in another order
        raise AssertionError(f"{where}: expected {expected.rows()}, got {found.rows()}")


def _one_zero(frame: pl.DataFrame) -> pl.DataFrame:
    """Both zeros as one: the law does not say which of them stands for a group."""
    return frame.with_columns(pl.col(pl.Float32, pl.Float64) + 0.0)


@dataclass(slots=True)
class _Draft:
    """A query on its way.

    Args:
        draw: decides.
        frame: so far.
        steps: what it consists of, in words.
        time: the column that is the event time, if there is one.
        ordered: rows have a logical order.
        sorted: the frame is sorted by `time` in plain Polars.
        placed: `with_watermark` may stand above.
        positioned: rows have a place in a split, so that a concat of them has an order.
        headed: a `head` stands below.
        rounded: columns whose last bits depend on the order of additions.
    """

    draw: random.Random
    frame: pl.LazyFrame = field(default_factory=pl.LazyFrame)
    steps: list[str] = field(default_factory=list)
    time: str | None = None
    ordered: bool = True
    sorted: bool = False
    placed: bool = True
    positioned: bool = True
    headed: bool = False
    rounded: set[str] = field(default_factory=set)
    names: int = 0

    def start(self) -> None:
        numbers = self.draw.sample(range(SOURCES), k=self.draw.choice([1, 1, 1, 2]))
        sources = [random_source(number) for number in numbers]
        self.take(
            f"concat of random_source {numbers}", pl.concat(sources) if len(sources) > 1 else sources[0]
        )
        # Few columns: errors are read by people.
        chosen = self.draw.sample(self.columns("any"), k=self.draw.randint(2, 7))
        times = self.draw.sample(_TIMES, k=self.draw.randint(1, 2))
        self.take(f"select {[*times, *chosen]}", self.frame.select(list(dict.fromkeys([*times, *chosen]))))

    def take(self, step: str, frame: pl.LazyFrame) -> None:
        self.steps.append(step)
        self.frame = frame

    def step(self) -> None:
        steps, weights = zip(*_STEPS, strict=True)
        self.draw.choices(steps, weights)[0](self)

    @property
    def schema(self) -> pl.Schema:
        return self.frame.collect_schema()

    def columns(self, kinds: str, *, but: Sequence[str | None] = ()) -> list[str]:
        return [
            name
            for name, dtype in self.schema.items()
            if name not in but and (kinds == "any" or kind_of(dtype) in kinds.split())
        ]

    def lose_order(self) -> None:
        self.time, self.ordered, self.sorted, self.placed = None, False, False, False
        self.positioned = False

    def new_name(self) -> str:
        self.names += 1
        return f"c{self.names}"

    def drawn(
        self, rules: Sequence[Rule], *, column: str | None = None, but: Sequence[str | None] = ()
    ) -> tuple[pl.Expr, Rule, bool] | None:
        """An expression over a column (a drawn one unless given), its rule, and whether it is rounded."""
        schema = self.schema
        name = column or self.draw.choice([name for name in schema if name not in but] or [None])
        if name is None:
            return None
        fitting = [rule for rule in rules if rule.takes(kind_of(schema[name]))]
        if not fitting:
            return None
        rule = self.draw.choice(fitting)
        other = self.draw.choice([one for one, dtype in schema.items() if dtype == schema[name]])
        return rule.make(pl.col(name), pl.col(other)), rule, bool({name, other} & self.rounded)

    def aggregates(self, *, but: Sequence[str | None] = ()) -> list[pl.Expr]:
        made: list[pl.Expr] = []
        rounded = set()
        for _ in range(self.draw.randint(1, 4)):
            drawn = self.drawn(AGGREGATES, but=but)
            if drawn is None:
                continue
            expr, rule, inexact = drawn
            assert isinstance(rule, Aggregate)
            if (rule.ordered and not self.ordered) or inexact:
                continue
            name = self.new_name()
            if rule.rounded:
                rounded.add(name)
            made.append(expr.alias(name))
        for _ in range(self.draw.randint(0, 2)):
            made += self.filtered_aggregate(rounded)
        self.rounded = rounded
        return made or [pl.len().alias(self.new_name())]

    def filtered_aggregate(self, rounded: set[str]) -> list[pl.Expr]:
        predicate = self.drawn(PREDICATES)
        column = self.draw.choice(list(self.schema))
        kind = kind_of(self.schema[column])
        rule = self.draw.choice([rule for rule in AGGREGATES if rule.takes(kind) and rule.filtered])
        if predicate is None or column in self.rounded or (rule.ordered and not self.ordered):
            return []
        kept = pl.col(column).filter(predicate[0])
        name = self.new_name()
        if rule.rounded:
            rounded.add(name)
        return [rule.make(kept, kept).alias(name)]


def _filter(draft: _Draft) -> None:
    drawn = draft.drawn(PREDICATES)
    if drawn is not None and not drawn[2]:
        draft.take(f"filter {drawn[0]}", draft.frame.filter(drawn[0]))


def _with_columns(draft: _Draft) -> None:
    drawn = draft.drawn(EXPRESSIONS)
    if drawn is None:
        return
    free = draft.columns("any", but=[draft.time])
    name = draft.new_name() if draft.draw.random() < 0.7 or not free else draft.draw.choice(free)
    draft.rounded.discard(name)
    if drawn[2]:
        draft.rounded.add(name)
    draft.take(f"with_columns {name} = {drawn[0]}", draft.frame.with_columns(drawn[0].alias(name)))


def _select(draft: _Draft) -> None:
    names = list(draft.schema)
    chosen = draft.draw.sample(names, k=draft.draw.randint(1, len(names)))
    if draft.time is not None and draft.time not in chosen and draft.draw.random() < 0.9:
        chosen.append(draft.time)
    draft.take(f"select {chosen}", draft.frame.select(chosen))
    _forget_lost_time(draft)


def _drop(draft: _Draft) -> None:
    names = draft.columns("any", but=[draft.time])
    if len(names) > 1:
        name = draft.draw.choice(names)
        draft.take(f"drop {name}", draft.frame.drop(name))


def _rename(draft: _Draft) -> None:
    old, new = draft.draw.choice(list(draft.schema)), draft.new_name()
    draft.take(f"rename {old} to {new}", draft.frame.rename({old: new}))
    if old == draft.time:
        draft.time = new
    if old in draft.rounded:
        draft.rounded.add(new)


def _head(draft: _Draft) -> None:
    # A head above another is not drawn: see `test_head_above_a_filter_above_a_head`.
    if not draft.ordered or draft.headed:
        return
    draft.placed, draft.headed = False, True
    rows = draft.draw.choice([0, 1, 7, 40, 1000])
    if draft.draw.random() < 0.3:
        draft.take(f"slice 2 {rows}", draft.frame.slice(2, rows))
    else:
        draft.take(f"head {rows}", draft.frame.head(rows))


def _concat(draft: _Draft) -> None:
    """With a part of itself."""
    drawn = draft.drawn(PREDICATES)
    if drawn is None or drawn[2]:
        return
    draft.take(f"concat with {drawn[0]}", pl.concat([draft.frame, draft.frame.filter(drawn[0])]))
    draft.placed = False
    draft.sorted = False
    draft.ordered = draft.ordered and draft.time is None and draft.positioned


def _shift(draft: _Draft) -> None:
    """Moves the event time, or converts it to a zone with daylight saving: it stays the event time."""
    if draft.time is None or not isinstance(dtype := draft.schema[draft.time], pl.Datetime):
        return
    time = pl.col(draft.time)
    if draft.draw.random() < 0.4:
        draft.take("shift by 1h", draft.frame.with_columns(time + pl.duration(hours=1)))
        return
    if dtype.time_zone is None:
        time = time.dt.replace_time_zone("UTC")
    zone = draft.draw.choice(["Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu"])
    draft.take(f"convert to {zone}", draft.frame.with_columns(time.dt.convert_time_zone(zone)))


def _unique(draft: _Draft) -> None:
    """Which row of equal ones stays is certain where rows have an order, or where none of them does."""
    names = [name for name in draft.schema if name not in draft.rounded]
    if not names:
        return
    subset = draft.draw.sample(names, k=min(draft.draw.randint(1, 2), len(names)))
    keep: Literal["first", "last", "none"] = draft.draw.choice(
        ["first", "last", "none"] if draft.ordered else ["none"]
    )
    draft.take(f"unique {subset} {keep}", draft.frame.unique(subset, keep=keep))
    draft.lose_order()


def _running(draft: _Draft) -> None:
    """A function of earlier rows, of each key."""
    drawn = draft.drawn(RUNNING, but=[draft.time, *draft.rounded])
    if drawn is None or not draft.ordered:
        return
    keys = [name for name in draft.schema if name != draft.time and name not in draft.rounded]
    key, name = draft.draw.choice(keys), draft.new_name()
    made = drawn[0].over(key) if draft.time is None else drawn[0].over(key, order_by=draft.time)
    draft.take(f"running {name} = {made}", draft.frame.with_columns(made.alias(name)))
    draft.placed = draft.positioned = False


def _join(draft: _Draft) -> None:
    """With a few rows of another source, by a key of the same type."""
    if not (keys := [name for name in draft.schema if name not in (draft.time, *draft.rounded)]):
        return
    key, dtypes = draft.draw.choice(keys), {name: dtype for name, (dtype, _) in COLUMNS.items()}
    fitting = [name for name, dtype in dtypes.items() if dtype == draft.schema[key]]
    if not fitting:
        return
    other, value = draft.draw.choice(fitting), draft.draw.choice(list(COLUMNS))
    names = {"key": draft.new_name(), "value": draft.new_name()}
    number, rows = draft.draw.randrange(SOURCES), draft.draw.choice([3, 12])
    table = random_source(number).select(
        pl.col(other).alias(names["key"]), pl.col(value).alias(names["value"])
    )
    how: Literal["inner", "left", "right", "full", "semi", "anti"] = draft.draw.choice(
        ["inner", "left", "right", "full", "semi", "anti"]
    )
    joined = draft.frame.join(table.head(rows), left_on=key, right_on=names["key"], how=how)
    draft.take(f"{how} join {key} with {other} of random_source {number}, {rows} rows", joined)
    draft.lose_order()


_STEPS: Final[tuple[tuple[Callable[[_Draft], None], int], ...]] = (
    (_filter, 5),
    (_with_columns, 6),
    (_select, 3),
    (_drop, 2),
    (_rename, 2),
    (_head, 1),
    (_concat, 1),
    (_shift, 1),
    (_unique, 1),
    (_running, 1),
    (_join, 1),
)
"""Steps that give rows of their input again, and how often each is drawn."""


def _watermark(draft: _Draft) -> None:
    if not draft.placed:
        return
    schema = draft.schema
    times = [name for name in _TIMES if schema.get(name) == COLUMNS[name][0]]
    if not times:
        return
    name = draft.draw.choice(times)
    delay = draft.draw.choice(_DELAYS[kind_of(draft.schema[name])])
    marked = draft.frame.stream.with_watermark(name, delay=delay)
    if draft.draw.random() < 0.05:
        draft.take(f"late of {name} {delay}", marked.stream.late())
        return
    draft.take(f"with_watermark {name} {delay}", marked)
    draft.time = name
    draft.sorted = True


def _windows(draft: _Draft) -> None:
    """`group_by_dynamic` on the event time."""
    if draft.time is None:
        _groups(draft)
        return
    dtype = draft.schema[draft.time]
    windows = [window for window in _tables_of(dtype) if _fits(window, dtype)]
    if not windows:
        _groups(draft)
        return
    if not draft.sorted:
        draft.take(f"sort {draft.time}", draft.frame.sort(draft.time))
    window = draft.draw.choice(windows)
    keys = _keys(draft)
    aggregates = draft.aggregates(but=[draft.time])
    text = f"group_by_dynamic {draft.time} {window} by {_text(keys)}: {_text(aggregates)}"
    grouped = draft.frame.group_by_dynamic(draft.time, group_by=keys or None, **window)
    draft.take(text, grouped.agg(aggregates))
    _grouped(draft, draft.time)


def _tables_of(dtype: pl.DataType) -> Sequence[dict[str, Any]]:
    return INTEGER_WINDOWS if dtype.is_integer() else WINDOWS


def _fits(window: dict[str, Any], dtype: pl.DataType) -> bool:
    """Days and longer go everywhere, hours only where days all have 24 of them, minutes not on dates."""
    if dtype.is_integer():
        return True
    lengths = [window[part] for part in ("every", "period", "offset") if part in window]
    calendar = all(length.lstrip("-0123456789") in _CALENDAR for length in lengths)
    has_zone = isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC")
    if has_zone and "start_by" in window:
        return False
    return calendar or not (has_zone or isinstance(dtype, pl.Date))


def _time_groups(draft: _Draft) -> None:
    """`group_by` with a key that follows the event time."""
    drawn = None if draft.time is None else draft.drawn(TIME_KEYS, column=draft.time)
    if drawn is None:
        _groups(draft)
        return
    name = draft.new_name()
    keys = [drawn[0].alias(name), *_keys(draft)]
    draft.draw.shuffle(keys)
    aggregates = draft.aggregates()
    draft.take(f"group_by {_text(keys)}: {_text(aggregates)}", draft.frame.group_by(keys).agg(aggregates))
    _grouped(draft, name)


def _groups(draft: _Draft) -> None:
    """`group_by` with keys that say nothing about time."""
    keys = _keys(draft)
    aggregates = draft.aggregates()
    if not keys:
        draft.take(f"select {_text(aggregates)}", draft.frame.select(aggregates))
    else:
        draft.take(f"group_by {_text(keys)}: {_text(aggregates)}", draft.frame.group_by(keys).agg(aggregates))
    _grouped(draft, None)


_GROUPS: Final = (_windows, _windows, _time_groups, _groups)


def _keys(draft: _Draft) -> list[pl.Expr]:
    keys = []
    for _ in range(draft.draw.choice([0, 1, 1, 2, 3])):
        drawn = draft.drawn(KEYS, but=[draft.time, *draft.rounded])
        if drawn is not None:
            keys.append(drawn[0].alias(draft.new_name()))
    return keys


def _grouped(draft: _Draft, time: str | None) -> None:
    draft.time, draft.ordered, draft.sorted = time, False, False


def _final_sort(draft: _Draft) -> None:
    """By all columns, so that rows that are equal are the only ties."""
    names = draft.draw.sample(list(draft.schema), k=len(draft.schema))
    descending = [draft.draw.random() < 0.5 for _ in names]
    nulls_last = [draft.draw.random() < 0.5 for _ in names]
    frame = draft.frame.sort(names, descending=descending, nulls_last=nulls_last)
    head = draft.draw.choice([None, None, 1, 20])
    draft.take(f"sort {names}, head {head}", frame if head is None else frame.head(head))


def _forget_lost_time(draft: _Draft) -> None:
    if draft.time not in draft.schema:
        draft.time = None


def _text(exprs: Sequence[pl.Expr]) -> str:
    return "; ".join(map(str, exprs)) or "nothing"
