"""Random whole queries: sources, chains of steps, watermarks, windows, groups, a final sort; all from a seed.

`random_query(seed)` draws one, `check_random_query(seed)` runs it under random schedules and compares it with
Polars. The vocabulary is in `query_tables.py`, the rows are in `random_rows.py`; a step is one function here
and one line of `_STEPS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

import polars as pl

from dataflare_fast.testing.check import simulate
from dataflare_fast.testing.comparison import assert_same_rows
from dataflare_fast.testing.query_tables import (
    AGGREGATES,
    BY_TIME,
    EXPRESSIONS,
    INTEGER_WINDOWS,
    KEYS,
    PREDICATES,
    ROLLED,
    RUNNING,
    TIME_KEYS,
    WINDOWS,
    Aggregate,
    Rule,
    TimeRule,
    kind_of,
)
from dataflare_fast.testing.random_rows import COLUMNS, SOURCES, random_source

__all__ = ["RandomQuery", "check_random_query", "random_query"]

_DELAYS: Final = {"datetime": ("0s", "10m", "2h"), "date": ("0d", "1d"), "integer": ("0i", "100i", "5000i")}
_TOLERANCE: Final = 1e-9
_TIMES: Final = ("ts", "tms", "n", "n32", "day")
_GAPS: Final = {"datetime": ("30s", "20m", "3h"), "date": ("1d", "3d"), "integer": ("60i", "2000i")}
_PERIODS: Final = {"datetime": ("1m", "30m", "1d"), "date": ("1d", "1w"), "integer": ("100i", "3000i")}
_CALENDAR: Final = ("d", "w", "mo", "q", "y")


@dataclass(frozen=True, slots=True)
class RandomQuery:
    """A query and how it was put together.

    Args:
        seed: draws it again.
        frame: over bounded sources.
        steps: one line for each step.
        in_order: its rows have an order, which counts.
        inexact: columns that agree with Polars' but for their last bits.
        open_lists: columns of lists without order.
    """

    seed: int
    frame: pl.LazyFrame
    steps: tuple[str, ...]
    in_order: bool
    inexact: frozenset[str] = frozenset()
    open_lists: frozenset[str] = frozenset()

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
    in_order = draft.draw.random() < 0.2 and draft.sortable() == list(draft.schema)
    if in_order:
        _final_sort(draft)
    inexact, open_lists = frozenset(draft.inexact), frozenset(draft.open_lists)
    return RandomQuery(seed, draft.frame, tuple(draft.steps), in_order, inexact, open_lists)


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
            _compare(found, expected, f"schedule {schedule}", query)
    except Exception as error:
        error.add_note(f"check_random_query({seed}) repeats it\n{query}")
        raise


def _compare(found: pl.DataFrame, expected: pl.DataFrame, where: str, query: RandomQuery) -> None:
    if found.schema != expected.schema:
        raise AssertionError(f"{where}: expected {expected.schema}, got {found.schema}")
    nested = {name for name, dtype in expected.schema.items() if dtype.is_nested()}
    loose = query.inexact | nested
    if loose:
        assert_same_rows(found, expected, _TOLERANCE, open_lists=bool(query.open_lists))
    exact = [name for name in expected.columns if name not in loose]
    ours, theirs = _one_zero(found.select(exact)), _one_zero(expected.select(exact))
    if exact and not query.in_order:
        ours, theirs = (frame.sort(exact, nulls_last=True) for frame in (ours, theirs))
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
        rounded: columns whose last bits depend on the order of additions.
        inexact: columns that agree with Polars' but for their last bits; nothing is computed of them.
        open_lists: columns of lists without order; nothing is computed of them either.
        names: so many new names were given.
        appended: a step made rows of rows, whose places have room for one such step.
    """

    draw: random.Random
    frame: pl.LazyFrame = field(default_factory=pl.LazyFrame)
    steps: list[str] = field(default_factory=list)
    time: str | None = None
    ordered: bool = True
    sorted: bool = False
    placed: bool = True
    positioned: bool = True
    rounded: set[str] = field(default_factory=set)
    inexact: set[str] = field(default_factory=set)
    open_lists: set[str] = field(default_factory=set)
    names: int = 0
    appended: bool = False

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

    @property
    def opaque(self) -> set[str]:
        """Columns that only go by."""
        return self.inexact | self.open_lists

    def exact(self, *, but: Sequence[str | None] = ()) -> list[str]:
        """Columns whose every bit is certain, and which have equality: keys."""
        unsure = {*but, *self.rounded, *self.opaque}
        return [name for name, dtype in self.schema.items() if name not in unsure and not dtype.is_nested()]

    def sortable(self) -> list[str]:
        """Columns that decide an order alike here and in Polars."""
        nested = {name for name, dtype in self.schema.items() if dtype.is_nested()}
        return [name for name in self.schema if name not in self.opaque | nested]

    def put(self, name: str, *, rounded: bool = False, inexact: bool = False, is_open: bool = False) -> None:
        """Notes what is known of a new column."""
        marks = ((self.rounded, rounded), (self.inexact, inexact), (self.open_lists, is_open))
        for names, holds in marks:
            names.discard(name)
            if holds:
                names.add(name)

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
        usable = [name for name in schema if name not in but and name not in self.opaque]
        name = column or self.draw.choice(usable or [None])
        if name is None:
            return None
        fitting = [rule for rule in rules if rule.takes(kind_of(schema[name]))]
        if not fitting:
            return None
        rule = self.draw.choice(fitting)
        alike = [one for one, dtype in schema.items() if dtype == schema[name] and one not in self.opaque]
        other = self.draw.choice(alike)
        return rule.make(pl.col(name), pl.col(other)), rule, bool({name, other} & self.rounded)

    def aggregates(
        self, rules: Sequence[Aggregate] = AGGREGATES, *, but: Sequence[str | None] = (), grouped: bool = True
    ) -> list[pl.Expr]:
        made: list[pl.Expr] = []
        marks: list[tuple[str, Rule]] = []
        for _ in range(self.draw.randint(1, 4)):
            drawn = self.drawn(rules, but=but)
            if drawn is None:
                continue
            expr, rule, inexact = drawn
            assert isinstance(rule, Aggregate)
            if (rule.ordered and not self.ordered) or inexact or (rule.many and not grouped):
                continue
            marks.append((self.new_name(), rule))
            made.append(expr.alias(marks[-1][0]))
        for _ in range(self.draw.randint(0, 2) if rules is AGGREGATES else 0):
            made += self.filtered_aggregate(marks, grouped)
        if not made:
            marks.append((self.new_name(), AGGREGATES[0]))
            made.append(pl.len().alias(marks[-1][0]))
        if rules is AGGREGATES:
            self.rounded, self.inexact, self.open_lists = set(), set(), set()
        for name, rule in marks:
            is_open = isinstance(rule, Aggregate) and rule.is_open
            self.put(name, rounded=rule.rounded, inexact=rule.inexact, is_open=is_open)
        return made

    def filtered_aggregate(self, marks: list[tuple[str, Rule]], grouped: bool) -> list[pl.Expr]:
        predicate = self.drawn(PREDICATES)
        usable = [name for name in self.schema if name not in self.opaque]
        if predicate is None or not usable:
            return []
        column = self.draw.choice(usable)
        kind = kind_of(self.schema[column])
        rule = self.draw.choice(
            [rule for rule in AGGREGATES if rule.takes(kind) and rule.filtered and (grouped or not rule.many)]
        )
        if column in self.rounded or (rule.ordered and not self.ordered):
            return []
        kept = pl.col(column).filter(predicate[0])
        marks.append((self.new_name(), rule))
        return [rule.make(kept, kept).alias(marks[-1][0])]


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
    draft.put(name, rounded=drawn[2], inexact=drawn[1].inexact)
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
    draft.put(
        new,
        rounded=old in draft.rounded,
        inexact=old in draft.inexact,
        is_open=old in draft.open_lists,
    )


def _head(draft: _Draft) -> None:
    if not draft.ordered:
        return
    draft.placed = False
    rows = draft.draw.choice([0, 1, 7, 40, 1000])
    if rows == 0:
        # Polars makes an empty frame of it, which has no event time.
        draft.time = None
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
    names = draft.exact()
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
    keys = draft.exact(but=[draft.time])
    if drawn is None or not draft.ordered or drawn[2] or not keys:
        return
    key, name = draft.draw.choice(keys), draft.new_name()
    made = drawn[0].over(key) if draft.time is None else drawn[0].over(key, order_by=draft.time)
    draft.put(name, inexact=drawn[1].inexact)
    draft.take(f"running {name} = {made}", draft.frame.with_columns(made.alias(name)))
    draft.placed = draft.positioned = False


def _join(draft: _Draft) -> None:
    """With a few rows of another source, by a key of the same type."""
    if not (keys := draft.exact(but=[draft.time])):
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


def _explode(draft: _Draft) -> None:
    """A row for each value of a list; without one, for each word of a text, or for two columns."""
    if draft.appended:
        return
    lists = draft.columns("list", but=list(draft.opaque))
    texts = draft.columns("string", but=list(draft.opaque))
    numbers = draft.columns("integer date boolean", but=[draft.time, *draft.opaque, *draft.rounded])
    frame, step = draft.frame, "explode "
    if lists and draft.draw.random() < 0.7:
        name = draft.draw.choice(lists)
    elif texts or numbers:
        name, column = draft.new_name(), draft.draw.choice(texts or numbers)
        made = pl.col(column).str.split(" ") if texts else pl.concat_list(column, column)
        step += f"{name} = {made}: "
        frame = frame.with_columns(made.alias(name))
    else:
        return
    draft.appended = True
    draft.take(f"{step}{name}", frame.explode(name))
    draft.placed = draft.positioned = False


def _unpivot(draft: _Draft) -> None:
    """Columns below each other."""
    numbers = draft.columns("integer", but=[draft.time, *draft.opaque, *draft.rounded])
    on = draft.draw.sample(numbers, k=min(2, len(numbers)))
    index = [name for name in draft.schema if name not in on]
    if not on or len({draft.schema[name] for name in on}) > 1 or not index:
        return
    names = {"variable": draft.new_name(), "value": draft.new_name()}
    made = draft.frame.unpivot(on, index=index, variable_name=names["variable"], value_name=names["value"])
    draft.take(f"unpivot {on}", made)
    # All rows of the one column stand before those of the other.
    draft.ordered = draft.ordered and draft.positioned and draft.time is None
    draft.placed = draft.positioned = draft.sorted = False


def _apply(draft: _Draft) -> None:
    """A part that Polars runs."""
    if draft.appended:
        return
    drawn, kept = draft.drawn(EXPRESSIONS), draft.drawn(PREDICATES)
    if drawn is None or drawn[2] or kept is None or kept[2]:
        return
    name = draft.new_name()
    draft.put(name, inexact=drawn[1].inexact)
    made = draft.frame.stream.apply(lambda lf: lf.with_columns(drawn[0].alias(name)).filter(kept[0]))
    draft.appended = True
    draft.take(f"apply {name} = {drawn[0]}; {kept[0]}", made)
    _lose_places(draft)


def _map_batches(draft: _Draft) -> None:
    """A function of Python; event time ends there."""
    kept = draft.drawn(PREDICATES)
    if kept is None or kept[2] or draft.time is not None or draft.appended:
        return
    draft.appended = True
    draft.take(
        f"map_batches {kept[0]}",
        draft.frame.stream.map_batches(lambda rows: rows.filter(kept[0]), draft.schema),
    )
    _lose_places(draft)


def _lose_places(draft: _Draft) -> None:
    """Rows that come of rows keep the order of those that have a place in a split."""
    draft.ordered = draft.ordered and draft.positioned
    draft.placed = draft.positioned = False


def _words(draft: _Draft) -> None:
    """A word that changes no row."""
    if draft.draw.random() < 0.5:
        draft.take("metric", draft.frame.stream.metric(draft.new_name(), pl.len()))
    else:
        draft.take("name", draft.frame.stream.name(f"step-{draft.new_name()}"))


def _top_rows(draft: _Draft) -> None:
    """The first or last rows of each key, or those of the lowest rank."""
    keys = draft.exact(but=[draft.time])
    if not draft.ordered or not keys:
        return
    key, rows = draft.draw.choice(keys), draft.draw.choice([1, 2, 5])
    form = draft.draw.choice(["head", "tail", "rank"])
    if form == "head":
        names = list(draft.schema)
        draft.take(f"head {rows} of {key}", draft.frame.group_by(key).head(rows).select(names))
    elif form == "tail":
        names = list(draft.schema)
        draft.take(f"tail {rows} of {key}", draft.frame.group_by(key).tail(rows).select(names))
    else:
        ranked = [name for name in draft.columns("integer date datetime") if name in keys and name != key]
        if not ranked:
            return
        by, descending = draft.draw.choice(ranked), draft.draw.random() < 0.5
        rank = pl.col(by).rank("ordinal", descending=descending).over(key)
        draft.take(f"rank of {by} in {key} <= {rows}", draft.frame.filter(rank <= rows))
    draft.lose_order()


def _by_time(draft: _Draft) -> None:
    """A window of time that ends at each row, as a column or as the frame's own `rolling`."""
    if draft.time is None or not draft.ordered or not draft.sorted:
        return
    kind = kind_of(draft.schema[draft.time])
    period = draft.draw.choice(_PERIODS[kind])
    if not isinstance(draft.schema[draft.time], pl.Datetime):
        period = _PERIODS[kind][0]
    name = draft.new_name()
    columns = [one for one in draft.columns("integer float", but=[draft.time]) if one in draft.exact()]
    if not columns:
        return
    column = draft.draw.choice(columns)
    fitting = [rule for rule in BY_TIME if kind_of(draft.schema[column]) in rule.kinds.split()]
    rule: TimeRule = draft.draw.choice(fitting)
    made = rule.make(pl.col(column), draft.time, period)
    keys = draft.exact(but=[draft.time, column])
    if keys and draft.draw.random() < 0.7:
        made = made.over(draft.draw.choice(keys))
    draft.put(name, rounded=kind_of(draft.schema[column]) == "float", inexact=rule.inexact)
    draft.take(f"by time {name} = {made}", draft.frame.with_columns(made.alias(name)))
    draft.placed = draft.positioned = False


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
    (_explode, 1),
    (_unpivot, 1),
    (_apply, 1),
    (_map_batches, 1),
    (_words, 1),
    (_top_rows, 1),
    (_by_time, 1),
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
        # A concat of such rows is refused, as one of rows whose event time is gone.
        draft.positioned = False
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
    aggregates = draft.aggregates(grouped=bool(keys))
    if not keys:
        draft.take(f"select {_text(aggregates)}", draft.frame.select(aggregates))
    else:
        draft.take(f"group_by {_text(keys)}: {_text(aggregates)}", draft.frame.group_by(keys).agg(aggregates))
    _grouped(draft, None)


def _sessions(draft: _Draft) -> None:
    """`group_by_session` on the event time."""
    if draft.time is None:
        _groups(draft)
        return
    gap = draft.draw.choice(_GAPS[kind_of(draft.schema[draft.time])])
    keys = _keys(draft)
    aggregates = draft.aggregates(but=[draft.time])
    grouped = draft.frame.stream.group_by_session(draft.time, gap, group_by=keys or None)
    text = f"group_by_session {draft.time} {gap} by {_text(keys)}: {_text(aggregates)}"
    draft.take(text, grouped.agg(aggregates))
    _grouped(draft, "window_start")


def _rolling(draft: _Draft) -> None:
    """The frame's own `rolling`: a group for each row."""
    zone = None if draft.time is None else getattr(draft.schema[draft.time], "time_zone", None)
    if draft.time is None or not draft.ordered or zone not in (None, "UTC"):
        _groups(draft)
        return
    period = draft.draw.choice(_PERIODS[kind_of(draft.schema[draft.time])])
    keys = draft.draw.sample(draft.exact(but=[draft.time]), k=1) if draft.exact(but=[draft.time]) else []
    closed: Literal["left", "right", "both", "none"] = draft.draw.choice(["left", "right", "both", "none"])
    if not draft.sorted:
        draft.take(f"sort {draft.time}", draft.frame.sort(draft.time))
    aggregates = draft.aggregates(ROLLED, but=[draft.time])
    rolled = draft.frame.rolling(draft.time, period=period, closed=closed, group_by=keys or None)
    draft.take(
        f"rolling {draft.time} {period} {closed} by {keys}: {_text(aggregates)}", rolled.agg(aggregates)
    )
    _grouped(draft, draft.time)


def _two_streams(draft: _Draft) -> None:
    """A join with another stream: by equal times, within an interval, or as of."""
    if draft.time is None or draft.time not in _TIMES or draft.schema[draft.time] != COLUMNS[draft.time][0]:
        _groups(draft)
        return
    keys = [
        name
        for name in draft.exact(but=[draft.time])
        if name in COLUMNS and draft.schema[name] == COLUMNS[name][0]
    ]
    if not keys:
        _groups(draft)
        return
    key, number = draft.draw.choice(keys), draft.draw.randrange(SOURCES)
    time, value = draft.new_name(), draft.new_name()
    kind = kind_of(draft.schema[draft.time])
    other = (
        random_source(number)
        .select(pl.col(draft.time).alias(time), pl.col(key).alias("key"), pl.col("v").alias(value))
        .stream.with_watermark(time, delay=draft.draw.choice(_DELAYS[kind]))
    )
    form = draft.draw.choice(["equal", "interval", "backward", "forward", "nearest"])
    how: Literal["inner", "left", "full", "semi", "anti"] = draft.draw.choice(
        ["inner", "left", "full", "semi", "anti"]
    )
    text = f"{form} {how} join with random_source {number} by {key} and {draft.time}"
    if form == "equal":
        joined = draft.frame.join(other, left_on=[draft.time, key], right_on=[time, "key"], how=how)
    elif form == "interval":
        step: Any = {"datetime": timedelta(minutes=20), "date": timedelta(days=1), "integer": 900}[kind]
        near = pl.col(time).is_between(pl.col(draft.time) - step, pl.col(draft.time) + step)
        joined = draft.frame.join(other, left_on=key, right_on="key").filter(near)
    else:
        if not (draft.sorted and draft.ordered):
            return
        strategy: Literal["backward", "forward", "nearest"] = form  # type: ignore[assignment]
        joined = draft.frame.join_asof(
            other, left_on=draft.time, right_on=time, by_left=key, by_right="key", strategy=strategy
        )
    draft.take(text, joined)
    draft.lose_order()


_GROUPS: Final = (_windows, _windows, _time_groups, _groups, _sessions, _rolling, _two_streams)


def _keys(draft: _Draft) -> list[pl.Expr]:
    keys = []
    for _ in range(draft.draw.choice([0, 1, 1, 2, 3])):
        nested = [name for name, dtype in draft.schema.items() if dtype.is_nested()]
        drawn = draft.drawn(KEYS, but=[draft.time, *draft.rounded, *nested])
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
    if draft.time is not None and draft.time not in draft.schema:
        # Rows still stand in the order of the time that is gone.
        draft.time, draft.positioned = None, False


def _text(exprs: Sequence[pl.Expr]) -> str:
    return "; ".join(map(str, exprs)) or "nothing"
