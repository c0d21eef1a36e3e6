"""Writes `docs/expressions.md` from the planner's table: `python scripts/write_expressions_page.py`.

A test asks that the page is what this script writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from dataflare_fast._core import compiled_functions
from dataflare_fast.planner.classes import (
    AGGREGATES_OF_THE_ENGINE,
    CLASSES,
    CONDITIONS,
    COUNTED,
    HIDDEN,
    LISTS_OF_THE_ENGINE,
    ORDERED,
    OVER_A_GROUP,
    RUNNING_OF_THE_ENGINE,
    FunctionClass,
)

PAGE: Final = Path(__file__).parent.parent / "docs" / "expressions.md"

_INTRODUCTION: Final = """\
# Which expressions run on a stream

Every function of Polars' expressions stands in one class. The planner walks the whole expression; every
argument counts, so `a.clip(a.min(), 9)` is refused although `clip` is row-wise. What stands nowhere is
refused. A refusal names the part, the reason and what to write instead, and one error holds all of them.

* Names in **bold** are computed by the engine's own kernels, without Python, with constant patterns, formats
  and steps, and over the usual types. An expression that holds any other row-wise function, or another use of
  one of these, is evaluated by Polars, once per batch, as a whole; `dff.explain` marks it
  `[polars]`. Binary operators, casts and `when` have kernels for numbers, booleans, times and text.
  Running functions in bold are computed. Aggregates in bold have accumulators
  of the engine, which merge over workers and windows.
* Names in *italics* Polars computes over the list of a group's values, once a group, when its result leaves:
  right for every window, but the values are kept until then. `dff.explain` shows `implode` and `list.agg`.
* † Polars does not show the function to an engine: refused; `.stream.apply(fn)` lets Polars run it.
* ⇅ The answer depends on the order of rows: event time, then input, split and position.

This page is written by `scripts/write_expressions_page.py`.
"""

_MEANINGS: Final[dict[FunctionClass, str]] = {
    FunctionClass.ROW_WISE: "The answer of a row needs this row only.",
    FunctionClass.RESHAPING: """\
A row gives any number of rows. Write them as the frame's own `filter`, `drop_nulls` or `explode`. Inside an
aggregate (`a.filter(p).sum()`, `a.drop_nulls().first()`) `filter`, `drop_nulls` and `drop_nans` work.""",
    FunctionClass.AGGREGATE: """\
One answer of all rows of a group: in `agg(...)`, or in a `select` of aggregates only. Refused beside rows
(`a - a.mean()`), because a stream has no last row. All of them work filtered (`a.filter(p).var()`) and inside
arithmetic (`a.max() - a.min()`); an expression that holds another one (`(a - a.mean()).abs().max()`), or rows
beside an aggregate (`agg(a + a.max())`, a list), is computed over the list of the group.
`median`, `quantile`, `n_unique`, `unique`, `value_counts`, `mode` and `implode` keep the values of a group or
count each; all others in bold keep a few words, whatever the group's size. `approx_n_unique` is `n_unique`:
exact. Variances and their kin are sums of powers in double-double arithmetic: the order of rows moves no
digit of theirs.""",
    FunctionClass.RUNNING: """\
The answer of a row needs earlier rows, of the frame or of its key with `over(key, order_by=time)`: see
`docs/running.md`. Those not in bold are refused so far. Inside `agg(...)` those in bold or italics are
computed over the list of the group.""",
    FunctionClass.WHOLE_COLUMN: """\
The answer of a row needs later rows: refused on a stream. In `agg(...)` of a group those in bold or italics
give a list, or what an aggregate above makes of it (`a.sort().head(3)`, `a.unique().sum()`).""",
    FunctionClass.NONDETERMINISTIC: """\
Polars itself answers differently by run, thread, engine or process: refused.""",
    FunctionClass.USER_FUNCTION: """\
Python code that the planner cannot see: refused; `.stream.apply` and
`.stream.map_batches` take it, `.stream.map_native` compiled code.""",
    FunctionClass.BY_INNER: "A context for another expression: see `docs/running.md`.",
    FunctionClass.PLAN_TIME: "Gone, or a constant, before the first row moves.",
}

_COMPUTED: Final = frozenset(compiled_functions()).union(
    AGGREGATES_OF_THE_ENGINE, LISTS_OF_THE_ENGINE, COUNTED, RUNNING_OF_THE_ENGINE
)
_SPACES: Final = ("str", "dt", "list", "arr", "struct", "bin", "cat", "map", "ext", "name")


def page() -> str:
    """The text of the page."""
    return "\n".join([_INTRODUCTION, *_sections(), *_conditions()])


def _sections() -> Iterator[str]:
    for function_class in FunctionClass:
        names = sorted(name for name, its_class in CLASSES.items() if its_class is function_class)
        yield f"\n## {function_class.value.capitalize()} ({len(names)})\n"
        yield f"{_MEANINGS[function_class]}\n"
        for space in ("", *_SPACES):
            inside = [name for name in names if (name.split(".")[0] if "." in name else "") == space]
            if inside:
                prefix = f"`.{space}` " if space else ""
                yield f"* {prefix}{_listed(inside)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_marked(name) for name in names)


def _marked(name: str) -> str:
    short = name.rsplit(".", 1)[-1].replace("_", "\\_")
    text = short
    if name in _COMPUTED:
        text = f"**{short}**"
    elif name in OVER_A_GROUP:
        text = f"*{short}*"
    return text + ("†" if name in HIDDEN else "") + ("⇅" if name in ORDERED else "")


def _conditions() -> Iterator[str]:
    yield "\n## Conditions\n"
    yield "| function | in its class only |\n|---|---|"
    yield from (
        f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in sorted(CONDITIONS.items())
    )
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
